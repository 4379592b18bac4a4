//! The service folders under daemontools and runit. The run script is the same file; what keeps the log
//! and how one talks to the supervisor differs.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, User};

use super::{Place, USER};
use crate::support::http::Client;
use crate::support::{Running, output, wait_for};

/// How a supervisor is spoken to.
struct Kind {
    /// Its folder in `share`.
    folder: &'static str,
    programs: &'static [&'static str],
    files: &'static [&'static str],
    /// Runs in the folder of the services.
    start: &'static [&'static str],
    control: fn(word: &str) -> Vec<String>,
    status: &'static [&'static str],
}

static DAEMONTOOLS: Kind = Kind {
    folder: "daemontools",
    programs: &["svscan", "supervise", "svc", "svstat", "setuidgid", "multilog", "setpriv"],
    files: &["run", "log/run"],
    start: &["svscan", "."],
    control: |word| {
        let option = match word {
            "up" => "-u",
            "down" => "-d",
            "hup" => "-h",
            word => panic!("{word}"),
        };
        vec!["svc".into(), option.into(), "trackalert".into()]
    },
    status: &["svstat", "trackalert"],
};

static RUNIT: Kind = Kind {
    folder: "runit",
    programs: &["runsv", "sv", "chpst", "svlogd", "setpriv"],
    files: &["run", "finish", "log/run"],
    start: &["runsv", "trackalert"],
    control: |word| vec!["sv".into(), word.into(), "./trackalert".into()],
    status: &["sv", "status", "./trackalert"],
};

/// A service that is supervised. Its supervisor and all that this started end with it.
struct Service {
    kind: &'static Kind,
    place: Place,
    supervisor: Running,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.supervisor.id().try_into().unwrap()), Signal::SIGKILL);
    }
}

impl Service {
    fn start(kind: &'static Kind, prepare: impl FnOnce(&Place)) -> Option<Service> {
        let place = Place::new(kind.programs)?;
        for file in kind.files {
            place.install(&format!("{}/{file}", kind.folder), &format!("services/trackalert/{file}"));
        }
        prepare(&place);
        let mut command = Command::new(kind.start[0]);
        command.args(&kind.start[1..]).current_dir(place.path("services")).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let supervisor = Running::start(&mut command);
        Some(Service { kind, place, supervisor })
    }

    fn control(&self, word: &str) {
        let words = (self.kind.control)(word);
        let said = output(Command::new(&words[0]).args(&words[1..]).current_dir(self.place.path("services")));
        assert_eq!((said.status, said.stderr.as_str()), (0, ""), "{word}: {}", said.stdout);
    }

    /// What the supervisor says of the service.
    fn status(&self) -> String {
        let mut command = Command::new(self.kind.status[0]);
        output(command.args(&self.kind.status[1..]).current_dir(self.place.path("services"))).stdout
    }

    /// The process, if it runs. What runit says of the log comes behind a semicolon.
    fn pid(&self) -> Option<i32> {
        let status = self.status();
        let (_, rest) = status.split(';').next()?.split_once("(pid ")?;
        rest.split(')').next().unwrap().parse().ok()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.place.path("log/current")).unwrap_or_default()
    }

    /// Waits until the log has a text for the `count`th time.
    fn wait_for_log(&self, text: &str, count: usize) {
        wait_for(&format!("{text:?} in the log of {}", self.kind.folder), || {
            (self.log().matches(text).count() >= count).then_some(())
        });
    }

    /// Where it listens since it has started for the `count`th time.
    fn client(&self, count: usize) -> Client {
        self.wait_for_log("ready", count);
        let log = self.log();
        let (_, last) = log.rsplit_once("listening on ").unwrap();
        Client::connect(last.lines().next().unwrap().parse::<SocketAddr>().unwrap())
    }
}

/// One service through its life: it starts, reloads, is killed, is stopped and started again.
fn lives(kind: &'static Kind) {
    let Some(service) = Service::start(kind, |_| {}) else { return };
    let mut client = service.client(1);
    let ask = |client: &mut Client| client.post("/command/ask", "{}").json()["r_attrs"].clone();
    let user = User::from_name(USER).unwrap().unwrap();
    let answer = ask(&mut client);
    assert_eq!(answer["user"], user.uid.to_string(), "it never is root");
    assert_eq!(answer["umask"], "0027");
    for (folder, mode) in [("lib", 0o700), ("log", 0o750)] {
        let found = fs::metadata(service.place.path(folder)).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o777), (user.uid.as_raw(), mode), "{folder}");
    }
    let line = service.log().lines().find(|line| line.ends_with("ready")).unwrap().to_owned();
    assert!(line.len() > 20, "the time is in front: {line}");

    // Another configuration in the same process.
    let pid = service.pid().unwrap();
    service.place.configure("two");
    service.control("hup");
    wait_for("the reload", || (ask(&mut client)["version"] == "two").then_some(()));
    assert_eq!(service.pid(), Some(pid));

    // Another process, with the supervisor asking for nothing.
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let mut client = service.client(2);
    assert_eq!(ask(&mut client)["version"], "two");
    let pid = service.pid().unwrap();

    // What was accepted is finished, however long that takes.
    assert_eq!(client.post("/command/report", r#"{"login":"joe"}"#).status, 200);
    service.control("down");
    service.wait_for_log("stopping, 1 jobs to finish", 1);
    assert!(kill(Pid::from_raw(pid), None).is_ok());
    service.place.go();
    service.wait_for_log("stopped", 1);
    assert_eq!(service.log().matches("has run: login=\"joe\"").count(), 1);
    wait_for("the end", || service.pid().is_none().then_some(()));
    assert!(service.status().contains("down"), "{}", service.status());

    service.control("up");
    assert_eq!(ask(&mut service.client(3))["version"], "two");
}

#[test]
fn daemontools_starts_reloads_and_stops_it_and_keeps_it_up() {
    lives(&DAEMONTOOLS);
}

#[test]
fn runit_starts_reloads_and_stops_it_and_keeps_it_up() {
    lives(&RUNIT);
}

#[test]
fn runit_does_not_start_a_bad_configuration_again_and_again() {
    // With the statuses written down that runsv gives to `finish`.
    let prepare = |place: &Place| {
        place.misconfigure();
        place.install("runit/finish", "services/trackalert/finish.shipped");
        let statuses = place.text("statuses");
        let finish = format!("#!/bin/sh\necho \"$1\" >> {statuses}\nexec ./finish.shipped \"$@\"\n");
        place.folder.write("services/trackalert/finish", &finish);
    };
    let Some(service) = Service::start(&RUNIT, prepare) else { return };
    service.wait_for_log("\"foo\" is not a netmask", 1);
    // Until `finish` has run it is down as well, but shall go up again.
    let is_left = |status: &str| status.starts_with("down: ") && !status.contains("want up");
    wait_for("it to be left down", || is_left(&service.status()).then_some(()));

    service.place.configure("mended");
    service.control("up");
    service.client(1);
    service.control("down");
    wait_for("the end", || service.pid().is_none().then_some(()));
    let statuses = || fs::read_to_string(service.place.path("statuses")).unwrap();
    wait_for("the second status", || (statuses().lines().count() == 2).then_some(()));
    assert_eq!(statuses(), "78\n0\n");
}

#[test]
fn the_owner_of_the_folder_writes_the_log() {
    let user = User::from_name("daemon").unwrap().unwrap();
    for kind in [&DAEMONTOOLS, &RUNIT] {
        let prepare = |place: &Place| {
            fs::create_dir(place.path("log")).unwrap();
            std::os::unix::fs::chown(place.path("log"), Some(user.uid.as_raw()), None).unwrap();
        };
        let Some(service) = Service::start(kind, prepare) else { continue };
        service.wait_for_log("ready", 1);
        let file = fs::metadata(service.place.path("log/current")).unwrap();
        assert_eq!(file.uid(), user.uid.as_raw(), "{}", kind.folder);
    }
}
