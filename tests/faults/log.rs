//! A log that takes nothing, goes away, or is full.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::http::Client;
use crate::support::shell::{shell, shell_with_mounts};
use crate::support::syslog::Receiver;
use crate::support::{Folder, PROGRAM, Running, SERVER, output, wait_for};

const POLICY: &str = "setReport(function(lt) print('printed') io.stderr:write('written') \
                      infoLog('ran', { login = lt.login }) end)";

/// A daemon that logs to a receiver, started by a shell with its standard streams as given.
fn start(folder: &Folder, before: &str, streams: &str) -> (Running, Receiver, SocketAddr) {
    let receiver = Receiver::bind(folder);
    let config = folder.write("x.conf", &format!("{SERVER}{POLICY}"));
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before} exec \"$0\" \"$@\" {streams}"), PROGRAM, "-s", "-C"]).arg(config);
    command.env("SYSLOG_SOCKET", folder.path("log"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let daemon = Running::start(&mut command);
    let address = receiver.wait_for_address();
    (daemon, receiver, address)
}

fn report(address: SocketAddr, login: &str) {
    let body = format!(r#"{{"login":"{login}"}}"#);
    assert_eq!(Client::connect(address).post("/command/report", &body).status, 200);
}

fn stop(mut daemon: Running) {
    daemon.signal(Signal::SIGTERM);
    let status = daemon.wait();
    assert!(status.success(), "{status}");
}

#[test]
fn closed_and_full_streams_change_nothing() {
    let folder = Folder::new();
    // The limit of the size is in blocks of 512 bytes.
    let limited = format!(">{} 2>&1", folder.path("out").display());
    for (before, streams) in [
        ("", ">/dev/full 2>/dev/full"),
        ("", ">&-"),
        ("", "<&- >&- 2>&-"),
        ("", ">/dev/null 2>&-"),
        ("ulimit -f 0;", limited.as_str()),
    ] {
        let folder = Folder::new();
        let (daemon, receiver, address) = start(&folder, before, streams);
        for login in ["first", "second"] {
            report(address, login);
            receiver.wait_for(&format!("ran: login=\"{login}\""));
        }
        stop(daemon);
        receiver.wait_for("stopped");
    }
}

#[test]
fn a_reader_that_goes_stops_nothing() {
    let folder = Folder::new();
    let receiver = Receiver::bind(&folder);
    let config = folder.write("x.conf", &format!("{SERVER}{POLICY}"));
    let mut command = Command::new(PROGRAM);
    command.arg("-s").arg("-C").arg(config).env("SYSLOG_SOCKET", folder.path("log"));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut daemon = Running::start(&mut command);
    let address = receiver.wait_for_address();
    drop(daemon.stdout());
    report(address, "unread");
    receiver.wait_for("ran: login=\"unread\"");
    stop(daemon);
}

#[test]
fn a_reader_that_stops_costs_lines_and_no_report() {
    let folder = Folder::new();
    let policy = "setReport(function() infoLog(string.rep('x', 10000)) end)";
    let config = folder.write("x.conf", &format!("{SERVER}addCustomStat('runs') {policy}"));
    let mut command = Command::new(PROGRAM);
    command.arg("-s").arg("-C").arg(config).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut daemon = Running::start(&mut command);
    let mut log = BufReader::new(daemon.stdout());
    let mut line = String::new();
    let address = loop {
        line.clear();
        log.read_line(&mut line).unwrap();
        if let Some((_, address)) = line.split_once("listening on ") {
            break address.trim().parse().unwrap();
        }
    };
    // Far more than the pipe and the queue of lines hold.
    let mut client = Client::connect(address);
    for _ in 0..1000 {
        assert_eq!(client.post("/command/report", "{}").status, 200);
    }
    wait_for("every report", || {
        let text = client.get("/metrics").text();
        text.contains("trackalert_worker_response_duration_seconds_count 1000\n").then_some(())
    });
    stop(daemon);
    drop(log);
}

#[test]
fn a_syslog_daemon_that_comes_back_gets_the_rest_and_a_count() {
    let folder = Folder::new();
    let (daemon, receiver, address) = start(&folder, "", "");
    report(address, "before");
    receiver.wait_for("ran: login=\"before\"");
    drop(receiver);
    let mut client = Client::connect(address);
    for _ in 0..10 {
        assert_eq!(client.post("/command/report", r#"{"login":"lost"}"#).status, 200);
    }
    wait_for("the lost ones", || {
        client.get("/metrics").text().contains("response_duration_seconds_count 11\n").then_some(())
    });
    let receiver = Receiver::bind(&folder);
    report(address, "after");
    receiver.wait_for("ran: login=\"after\"");
    stop(daemon);
    receiver.wait_for("stopped");
}

#[test]
fn a_syslog_daemon_may_come_after_the_start() {
    let folder = Folder::new();
    let config = folder.write("x.conf", &format!("{SERVER}{POLICY}"));
    let mut command = Command::new(PROGRAM);
    command.arg("-s").arg("-C").arg(config).env("SYSLOG_SOCKET", folder.path("log"));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut daemon = Running::start(&mut command);
    let lines = BufReader::new(daemon.stdout()).lines().map(Result::unwrap);
    let address = lines
        .take_while(|line| !line.ends_with("ready"))
        .find_map(|line| line.split_once("listening on ").map(|(_, address)| address.parse().unwrap()));
    let receiver = Receiver::bind(&folder);
    // It is looked for once a second.
    let logged = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            receiver.wait_for("ran: login=\"late\"");
            logged.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        wait_for("a line", || {
            report(address.unwrap(), "late");
            logged.load(std::sync::atomic::Ordering::Relaxed).then_some(())
        });
    });
    stop(daemon);
}

#[test]
fn a_full_disk_takes_no_log_and_no_pid_file() {
    let folder = Folder::new();
    let config = folder.write("x.conf", &format!("{SERVER}{POLICY}"));
    let disk = folder.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let disk = disk.display();
    let fill = format!(
        "mount -t tmpfs -o size=64k none {disk}; : >{disk}/log; head -c 1000000 /dev/zero >{disk}/rest 2>{disk}/log || true"
    );
    let Some(mut command) = shell_with_mounts(&format!("{fill}; exec 3>&2")) else { return };
    let failed = output(command.args(["-s", "-p", &format!("{disk}/pid"), "-C"]).arg(&config));
    assert_eq!(failed.status, 1, "{}", failed.stderr);
    assert!(failed.stderr.contains("pid: no space left on device"), "{}", failed.stderr);
    let receiver = Receiver::bind(&folder);
    let Some(mut command) = shell_with_mounts(&format!("{fill}; exec >{disk}/log")) else { return };
    command.arg("-s").arg("-C").arg(config).env("SYSLOG_SOCKET", folder.path("log"));
    let daemon = Running::start(command.stdin(Stdio::null()));
    let address = receiver.wait_for_address();
    report(address, "full");
    receiver.wait_for("ran: login=\"full\"");
    stop(daemon);
    receiver.wait_for("stopped");
}

#[test]
fn a_pid_file_that_can_not_be_written_starts_nothing() {
    let folder = Folder::new();
    let config = folder.write("x.conf", SERVER);
    for place in ["/dev/full", "/nonexistent/x.pid"] {
        let output = output(shell("").args(["-s", "-p", place, "-C", config.to_str().unwrap()]));
        assert_eq!(output.status, 1, "{}", output.stderr);
        assert!(output.stderr.starts_with(&format!("trackalert: {place}: ")), "{}", output.stderr);
    }
}
