//! Sources of alerts that a wforce is told to refuse, and is told again when an alert is closed.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::certificate::{make, server};
use crate::support::hook::{Answer, Request, Sink};
use crate::support::store::Place;
use crate::support::{Folder, PROGRAM, Trackalert};

/// What wforce answers.
const DONE: Answer = Answer::Body(200, r#"{"status":"ok"}"#);
const FAILED: Answer = Answer::Body(500, r#"{"status":"failure"}"#);

/// A policy that is told by each report what to raise.
const POLICY: &str = r#"
setReport(function(lt)
    alert{ rule = lt.attrs.rule or "spray", key = lt.login, severity = "low", ip = lt.attrs.nowhere or lt.remote,
        summary = "s", data = { source = lt.attrs.source }, realert = "0:00" }
end)
"#;

fn config(url: &str, options: &str) -> String {
    format!(
        "setReportAck('done')\naddWforceBlocklist{{ url = '{url}', password = 'W:s3cret', rules = {{ 'spray', 'dry' }}, {options} }}\n{POLICY}"
    )
}

fn start(wforce: &Sink, options: &str, more: &str) -> Trackalert {
    Trackalert::start(&format!("{}{more}", config(&format!("http://{}", wforce.address), options)))
}

/// Has an alert raised with a key, about an address.
fn raise(daemon: &Trackalert, key: &str, ip: &str, attrs: Value) {
    let body = json!({ "login": key, "remote": ip, "attrs": attrs }).to_string();
    assert_eq!(daemon.report(&body).status, 200);
}

fn close(daemon: &Trackalert, id: i64) -> u16 {
    daemon.client().post("/command/closeAlert", &json!({ "id": id }).to_string()).status
}

/// The command of a request, and what it is about.
fn told(request: &Request) -> (String, Value) {
    let command = request.target().split_once("/?command=").unwrap().1;
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    (command.to_owned(), body)
}

/// The same in short.
fn short(request: &Request) -> String {
    let (command, body) = told(request);
    let source = body["ip"].as_str().or(body["netmask"].as_str()).unwrap();
    format!("{} {source}", &command[..3])
}

fn shorts(wforce: &Sink) -> Vec<String> {
    wforce.requests().iter().map(short).collect()
}

/// Asserts that a log doesn't tell the password.
fn assert_is_secretive(lines: &[String]) {
    let encoded = STANDARD.encode("trackalert:W:s3cret");
    for line in lines {
        assert!(!line.contains("s3cret") && !line.contains(&encoded), "{line}");
    }
}

#[test]
fn sources_of_alerts_that_are_sent_are_blocked_and_nobody_else() {
    let wforce = Sink::start(|_| DONE);
    let folder = Folder::new();
    let policy = folder.write(
        "dry.lua",
        r#"return { name = "dry", summary = "A rule.", defaults = {}, on_report = function(lt)
            alert{ key = lt.login, severity = "high", ip = lt.remote, summary = "s" }
        end }"#,
    );
    let more = format!(
        "setTrustedNets({{ '198.51.100.64/26' }})
        newReportStore{{ path = '{}' }}
        usePolicy('{}', {{ mode = 'dry-run' }})",
        folder.path("reports.db").display(),
        policy.display()
    );
    let daemon = start(&wforce, "expire = '0:10'", &more);
    raise(&daemon, "a", "192.0.2.1", json!({}));
    raise(&daemon, "b", "192.0.2.2", json!({ "rule": "travel" }));
    let silence = json!({ "rule": "spray", "key": "c", "duration": "1" }).to_string();
    assert_eq!(daemon.client().post("/command/silence", &silence).status, 200);
    raise(&daemon, "c", "192.0.2.3", json!({}));
    raise(&daemon, "d", "127.0.0.1", json!({}));
    raise(&daemon, "e", "10.1.2.3", json!({}));
    raise(&daemon, "f", "198.51.100.65", json!({}));
    raise(&daemon, "g", "198.51.100.1", json!({ "source": "198.51.100.0/24" }));
    raise(&daemon, "h", "192.0.2.8", json!({ "nowhere": "somewhere" }));
    raise(&daemon, "i", "198.51.100.1", json!({ "source": "198.51.100.0/26" }));
    daemon.wait_for_line("blocklist entry: alert=\"9\"");
    assert_eq!(shorts(&wforce), ["add 192.0.2.1", "add 198.51.100.0/26"]);
    let first = &wforce.requests()[0];
    let expected = json!({ "ip": "192.0.2.1", "expire_secs": 600, "reason": "trackalert: alert 1: spray" });
    assert_eq!(told(first), ("addBLEntry".into(), expected));
    let auth = format!("Basic {}", STANDARD.encode("trackalert:W:s3cret"));
    assert_eq!(first.header("authorization"), Some(auth.as_str()));
    assert!(daemon.count_lines("dry-run alert: ") > 0);
    for (ip, cause) in [
        ("127.0.0.1", "it is a private address"),
        ("10.1.2.3", "it is a private address"),
        ("198.51.100.65", "many logins share it"),
        ("198.51.100.1", "many logins share it"),
        ("somewhere", "it has no address"),
    ] {
        let line = daemon
            .lines()
            .into_iter()
            .find(|line| line.starts_with("no blocklist entry: ") && line.contains(&format!("ip=\"{ip}\"")));
        assert!(line.is_some_and(|line| line.contains(cause)), "{ip}");
    }
    let line = daemon.wait_for_line("blocklist entry: alert=\"1\"");
    assert_eq!(
        line,
        format!(
            "blocklist entry: alert=\"1\" expire_secs=\"600\" rule=\"spray\" sink=\"wforce:http://{}\" \
             source=\"192.0.2.1\" ",
            wforce.address
        )
    );
    // What was closed without an entry is no news for wforce.
    for id in [2, 5, 1, 9] {
        assert_eq!(close(&daemon, id), 200);
    }
    assert_eq!(
        wforce.wait_for(4).iter().map(short).collect::<Vec<_>>()[2..],
        ["del 192.0.2.1", "del 198.51.100.0/26"]
    );
    daemon.wait_for_line("blocklist entry removed: alert=\"9\"");
    assert_eq!(told(&wforce.requests()[3]), ("delBLEntry".into(), json!({ "netmask": "198.51.100.0/26" })));
    assert_eq!((close(&daemon, 1), close(&daemon, 99)), (404, 404));
    // The same again is another alert.
    raise(&daemon, "a", "192.0.2.1", json!({}));
    assert_eq!(short(&wforce.wait_for(5)[4]), "add 192.0.2.1");
    assert_is_secretive(&daemon.stop());
}

#[test]
fn private_addresses_are_blocked_if_the_configuration_says_so() {
    let wforce = Sink::start(|_| DONE);
    let daemon = start(&wforce, "private = true", "setTrustedNets({ '10.0.0.0/8' })");
    raise(&daemon, "a", "0.0.0.0", json!({}));
    raise(&daemon, "b", "10.1.2.3", json!({}));
    raise(&daemon, "c", "192.168.1.1", json!({}));
    daemon.wait_for_line("blocklist entry: alert=\"3\"");
    assert_eq!(shorts(&wforce), ["add 192.168.1.1"]);
}

#[test]
fn an_hour_has_so_many_entries_over_restarts_too() {
    let wforce = Sink::start(|_| DONE);
    let place = Place::new();
    let url = format!("http://{}", wforce.address);
    // The last function counts.
    let config = |most: u32| place.config("", &config(&url, &format!("max_per_hour = {most}")));
    let start = |most: u32| Trackalert::start_with(Folder::new(), &config(most), Command::new(PROGRAM));
    let daemon = start(3);
    for (number, key) in (1..).zip(["a", "b", "c", "d", "e"]) {
        raise(&daemon, key, &format!("192.0.2.{number}"), json!({}));
    }
    let line = daemon.wait_for_line("no blocklist entry: alert=\"5\"");
    assert!(line.contains("cause=\"max_per_hour is reached\" ip=\"192.0.2.5\""), "{line}");
    assert_eq!(daemon.count_lines("there are too many within an hour"), 1);
    assert_eq!(shorts(&wforce), ["add 192.0.2.1", "add 192.0.2.2", "add 192.0.2.3"]);
    daemon.stop();
    let daemon = start(4);
    assert_eq!(close(&daemon, 1), 200);
    assert_eq!(short(&wforce.wait_for(4)[3]), "del 192.0.2.1");
    raise(&daemon, "f", "192.0.2.6", json!({}));
    raise(&daemon, "g", "192.0.2.7", json!({}));
    daemon.wait_for_line("no blocklist entry: alert=\"7\"");
    assert_eq!(short(&wforce.wait_for(5)[4]), "add 192.0.2.6");
    assert_eq!(wforce.requests().len(), 5);
}

#[test]
fn an_address_stays_blocked_while_another_alert_wants_it() {
    let wforce = Sink::start(|_| DONE);
    let daemon = start(&wforce, "", "");
    for key in ["a", "b"] {
        raise(&daemon, key, "192.0.2.1", json!({}));
    }
    wforce.wait_for(2);
    assert_eq!(close(&daemon, 1), 200);
    let line = daemon.wait_for_line("blocklist entry stays: alert=\"1\"");
    assert!(line.contains("alert 2 wants it"), "{line}");
    assert_eq!(close(&daemon, 2), 200);
    wforce.wait_for(3);
    assert_eq!(shorts(&wforce), ["add 192.0.2.1", "add 192.0.2.1", "del 192.0.2.1"]);
}

/// A wforce that can be out of order.
fn fickle(failure: fn() -> Answer) -> (Sink, Arc<AtomicBool>) {
    let is_down = Arc::new(AtomicBool::new(true));
    let down = is_down.clone();
    (Sink::start(move |_| if down.load(Ordering::Relaxed) { failure() } else { DONE }), is_down)
}

#[test]
fn an_entry_that_is_not_taken_is_tried_again_even_if_the_process_is_killed() {
    let (wforce, is_down) = fickle(|| Answer::Body(401, r#"{"status":"failure", "reason":"Unauthorized"}"#));
    let place = Place::new();
    let config = place.config("", &config(&format!("http://{}", wforce.address), "max_per_hour = 1"));
    let start = || Trackalert::start_with(Folder::new(), &config, Command::new(PROGRAM));
    let mut daemon = start();
    raise(&daemon, "a", "192.0.2.1", json!({}));
    let line = daemon.wait_for_line("an alert can't be delivered: ");
    assert!(line.contains("cause=\"status 401\""), "{line}");
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    assert_is_secretive(&daemon.lines());
    is_down.store(false, Ordering::Relaxed);
    let daemon = start();
    daemon.wait_for_line("blocklist entry: alert=\"1\"");
    assert!(shorts(&wforce).iter().all(|told| told == "add 192.0.2.1"));
    let seconds = told(wforce.requests().last().unwrap()).1["expire_secs"].as_u64().unwrap();
    assert!((86_000..=86_400).contains(&seconds), "{seconds}");
}

/// Whether the log says that there is an entry because of alert 1.
fn has_entry(daemon: &Trackalert) -> bool {
    daemon.lines().iter().any(|line| line.starts_with("blocklist entry: alert=\"1\""))
}

#[test]
fn an_alert_that_is_closed_before_wforce_answers_leaves_no_entry() {
    let (wforce, is_down) = fickle(|| Answer::Close);
    let daemon = start(&wforce, "", "");
    raise(&daemon, "a", "192.0.2.1", json!({}));
    daemon.wait_for_line("an alert can't be delivered: ");
    assert_eq!(close(&daemon, 1), 200);
    is_down.store(false, Ordering::Relaxed);
    let line = daemon.wait_for_line("no blocklist entry: alert=\"1\"");
    assert!(line.contains("cause=\"the alert is closed\""), "{line}");
    // Wforce may have done it before it failed.
    daemon.wait_for_line("blocklist entry removed: alert=\"1\"");
    assert_eq!((shorts(&wforce).pop().unwrap().as_str(), has_entry(&daemon)), ("del 192.0.2.1", false));
}

#[test]
fn an_entry_that_wforce_refuses_holds_up_nothing() {
    let (wforce, is_down) = fickle(|| FAILED);
    let daemon = start(&wforce, "", "");
    raise(&daemon, "a", "192.0.2.1", json!({}));
    let line = daemon.wait_for_line("an alert can't be delivered: ");
    assert!(line.contains("cause=\"wforce refuses it, status 500\""), "{line}");
    is_down.store(false, Ordering::Relaxed);
    raise(&daemon, "b", "192.0.2.2", json!({}));
    wforce.wait_for(2);
    assert_eq!(close(&daemon, 1), 200);
    daemon.wait_for_line("blocklist entry removed: alert=\"1\"");
    assert_eq!(shorts(&wforce), ["add 192.0.2.1", "add 192.0.2.2", "del 192.0.2.1"]);
    assert!(!has_entry(&daemon));
}

#[test]
fn wforce_may_speak_https() {
    let folder = Folder::new();
    let ours = make(&folder, "ours", "DNS:ours.example.com", None);
    let here = make(&folder, "here", "IP:127.0.0.1", Some(&ours));
    let wforce = Sink::start_tls(server(&here, None), |_| DONE);
    let url = |address: SocketAddr| format!("https://{address}/");
    let bundle = format!("setCurlCABundleFile('{}')\n", ours.path.display());
    let daemon = Trackalert::start(&format!("{bundle}{}", config(&url(wforce.address), "")));
    raise(&daemon, "a", "192.0.2.1", json!({}));
    wforce.wait_for(1);
    assert_eq!(shorts(&wforce), ["add 192.0.2.1"]);
    let theirs = make(&folder, "theirs", "DNS:theirs.example.com", None);
    let stranger = make(&folder, "stranger", "IP:127.0.0.1", Some(&theirs));
    let other = Sink::start_tls(server(&stranger, None), |_| DONE);
    let daemon = Trackalert::start(&format!("{bundle}{}", config(&url(other.address), "")));
    raise(&daemon, "a", "192.0.2.1", json!({}));
    let line = daemon.wait_for_line("an alert can't be delivered: ");
    assert!(line.contains("cause=\"invalid peer certificate: "), "{line}");
    assert_eq!(other.requests().len(), 0);
}
