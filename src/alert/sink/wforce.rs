//! Sources of alerts on the blocklist of a wforce, and off it again when an alert is closed. Whom that
//! must not happen to is decided in `guard`, and what is on the list is remembered in `blocked`.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use log::Level;
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use serde_json::{Map, Value, json};
use ureq::http::Request;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};

use crate::alert::blocked::{self, Entered, Entry};
use crate::alert::courier::{Office, clock};
use crate::alert::guard;
use crate::alert::outbox::{Parcel, TAKE_BACK};
use crate::alert::sink::{Failure, concerns_message};
use crate::config::WforceSettings;
use crate::error::{Error, Result};
use crate::logger::{self, notice};
use crate::outbound::{Client, Tls};
use crate::store::Egress;
use crate::store::query::Source;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read.
const MOST: u64 = 64 << 10;

/// How often it is logged that there are too many entries.
const INTERVAL: Duration = Duration::from_secs(3600);

type Attempt<T> = std::result::Result<T, Failure>;

/// The blocklist of a wforce.
pub struct Blocklist {
    sink: Arc<str>,
    wforce: WforceSettings,
    client: Client,
    credentials: HeaderValue,
    egress: Arc<Egress>,
}

impl Blocklist {
    /// `sink` is what the outbox knows it by. Reads the system's certificates if they are needed.
    pub fn new(sink: Arc<str>, wforce: &WforceSettings, tls: &Tls, egress: Arc<Egress>) -> Result<Blocklist> {
        let client = Client::new(wforce.url.starts_with("https:").then_some(tls), 1)?;
        let pair = Zeroizing::new(format!("trackalert:{}", wforce.password.expose_secret()));
        let field = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        let mut credentials = HeaderValue::from_str(&field).map_err(|e| Error::Refused(e.to_string()))?;
        credentials.set_sensitive(true);
        Ok(Blocklist { sink, wforce: wforce.clone(), client, credentials, egress })
    }

    /// Whether it is meant for alerts of a rule.
    pub fn has_rule(&self, rule: &str) -> bool {
        self.wforce.rules.contains(rule)
    }

    /// Makes one attempt to put the source of an alert on the list, unless it is to be left alone, or to
    /// take it off again.
    pub fn deliver(&self, parcel: &Parcel, office: &Office) -> Attempt<()> {
        let body = parcel.json();
        match body["type"].as_str() {
            Some(TAKE_BACK) => self.take_back(body["id"].as_i64().unwrap_or_default(), office),
            _ => self.put(parcel, &body, office),
        }
    }

    fn put(&self, parcel: &Parcel, alert: &Value, office: &Office) -> Attempt<()> {
        let now = clock();
        let source = guard::source(alert)
            .and_then(|source| guard::check(source, &self.egress, self.wforce.is_private).map(|()| source));
        let source = match source {
            Ok(source) => source,
            Err(spared) => return self.leave_alone(alert, &spared.to_string()),
        };
        // An alert that has waited for long is no reason to block for longer.
        let expire = self.wforce.expire.as_secs_f64();
        let left = (parcel.at + expire - now).min(expire);
        if left < 1.0 {
            return self.leave_alone(alert, "it would have expired");
        }
        let (id, until) = (alert["id"].as_i64().unwrap_or_default(), now + left);
        let (sink, name) = (self.sink.clone(), name(source));
        let entry = Entry { id: parcel.id, sink, alert: id, source: name.clone(), at: now, until };
        match enter(office, entry, self.wforce.max_per_hour)? {
            Entered::Yes => {}
            Entered::Closed => return self.leave_alone(alert, "the alert is closed"),
            Entered::TooMany => {
                self.complain(office);
                return self.leave_alone(alert, "max_per_hour is reached");
            }
        }
        let rule = alert["rule"].as_str().unwrap_or_default();
        let seconds = left.ceil() as u64;
        let mut body = key(source);
        body.insert("expire_secs".into(), json!(seconds));
        body.insert("reason".into(), json!(format!("trackalert: alert {id}: {rule}")));
        self.post("addBLEntry", body)?;
        self.log(
            "blocklist entry",
            id,
            &[("rule", rule), ("source", &name), ("expire_secs", &seconds.to_string())],
        );
        Ok(())
    }

    /// Takes the source of an alert off the list, unless another alert wants it there.
    fn take_back(&self, id: i64, office: &Office) -> Attempt<()> {
        let now = clock();
        let found = office.archive.read(|file| blocked::sources(file, &self.sink, id, now));
        for (name, other) in found.map_err(unwritten)? {
            if other.is_none()
                && let Some(source) = source(&name)
            {
                self.post("delBLEntry", key(source))?;
            }
            let (sink, ended) = (self.sink.clone(), name.clone());
            let end = move |file: &rusqlite::Connection| blocked::end(file, &sink, id, &ended, now);
            office.archive.change(end).map_err(unwritten)?;
            match other {
                None => self.log("blocklist entry removed", id, &[("source", &name)]),
                Some(other) => {
                    let other = format!("alert {other} wants it");
                    self.log("blocklist entry stays", id, &[("source", &name), ("cause", &other)]);
                }
            }
        }
        Ok(())
    }

    /// Says why there is no entry.
    fn leave_alone(&self, alert: &Value, cause: &str) -> Attempt<()> {
        let text = |name: &str| alert[name].as_str().unwrap_or_default();
        let id = alert["id"].as_i64().unwrap_or_default();
        self.log("no blocklist entry", id, &[("rule", text("rule")), ("ip", text("ip")), ("cause", cause)]);
        Ok(())
    }

    fn log(&self, what: &str, id: i64, fields: &[(&str, &str)]) {
        let id = id.to_string();
        let fields = [fields, &[("alert", &id), ("sink", &self.sink)]].concat();
        notice!("{}", logger::line(what, &fields));
    }

    /// Says once an hour that there are too many entries.
    fn complain(&self, office: &Office) {
        let most = self.wforce.max_per_hour.to_string();
        let fields = [("sink", &*self.sink), ("max_per_hour", &most)];
        let line =
            logger::line("sources of alerts are not blocked: there are too many within an hour", &fields);
        office.complaints.log(format!("{} is full", self.sink), Level::Warn, INTERVAL, line, Instant::now());
    }

    /// Has wforce do something.
    fn post(&self, command: &str, body: Map<String, Value>) -> Attempt<()> {
        let body = Value::Object(body).to_string();
        let request = Request::post(format!("{}/?command={command}", self.wforce.url)).body(body.as_bytes());
        let mut request = request.map_err(|_| Failure::Message("the request can't be made".into()))?;
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.credentials.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = self.client.send(&request, TIMEOUT).map_err(|e| Failure::Receiver(e.to_string()))?;
        let (status, mut said) = (answer.status().as_u16(), Vec::new());
        // What can't be read is no answer of wforce.
        let _ = answer.into_body().into_reader().take(MOST).read_to_end(&mut said);
        judge(status, &said)
    }
}

/// Remembers an entry before it is put.
fn enter(office: &Office, entry: Entry, most: u32) -> Attempt<Entered> {
    let entered = Arc::new(Mutex::new(Entered::Closed));
    let theirs = entered.clone();
    let work = move |file: &rusqlite::Connection| {
        *theirs.lock() = blocked::enter(file, &entry, most)?;
        Ok(())
    };
    office.archive.change(work).map_err(unwritten)?;
    let entered = *entered.lock();
    Ok(entered)
}

/// Nothing is put that can't be remembered.
fn unwritten(e: Error) -> Failure {
    Failure::Receiver(e.to_string())
}

/// The name of a source, and the source of a name.
fn name(source: Source) -> String {
    match source {
        Source::Ip(ip) => ip.to_string(),
        Source::Net(net) => net.to_string(),
    }
}

fn source(name: &str) -> Option<Source> {
    let net = |name: &str| name.parse().ok().map(Source::Net);
    name.parse().ok().map(Source::Ip).or_else(|| net(name))
}

/// What wforce calls it.
fn key(source: Source) -> Map<String, Value> {
    let word = if matches!(source, Source::Ip(_)) { "ip" } else { "netmask" };
    Map::from_iter([(word.to_owned(), json!(name(source)))])
}

/// What an answer means. A wforce that refuses something says so with status 500.
fn judge(status: u16, body: &[u8]) -> Attempt<()> {
    let said = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let cause = format!("status {status}");
    match (status, said["status"].as_str()) {
        (200..300, Some("ok")) => Ok(()),
        (401 | 403, _) => Err(Failure::Receiver(cause)),
        (200..300 | 500, Some("failure")) => Err(Failure::Message(format!("wforce refuses it, {cause}"))),
        (200..300, _) => Err(Failure::Receiver(format!("no answer of wforce, {cause}"))),
        (status, _) if concerns_message(status) => Err(Failure::Message(cause)),
        _ => Err(Failure::Receiver(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_judged_by_its_status_and_what_it_says() {
        let message = |cause: &str| Err(Failure::Message(cause.into()));
        let receiver = |cause: &str| Err(Failure::Receiver(cause.into()));
        for (status, body, expected) in [
            (200, r#"{"status":"ok"}"#, Ok(())),
            (200, r#"{"status":"failure"}"#, message("wforce refuses it, status 200")),
            (200, "<html>", receiver("no answer of wforce, status 200")),
            (204, "", receiver("no answer of wforce, status 204")),
            (302, "", receiver("status 302")),
            (401, r#"{"status":"failure", "reason":"Unauthorized"}"#, receiver("status 401")),
            (404, "", message("status 404")),
            (429, "", receiver("status 429")),
            (500, r#"{"status":"failure"}"#, message("wforce refuses it, status 500")),
            (500, "oops", receiver("status 500")),
            (503, r#"{"status":"failure"}"#, receiver("status 503")),
        ] {
            assert_eq!(judge(status, body.as_bytes()), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_source_is_an_ip_or_a_netmask_for_wforce() {
        for (text, expected) in
            [("192.0.2.1", r#"{"ip":"192.0.2.1"}"#), ("2001:db8::/64", r#"{"netmask":"2001:db8::/64"}"#)]
        {
            let source = source(text).unwrap();
            assert_eq!(
                (Value::Object(key(source)).to_string(), name(source)),
                (expected.into(), text.into())
            );
        }
        assert_eq!(source("somewhere"), None);
    }
}
