//! The examples of trackalert.conf(5).

use super::example::{
    alert_is_delivered, daemon, example, has, here, post, request, run_all, shape, stop, unescaped,
};
use super::read;
use crate::support::hook::{Answer, Sink};
use crate::support::{Folder, SERVER, Trackalert, run};

const PAGE: &str = "man/trackalert.conf.5";

#[test]
fn every_example_of_the_configuration_works() {
    run_all(
        PAGE,
        &[
            ("trackalert.conf:3: ", complains),
            ("alert: ", logs_alerts),
            ("{\"type\":\"trackalert_alert\"", alert_is_delivered),
            ("blocklist entry: ", logs_entries),
            ("addListener(", warns_of_failures),
            ("curl ", answers),
        ],
    );
}

fn complains(text: &str) {
    let path = Folder::new();
    let config = path.write("trackalert.conf", "-- One.\n-- Two.\naddACL(\"foo\")\n");
    let checked = run(&["-t", "-C", config.to_str().unwrap()], "");
    assert_eq!(checked.status, 78);
    assert!(checked.stderr.trim_end().ends_with(text), "{}", checked.stderr);
}

fn logs_alerts(text: &str) {
    let alert = "rule = 'r', key = 'joe', login = 'joe', severity = 'high', summary = 's'";
    let daemon = daemon(&format!("{SERVER}setReport(function() alert{{ {alert} }} end)"));
    daemon.report("{}");
    assert_eq!(shape(&daemon.wait_for_line("alert: ")), shape(text));
}

fn logs_entries(text: &str) {
    let wforce = Sink::start(|_| Answer::Body(200, r#"{"status":"ok"}"#));
    let daemon = daemon(&format!(
        "{SERVER}addWforceBlocklist{{ url = 'http://{}', password = 'secret', rules = {{ 'r' }} }}
        setReport(function(lt) alert{{ rule = 'r', severity = 'high', ip = lt.remote, summary = 's' }} end)",
        wforce.address
    ));
    daemon.report(r#"{"login":"joe","remote":"192.0.2.1"}"#);
    let line = daemon.wait_for_line("blocklist entry: ");
    assert_eq!(shape(&line), shape(text));
    assert!(line.contains("expire_secs=\"86400\"") && text.contains("expire_secs=\"86400\""), "{line}");
}

/// The daemon of the section.
fn policy() -> Trackalert {
    daemon(&here(&example(PAGE, "addListener(")))
}

fn warns_of_failures(_: &str) {
    let daemon = policy();
    for n in 0..20 {
        let success = n == 3;
        let body =
            format!(r#"{{"login":"joe","remote":"198.51.100.7","protocol":"imap","success":{success}}}"#);
        assert_eq!(post(daemon.address, "change this", "/command/report", &body).status, 200);
        let ours = r#"{"login":"joe","remote":"192.0.2.1","success":false}"#;
        assert_eq!(post(daemon.address, "change this", "/command/report", ours).status, 200);
    }
    let last = r#"{"login":"ann","remote":"198.51.100.7","protocol":"pop","success":false}"#;
    assert_eq!(post(daemon.address, "change this", "/command/report", last).status, 200);
    let line = daemon.wait_for_line("many failed logins: ");
    assert!(line.contains(r#"login="ann" protocol="pop" remote="198.51.100.7""#), "the 20th failure: {line}");
    stop(daemon);
}

fn answers(text: &str) {
    if !has("curl") {
        return;
    }
    let daemon = policy();
    let answer = request(&daemon, text);
    let page: String = read(PAGE).lines().map(unescaped).collect();
    assert!(page.contains(&format!("The answer is.Ql {answer} .")), "{answer}");
    stop(daemon);
}
