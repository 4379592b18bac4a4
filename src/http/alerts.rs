//! Alerts for programs: what there is, and what operators do with it. The thread of alerts answers, since
//! a web thread does not wait for a disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::alert::{self, Alerts, Filter, Row, Silence};
use crate::cron::parse_duration;
use crate::error::{Error, Result};
use crate::http::handlers::{Call, Reaction, busy, reason};
use crate::http::query;
use crate::http::response::Answer;
use crate::store::kept_login;

/// Alerts that are listed unless the query says how many, and at most.
const LISTED: u32 = 100;
const MOST: u32 = 10_000;

/// The alerts that a query asks for.
pub fn list(call: &Call) -> Reaction {
    match filter(call.query) {
        Ok(filter) => later(call, 400, move |alerts| {
            let rows: Vec<Value> = alerts.list(&filter)?.iter().map(object).collect();
            Ok(Answer::json(200, &json!({ "alerts": rows })))
        }),
        Err(why) => Reaction::Now(Answer::failure(400, &why)),
    }
}

/// An alert as sinks get it, and how it is.
fn object(row: &Row) -> Value {
    let mut object = alert::json(row);
    object["state"] = row.state.name().into();
    object["sent"] = json!(row.sent);
    object
}

fn filter(text: &str) -> std::result::Result<Filter, String> {
    if let Some(name) = query::unknown(text, &["command", "since", "rule", "login", "limit"]) {
        return Err(format!("no parameter named \"{name}\": there are since, rule, login and limit"));
    }
    fn number<T: FromStr>(text: &str, name: &str, what: &str) -> std::result::Result<Option<T>, String> {
        let value = query::value(text, name);
        let number = value.as_deref().map(|value| value.parse().map_err(|_| format!("{name}: not {what}")));
        number.transpose()
    }
    let since = number::<f64>(text, "since", "a number of seconds")?;
    if since.is_some_and(|since| !since.is_finite()) {
        return Err("since: not a number of seconds".into());
    }
    let wanted = format!("a number from 1 to {MOST}");
    let limit = number::<u32>(text, "limit", &wanted)?.unwrap_or(LISTED);
    if !(1..=MOST).contains(&limit) {
        return Err(format!("limit: not {wanted}"));
    }
    let login = query::value(text, "login").map(|login| kept_login(&login).into_owned());
    Ok(Filter { since, rule: query::value(text, "rule"), login, limit })
}

#[derive(Deserialize)]
struct Number {
    #[serde(deserialize_with = "whole")]
    id: i64,
}

/// A whole number, which JSON may write with a fraction of zero.
fn whole<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<i64, D::Error> {
    let number = serde_json::Number::deserialize(from)?;
    let whole = || number.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as i64);
    number.as_i64().or_else(whole).ok_or_else(|| D::Error::custom("id: not a whole number"))
}

/// Has an alert only counted.
pub fn acknowledge(call: &Call) -> Reaction {
    with_body(call, 404, |alerts, Number { id }| alerts.acknowledge(id))
}

/// Closes an alert.
pub fn close(call: &Call) -> Reaction {
    with_body(call, 404, |alerts, Number { id }| alerts.close_one(id))
}

#[derive(Deserialize)]
struct Quiet {
    rule: String,
    key: String,
    duration: String,
}

/// Lets nobody hear of a rule, or of a key of it.
pub fn silence(call: &Call) -> Reaction {
    with_body(call, 400, |alerts, Quiet { rule, key, duration }| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let duration = parse_duration(&duration).map_err(|e| Error::Refused(format!("duration: {e}")))?;
        alerts.silence(Silence { rule, key, until: now.as_secs_f64() + duration.as_secs_f64() })
    })
}

/// Does something with what a body says. `refused` is the status when that can't be done: an alert that is
/// closed is as good as none.
fn with_body<T: for<'de> Deserialize<'de> + Send + 'static>(
    call: &Call,
    refused: u16,
    work: impl FnOnce(&Alerts, T) -> Result<()> + Send + 'static,
) -> Reaction {
    match serde_json::from_slice(call.body) {
        Ok(body) => later(call, refused, move |alerts| work(alerts, body).map(|()| Answer::OK)),
        Err(e) => Reaction::Now(Answer::failure(400, &reason(&e))),
    }
}

/// Has the thread of alerts answer.
fn later(
    call: &Call,
    refused: u16,
    work: impl FnOnce(&Alerts) -> Result<Answer> + Send + 'static,
) -> Reaction {
    let ticket = call.ticket.clone();
    call.site.shared.alerts.ask(Box::new(move |alerts| {
        // Whoever waits is answered in any case, and the thread goes on.
        let done = catch_unwind(AssertUnwindSafe(|| work(alerts)));
        ticket.answer(match done {
            Ok(Ok(answer)) => answer,
            Ok(Err(Error::Store(_))) => busy(Answer::failure(503, "the report store can't be used")),
            Ok(Err(e @ Error::Unknown { .. })) => Answer::failure(404, &e.to_string()),
            Ok(Err(e)) => Answer::failure(refused, &e.to_string()),
            Err(_) => Answer::failure(500, "a fault of this program"),
        });
    }));
    Reaction::Later
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_a_filter_or_wrong() {
        let all = Filter { limit: LISTED, ..Filter::default() };
        for (query, expected) in [
            ("", all.clone()),
            ("command=alerts", all.clone()),
            (
                "since=1.5&rule=a+b&login=j%40x&limit=5",
                Filter { since: Some(1.5), rule: Some("a b".into()), login: Some("j@x".into()), limit: 5 },
            ),
        ] {
            assert_eq!(filter(query), Ok(expected), "{query}");
        }
        for (query, error) in [
            ("since=x", "since: not a number of seconds"),
            ("since=nan", "since: not a number of seconds"),
            ("since=", "since: not a number of seconds"),
            ("limit=0", "limit: not a number from 1 to 10000"),
            ("limit=10001", "limit: not a number from 1 to 10000"),
            ("limit=-1", "limit: not a number from 1 to 10000"),
        ] {
            assert_eq!(filter(query), Err(error.into()), "{query}");
        }
    }
}
