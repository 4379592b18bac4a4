use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::*;
use crate::alert::Alerts;
use crate::device::Devices;
use crate::login::LoginTuple;
use crate::lua::{Failure, Script, State};
use crate::stats::Stats;

/// What a report function has raised, and what it got for that.
fn raised(call: &str) -> (Vec<Alert>, String) {
    let heard = Arc::<Mutex<Vec<Alert>>>::default();
    let hear = heard.clone();
    let alerts = Alerts::observe(move |alert| hear.lock().push(alert.clone()));
    let shared = Arc::new(Shared::with_alerts(Devices::default(), Stats::new(), alerts));
    let text = format!(
        "setReport(function(lt) error(tostring({call}), 0) end)\nalert{{ rule = 'x', key = 'file', severity = 'low', summary = '' }}"
    );
    let state = State::new(shared, Role::Worker, Some(&Script::of(&text))).unwrap();
    let login = LoginTuple::from_json(br#"{"login":"joe","t":1000000000.5}"#, SystemTime::now()).unwrap();
    let soon = Instant::now() + Duration::from_secs(60);
    let said = Failure::new(&state.report(&login, None, soon).unwrap_err()).message;
    let heard = heard.lock().clone();
    (heard, said)
}

#[test]
fn a_policy_raises_an_alert_and_hears_what_became_of_it() {
    let (alerts, said) = raised(
        "alert{ rule = 'travel', key = 'joe DE BR', severity = 'high', login = lt.login, ip = lt.remote,
        summary = 'far', data = { km = 9000, places = { 'DE', 'BR' } }, realert = '1:30' }",
    );
    let expected = Alert {
        rule: "travel".into(),
        key: "joe DE BR".into(),
        severity: Severity::High,
        login: Some("joe".into()),
        ip: Some("0.0.0.0".into()),
        summary: "far".into(),
        data: serde_json::from_str(r#"{"km":9000,"places":["DE","BR"]}"#).unwrap(),
        realert: Duration::from_secs(5400),
        t: 1_000_000_000.5,
        is_dry: false,
    };
    assert_eq!((alerts, said.as_str()), (vec![expected], "sent"));
    let least = "{ rule = 'x', severity = 'low', summary = 's', ip = '192.0.2.0/24' }";
    let (alerts, said) = raised(&format!("alert{least} .. alert{least}"));
    assert_eq!(
        (alerts[0].key.as_str(), alerts[0].realert, said.as_str()),
        ("192.0.2.0/24", REALERT, "sentsuppressed")
    );
    let long = "x".repeat(2000);
    let (alerts, _) =
        raised(&format!("alert{{ rule = 'x', severity = 'low', summary = '{long}', login = '{long}' }}"));
    assert_eq!((alerts[0].summary.len(), alerts[0].key.len() < 400), (SUMMARY, true));
}

#[test]
fn an_option_that_can_not_be_is_named() {
    for (options, error) in [
        ("", "rule: string expected, got nil"),
        ("rule = ''", "rule: 1 to 100 bytes expected, got 0"),
        ("rule = 'x'", "one of key, login and ip expected"),
        ("rule = 'x', key = 'k'", "severity: \"\" is not a severity: info, low, medium, high or critical"),
        ("rule = 'x', key = 'k', severity = 'low'", "summary: string expected, got nil"),
        ("rule = 'x', key = 'k', ip = {}", "ip: ComboAddress or string expected, got table"),
        (
            "rule = 'x', key = 'k', severity = 'low', summary = 's', data = { a = print }",
            "data: a: text, number, boolean or table expected, got function",
        ),
        (
            "rule = 'x', key = 'k', severity = 'low', summary = 's', data = { a = ('x'):rep(5000) }",
            "data: a: too much of it",
        ),
        (
            "rule = 'x', key = 'k', severity = 'low', summary = 's', realert = '1x'",
            "realert: \"1x\" is not a duration, hours[:minutes[:seconds]]",
        ),
        (
            "rules = 'x'",
            "no key named \"rules\": there are rule, key, severity, login, ip, summary, data and realert",
        ),
    ] {
        let (alerts, said) = raised(&format!("alert{{ {options} }}"));
        assert_eq!((alerts.len(), said), (0, format!("test.conf:1: alert(options): {error}")), "{options}");
    }
}

fn sinks(text: &str) -> std::result::Result<Vec<(String, Severity)>, String> {
    let state = State::new(Arc::default(), Role::Config, Some(&Script::of(text)));
    let sinks = state.map_err(|e| Failure::new(&e).message)?.config().sinks;
    Ok(sinks.iter().map(|sink| (sink.receiver.name(), sink.min_severity)).collect())
}

#[test]
fn a_sink_is_a_webhook_or_each_of_some_addresses() {
    let text = "addAlertSink{ webhook = 'ops' }
        addAlertSink{ smtp = 'smtp://192.0.2.1', from = 'a@example.com', to = 'b@example.com', min_severity = 'info' }
        addAlertSink{ smtp = 'smtps://u:p@mx.example.com', from = 'A <a@example.com>', subject = 'Mail',
            to = { 'c@example.com', 'd@example.com' }, min_severity = 'critical' }";
    let expected = [
        ("webhook:ops", Severity::Medium),
        ("smtp:b@example.com", Severity::Info),
        ("smtp:c@example.com", Severity::Critical),
        ("smtp:d@example.com", Severity::Critical),
    ];
    assert_eq!(sinks(text).unwrap(), expected.map(|(name, least)| (name.to_owned(), least)));
    let mail = "smtp = 'smtp://u:secret@192.0.2.1'";
    for (options, error) in [
        ("", "one of webhook and smtp expected"),
        (&format!("webhook = 'x', {mail}"), "one of webhook and smtp expected"),
        ("webhook = 'x', to = 'a@example.com'", "to: of a sink with smtp only"),
        ("smtp = 'u:secret@mx'", "smtp: smtp:// or smtps:// URL of a mail server expected"),
        (mail, "from: string expected, got nil"),
        (&format!("{mail}, from = 'x'"), "from: \"x\" is not an address of mail"),
        (&format!("{mail}, from = 'a@example.com'"), "to: string expected, got nil"),
        (&format!("{mail}, from = 'a@example.com', to = {{}}"), "to: is empty"),
        (&format!("{mail}, from = 'a@example.com', to = {{ 'x' }}"), "to: \"x\" is not an address of mail"),
        (
            "webhook = 'x', min_severity = 'bad'",
            "min_severity: \"bad\" is not a severity: info, low, medium, high or critical",
        ),
        ("hook = 'x'", "no key named \"hook\": there are webhook, smtp, from, to, subject and min_severity"),
    ] {
        let expected = format!("test.conf:1: addAlertSink(options): {error}");
        assert_eq!(sinks(&format!("addAlertSink{{ {options} }}")), Err(expected), "{options}");
    }
    let twice = sinks("addAlertSink{ webhook = 'x' } addAlertSink{ webhook = 'x' }").unwrap_err();
    assert!(twice.ends_with("there is a sink for webhook:x already"), "{twice}");
}
