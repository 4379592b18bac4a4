//! Root given up after the start, and what every process gives up at once.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use crate::support::certificate;
use crate::support::console::Site;
use crate::support::{Folder, PROGRAM, Running, SERVER, Trackalert, make_key, run, skipped, wait_for};

/// A user that every Unix has, who has no files and no groups but its own.
const USER: &str = "nobody";

/// The lines of `/proc/PID/task/*/status` that say who a thread is and what it may.
fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let names = ["Name", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs"];
    // A thread that has ended meanwhile has no file.
    let texts = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("status")).ok());
    let is_wanted = |line: &&str| line.split_once(':').is_some_and(|(name, _)| names.contains(&name));
    texts.map(|text| text.lines().filter(is_wanted).collect::<Vec<_>>().join("\n")).collect()
}

/// The numbers of a user and of the user's group.
fn ids(name: &str) -> (u32, u32) {
    let user = nix::unistd::User::from_name(name).unwrap().unwrap();
    (user.uid.as_raw(), user.gid.as_raw())
}

/// Asserts that every thread is the user, and may nothing else.
fn assert_dropped(pid: u32, (uid, gid): (u32, u32)) {
    let threads = threads(pid);
    assert!(threads.len() > 5, "{threads:?}");
    for thread in threads {
        let none = "0000000000000000";
        for (name, value) in [
            ("Uid", format!("{uid}\t{uid}\t{uid}\t{uid}")),
            ("Gid", format!("{gid}\t{gid}\t{gid}\t{gid}")),
            ("CapInh", none.into()),
            ("CapPrm", none.into()),
            ("CapEff", none.into()),
            ("CapAmb", none.into()),
            ("NoNewPrivs", "1".into()),
        ] {
            let found = thread.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            assert_eq!(found.map(str::trim), Some(value.as_str()), "{name} of\n{thread}");
        }
        let groups = thread.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
        assert!(groups.split_whitespace().all(|group| group == gid.to_string()), "{thread}");
    }
    // What can't be dumped is root's.
    assert_eq!(fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid(), 0);
}

/// A folder that others may enter, with a key that root alone may read.
fn folder() -> (Folder, certificate::Certificate) {
    let folder = Folder::new();
    let made = certificate::make(&folder, "server", "DNS:localhost", None);
    set_mode(&folder.path(""), 0o755);
    set_mode(&made.key, 0o600);
    (folder, made)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// An address with a port that root alone may open, or nothing where everybody may.
fn low_port() -> Option<String> {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    // Another address for every run.
    let [_, _, a, b] = std::process::id().to_be_bytes();
    (first.trim().parse::<u32>().unwrap() > 84).then(|| format!("127.{}.{b}.1:84", a | 1))
}

#[test]
fn root_is_given_up_when_everything_is_open() {
    if !geteuid().is_root() {
        return skipped("only root can give root up");
    }
    let (folder, made) = folder();
    let (key, low) = (make_key(), low_port());
    let config = format!(
        "{SERVER}{key}controlSocket('127.0.0.1:0') setUser('{USER}') {}
        addListener('127.0.0.1:0', true, 'server.pem', 'server.key')
        local function id() local pipe = io.popen('id -u; id -g; id -G') local text = pipe:read('*a') pipe:close() return text end
        local who = id()
        setCustomEndpoint('who', function() return true, {{ started = who, now = id() }} end)\n",
        low.as_ref().map_or(String::new(), |address| format!("addListener('{address}', false)")),
    );
    let pid_file = folder.path("x.pid");
    let mut command = Command::new(PROGRAM);
    command.arg("-p").arg(&pid_file);
    let site = Site::of(Trackalert::start_with(folder, &config, command), &key);
    let (daemon, own) = (&site.daemon, ids(USER));
    daemon.wait_for_line(&format!("running as user {}, group {}", own.0, own.1));
    assert_dropped(daemon.pid(), own);

    // Lua threads never were root, so neither was what they run.
    let who = daemon.client().post("/command/who", "{}").json();
    let expected = format!("{}\n{}\n{}\n", own.0, own.1, own.1);
    assert_eq!(
        (&who["r_attrs"]["started"], &who["r_attrs"]["now"]),
        (&expected.clone().into(), &expected.into())
    );
    assert_eq!(daemon.report(r#"{"login":"joe@example.com"}"#).status, 200);
    assert!(daemon.metric("process_open_fds") > 5, "a process may look at itself");
    assert!(daemon.metric("process_start_time_seconds") > 1_700_000_000);
    assert_eq!(site.execute("showACL()").stdout, "127.0.0.0/8\n");

    // What only root may read or open stays out of reach, and nothing changes.
    let refused = daemon.reload_with(&config);
    assert!(refused.contains(&format!("server.key: permission denied for user {}", own.0)), "{refused}");
    set_mode(&made.key, 0o644);
    assert_eq!(daemon.reload_with(&config), "reloaded");
    if low.is_some() {
        let more = format!("{config}addListener('127.0.0.1:83', false)");
        let refused = daemon.reload_with(&more);
        let reason = format!("listener 127.0.0.1:83: permission denied for user {}", own.0);
        assert!(refused.contains(&reason), "{refused}");
    }
    for other in ["", "setUser('daemon')", &format!("setUser('{USER}') setGroup('daemon')")] {
        let refused = daemon.reload_with(&config.replace(&format!("setUser('{USER}')"), other));
        assert!(refused.ends_with("say other than at the start, so this needs a restart"), "{refused}");
    }
    assert_eq!(daemon.get("/livez").status, 200);
    assert_dropped(daemon.pid(), own);

    // The folder of the pid file is root's, so the file stays; but it names nobody any more.
    site.daemon.signal(Signal::SIGTERM);
    let mut site = site;
    assert!(site.daemon.wait().success());
    assert_eq!(fs::read_to_string(pid_file).unwrap(), "");
}

#[test]
fn a_daemon_in_the_background_gives_root_up_too() {
    if !geteuid().is_root() {
        return skipped("only root can give root up");
    }
    let folder = Folder::new();
    let path = folder.write("x.conf", &format!("{SERVER}setUser('54321') setGroup('54322')"));
    let own = folder.path("own");
    fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(54321), None).unwrap();
    let pid_file = own.join("x.pid");
    let output = run(&["-d", "-C", path.to_str().unwrap(), "-p", pid_file.to_str().unwrap()], "");
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    let pid: u32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    let process = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    assert_dropped(pid, (54321, 54322));
    nix::sys::signal::kill(process, Signal::SIGTERM).unwrap();
    wait_for("the end of the daemon", || nix::sys::signal::kill(process, None).is_err().then_some(()));
    assert!(!pid_file.exists(), "in a folder of its own it can be removed");
}

#[test]
fn a_user_that_can_not_be_had_starts_nothing() {
    let folder = Folder::new();
    for (config, error) in [
        ("\nsetUser('nosuchuser')", "x.conf:2: setUser(name): no user named \"nosuchuser\""),
        ("setUser('root')", "x.conf:1: setUser(name): name: \"root\" is root, which is to be given up"),
        (
            "setUser('nobody') setGroup('nosuchgroup')",
            "x.conf:1: setGroup(name): no group named \"nosuchgroup\"",
        ),
        ("setGroup('daemon')", "setGroup(name): no setUser() in the configuration"),
        ("setUser('54321')", "setUser(name): user 54321 has no name, so setGroup() is needed"),
    ] {
        let path = folder.write("x.conf", config);
        for mode in ["-t", "-s"] {
            let output = run(&[mode, "-C", path.to_str().unwrap()], "");
            assert_eq!(output.status, 78, "{config}: {}", output.stderr);
            assert!(output.stderr.contains(error), "{config}: {}", output.stderr);
        }
    }
}

#[test]
fn only_root_can_become_another_user() {
    if !geteuid().is_root() {
        return skipped("only root can run a program as another user");
    }
    let (folder, (uid, gid)) = (Folder::new(), ids(USER));
    set_mode(&folder.path(""), 0o755);
    // Where the program was built may be closed to others. What this process writes itself can't be run
    // while another test forks.
    let program = folder.path("trackalert");
    assert!(Command::new("cp").arg(PROGRAM).arg(&program).status().unwrap().success());
    let as_nobody = || {
        let mut command = Command::new(&program);
        command.uid(uid).gid(gid);
        command
    };
    let other = folder.write("x.conf", &format!("{SERVER}setUser('daemon')"));
    assert!(
        as_nobody().args(["-t", "-C"]).arg(&other).output().unwrap().status.success(),
        "its name is good"
    );
    let output = as_nobody().args(["-s", "-C"]).arg(&other).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let error = format!(
        "setUser(name): only root can become user 1, group 1, and the daemon was started as user {uid}"
    );
    assert!(text.contains(&error), "{text}");
    assert_eq!(output.status.code(), Some(78));

    // Who it is already, it may be.
    let daemon = Trackalert::start_with(Folder::new(), &format!("{SERVER}setUser('{USER}')"), as_nobody());
    assert_dropped(daemon.pid(), (uid, gid));
}

#[test]
fn no_privileges_come_back_and_no_core_is_left() {
    let folder = Folder::new();
    let config = folder.write("trackalert.conf", SERVER);
    let script = "ulimit -c unlimited; cd \"$1\"; exec \"$0\" -s -C \"$2\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, PROGRAM]).arg(folder.path("")).arg(config);
    let mut child = Running::start(command.stdout(std::process::Stdio::null()));
    let proc = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap_or_default();
    wait_for("the web threads", || (threads(child.id()).len() > 10).then_some(()));
    assert!(threads(child.id()).iter().all(|thread| thread.contains("NoNewPrivs:\t1")));
    let limits = proc("limits");
    let limit = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(limit.split_whitespace().filter(|word| *word == "0").count(), 2, "{limit}");
    child.signal(Signal::SIGABRT);
    let status = child.wait();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
    let names: Vec<_> =
        fs::read_dir(folder.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["trackalert.conf"]);
}
