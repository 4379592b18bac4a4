//! Alerts as policies raise them, the configuration says who hears of them, and operators look after them
//! at the console. What becomes of one is decided in `alert`.

use std::time::{SystemTime, UNIX_EPOCH};

use rlua::{Lua, Table, Value};
use secrecy::zeroize::Zeroizing;

use crate::alert::{Alert, Filter, REALERT, Row, Silence, check_address, date};
use crate::config::{Config, MailServer, MailSettings, Receiver, Severity, SinkSettings};
use crate::cron::parse_duration;
use crate::device::cut;
use crate::error::{Error, Result};
use crate::lua::api::{CONSOLE, Context, FILE, Func, Phase, Role, func, prelude};
use crate::lua::argument::Argument;
use crate::lua::json;
use crate::lua::objects::ComboAddress;
use crate::lua::options::Options;
use crate::lua::policy::Running;
use crate::shared::Shared;
use crate::store::{bounded, kept_login};

#[rustfmt::skip] // A function has three lines: what it is called with, its help, what it does.
pub static FUNCS: &[Func] = &[
    func!(&[Role::Worker], alert(options: Options),
        "Let people hear of something, once.",
        |lua, cx| raise(lua, cx, &options)),
    func!(FILE, addAlertSink(options: Options),
        "Let a webhook, or somebody by mail, hear of alerts.",
        |_lua, cx| add_sink(&mut cx.config.borrow_mut(), &options)),
    func!(CONSOLE, showAlerts(number: Option<usize>),
        "Show the latest alerts.",
        |_lua, cx| show(&cx.shared, number)),
    func!(CONSOLE, ackAlert(id: usize),
        "Have an alert only counted until it is closed.",
        |_lua, cx| cx.shared.alerts.acknowledge(id as i64).map(|()| format!("alert {id} acknowledged\n"))),
    func!(CONSOLE, closeAlert(id: usize),
        "Close an alert, so that what comes then is another one.",
        |_lua, cx| cx.shared.alerts.close_one(id as i64).map(|()| format!("alert {id} closed\n"))),
    func!(CONSOLE, silence(rule: String, key: String, duration: String),
        "Let nobody hear of a key of a rule for a time.",
        |_lua, cx| silence(&cx.shared, rule, key, &duration)),
    func!(CONSOLE, unsilence(rule: String, key: String),
        "End a silence.",
        |_lua, cx| cx.shared.alerts.unsilence(&rule, &key).map(|()| "silence ended\n")),
    func!(CONSOLE, showSilences(),
        "Show the silences in force.",
        |_lua, cx| Ok(silences(&cx.shared))),
];

/// Bytes of what an alert says.
const RULE: usize = 100;
const KEY: usize = 256;
const SUMMARY: usize = 1000;
const DATA: usize = 4096;

/// Alerts that are shown unless somebody says how many, and at most.
const SHOWN: u32 = 20;
const MOST_SHOWN: usize = 10_000;

/// What may be an address: a ComboAddress, or text.
struct Place(String);

impl<'lua> Argument<'lua> for Place {
    const WANTED: &'static str = "ComboAddress or string";

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        if let Some(address) = ComboAddress::from_value(value.clone(), lua) {
            return Some(Place(address.ip().to_string()));
        }
        String::from_value(value, lua).map(Place)
    }
}

/// Raises an alert, unless the state is only reading the file: each state does. What became of it.
fn raise(lua: &Lua, cx: &Context, options: &Options) -> Result<Option<&'static str>> {
    let policy = cx.stage.running();
    let mut alert = read(lua, options, policy.as_ref(), cx.session.now())?;
    if cx.phase.get() != Phase::Call {
        return Ok(None);
    }
    alert.is_dry = policy.as_ref().is_some_and(|policy| policy.is_dry);
    let rule = alert.rule.clone();
    let outcome = cx.shared.alerts.raise(alert);
    if let Some(policy) = policy {
        policy.count(outcome);
        prelude(lua, "signal")?.call::<_, ()>((rule, options.table()))?;
    }
    Ok(Some(outcome.name()))
}

/// An alert as a policy describes it, whose rule has the name of the policy if it says no other.
fn read(lua: &Lua, options: &Options, policy: Option<&Running>, t: f64) -> Result<Alert> {
    options.allow(&["rule", "key", "severity", "login", "ip", "summary", "data", "realert"])?;
    let rule = match policy {
        Some(policy) => options.get::<Option<String>>("rule")?.unwrap_or_else(|| policy.name.to_string()),
        None => options.get("rule")?,
    };
    if rule.is_empty() || rule.len() > RULE {
        return Err(Error::Refused(format!("rule: 1 to {RULE} bytes expected, got {}", rule.len())));
    }
    let text =
        |name: &str| options.get::<Option<String>>(name).map(|text| text.filter(|text| !text.is_empty()));
    let login = text("login")?.map(|login| kept_login(&login).into_owned());
    let ip = options.get::<Option<Place>>("ip")?.map(|ip| bounded(&ip.0, KEY).into_owned());
    let ip = ip.filter(|ip| !ip.is_empty());
    let key = text("key")?.map(|key| bounded(&key, KEY).into_owned());
    let key = key.or_else(|| login.clone()).or_else(|| ip.clone());
    let data = options.get::<Option<Table>>("data")?;
    let data = data.map(|data| json::object(lua, data, DATA)).transpose();
    let realert = text("realert")?.map(|text| parse_duration(&text)).transpose();
    Ok(Alert {
        rule,
        key: key.ok_or_else(|| Error::Refused("one of key, login and ip expected".into()))?,
        severity: severity(options, "severity", None)?,
        login,
        ip,
        summary: cut(&options.get::<String>("summary")?, SUMMARY).to_owned(),
        data: data.map_err(|e| named("data", &e))?.unwrap_or_default(),
        realert: realert.map_err(|e| named("realert", &e))?.unwrap_or(REALERT),
        t,
        is_dry: false,
    })
}

/// An error with the name of the option.
pub(super) fn named(option: &str, e: &Error) -> Error {
    Error::Refused(format!("{option}: {e}"))
}

fn severity(options: &Options, key: &str, default: Option<Severity>) -> Result<Severity> {
    match (options.get::<Option<String>>(key)?, default) {
        (None, Some(default)) => Ok(default),
        (text, _) => text.unwrap_or_default().parse().map_err(|e| named(key, &e)),
    }
}

/// Sinks at most: each has a thread.
const SINKS: usize = 100;

/// Somebody who hears of alerts. Each of several who get mail is a sink: one of them must not hold up the
/// others.
fn add_sink(config: &mut Config, options: &Options) -> Result<()> {
    options.allow(&["webhook", "smtp", "from", "to", "subject", "min_severity"])?;
    let min_severity = severity(options, "min_severity", Some(Severity::Medium))?;
    let text = |name: &str| options.get::<Option<String>>(name);
    let receivers = match (text("webhook")?, text("smtp")?.map(Zeroizing::new)) {
        (Some(webhook), None) => {
            for other in ["from", "to", "subject"] {
                if !options.get::<Value>(other)?.is_nil() {
                    return Err(Error::Refused(format!("{other}: of a sink with smtp only")));
                }
            }
            vec![Receiver::Webhook(webhook)]
        }
        (None, Some(url)) => {
            let server = MailServer::parse(&url).map_err(|e| named("smtp", &e))?;
            let (from, subject) = (options.get::<String>("from")?, text("subject")?);
            check_address(&from).map_err(|e| named("from", &e))?;
            let subject = subject.unwrap_or_else(|| "trackalert".into());
            recipients(options)?
                .into_iter()
                .map(|to| {
                    check_address(&to).map_err(|e| named("to", &e))?;
                    let (server, from, subject) = (server.clone(), from.clone(), subject.clone());
                    Ok(Receiver::Mail(MailSettings { server, from, to, subject }))
                })
                .collect::<Result<Vec<_>>>()?
        }
        _ => return Err(Error::Refused("one of webhook and smtp expected".into())),
    };
    receivers.into_iter().try_for_each(|receiver| add_receiver(config, receiver, min_severity))
}

/// Adds one that is not there yet.
pub(super) fn add_receiver(config: &mut Config, receiver: Receiver, min_severity: Severity) -> Result<()> {
    let name = receiver.name();
    if config.sinks.iter().any(|sink| sink.receiver.name() == name) {
        return Err(Error::Refused(format!("there is a sink for {name} already")));
    }
    if config.sinks.len() >= SINKS {
        return Err(Error::Refused(format!("there are {SINKS} sinks already")));
    }
    config.sinks.push(SinkSettings { receiver, min_severity });
    Ok(())
}

/// One address, or a list of them.
fn recipients(options: &Options) -> Result<Vec<String>> {
    let to = match options.get::<Value>("to")? {
        Value::Table(_) => options.get::<Vec<String>>("to")?,
        _ => vec![options.get::<String>("to")?],
    };
    if to.is_empty() { Err(Error::Refused("to: is empty".into())) } else { Ok(to) }
}

fn show(shared: &Shared, number: Option<usize>) -> Result<String> {
    let limit = number.map_or(SHOWN, |number| number.min(MOST_SHOWN) as u32);
    let row = |id: &str, state: &str, severity: &str, count: &str, last: &str, rule: &str, key: &str| {
        format!("{id:<8} {state:<12} {severity:<8} {count:>8} {last:<20} {rule:<26} {key}")
    };
    let line = |alert: &Row| {
        let (id, count, last) = (alert.id.to_string(), alert.count.to_string(), date(alert.last));
        let row = row(&id, alert.state.name(), alert.severity.name(), &count, &last, &alert.rule, &alert.key);
        format!("{row}\n         {}\n", alert.summary)
    };
    let alerts = shared.alerts.list(&Filter { limit, ..Filter::default() })?;
    let heading = row("ID", "State", "Severity", "Count", "Last", "Rule", "Key") + "\n";
    Ok(heading + &alerts.iter().map(line).collect::<String>())
}

fn silence(shared: &Shared, rule: String, key: String, duration: &str) -> Result<String> {
    let until = until(duration).map_err(|e| named("duration", &e))?;
    shared.alerts.silence(Silence { rule, key, until }).map(|()| format!("silent until {}\n", date(until)))
}

/// The end of a time that begins now.
fn until(duration: &str) -> Result<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(now.as_secs_f64() + parse_duration(duration)?.as_secs_f64())
}

fn silences(shared: &Shared) -> String {
    let row = |until: &str, rule: &str, key: &str| format!("{until:<20} {rule:<26} {key}\n");
    let silences = shared.alerts.silences();
    let rows = silences.iter().map(|silence| row(&date(silence.until), &silence.rule, &silence.key));
    row("Until", "Rule", "Key") + &rows.collect::<String>()
}

#[cfg(test)]
mod tests;
