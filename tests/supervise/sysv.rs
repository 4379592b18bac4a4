//! The init script, as LSB and Debian's policy want it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};

use super::{Place, USER};
use crate::support::http::Client;
use crate::support::syslog::Receiver;
use crate::support::{Running, output, wait_for};

/// The script, and the log of the daemon that it starts, which ends with it.
struct Init {
    place: Place,
    log: Receiver,
}

impl Drop for Init {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

impl Init {
    fn new(defaults: &str) -> Option<Init> {
        let place = Place::new(&["start-stop-daemon", "setpriv"])?;
        place.install("sysv/trackalert", "init");
        place.folder.write("default", &format!("DAEMON_USER={USER}\n{defaults}"));
        let log = Receiver::bind(&place.folder);
        fs::set_permissions(place.path("log"), Permissions::from_mode(0o777)).unwrap();
        Some(Init { place, log })
    }

    fn command(&self, word: &str) -> Command {
        let mut command = Command::new(self.place.path("init"));
        command.arg(word).stdin(Stdio::null()).env("SYSLOG_SOCKET", self.place.path("log"));
        command
    }

    /// Calls it, and gives what it says when the exit status is as it should be.
    fn call(&self, word: &str, status: i32) -> String {
        let said = output(&mut self.command(word));
        let text = said.stdout + &said.stderr;
        assert_eq!(said.status, status, "{word}: {text}");
        text
    }

    fn pid(&self) -> Option<i32> {
        fs::read_to_string(self.place.path("run/trackalert.pid")).ok()?.trim().parse().ok()
    }

    /// The daemon that was started last.
    fn client(&self) -> Client {
        let line = self.log.wait_for(&format!("[{}]: listening on ", self.pid().unwrap()));
        Client::connect(line.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

fn ask(client: &mut Client, name: &str) -> String {
    client.post("/command/ask", "{}").json()["r_attrs"][name].as_str().unwrap().into()
}

#[test]
fn the_init_script_starts_checks_reloads_and_stops() {
    let Some(init) = Init::new("DAEMON_OPTS='-f local0 -v'") else { return };
    assert_eq!(init.call("status", 3), "trackalert is not running\n");
    init.call("stop", 0);
    init.call("reload", 7);
    init.call("try-restart", 0);
    assert_eq!(init.pid(), None);

    init.call("start", 0);
    let mut client = init.client();
    let pid = init.pid().unwrap();
    let user = User::from_name(USER).unwrap().unwrap();
    assert_eq!(ask(&mut client, "user"), user.uid.to_string(), "it never is root");
    assert_eq!(init.call("status", 0), "trackalert is running\n");
    let status = output(init.command("status").uid(user.uid.as_raw()).gid(user.gid.as_raw()));
    assert_eq!(status.status, 0, "anybody may ask: {}", status.stdout);
    let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(arguments.ends_with("\0-f\0local0\0-v\0"), "{arguments:?}");
    init.call("start", 0);
    assert_eq!(init.pid(), Some(pid));

    for (word, version) in [("reload", "two"), ("force-reload", "three")] {
        init.place.configure(version);
        init.call(word, 0);
        wait_for("the reload", || (ask(&mut client, "version") == version).then_some(()));
    }
    init.place.misconfigure();
    for word in ["reload", "force-reload", "restart", "try-restart"] {
        let said = init.call(word, 6);
        assert!(said.contains("trackalert.conf:1: addACL(netmask): \"foo\" is not a netmask"), "{said}");
    }
    assert_eq!((init.pid(), ask(&mut client, "version").as_str()), (Some(pid), "three"));

    for (word, version) in [("restart", "four"), ("try-restart", "five")] {
        let pid = init.pid();
        init.place.configure(version);
        init.call(word, 0);
        client = init.client();
        assert!(init.pid().is_some() && init.pid() != pid);
        assert_eq!(ask(&mut client, "version"), version);
    }

    // It comes back when the daemon has finished what it had accepted.
    assert_eq!(client.post("/command/report", r#"{"login":"joe"}"#).status, 200);
    let mut stop = Running::start(init.command("stop").stdout(Stdio::null()));
    init.log.wait_for("stopping, 1 jobs to finish");
    assert!(stop.ended().is_none());
    init.place.go();
    assert!(stop.wait().success());
    init.log.wait_for("has run: login=\"joe\"");
    init.log.wait_for("stopped");
    assert_eq!(init.pid(), None);
    init.call("status", 3);

    init.place.misconfigure();
    let said = init.call("start", 6);
    assert!(said.contains("\"foo\" is not a netmask"), "{said}");
    init.call("status", 3);
    init.place.configure("six");
    init.call("restart", 0);
    assert_eq!(ask(&mut init.client(), "version"), "six");
    init.call("stop", 0);
}

#[test]
fn a_pid_file_that_a_crash_left_behind_is_known_for_what_it_is() {
    let Some(init) = Init::new("") else { return };
    init.call("start", 0);
    init.client();
    let pid = init.pid().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_for("the end", || kill(Pid::from_raw(pid), None).is_err().then_some(()));
    assert_eq!(init.pid(), Some(pid));
    let said = init.call("status", 1);
    assert!(said.starts_with("trackalert is not running, but there is "), "{said}");
    init.call("reload", 7);

    // The number may be another's by now, who must not be harmed.
    let mut other = Running::start(Command::new("sleep").arg("60"));
    init.place.folder.write("run/trackalert.pid", &format!("{}\n", other.id()));
    init.call("status", 1);
    init.call("reload", 7);
    init.call("stop", 0);
    assert!(other.ended().is_none());
    init.place.folder.write("run/trackalert.pid", &format!("{}\n", other.id()));
    let owner = User::from_name(USER).unwrap().unwrap();
    std::os::unix::fs::chown(init.place.path("run/trackalert.pid"), Some(owner.uid.as_raw()), None).unwrap();
    init.call("start", 0);
    init.client();
    assert!(other.ended().is_none());
    init.call("status", 0);
    init.call("stop", 0);
}

#[test]
fn the_init_script_can_leave_the_user_to_the_configuration() {
    let Some(init) = Init::new("DAEMON_USER=root") else { return };
    let config = fs::read_to_string(init.place.path("trackalert.conf")).unwrap();
    init.place.folder.write("trackalert.conf", &format!("{config}\nsetUser('{USER}')\n"));
    init.call("start", 0);
    let user = User::from_name(USER).unwrap().unwrap();
    assert_eq!(ask(&mut init.client(), "user"), user.uid.to_string());
    init.call("status", 0);
    // Who it has become can't remove the pid file of root.
    init.call("stop", 0);
    assert!(!init.place.path("run/trackalert.pid").exists());
    init.call("status", 3);
}

#[test]
fn the_init_script_works_without_the_functions_of_lsb() {
    let Some(init) = Init::new("") else { return };
    let script = fs::read_to_string(init.place.path("init")).unwrap();
    let without = script.replace("/lib/lsb/init-functions", "/nonexistent");
    assert_ne!(script, without);
    init.place.folder.write("init", &without);
    assert_eq!(init.call("start", 0), "Starting: trackalert.\n");
    init.client();
    init.place.misconfigure();
    assert!(init.call("restart", 6).contains(" failed.\n"));
    assert_eq!(init.call("stop", 0), "Stopping: trackalert.\n");
}

#[test]
fn the_init_script_refuses_what_it_can_not_do() {
    let Some(init) = Init::new("") else { return };
    let user = User::from_name(USER).unwrap().unwrap();
    for word in ["start", "stop", "restart", "reload"] {
        let refused = output(init.command(word).uid(user.uid.as_raw()).gid(user.gid.as_raw()));
        assert_eq!((refused.status, refused.stdout.as_str()), (4, ""), "{word}: {}", refused.stderr);
        assert!(refused.stderr.ends_with("only root can do that\n"), "{}", refused.stderr);
    }
    for word in ["", "begin", "--help"] {
        assert!(init.call(word, 2).starts_with("usage: "), "{word}");
    }
    // A package that was removed leaves the script.
    fs::remove_file(init.place.path("trackalert")).unwrap();
    for word in ["start", "stop", "restart"] {
        assert_eq!(init.call(word, 0), "");
    }
    init.call("status", 3);
}
