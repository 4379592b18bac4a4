//! A report store on a disk that is full, a file that is locked, damaged or can't be had.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::shell::{shell, shell_with_mounts};
use crate::support::store::{Place, ask, delivery, report};
use crate::support::{Folder, Output, PROGRAM, SERVER, Trackalert, output, wait_for};

const REFUSAL: &str = r#"{"reason":"the report store can't be written","status":"failure"}"#;

/// How the log begins to say so.
const COMPLAINT: &str = "the store can't be written: ";

/// Sends reports, each of a login of its own, until one is refused; those that were accepted.
fn send_until_refused(daemon: &Trackalert, prefix: &str) -> Vec<String> {
    let (mut client, mut accepted) = (daemon.client(), Vec::new());
    for number in 0..100_000 {
        let login = format!("{prefix}{number}");
        let reply = client.post("/command/report", &report(&login));
        if reply.status == 503 {
            assert_eq!(reply.text(), REFUSAL);
            assert_eq!(reply.header("Retry-After"), Some("1"));
            return accepted;
        }
        assert_eq!(reply.status, 200);
        accepted.push(login);
    }
    panic!("none was refused");
}

/// A store in trouble says so, to whoever asks and once in the log.
fn assert_unready(daemon: &Trackalert) {
    let ready = daemon.get("/readyz");
    assert_eq!((ready.status, ready.text().as_str()), (503, REFUSAL));
    assert_eq!(daemon.get("/livez").status, 200);
    daemon.wait_for_line(COMPLAINT);
    assert_eq!(daemon.count_lines(COMPLAINT), 1, "{}", daemon.tail());
}

/// It becomes ready by itself: no report is sent to a daemon that is not.
fn wait_until_ready(daemon: &Trackalert) {
    wait_for("the store to be written again", || (daemon.get("/readyz").status == 200).then_some(()));
}

/// A daemon with a disk of its own, where the store is, and the way to that disk from here.
fn start_on_small_disk(folder: Folder, options: &str) -> Option<(Trackalert, PathBuf)> {
    let disk = folder.path("disk");
    fs::create_dir(&disk).unwrap();
    let command = shell_with_mounts(&format!("mount -t tmpfs -o size=1m none {}", disk.display()))?;
    let place = Place::new();
    let config = place.config(options, "").replace(place.file().to_str().unwrap(), "disk/reports.db");
    let config = config.replace(place.0.path("ran").to_str().unwrap(), folder.path("ran").to_str().unwrap());
    let daemon = Trackalert::start_with(folder, &config, command);
    let inside = PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), disk.display()));
    Some((daemon, inside))
}

/// Takes all the room there is.
fn fill(disk: &Path) {
    let mut filler = File::create(disk.join("filler")).unwrap();
    let is_full = |e: std::io::Error| assert_eq!(e.raw_os_error(), Some(28), "{e}");
    for size in [4096, 1] {
        while filler.write_all(&vec![0; size]).map_err(is_full).is_ok() {}
    }
}

#[test]
fn a_full_disk_refuses_reports_and_loses_none() {
    let Some((daemon, disk)) = start_on_small_disk(Folder::new(), "") else { return };
    assert_eq!(daemon.report(&report("first")).status, 200);
    let mut accepted = vec!["first".to_owned()];
    for round in 0..3 {
        fill(&disk);
        accepted.extend(send_until_refused(&daemon, &format!("round{round}-")));
        // A delivery that was refused may come again.
        let mut client = daemon.client();
        client.send(delivery("again", &format!("again{round}")));
        let mut status = client.reply().status;
        assert_unready(&daemon);
        fs::remove_file(disk.join("filler")).unwrap();
        wait_until_ready(&daemon);
        while status != 200 {
            client.send(delivery("again", &format!("again{round}")));
            status = client.reply().status;
        }
    }
    for login in &accepted {
        assert_eq!(ask(&daemon, &format!("#s:reports({{ login = '{login}' }})")), "1", "{login}");
    }
    assert_eq!(ask(&daemon, "#s:reports({ login = 'again' })"), "3");
    let ran = daemon.folder.path("ran");
    wait_for("every report to run", || {
        let ran = fs::read_to_string(&ran).unwrap();
        (ran.lines().count() == accepted.len() + 3).then_some(())
    });
    daemon.stop();
}

#[test]
fn without_durability_a_full_disk_costs_only_history() {
    let Some((daemon, disk)) = start_on_small_disk(Folder::new(), "durable = false") else { return };
    assert_eq!(daemon.report(&report("joe")).status, 200);
    // The answer does not say that it is stored.
    let stored = || ask(&daemon, "#s:reports({ login = 'joe', limit = 10000 })").parse::<usize>().unwrap();
    wait_for("the report to be stored", || (stored() == 1).then_some(()));
    fill(&disk);
    let mut client = daemon.client();
    let mut sent = 1;
    wait_for("a failure", || {
        assert_eq!(client.post("/command/report", &report("joe")).status, 200);
        sent += 1;
        (daemon.count_lines(COMPLAINT) > 0).then_some(())
    });
    assert_unready(&daemon);
    let ran = daemon.folder.path("ran");
    wait_for("every report to run", || {
        (fs::read_to_string(&ran).unwrap().lines().count() == sent).then_some(())
    });
    fs::remove_file(disk.join("filler")).unwrap();
    wait_until_ready(&daemon);
    let rows = stored();
    assert!(rows > 0 && rows < sent, "{rows} of {sent}");
    daemon.stop();
}

#[test]
fn a_locked_file_refuses_reports_until_it_is_let_go() {
    for durable in [true, false] {
        let place = Place::new();
        let daemon = place.start(&format!("durable = {durable}"), "");
        assert_eq!(daemon.report(&report("first")).status, 200);
        wait_for("its row", || (ask(&daemon, "s:profile('first') ~= nil") == "true").then_some(()));
        let other = rusqlite::Connection::open(place.file()).unwrap();
        wait_for("the lock", || other.execute_batch("BEGIN EXCLUSIVE").ok());
        if durable {
            assert_eq!(send_until_refused(&daemon, "locked"), Vec::<String>::new());
        } else {
            assert_eq!(daemon.report(&report("locked")).status, 200);
            wait_for("it to run", || place.ran().contains_key("locked").then_some(()));
        }
        assert_unready(&daemon);
        assert_eq!(ask(&daemon, "s:profile('first').days"), "1", "it can still be asked");
        other.execute_batch("ROLLBACK").unwrap();
        wait_until_ready(&daemon);
        assert_eq!(daemon.report(&report("after")).status, 200);
        daemon.stop();
        assert_eq!(place.stored().into_keys().collect::<Vec<_>>(), ["after", "first"]);
    }
}

/// A store with some thousand reports, closed.
fn filled() -> Place {
    let place = Place::new();
    let daemon = place.start("durable = false", "setReportQueueSize(10000)");
    let mut client = daemon.client();
    for number in 0..3000 {
        assert_eq!(client.post("/command/report", &report(&format!("user{number}"))).status, 200);
    }
    daemon.stop();
    place
}

/// What a start that fails says, if it does; else what is said when the reports come that are sent.
fn what_is_said(place: &Place) -> String {
    let folder = Folder::new();
    let path = folder.write("trackalert.conf", &place.config("", ""));
    let mut command = Command::new(PROGRAM);
    command.args(["-s", "-C"]).arg(&path).stdin(Stdio::null());
    command.stdout(File::create(folder.path("log")).unwrap()).stderr(Stdio::piped());
    let mut daemon = crate::support::Running::start(&mut command);
    let log = || fs::read_to_string(folder.path("log")).unwrap();
    let ready = wait_for("a start or its end", || {
        let ended = daemon.ended();
        if let Some(status) = ended {
            assert_eq!(status.code(), Some(1), "{}", log());
        }
        (ended.is_some() || log().contains("ready\n")).then_some(ended.is_none())
    });
    if ready {
        let log = log();
        let (_, address) = log.split_once("listening on ").unwrap();
        let address = address.lines().next().unwrap().parse().unwrap();
        let mut client = crate::support::http::Client::connect(address);
        for number in 0..3000 {
            let status = client.post("/command/report", &report(&format!("user{number}"))).status;
            assert!([200, 503].contains(&status), "{status}");
            if status == 503 {
                break;
            }
        }
        daemon.signal(nix::sys::signal::Signal::SIGTERM);
        let status = daemon.wait();
        assert!(status.success(), "{status}");
    }
    log()
}

/// Does damage to a store that is closed.
type Damage<'a> = Box<dyn Fn(&Place) + 'a>;

#[test]
fn a_damaged_file_is_refused_or_said_to_be_damaged() {
    let place = filled();
    let whole = fs::read(place.file()).unwrap();
    let pages = whole.len() / 4096;
    let mut said_so = 0;
    let garbage = |place: &Place, at: usize, length: usize| {
        let mut file = OpenOptions::new().write(true).open(place.file()).unwrap();
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(&vec![0xa5; length]).unwrap();
    };
    let kinds: Vec<Damage> = vec![
        Box::new(|place| garbage(place, 0, 100)),
        Box::new(|place| garbage(place, 100, 3996)),
        Box::new(|place| garbage(place, 4096, (pages - 1) * 4096)),
        Box::new(|place| garbage(place, pages / 4 * 4096, pages / 2 * 4096)),
        Box::new(|place| OpenOptions::new().write(true).open(place.file()).unwrap().set_len(100).unwrap()),
        Box::new(|place| {
            let file = OpenOptions::new().write(true).open(place.file()).unwrap();
            file.set_len((pages / 2 * 4096) as u64).unwrap();
        }),
    ];
    let hint = format!("trackalert --repair-store {}", place.file().display());
    for damage in &kinds {
        fs::write(place.file(), &whole).unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{suffix}", place.file().display()));
        }
        damage(&place);
        let said = what_is_said(&place);
        said_so += usize::from(said.contains("damaged") && said.contains(&hint));
        assert!(!said.contains("panicked"), "{said}");
    }
    assert_eq!(said_so, kinds.len());
}

fn run_to_its_end(config: &str, mut command: Command) -> Output {
    let folder = Folder::new();
    let path = folder.write("x.conf", config);
    output(command.args(["-s", "-C"]).arg(path))
}

#[test]
fn two_daemons_do_not_share_a_file() {
    let place = Place::new();
    let first = place.start("", "");
    let second = run_to_its_end(&place.config("", ""), Command::new(PROGRAM));
    let said = format!("trackalert: {}: another process has it\n", place.file().display());
    assert_eq!((second.status, second.stderr.as_str()), (1, said.as_str()));
    assert!(!second.stdout.contains("listening on"), "{}", second.stdout);
    assert_eq!(first.report(&report("joe")).status, 200);
    first.stop();
    assert_eq!(place.stored().len(), 1);
}

#[test]
fn a_file_that_can_not_be_had_starts_nothing() {
    let folder = Folder::new();
    let (file, inner) = (folder.write("file", "something else"), folder.path("folder"));
    fs::create_dir(&inner).unwrap();
    for (path, error) in [
        (folder.path("none/reports.db"), "reports.db-lock: no such file or directory"),
        (inner, "folder: is a directory"),
        (file.join("reports.db"), "reports.db-lock: not a directory"),
        (PathBuf::from("/proc/reports.db"), "reports.db-lock: "),
        (file, "file: damaged (file is not a database); trackalert --repair-store "),
    ] {
        let config = format!("{SERVER}newReportStore{{ path = '{}' }}", path.display());
        let ended = run_to_its_end(&config, shell(""));
        assert_eq!(ended.status, 1, "{}: {}", path.display(), ended.stderr);
        assert!(ended.stderr.contains(error), "{}: {}", path.display(), ended.stderr);
        assert!(!ended.stdout.contains("listening on"), "{}", ended.stdout);
    }
    let mut text = String::new();
    File::open(folder.path("file")).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "something else", "what is no store is left alone");
    let folder = Folder::new();
    let mount = format!("mount -t tmpfs -o ro none {}", folder.path("").display());
    let Some(command) = shell_with_mounts(&mount) else { return };
    let config = format!("{SERVER}newReportStore{{ path = '{}' }}", folder.path("reports.db").display());
    let ended = run_to_its_end(&config, command);
    assert!(ended.stderr.contains("reports.db-lock: read-only file system"), "{}", ended.stderr);
}
