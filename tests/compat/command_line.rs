//! The command line, its errors and their exit statuses.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use regex::Regex;

use crate::support::{Folder, PROGRAM, Running, SERVER, Trackalert, run, wait_for};

#[test]
fn help_and_version_are_printed() {
    let help = run(&["-h"], "");
    assert_eq!((help.status, help.stderr.as_str()), (0, ""));
    assert!(help.stdout.starts_with("Usage: trackalert "), "{}", help.stdout);
    let version = run(&["--version", "-s"], "");
    assert_eq!(version.status, 0);
    let lines: Vec<_> = version.stdout.lines().collect();
    let lua = concat!("trackalert ", env!("CARGO_PKG_VERSION"), " (Lua 5.1, LuaJIT 2.1.");
    assert!(lines[0].starts_with(lua) && lines[0].ends_with(')'), "{lines:?}");
    let libraries = Regex::new(r"^Libraries: libsodium 1\.\d+\.\d+, SQLite 3\.\d+\.\d+$").unwrap();
    assert!(libraries.is_match(lines[1]), "{lines:?}");
    assert!(lines[2].starts_with("Features: ") && lines[2].split(' ').any(|word| word == "tls"), "{lines:?}");
    assert_eq!(lines.len(), 3);
}

#[test]
fn a_bad_command_line_is_refused() {
    for (args, status, text) in [
        (&["-x"][..], 2, "trackalert: -x: no such option\nTry trackalert -h."),
        (&["--bogus"], 2, "--bogus: no such option"),
        (&["-C"], 2, "-C: needs an argument"),
        (&["extra"], 2, "extra: not an option"),
        (&["-l", "3x", "-s"], 1, "Bad log level (3x)"),
        (&["-l", "99999999999", "-s"], 1, "Bad log level (99999999999)"),
    ] {
        let output = run(args, "");
        assert_eq!(output.status, status, "{args:?}");
        assert!(output.stderr.contains(text), "{args:?}: {}", output.stderr);
    }
    let folder = Folder::new();
    let config = folder.write("x.conf", SERVER);
    let output = run(&["-s", "-f", "nosuch", "-C", config.to_str().unwrap()], "");
    assert_eq!((output.status, output.stderr.as_str()), (1, "trackalert: Bad log facility: nosuch\n"));
}

#[test]
fn a_bad_configuration_is_fatal_and_says_where() {
    let folder = Folder::new();
    for (config, text) in [
        (
            "addACL(\"127.0.0.0/8\"\nsetACL({})",
            "x.conf:2: ')' expected (to close '(' at line 1) near 'setACL'",
        ),
        ("\nerror('config boom')", "x.conf:2: config boom"),
        ("nosuch('x')", "x.conf:1: attempt to call global 'nosuch' (a nil value)"),
        ("addACL('foo')", "x.conf:1: addACL(netmask): \"foo\" is not a netmask"),
        ("addACL('10.0.0.0/99')", "x.conf:1: addACL(netmask): \"10.0.0.0/99\" is not a netmask"),
        ("addACL()", "x.conf:1: addACL(netmask): netmask: string expected, got nil"),
        (
            "setACL('10.0.0.0/8')",
            "x.conf:1: setACL(netmasks): netmasks: list of strings expected, got string",
        ),
        ("addListener('localhost:8084', false)", "\"localhost:8084\" is not an IP address with a port"),
        ("webserver('127.0.0.1', 'x')", "\"127.0.0.1\" is not an IP address with a port"),
        ("setNumWorkerThreads(0)", "setNumWorkerThreads(number): number: 0 is not from 1 to 1024"),
        ("setReportAck('later')", "\"later\" is not \"queued\" or \"done\""),
        ("setHTTPLimits{header = 5}", "limits: no limit named \"header\""),
        ("setWebserverPassword('')", "the password is empty"),
        ("setReport('x')", "setReport(function): function: function expected, got string"),
        ("error({code = 1})", "x.conf: "),
        ("error()", "x.conf: "),
    ] {
        let path = folder.write("x.conf", config);
        for mode in ["-s", "-t", "-D"] {
            let output = run(&[mode, "-C", path.to_str().unwrap()], "");
            assert_eq!(output.status, 78, "{config}: {}", output.stderr);
            assert!(output.stderr.contains(text), "{config}: {}", output.stderr);
        }
    }
}

#[test]
fn a_configuration_that_can_not_be_read_is_fatal() {
    let folder = Folder::new();
    for (path, text) in [
        (folder.path("missing.conf"), "missing.conf: no such file or directory"),
        (folder.path("missing/x.conf"), "missing: no such file or directory"),
        (folder.path(""), "is a directory"),
    ] {
        let output = run(&["-s", "-C", path.to_str().unwrap()], "");
        assert_eq!(output.status, 78, "{}", output.stderr);
        assert!(output.stderr.contains(text), "{}", output.stderr);
    }
}

#[test]
fn a_good_configuration_is_checked_without_starting_anything() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = Folder::new();
    let config = format!("addListener('{}', false)\nsetReport(function() end)", taken.local_addr().unwrap());
    let path = folder.write("x.conf", &config);
    let output = run(&["-t", "-C", path.to_str().unwrap()], "");
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
}

#[test]
fn an_address_in_use_ends_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = Folder::new();
    let path = folder.write("x.conf", &format!("addListener('{address}', false)"));
    let output = run(&["-s", "-C", path.to_str().unwrap()], "");
    assert_eq!(output.status, 1);
    assert!(
        output.stderr.contains(&format!("listener {address}: address already in use")),
        "{}",
        output.stderr
    );
}

#[test]
fn commands_may_come_from_a_pipe() {
    let output = run(&[], "makeKey()\n");
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    let key = output.stdout.strip_prefix("setKey(\"").and_then(|rest| rest.strip_suffix("\")\n")).unwrap();
    assert_eq!(key.len(), 44, "32 bytes in base64");

    let folder = Folder::new();
    let path = folder.write("x.conf", "addCustomStat('one')\nx = 41");
    let output = run(&["-C", path.to_str().unwrap()], "x + 1\nshowCustomStats()\nprint(x, 'y')\nnosuch()\n");
    assert_eq!(output.status, 1);
    assert_eq!(output.stdout, "42\none=0\n41\ty\n");
    assert!(output.stderr.contains("Error: console:1: attempt to call global 'nosuch'"), "{}", output.stderr);

    let path = folder.write("x.conf", "oops(");
    assert_eq!(run(&["-C", path.to_str().unwrap()], "makeKey()\n").status, 78);
}

/// Runs it with `-d`; the pid in the file is that of the daemon.
fn daemonize(folder: &Folder, config: &str) -> (crate::support::Output, Option<i32>) {
    let path = folder.write("x.conf", config);
    let pid_file = folder.path("x.pid");
    let output = run(&["-d", "-C", path.to_str().unwrap(), "-p", pid_file.to_str().unwrap()], "");
    let pid = std::fs::read_to_string(pid_file).ok().map(|text| text.trim().parse().unwrap());
    (output, pid)
}

#[test]
fn a_daemon_is_up_when_its_caller_returns() {
    let folder = Folder::new();
    // A port that was free a moment ago: a daemon can't tell which one it chose.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!("addListener('{address}', false)\nsetWebserverPassword('super')");
    let (output, pid) = daemonize(&folder, &config);
    assert_eq!((output.status, output.stderr.as_str(), output.stdout.as_str()), (0, "", ""));
    let pid = nix::unistd::Pid::from_raw(pid.unwrap());
    let mut client = crate::support::http::Client::connect(address);
    assert_eq!(client.get("/livez").status, 200);

    let (second, _) = daemonize(&folder, "setReport(function() end)");
    assert_eq!(second.status, 1);
    assert!(second.stderr.contains("x.pid: another instance is running"), "{}", second.stderr);

    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    wait_for("the end of the daemon", || nix::sys::signal::kill(pid, None).is_err().then_some(()));
    assert!(!folder.path("x.pid").exists());
}

#[test]
fn a_daemon_that_can_not_start_says_so_to_its_caller() {
    let folder = Folder::new();
    let (output, pid) = daemonize(&folder, "addACL('foo')");
    assert_eq!((output.status, pid), (78, None));
    assert!(
        output.stderr.contains("x.conf:1: addACL(netmask): \"foo\" is not a netmask"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_terminal_is_not_needed_to_run_in_the_foreground() {
    let mut command = Command::new(PROGRAM);
    command.stderr(Stdio::null());
    let daemon = Trackalert::start_with(Folder::new(), SERVER, command);
    assert_eq!(daemon.get("/livez").status, 200);
    daemon.stop();
}

#[test]
fn a_configuration_that_never_ends_can_be_stopped() {
    let folder = Folder::new();
    let path = folder.write("x.conf", "io.open('begun', 'w'):close()\nwhile true do end");
    let mut command = Command::new(PROGRAM);
    let mut child = Running::start(command.args(["-s", "-C"]).arg(path).stdin(Stdio::null()));
    wait_for("the configuration", || folder.path("begun").exists().then_some(()));
    child.signal(nix::sys::signal::Signal::SIGTERM);
    let status = child.wait();
    assert!(!status.success());
}
