//! Alerts: from a policy to those who hear of them, and what operators do with them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::certificate;
use crate::support::console::Site;
use crate::support::hook::{OK, Sink};
use crate::support::smtp::{MailServer, field};
use crate::support::store::report;
use crate::support::{Folder, Nobody, Running, SERVER, Trackalert, run, skipped, wait_for};

/// Raises an alert for each report.
pub const POLICY: &str = r#"
setReport(function(lt)
    alert{ rule = "seen", severity = "medium", login = lt.login, ip = lt.remote, summary = "somebody was seen" }
end)
"#;

/// The bodies that a receiver got, as JSON.
fn bodies(sink: &Sink) -> Vec<Value> {
    sink.requests().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
}

fn alerts(daemon: &Trackalert, query: &str) -> Vec<Value> {
    let reply = daemon.get(&format!("/command/alerts{query}"));
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["alerts"].as_array().unwrap().clone()
}

#[test]
fn an_alert_goes_to_the_log_to_webhooks_and_by_mail_once() {
    let (hook, mail) = (Sink::start(|_| OK), MailServer::start(|_| "250 taken"));
    let site = Site::start(&format!(
        "addCustomWebHook('ops', {{ url = '{}', secret = 'key' }})
        addAlertSink{{ webhook = 'ops' }}
        addAlertSink{{ smtp = '{}', from = 'trackalert@example.com', to = {{ 'a@example.com', 'b@example.com' }} }}
        newReportStore{{ path = 'reports.db' }}{POLICY}",
        hook.url("/"),
        mail.url()
    ));
    let daemon = &site.daemon;
    for _ in 0..3 {
        assert_eq!(daemon.report(&report("joe")).status, 200);
    }
    let line = daemon.wait_for_line("alert: ");
    let expected = "alert: count=\"1\" id=\"1\" ip=\"192.0.2.1\" key=\"joe\" login=\"joe\" rule=\"seen\" \
        severity=\"medium\" summary=\"somebody was seen\"";
    assert!(line.contains(expected), "{line}");
    let request = hook.wait_for(1).remove(0);
    assert_eq!(request.header("x-wforce-event"), Some("ops"));
    assert!(request.header("x-wforce-signature").is_some() && request.header("x-wforce-delivery").is_some());
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let (first, last) = (body["first"].clone(), body["last"].clone());
    let expected = json!({
        "type": "trackalert_alert", "id": 1, "rule": "seen", "severity": "medium", "key": "joe", "login": "joe",
        "ip": "192.0.2.1", "summary": "somebody was seen", "count": 1, "first": first, "last": last, "data": {},
    });
    assert_eq!(body, expected);
    let messages = mail.wait_for(2);
    let mut to: Vec<_> = messages.iter().map(|message| field(message, "To").unwrap()).collect();
    to.sort_unstable();
    assert_eq!(to, ["a@example.com", "b@example.com"]);
    assert_eq!(field(&messages[0], "Subject"), Some("trackalert: medium seen joe"));
    wait_for("the count", || (alerts(daemon, "")[0]["count"] == 3).then_some(()));
    for (metric, value) in [
        ("trackalert_alerts_total{outcome=\"sent\",rule=\"seen\",severity=\"medium\"}", 1),
        ("trackalert_alerts_total{outcome=\"suppressed\",rule=\"seen\",severity=\"medium\"}", 2),
        ("trackalert_alert_deliveries_total{sink=\"webhook:ops\",status=\"ok\"}", 1),
        ("trackalert_alert_outbox{sink=\"webhook:ops\"}", 0),
        ("trackalert_alert_outbox{sink=\"smtp:a@example.com\"}", 0),
    ] {
        wait_for(metric, || (daemon.metric(metric) == value).then_some(()));
    }
    assert_eq!(
        (hook.requests().len(), mail.messages().len(), daemon.count_lines("alert: count=")),
        (1, 2, 1)
    );
}

#[test]
fn operators_use_the_console_or_the_api() {
    let site = Site::start(&format!("newReportStore{{ path = 'reports.db' }}{POLICY}"));
    let daemon = &site.daemon;
    for login in ["joe", "ann", "joe"] {
        assert_eq!(daemon.report(&report(login)).status, 200);
    }
    let outcome = |name: &str| {
        let metric =
            format!("trackalert_alerts_total{{outcome=\"{name}\",rule=\"seen\",severity=\"medium\"}}");
        if daemon.get("/metrics").text().contains(&metric) { daemon.metric(&metric) } else { 0 }
    };
    wait_for("two alerts", || (outcome("sent") == 2 && outcome("suppressed") == 1).then_some(()));
    let id = |login: &str| alerts(daemon, &format!("?login={login}"))[0]["id"].as_i64().unwrap();
    let (joe, ann) = (id("joe"), id("ann"));
    let shown = site.execute("showAlerts()").stdout;
    assert!(shown.contains("open") && shown.contains("somebody was seen"), "{shown}");
    assert_eq!(site.execute("showAlerts(1)").stdout.lines().count(), 3);
    assert_eq!(site.execute(&format!("ackAlert({joe})")).stdout, format!("alert {joe} acknowledged\n"));
    let post = |command: &str, body: Value| {
        let reply = daemon.client().post(&format!("/command/{command}"), &body.to_string());
        (reply.status, reply.text())
    };
    assert_eq!(post("ackAlert", json!({ "id": ann })).0, 200);
    let states = |query: &str| -> Vec<String> {
        alerts(daemon, query).iter().map(|alert| alert["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states("?rule=seen&limit=5"), ["acknowledged", "acknowledged"]);
    assert_eq!(post("closeAlert", json!({ "id": joe })).0, 200);
    assert_eq!(states("?login=joe"), ["closed"]);
    daemon.report(&report("joe"));
    wait_for("another alert", || (outcome("sent") == 3).then_some(()));
    assert_ne!(id("joe"), joe, "another number");
    let silence = json!({ "rule": "seen", "key": "*", "duration": "1:00" });
    assert_eq!(post("silence", silence).0, 200);
    daemon.report(&report("eve"));
    wait_for("silence", || (outcome("silenced") == 1).then_some(()));
    assert!(site.execute("showSilences()").stdout.contains("seen"));
    assert_eq!(site.execute("unsilence('seen', '*')").stdout, "silence ended\n");
    assert!(site.execute("silence('seen', 'x', '0:30')").stdout.starts_with("silent until 20"));
    let longest = json!({ "rule": "x", "key": "*", "duration": "5124095576030430" });
    assert_eq!(post("silence", longest).0, 200, "for ever");
    assert!(site.execute("silence('x', 'y', '5124095576030430')").stdout.starts_with("silent until "));
    for (command, body, status, reason) in [
        ("ackAlert", json!({ "id": 999 }), 404, "no alert named \\\"999\\\""),
        ("closeAlert", json!({ "id": joe }), 404, "no alert named"),
        ("ackAlert", json!({ "id": 1.5 }), 400, "id: not a whole number"),
        ("ackAlert", json!({ "id": 999.0 }), 404, "no alert named"),
        ("ackAlert", json!({}), 400, "missing field `id`"),
        ("ackAlert", json!({ "id": "x" }), 400, "id"),
        ("silence", json!({ "rule": "x", "key": "*" }), 400, "missing field `duration`"),
        ("silence", json!({ "rule": "x", "key": "*", "duration": "x" }), 400, "duration: "),
    ] {
        let (found, text) = post(command, body);
        assert!(found == status && text.contains(reason), "{command}: {found} {text}");
    }
    let reply = daemon.get("/command/alerts?limit=0");
    assert_eq!((reply.status, reply.text().contains("limit: not a number from 1 to 10000")), (400, true));
    assert!(site.execute("forgetLogin('joe')").stdout.ends_with("rows removed\n"));
    assert_eq!(alerts(daemon, "?login=joe"), Vec::<Value>::new());
    assert_eq!(alerts(daemon, "").len(), 2);
}

#[test]
fn without_a_store_alerts_are_delivered_all_the_same() {
    let hook = Sink::start(|_| OK);
    let daemon = Trackalert::start(&format!(
        "addCustomWebHook('ops', {{ url = '{}' }}) addAlertSink{{ webhook = 'ops' }}{POLICY}",
        hook.url("/")
    ));
    daemon.report(&report("joe"));
    hook.wait_for(1);
    assert_eq!(alerts(&daemon, "").len(), 1);
    daemon.stop();
}

#[test]
fn a_reload_changes_the_sinks_and_what_waits_goes_to_those_that_stay() {
    let (nobody, hook, other) = (Nobody::new(), Sink::start(|_| OK), Sink::start(|_| OK));
    let config = |url: &str, more: &str| {
        format!(
            "{SERVER}addCustomWebHook('ops', {{ url = '{url}' }}) addAlertSink{{ webhook = 'ops' }}{more}{POLICY}"
        )
    };
    let folder = Folder::new();
    let command = Command::new(crate::support::PROGRAM);
    let daemon = Trackalert::start_with(folder, &config(&nobody.url(), ""), command);
    daemon.report(&report("joe"));
    let waiting = "trackalert_alert_outbox{sink=\"webhook:ops\"}";
    wait_for("a failure", || {
        let failed = "trackalert_alert_deliveries_total{sink=\"webhook:ops\",status=\"error\"}";
        (daemon.metric(failed) > 0).then_some(())
    });
    assert_eq!(daemon.metric(waiting), 1);
    let second = format!(
        "addCustomWebHook('other', {{ url = '{}' }}) addAlertSink{{ webhook = 'other', min_severity = 'info' }}",
        other.url("/")
    );
    assert!(daemon.reload_with(&config(&hook.url("/"), &second)).ends_with("reloaded"));
    hook.wait_for(1);
    assert!(bodies(&other).is_empty(), "what was before is none of its business");
    daemon.report(&report("ann"));
    other.wait_for(1);
    hook.wait_for(2);
    let logins: Vec<Value> = bodies(&hook).iter().map(|body| body["login"].clone()).collect();
    assert_eq!(
        (logins, bodies(&other)[0]["login"].clone()),
        (vec![json!("joe"), json!("ann")], json!("ann"))
    );
    let line = daemon.reload_with(&config(&hook.url("/"), "addAlertSink{ webhook = 'nosuch' }"));
    assert!(line.contains("no addCustomWebHook(\"nosuch\", …) in the configuration"), "{line}");
    daemon.stop();
}

#[test]
fn a_sink_that_can_not_be_is_an_error_of_the_configuration() {
    let folder = Folder::new();
    let path = folder.write("x.conf", &format!("{SERVER}addAlertSink{{ webhook = 'nosuch' }}"));
    let output = run(&["-t", "-C", path.to_str().unwrap()], "");
    assert_eq!(output.status, 78, "{}", output.stderr);
    assert!(
        output.stderr.contains("addAlertSink(options): no addCustomWebHook(\"nosuch\""),
        "{}",
        output.stderr
    );
}

#[test]
fn a_password_for_mail_is_told_to_the_server_alone() {
    let Some(python) = python() else { return };
    let folder = Folder::new();
    let authority = certificate::make(&folder, "authority", "DNS:authority", None);
    let certificate = certificate::make(&folder, "mail", "IP:127.0.0.1", Some(&authority));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp/server.py");
    let mut command = Command::new(python);
    command
        .arg(script)
        .args([&certificate.path, &certificate.key])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut server = Running::start(&mut command);
    let mut lines = BufReader::new(server.stdout()).lines().map(Result::unwrap);
    let port = lines.next().unwrap();
    let sink = |password: &str| {
        format!(
            "setCurlCABundleFile('{}')
            addAlertSink{{ smtp = 'smtp://alerts:{password}@127.0.0.1:{port}', from = 'Alerts <alerts@example.com>',
                to = 'ops@example.com', subject = 'Mail platform' }}",
            authority.path.display()
        )
    };
    let site =
        Site::start(&format!("newReportStore{{ path = 'reports.db' }}{}{POLICY}", sink("Wr0ngMailPassword")));
    site.daemon.report(&report("joé"));
    let line = site.daemon.wait_for_line("an alert can't be delivered: ");
    assert!(line.contains("sink=\"smtp:ops@example.com\"") && line.contains("535"), "{line}");
    let config = std::fs::read_to_string(site.daemon.folder.path("trackalert.conf")).unwrap();
    let line = site.daemon.reload_with(&config.replace("Wr0ngMailPassword", "MailPassw0rd"));
    assert!(line.ends_with("reloaded"), "{line}");
    let message: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!(
        (&message["from"], &message["to"], &message["user"], &message["subject"]),
        (
            &json!("alerts@example.com"),
            &json!(["ops@example.com"]),
            &json!("alerts"),
            &json!("Mail platform: medium seen joé")
        )
    );
    assert!(message["text"].as_str().unwrap().starts_with("somebody was seen\r\n"), "{message}");
    assert_eq!(
        (&message["json"]["login"], &message["json"]["type"]),
        (&json!("joé"), &json!("trackalert_alert"))
    );
    let shown = ["showCustomWebHooks()", "showAlerts()"].map(|command| site.ask(command)).concat();
    let told = shown + &site.daemon.get("/metrics").text() + &site.daemon.stop().join("\n");
    assert!(!told.contains("MailPassw0rd") && !told.contains("Wr0ngMail"), "{told}");
}

/// Python with aiosmtpd, as `make test` installs it.
fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/smtp/bin/python");
    if !python.exists() {
        skipped("there is no mail server: make test installs one");
        return None;
    }
    Some(python)
}
