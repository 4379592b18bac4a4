//! The examples of trackalert(1).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use regex::Regex;

use super::example::{example, has, report, run_all, sh, sh_ok, shell, wait_for_file};
use crate::support::console::Site;
use crate::support::syslog::Receiver;
use crate::support::{Folder, Running, SERVER, output, skipped, wait_for};

const PAGE: &str = "man/trackalert.1";

#[test]
fn every_example_of_the_program_works() {
    run_all(
        PAGE,
        &[
            ("trackalert -t -C", checks),
            ("trackalert -d -p", |line| drop(Background::start(line))),
            ("trackalert -s -l 4", warns_only),
            ("echo 'makeKey()' |", makes_a_key),
            ("trackalert -C /etc/", asks_the_daemon),
            ("echo 'showACL()' |", shows_the_acl),
            ("zcat reports.json.gz |", imports),
            ("kill -USR1", logs_statistics),
            ("useradd", |line| restricts(&[line])),
            ("chown", |line| restricts(&[&example(PAGE, "useradd"), line])),
            ("chmod", |line| restricts(&[&example(PAGE, "useradd"), &example(PAGE, "chown"), line])),
        ],
    );
}

/// A line with the configuration in the folder instead of the one of the system.
fn here(line: &str) -> String {
    let config = Regex::new(r"/etc/[a-z]+/trackalert\.conf").unwrap();
    config.replace_all(line, "./trackalert.conf").replace("/run/trackalert.pid", "./trackalert.pid")
}

fn checks(line: &str) {
    let folder = Folder::new();
    folder.write("trackalert.conf", SERVER);
    assert_eq!(sh_ok(&folder.path(""), &here(line)), "");
    folder.write("trackalert.conf", "addACL('foo')");
    assert_eq!(sh(&folder.path(""), &here(line)).status, 78);
}

/// The daemon that an example has started.
struct Background {
    folder: Folder,
    log: Receiver,
    pid: Pid,
}

impl Background {
    fn start(line: &str) -> Background {
        let folder = Folder::new();
        let log = Receiver::bind(&folder);
        folder.write("trackalert.conf", SERVER);
        let line = format!("{} -C ./trackalert.conf", here(line));
        let started = output(shell(&folder.path(""), &line).env("SYSLOG_SOCKET", folder.path("log")));
        assert_eq!((started.status, started.stderr.as_str()), (0, ""));
        let pid = wait_for_file(&folder.path("trackalert.pid")).trim().parse().unwrap();
        let started = Background { folder, log, pid: Pid::from_raw(pid) };
        // The facility local0 is 16, and info is 6.
        let said = started.log.wait_for("listening on ");
        assert!(said.starts_with("<134>") || said.starts_with("<133>"), "{said}");
        started
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGTERM);
        wait_for("the end", || kill(self.pid, None).is_err().then_some(()));
    }
}

fn logs_statistics(line: &str) {
    let daemon = Background::start(&example(PAGE, "trackalert -d -p"));
    sh_ok(&daemon.folder.path(""), &here(line));
    daemon.log.wait_for("perf stats");
}

fn warns_only(line: &str) {
    let folder = Folder::new();
    let log = Receiver::bind(&folder);
    folder.write("test.conf", &format!("{SERVER}warnLog('a warning', {{}})"));
    let mut command = shell(&folder.path(""), &format!("exec {line} >stdout"));
    let mut daemon = Running::start(command.env("SYSLOG_SOCKET", folder.path("log")));
    log.wait_for("ready");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    let said = fs::read_to_string(folder.path("stdout")).unwrap();
    assert!(said.contains("a warning"), "{said}");
    // What is no warning, and was logged all the same.
    assert!(!said.contains("listening on") && !said.contains("ready"), "{said}");
}

fn makes_a_key(line: &str) {
    // The configuration of this system, if it has one, may say more.
    let said = sh_ok(&Folder::new().path(""), line);
    assert!(said.lines().any(|line| line.starts_with("setKey(\"") && line.len() == 54), "{said}");
}

fn asks_the_daemon(line: &str) {
    let site = Site::start("");
    let folder = site.client.parent().unwrap();
    let line = here(line).replace("./trackalert.conf", "./client.conf");
    assert_eq!(sh_ok(folder, &line), "127.0.0.0/8\n");
}

fn shows_the_acl(line: &str) {
    let folder = Folder::new();
    folder.write("test.conf", "setACL({ '192.0.2.0/24' })");
    assert_eq!(sh_ok(&folder.path(""), line), "192.0.2.0/24\n");
}

fn imports(line: &str) {
    let folder = Folder::new();
    folder.write("trackalert.conf", "newReportStore{ path = 'reports.db' }");
    folder.write("reports.json", &report("joe", 60));
    sh_ok(&folder.path(""), &format!("gzip reports.json\n{}", here(line)));
    let exported = sh_ok(&folder.path(""), "trackalert --export - -C ./trackalert.conf");
    assert!(exported.contains(r#""login":"joe""#), "{exported}");
}

/// Runs the lines that give a configuration to root and a group, with a user database of their own.
fn restricts(lines: &[&str]) {
    if !geteuid().is_root() {
        return skipped("only root can make users");
    }
    if !has("useradd") {
        return;
    }
    let folder = Folder::new();
    fs::create_dir(folder.path("etc")).unwrap();
    // This says that a user has a group of the same name.
    fs::copy("/etc/login.defs", folder.path("etc/login.defs")).unwrap();
    folder.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    folder.write("etc/group", "root:x:0:\n");
    let config = folder.write("trackalert.conf", SERVER);
    let path = Regex::new(r"/etc/\S+").unwrap();
    let prefix = folder.path("").display().to_string();
    let mut group = String::new();
    for line in lines {
        let line =
            path.replace(line, "trackalert.conf").replace("useradd ", &format!("useradd --prefix {prefix} "));
        // The real database need not have that group; its number will do.
        let line = line.replace("root:trackalert", &format!("root:{group}"));
        sh_ok(&folder.path(""), &line);
        let made = fs::read_to_string(folder.path("etc/group")).unwrap();
        let made = made.lines().find_map(|line| line.strip_prefix("trackalert:")).unwrap();
        group = made.split(':').nth(1).unwrap().into();
    }
    let owner = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (found.uid(), found.gid().to_string(), found.permissions().mode() & 0o777)
    };
    let (uid, gid, mode) = owner(&config);
    assert_eq!(uid, 0);
    assert!(lines.len() < 2 || gid == group, "{gid}");
    assert!(lines.len() < 3 || mode == 0o640, "{mode:o}");
}
