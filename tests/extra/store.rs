//! The report store: what reports leave in it, and what is left of it when the process ends, however it
//! ends.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use crate::support::console::Site;
use crate::support::http::request;
use crate::support::store::{Load, Place, ask, delivery, report};
use crate::support::{Folder, PROGRAM, Trackalert, output, skipped, wait_for};

/// Waits until every report has run, and the store knows that.
fn wait_until_idle(place: &Place, count: usize) {
    wait_for("every report to run", || (place.ran().len() >= count).then_some(()));
}

#[test]
fn a_report_is_known_to_the_policy_to_endpoints_and_to_the_console() {
    let site = Site::start(
        r#"newReportStore{ path = "reports.db" }
        setReport(function(lt)
            local s = reportStore()
            local known, seen = s:profile(lt.login), s:seen(lt.login, "protocol", "imap")
            infoLog("found", {
                days = tostring(known and known.days), ok = tostring(seen and seen.ok),
                attempts = tostring(s:failures({ ip = lt.remote, hours = 1 }).attempts),
                reports = tostring(#s:reports({ login = lt.login })),
            })
        end)
        setCustomEndpoint("ask", function(args)
            local s = "local s = reportStore() return s:"
            return true, { answer = tostring(loadstring(s .. args.attrs.question)()) }
        end)
        "#,
    );
    let daemon = &site.daemon;
    let failure = report("joe").replace("true", "false");
    for (body, attempts, reports, known) in
        [(&report("joe"), 0, 1, "nil"), (&failure, 1, 2, "1"), (&report("joe"), 1, 3, "1")]
    {
        assert_eq!(daemon.report(body).status, 200);
        let found =
            format!("found: attempts=\"{attempts}\" days=\"{known}\" ok=\"{known}\" reports=\"{reports}\"");
        daemon.wait_for_line(&found);
    }
    assert_eq!(daemon.report(&report("ann")).status, 200);
    for (question, answer) in [
        ("profile('joe').days", "1"),
        ("profile('nobody')", "nil"),
        ("seen('joe', 'protocol', 'imap').ok", "2"),
        ("failures({ login = 'joe', hours = 1 }).attempts", "1"),
        ("reports({ login = 'joe', limit = 10 })[2].success", "false"),
        ("reports({ ip = '192.0.2.1' })[1].login", "ann"),
    ] {
        assert_eq!(ask(daemon, question), answer);
        let told = site.execute(&format!("return tostring(reportStore():{question})"));
        assert_eq!(told.stdout.trim(), answer, "{}", told.stderr);
    }
    let shown = site.execute("showStore()").stdout;
    assert!(shown.starts_with("rows=4\nbytes=") && shown.contains("\nqueue=0\nlag=0.000\n"), "{shown}");
    let removed = site.execute("forgetLogin('joe')").stdout;
    assert!(removed.ends_with("rows removed\n"), "{removed}");
    assert_eq!(ask(daemon, "profile('joe')"), "nil");
    assert_eq!(ask(daemon, "reports({ ip = '192.0.2.1' })[2]"), "nil");
    assert_eq!(site.execute("forgetLogin('joe')").stdout, "0 rows removed\n");

    let backup = daemon.folder.path("backup.db");
    let begun = format!("being written to {}: the log says when it is done\n", backup.display());
    let command = format!("backupStore('{}')", backup.display());
    assert_eq!(site.execute(&command).stdout, begun);
    let done = daemon.wait_for_line("backup of the report store: ");
    assert!(done.contains(&format!("backup of the report store: {}: ", backup.display())), "{done}");
    let bytes = fs::metadata(&backup).unwrap().len();
    assert!(done.contains(&format!(": {bytes} bytes in ")), "{done}");
    let again = site.ask(&command);
    assert!(again.contains("backup.db: "), "{again}");
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600, "others can't read it");
    let restored = Site::start(&format!("newReportStore{{ path = '{}' }}", backup.display()));
    assert_eq!(restored.execute("return reportStore():profile('ann').days").stdout.trim(), "1");
    restored.daemon.stop();
    site.daemon.stop();
}

#[test]
fn an_answer_says_what_the_configuration_says_it_does() {
    for (ack, durable) in [("queued", true), ("done", true), ("queued", false), ("done", false)] {
        let place = Place::new();
        let slow = "local ffi = require 'ffi' ffi.cdef 'int usleep(unsigned);'
            local run = report
            setReport(function(lt) ffi.C.usleep(20000) local f = io.open('RAN', 'a') f:write(lt.login .. '\\n') f:close() end)";
        let slow = slow.replace("RAN", place.0.path("ran").to_str().unwrap());
        let more = format!("setReportAck('{ack}')\n{slow}");
        let mut daemon = place.start(&format!("durable = {durable}"), &more);
        assert_eq!(daemon.report(&report("joe")).status, 200);
        if ack == "done" {
            assert_eq!(place.ran().get("joe"), Some(&1), "{ack} {durable}: it has run");
        }
        if durable {
            daemon.signal(Signal::SIGKILL);
            daemon.wait();
            assert_eq!(place.stored().get("joe"), Some(&1), "{ack} {durable}: it is on disk");
            let daemon = place.start("", &more);
            wait_for("what was answered to run", || place.ran().contains_key("joe").then_some(()));
            daemon.stop();
        } else {
            daemon.stop();
        }
        assert_eq!(place.stored().get("joe"), Some(&1), "{ack} {durable}");
        assert!(place.ran().contains_key("joe"), "{ack} {durable}");
    }
}

#[test]
fn a_delivery_counts_once_over_stops_and_crashes() {
    for durable in [true, false] {
        let place = Place::new();
        let options = format!("durable = {durable}");
        let send = |daemon: &Trackalert, login: &str, id: &str| {
            let mut client = daemon.client();
            client.send(delivery(login, id));
            assert_eq!(client.reply().status, 200);
        };
        let mut daemon = place.start(&options, "");
        // In a row, so that some come in one commit.
        let mut client = daemon.client();
        client.send(delivery("joe", "one").repeat(20));
        (0..20).for_each(|_| assert_eq!(client.reply().status, 200));
        // What says nothing tells nothing apart.
        ["ann", "bob"].iter().for_each(|login| send(&daemon, login, ""));
        wait_until_idle(&place, 3);
        daemon.stop();
        daemon = place.start(&options, "");
        send(&daemon, "joe", "one");
        send(&daemon, "joe", "two");
        wait_for("the second one", || (place.ran().get("joe") == Some(&2)).then_some(()));
        // What was kept for it is let go a moment later.
        wait_for("all to be let go", || {
            let file = rusqlite::Connection::open(place.file()).unwrap();
            let count: u32 = file.query_row("SELECT count(*) FROM pending", [], |row| row.get(0)).unwrap();
            (count == 0).then_some(())
        });
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        let daemon = place.start(&options, "");
        ["one", "two"].iter().for_each(|id| send(&daemon, "joe", id));
        daemon.stop();
        let expected = [("ann", 1), ("bob", 1), ("joe", 2)].map(|(login, count)| (login.to_owned(), count));
        assert_eq!((place.stored(), place.ran()), (expected.clone().into(), expected.into()), "{durable}");
    }
}

/// Kills in one test; `make chaos` has a hundred.
fn kills() -> u32 {
    std::env::var("STORE_KILLS").map_or(10, |kills| kills.parse().unwrap())
}

#[test]
fn what_was_acknowledged_survives_every_kill() {
    let (place, load) = (Place::new(), Load::default());
    // Any odd number makes other moments.
    let mut random = u64::from(std::process::id()) << 1 | 1;
    for kill in 0..kills() {
        let mut daemon = place.start("", "setNumReportThreads(2)");
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (before, more) = (load.count(), 1 + (random % 1500) as usize);
        load.during(&daemon, 4, || {
            let end = Instant::now() + Duration::from_secs(30);
            wait_for("reports", || (load.count() >= before + more || Instant::now() > end).then_some(()));
            daemon.signal(Signal::SIGKILL);
        });
        daemon.wait();
        assert!(load.count() > before, "none was accepted before kill {kill}");
    }
    let daemon = place.start("", "");
    let accepted: BTreeSet<String> = load.accepted.lock().unwrap().iter().cloned().collect();
    wait_for("the rest to run", || {
        let ran = place.ran();
        accepted.iter().all(|login| ran.contains_key(login)).then_some(())
    });
    daemon.stop();
    load.check(&place);
    let (ran, count) = (place.ran(), load.count());
    let twice = ran.values().filter(|count| **count > 1).count();
    assert!(twice < count.max(1000), "{twice} of {count} have run again");
    // What has run is not run again when nothing was killed.
    place.start("", "").stop();
    assert_eq!(place.ran(), ran);
}

#[test]
fn what_had_not_run_runs_although_it_could_not_be_read_for_a_while() {
    let place = Place::new();
    let (go, count) = (place.0.path("go"), 250);
    let waits = format!(
        "local ffi = require 'ffi' ffi.cdef 'int usleep(unsigned);'
        setReport(function(lt)
            while not io.open('{}') do ffi.C.usleep(1000) end
            ran:write(lt.login .. '\\n')
        end)
        setReportQueueSize(1000) setNumReportThreads(1)",
        go.display()
    );
    let mut daemon = place.start("", &waits);
    let mut client = daemon.client();
    let requests = (0..count).map(|n| request("POST", "/command/report", &report(&format!("user{n}"))));
    client.send(requests.collect::<String>());
    (0..count).for_each(|_| assert_eq!(client.reply().status, 200));
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    // Some are read at once, and there is no room for the others before some have run.
    let daemon = place.start("", &format!("{waits} setReportQueueSize(10)"));
    let away = place.0.path("away.db");
    fs::rename(place.file(), &away).unwrap();
    fs::write(&go, "").unwrap();
    let complaint = "reports that had not run can't be read, and are tried every second: store unavailable: ";
    daemon.wait_for_line(complaint);
    fs::rename(&away, place.file()).unwrap();
    daemon.wait_for_line(&format!("{count} reports run that had not when the process ended"));
    wait_until_idle(&place, count);
    assert_eq!(daemon.count_lines(complaint), 1, "{}", daemon.tail());
    daemon.stop();
    assert!(place.ran().values().all(|count| *count == 1));
}

#[test]
fn nothing_is_lost_or_run_twice_at_a_stop_or_a_reload_under_load() {
    let (place, load) = (Place::new(), Load::default());
    let daemon = place.start("", "");
    let other = place.config("", "").replace("reports.db", "other.db");
    let without = place.config("", "").replace("newReportStore", "local _ = ");
    let same = place.config("net4 = 16", "setNumReportThreads(3)");
    load.during(&daemon, 4, || {
        for (config, answer) in
            [(&same, true), (&other, false), (&without, false), (&same, true), (&other, false)]
        {
            let (line, before) = (daemon.reload_with(config), load.count());
            assert_eq!(line == "reloaded", answer, "{line}");
            if !answer {
                assert!(
                    line.contains("newReportStore() says other than at the start, so this needs a restart"),
                    "{line}"
                );
            }
            wait_for("more reports", || (load.count() > before + 100).then_some(()));
        }
        daemon.signal(Signal::SIGTERM);
    });
    daemon.wait_for_line("stopped");
    drop(daemon);
    load.check(&place);
    let ran = place.ran();
    assert!(ran.values().all(|count| *count == 1));
    place.start("", "").stop();
    assert_eq!(place.ran(), ran);
    assert!(!place.0.path("other.db").exists());
}

/// Keeps copies of what was synced: whatever else a file had is lost when power is.
const POWER: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int keep(int fd) {
    char link[64], path[4096], copy[4200], part[4210], bytes[65536];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    if (!name || strncmp(name, "/reports.db", 11)) return 0;
    snprintf(copy, sizeof copy, "%s%s", getenv("SYNCED"), name);
    snprintf(part, sizeof part, "%s.part", copy);
    int out = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (out < 0) abort();
    off_t at = 0;
    for (ssize_t got; (got = pread(fd, bytes, sizeof bytes, at)) > 0; at += got)
        if (write(out, bytes, got) != got) abort();
    close(out);
    return rename(part, copy);
}

int fsync(int fd) { return keep(fd); }
int fdatasync(int fd) { return keep(fd); }
"#;

/// A disk that loses what was not synced, under the store of a place.
struct Power {
    library: PathBuf,
    synced: PathBuf,
    folder: Folder,
}

/// The files of a store. The last is made again when it is not there.
const FILES: [&str; 3] = ["reports.db", "reports.db-wal", "reports.db-shm"];

impl Power {
    /// Nothing where it can't be compiled.
    fn new() -> Option<Power> {
        let folder = Folder::new();
        let (source, library) = (folder.write("power.c", POWER), folder.path("power.so"));
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]);
        if !compile.status().is_ok_and(|status| status.success()) {
            skipped("there is no C compiler");
            return None;
        }
        let synced = folder.path("synced");
        fs::create_dir(&synced).unwrap();
        Some(Power { library, synced, folder })
    }

    fn start(&self, place: &Place, options: &str) -> Trackalert {
        let mut command = Command::new(PROGRAM);
        command.env("LD_PRELOAD", &self.library).env("SYNCED", &self.synced);
        Trackalert::start_with(Folder::new(), &place.config(options, ""), command)
    }

    /// Puts what the disk has into a folder, in the place of what is there.
    fn lose(&self, to: &Path) {
        for name in FILES {
            let _ = fs::remove_file(to.join(name));
            let copied = fs::copy(self.synced.join(name), to.join(name));
            assert!(copied.is_ok() || name.ends_with("-shm"), "{name} was never synced");
        }
    }

    /// How many reports the disk has, if it has a store.
    fn stored(&self) -> Option<usize> {
        let folder = self.folder.path("disk");
        let _ = fs::create_dir(&folder);
        self.lose(&folder);
        let file = rusqlite::Connection::open(folder.join("reports.db")).ok()?;
        let count = file.query_row("SELECT count(*) FROM raw", [], |row| row.get::<_, u32>(0));
        count.ok().map(|count| count as usize)
    }
}

fn assert_sound(place: &Place) {
    let check = rusqlite::Connection::open(place.file()).unwrap();
    let check: String = check.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn what_was_acknowledged_survives_a_loss_of_power() {
    let Some(power) = Power::new() else { return };
    let (place, load) = (Place::new(), Load::default());
    for more in [50, 300, 1000] {
        let mut daemon = power.start(&place, "");
        let before = load.count();
        load.during(&daemon, 4, || {
            wait_for("reports", || (load.count() >= before + more).then_some(()));
            daemon.signal(Signal::SIGKILL);
        });
        daemon.wait();
        power.lose(&place.0.path(""));
    }
    place.start("", "").stop();
    let accepted = load.count();
    assert!(accepted >= 1350, "{accepted}");
    load.check(&place);
    assert_sound(&place);
}

#[test]
fn without_durability_a_loss_of_power_costs_about_a_second() {
    let Some(power) = Power::new() else { return };
    let (place, load) = (Place::new(), Load::default());
    let mut daemon = power.start(&place, "durable = false");
    for more in [50, 300] {
        let before = load.count();
        load.during(&daemon, 4, || {
            wait_for("reports", || (load.count() >= before + more).then_some(()));
        });
        // Nothing comes after them that would have them synced.
        let (count, start) = (load.count(), Instant::now());
        wait_for("the disk to have them", || (power.stored() == Some(count)).then_some(()));
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    power.lose(&place.0.path(""));
    place.start("durable = false", "").stop();
    load.check(&place);
    assert_sound(&place);
}

#[test]
fn the_store_is_the_users_whom_the_daemon_becomes() {
    if !geteuid().is_root() {
        return skipped("only root can give root up");
    }
    let (place, folder) = (Place::new(), Folder::new());
    for path in [place.0.path(""), folder.path("")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let config = place.config("", "setUser('54321') setGroup('54322')");
    // In a folder of root's nothing can be made.
    let path = folder.write("x.conf", &config);
    let refused = output(Command::new(PROGRAM).args(["-s", "-C"]).arg(&path));
    assert_eq!(refused.status, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("reports.db-lock: permission denied"), "{}", refused.stderr);
    std::os::unix::fs::chown(place.0.path(""), Some(54321), Some(54322)).unwrap();
    fs::write(place.0.path("ran"), "").unwrap();
    std::os::unix::fs::chown(place.0.path("ran"), Some(54321), Some(54322)).unwrap();
    let daemon = Trackalert::start_with(folder, &config, Command::new(PROGRAM));
    assert_eq!(daemon.client().post("/command/report", &report("joe")).status, 200);
    for name in ["reports.db", "reports.db-wal", "reports.db-shm", "reports.db-lock"] {
        use std::os::unix::fs::MetadataExt;
        let file = fs::metadata(place.0.path(name)).unwrap();
        assert_eq!((file.uid(), file.mode() & 0o777), (54321, 0o600), "{name}");
    }
    daemon.stop();
    assert_eq!(place.stored().len(), 1);
}

#[test]
fn a_login_is_forgotten_while_it_is_used() {
    let (place, load) = (Place::new(), Load::default());
    let daemon = place.start("", "");
    let many = (0..3000).map(|_| request("POST", "/command/report", &report("joe"))).collect::<Vec<_>>();
    load.during(&daemon, 2, || {
        let mut client = daemon.client();
        for row in many.chunks(50) {
            client.send(row.concat());
            row.iter().for_each(|_| assert_eq!(client.reply().status, 200));
            let rows = ask(&daemon, "s:forget('joe')");
            assert_ne!(rows, "0");
        }
    });
    assert_eq!(ask(&daemon, "s:profile('joe')"), "nil");
    daemon.stop();
    assert_eq!(place.stored().get("joe"), None);
    load.check(&place);
}
