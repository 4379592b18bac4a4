//! The blocks of Lua and shell in the README.

use std::net::TcpListener;
use std::process::Command;

use nix::sys::signal::Signal;
use regex::Regex;
use serde_json::json;

use super::example::{
    daemon, databases, example, has, here, now, post, request, run_all, sh_ok, stop, wforce_reports,
};
use super::{project, read};
use crate::support::hook::{OK, Sink};
use crate::support::{Folder, PROGRAM, SERVER, Trackalert};

const README: &str = "README.md";

/// How the block begins that asks what the block before it has made to be asked.
const SHOWS_POLICIES: &str = "target/release/trackalert -C conf/trackalert.conf -e";

#[test]
fn every_example_of_the_readme_works() {
    run_all(
        README,
        &[
            ("make run", makes),
            ("curl -u wforce:super -d", first_report),
            ("for n in $(seq 15)", first_alert),
            ("(echo 'controlSocket", asks),
            // Run with the block before it.
            (SHOWS_POLICIES, |_| {}),
            ("curl -s -u wforce:super http://127.0.0.1:8084/metrics", counts),
            ("zcat tests/data/scenarios/", replays),
            ("addListener(", |text| stop(daemon(&here(text)))),
            ("addWebHook(", reports),
            ("usePolicies(\"standard\", { mode = \"on\"", alerts),
            ("newGeoIP2DB(", tells_of_abroad),
            ("newReportStore(", remembers),
        ],
    );
}

/// Building would take minutes; that the rest works is shown by the other blocks.
fn makes(text: &str) {
    let said = sh_ok(&project(""), &text.replace("make ", "make -n "));
    assert!(said.contains("-s -C conf/trackalert.conf"), "{said}");
}

/// A daemon with the configuration that is shipped, but for its port.
fn shipped() -> Trackalert {
    let folder = Folder::new();
    let mut command = Command::new(PROGRAM);
    command.env("STATE_DIRECTORY", folder.path(""));
    Trackalert::start_with(folder, &here(&read("conf/trackalert.conf")), command)
}

fn first_report(text: &str) {
    if !has("curl") {
        return;
    }
    let daemon = shipped();
    let answer = request(&daemon, text);
    assert!(read(README).contains(&format!("answers `{answer}`")), "{answer}");
    let line = daemon.wait_for_line("login: ");
    assert!(read(README).contains(&format!("\n{}\n", line.trim_end())), "{line}");
    stop(daemon);
}

/// The daemon after its first alert.
fn alerted() -> Trackalert {
    let daemon = shipped();
    request(&daemon, &example(README, "for n in $(seq 15)"));
    daemon.wait_for_line("dry-run alert: ");
    daemon
}

fn first_alert(_: &str) {
    if !has("curl") {
        return;
    }
    let daemon = alerted();
    let line = daemon.wait_for_line("dry-run alert: ");
    let shown = read(README).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains(line.trim_end()), "{line}");
    stop(daemon);
}

/// The console is set up, and asked by the next block.
fn asks(text: &str) {
    if !has("curl") {
        return;
    }
    let daemon = alerted();
    let after = example(README, SHOWS_POLICIES);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let here = |text: &str| {
        text.replace("target/release/", "")
            .replace("conf/trackalert.conf", "trackalert.conf")
            .replace("127.0.0.1:4004", &port.to_string())
    };
    // No other daemon of this machine is to hear of it.
    sh_ok(&daemon.folder.path(""), here(text).trim_end().strip_suffix("pkill -HUP -x trackalert").unwrap());
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_line("reloaded");
    let state = format!("export STATE_DIRECTORY={}\n", daemon.folder.path("").display());
    let shown = sh_ok(&daemon.folder.path(""), &format!("{state}{}", here(&after)));
    assert!(shown.contains("password_spray"), "{shown}");
    stop(daemon);
}

fn counts(text: &str) {
    if !has("curl") {
        return;
    }
    let daemon = alerted();
    let shown = request(&daemon, text);
    let line = r#"trackalert_alerts_total{outcome="dry-run",rule="password_spray",severity="medium"} 1"#;
    assert!(shown.lines().any(|found| found == line), "{shown}");
    stop(daemon);
}

fn replays(text: &str) {
    let printed = sh_ok(&project(""), &text.replace("target/release/", ""));
    let readme = read(README);
    let (_, shown) = readme.split_once(text).unwrap();
    let shown = shown.split("```").nth(2).unwrap().trim_start();
    // The reports are as old as they always were, but today is another day.
    let day = Regex::new("20[0-9]{2}-[0-9]{2}-[0-9]{2}").unwrap();
    assert_eq!(day.replace_all(&printed, "DAY"), day.replace_all(shown, "DAY"));
}

fn reports(text: &str) {
    let before = example(README, "addListener(");
    let daemon = daemon(&here(&before).replace("192.0.2.0/24", "127.0.0.0/8"));
    wforce_reports(&daemon, text);
    stop(daemon);
}

fn alerts(text: &str) {
    let sink = Sink::start(|_| OK);
    let here = text.replace("https://chat.example.com/", &sink.url("/"));
    assert_ne!(here, text);
    let daemon = daemon(&format!("{SERVER}newReportStore{{ path = 'reports.db' }}\n{here}"));
    for n in 0..15 {
        for (login, remote) in [("a", "192.0.2.66"), ("b", "198.51.100.66")] {
            let body = format!(r#"{{"login":"{login}{n}","remote":"{remote}","success":false}}"#);
            assert_eq!(daemon.report(&body).status, 200);
        }
    }
    let body: serde_json::Value = serde_json::from_slice(&sink.wait_for(1)[0].body).unwrap();
    assert_eq!((&body["rule"], &body["ip"]), (&json!("password_spray"), &json!("198.51.100.66")));
    stop(daemon);
}

fn tells_of_abroad(text: &str) {
    let sink = Sink::start(|_| OK);
    let here = here(text).replace("https://chat.example.com/", &sink.url("/"));
    let daemon = daemon(&format!("{SERVER}{here}"));
    for remote in ["22.1.1.1", "21.1.1.1"] {
        let body = format!(r#"{{"login":"joe","remote":"{remote}","success":true}}"#);
        assert_eq!(daemon.report(&body).status, 200);
    }
    let line = daemon.wait_for_line("login from abroad: ");
    assert!(line.contains(r#"country="FR" login="joe""#), "{line}");
    assert_eq!(String::from_utf8(sink.wait_for(1)[0].body.clone()).unwrap(), r#"{"text":"joe from France"}"#);
    assert_eq!(daemon.count_lines("login from abroad: "), 1);
    stop(daemon);
}

fn remembers(text: &str) {
    let daemon = daemon(&format!("{SERVER}{}{}", databases(), here(text)));
    let now = now();
    let send = |login: &str, success: bool, t: u64| {
        let body = format!(r#"{{"login":"{login}","remote":"192.0.2.1","success":{success},"t":{t}}}"#);
        assert_eq!(post(daemon.address, "super", "/command/report", &body).status, 200);
    };
    for days in (1..=8).rev() {
        send("joe", true, now - days * 86_400);
    }
    for n in 0..21 {
        send(&format!("user{n}"), false, now);
    }
    send("joe", true, now);
    let line = daemon.wait_for_line("login from an address that failed on others: ");
    assert!(line.contains(r#"login="joe" others="21""#), "{line}");
    stop(daemon);
}
