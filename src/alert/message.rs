//! How an alert is said: as JSON to programs, as a line to the log, as mail to people.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};
use log::Level;
use serde_json::{Map, Value, json};

use crate::alert::Alert;
use crate::alert::rows::Row;
use crate::config::Severity;
use crate::logger::{self, NOTICE};

/// The alert for programs.
pub fn json(row: &Row) -> Value {
    let data = serde_json::from_str(&row.data).unwrap_or(Value::Object(Map::new()));
    json!({
        "type": "trackalert_alert",
        "id": row.id,
        "rule": row.rule,
        "severity": row.severity.name(),
        "key": row.key,
        "login": row.login,
        "ip": row.ip,
        "summary": row.summary,
        "count": row.count,
        "first": row.first,
        "last": row.last,
        "data": data,
    })
}

/// Logs an alert that is sent, or would be. One of a dry run has no number.
pub fn log(alert: &Alert, id: i64, count: u64) {
    let (id, count) = (id.to_string(), count.to_string());
    let mut fields = vec![
        ("rule", alert.rule.as_str()),
        ("key", &alert.key),
        ("severity", alert.severity.name()),
        ("summary", &alert.summary),
        ("count", &count),
    ];
    if !alert.is_dry {
        fields.push(("id", &id));
    }
    fields.extend(alert.login.as_deref().map(|login| ("login", login)));
    fields.extend(alert.ip.as_deref().map(|ip| ("ip", ip)));
    let line = logger::line(if alert.is_dry { "dry-run alert" } else { "alert" }, &fields);
    if alert.severity >= Severity::Medium {
        log::warn!("{line}");
    } else {
        log::log!(target: NOTICE, Level::Info, "{line}");
    }
}

/// A second as people read it, in UTC.
pub fn date(t: f64) -> String {
    let date = DateTime::from_timestamp(t as i64, 0);
    date.map_or_else(|| t.to_string(), |date| date.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// What a mail says of an alert in JSON: its subject and its text. The first lines are what a phone shows.
pub fn mail(body: &Value, prefix: &str) -> (String, String) {
    let text = |name: &str| match &body[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let who = [text("login"), text("ip"), text("key")].into_iter().find(|text| !text.is_empty());
    let subject = format!("{prefix}: {} {} {}", text("severity"), text("rule"), who.unwrap_or_default());
    let mut lines = format!("{}\n\n", text("summary"));
    let when = |name: &str| body[name].as_f64().map(date).unwrap_or_default();
    for (name, value) in [
        ("Rule", text("rule")),
        ("Severity", text("severity")),
        ("Login", text("login")),
        ("Address", text("ip")),
        ("Key", text("key")),
        ("Count", text("count")),
        ("First", when("first")),
        ("Last", when("last")),
        ("Number", text("id")),
    ] {
        if !value.is_empty() {
            let _ = writeln!(lines, "{name}: {}", one_line(&value));
        }
    }
    if let Value::Object(data) = &body["data"]
        && !data.is_empty()
    {
        lines.push('\n');
        for (name, value) in data {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = writeln!(lines, "{}: {}", one_line(name), one_line(&value));
        }
    }
    (one_line(&subject), lines)
}

/// Without what could look like another line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::slot::State;

    fn row() -> Row {
        Row {
            id: 7,
            rule: "impossible_travel".into(),
            key: "joe@example.com DE BR".into(),
            severity: Severity::High,
            login: Some("joe@example.com".into()),
            ip: None,
            summary: "9000 km in 2 hours".into(),
            data: r#"{"km":9000,"places":["DE","BR"],"note":"a\nRule: forged"}"#.into(),
            count: 3,
            first: 1_790_000_000.5,
            last: 1_790_003_600.0,
            state: State::Open,
            sent: None,
            pause: 0.0,
        }
    }

    #[test]
    fn programs_get_every_member() {
        let expected = json!({
            "type": "trackalert_alert", "id": 7, "rule": "impossible_travel", "severity": "high",
            "key": "joe@example.com DE BR", "login": "joe@example.com", "ip": null,
            "summary": "9000 km in 2 hours", "count": 3, "first": 1_790_000_000.5, "last": 1_790_003_600.0,
            "data": { "km": 9000, "places": ["DE", "BR"], "note": "a\nRule: forged" },
        });
        assert_eq!(json(&row()), expected);
    }

    #[test]
    fn people_read_the_summary_first() {
        let (subject, text) = mail(&json(&row()), "trackalert");
        assert_eq!(subject, "trackalert: high impossible_travel joe@example.com");
        assert_eq!(
            text,
            "9000 km in 2 hours\n\nRule: impossible_travel\nSeverity: high\nLogin: joe@example.com\n\
             Key: joe@example.com DE BR\nCount: 3\nFirst: 2026-09-21T14:13:20Z\n\
             Last: 2026-09-21T15:13:20Z\nNumber: 7\n\nkm: 9000\nnote: a Rule: forged\n\
             places: [\"DE\",\"BR\"]\n"
        );
        let source = Row { login: None, ip: Some("192.0.2.1".into()), ..row() };
        assert!(mail(&json(&source), "x").0.ends_with("192.0.2.1"));
        let odd = Row { rule: "a\r\nBcc: x@example.com".into(), ..row() };
        assert!(!mail(&json(&odd), "x").0.contains(['\r', '\n']));
    }
}
