//! One delivery: a POST with the headers that wforce's webhooks have.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use chrono::Utc;
use secrecy::ExposeSecret;
use serde::de::IgnoredAny;
use ureq::http::Request;
use ureq::http::header::{HeaderName, HeaderValue};

use crate::net::crypto;
use crate::outbound;
use crate::webhook::Settings;
use crate::webhook::hook::Hook;

/// Bytes of bodies that there may be at a time: some are large, and the queue is long.
const MAX_BYTES: usize = 256 << 20;

/// What is sent. While it is there, its bytes count.
pub struct Body {
    bytes: Vec<u8>,
    total: Arc<AtomicUsize>,
}

impl Body {
    /// A body, if there is room for it in `total`.
    pub fn new(bytes: Vec<u8>, total: &Arc<AtomicUsize>) -> Option<Body> {
        let body = Body { bytes, total: total.clone() };
        let before = total.fetch_add(body.bytes.len(), Ordering::Relaxed);
        (before + body.bytes.len() <= MAX_BYTES).then_some(body)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// Something to deliver.
pub struct Delivery {
    pub hook: Arc<Hook>,
    body: Body,
    /// Unique, and the same at every attempt: a receiver can tell that it has seen it.
    id: String,
    /// Attempts that have failed.
    pub failures: u32,
}

/// Why an attempt has failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The receiver has answered with this status.
    Status(u16),
    /// It has not answered, for this reason.
    NoAnswer(String),
    /// There can be no request, for this reason.
    NoRequest(String),
}

impl Failure {
    /// Whether another attempt may go better.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Failure::NoRequest(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Status(status) => write!(f, "status {status}"),
            Failure::NoAnswer(cause) | Failure::NoRequest(cause) => f.write_str(cause),
        }
    }
}

impl Delivery {
    pub fn new(hook: Arc<Hook>, body: Body) -> Delivery {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unique = format!("{} {} {number} {} {}", now.as_nanos(), std::process::id(), hook.id, hook.name);
        Delivery { id: crypto::hash(unique.as_bytes()), hook, body, failures: 0 }
    }

    /// Makes an attempt.
    pub fn post(&self) -> Result<(), Failure> {
        self.hook.post(&self.id, &self.body.bytes)
    }
}

impl Hook {
    /// Makes one attempt to deliver `body`, and counts it; `id` is what the receiver knows the delivery by.
    pub fn attempt(&self, id: &str, body: &[u8]) -> Result<(), Failure> {
        let result = self.post(id, body);
        if result.is_ok() {
            self.successes.inc()
        } else {
            self.failures.inc()
        }
        result
    }

    /// Posts `body`. Any status from 200 to 299 is success.
    fn post(&self, id: &str, body: &[u8]) -> Result<(), Failure> {
        let body = if self.is_kafka { wrap(body)? } else { Cow::from(body) };
        let no_request = || Failure::NoRequest("the request can't be made".into());
        let Settings { client, timeout } = self.settings.get().ok_or_else(no_request)?.as_ref();
        let uri = self.url.on(Utc::now().date_naive()).ok_or_else(no_request)?;
        let mut request = Request::post(uri).body(&body[..]).map_err(|_| no_request())?;
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        let mut insert = |name, value: &str| -> Result<(), Failure> {
            let value = HeaderValue::from_str(value).map_err(|_| no_request())?;
            headers.insert(HeaderName::from_static(name), value);
            Ok(())
        };
        insert("x-wforce-delivery", id)?;
        if let Some(secret) = &self.secret {
            insert("x-wforce-signature", &crypto::sign(secret.expose_secret(), &body))?;
        }
        let answer = client.send(&request, self.timeout.unwrap_or(*timeout));
        let answer = answer.map_err(|e| Failure::NoAnswer(e.to_string()))?;
        let status = answer.status();
        outbound::finish(answer);
        if status.is_success() { Ok(()) } else { Err(Failure::Status(status.as_u16())) }
    }
}

/// A body as Kafka's REST proxy wants it: JSON that has no records becomes the value of one.
fn wrap(body: &[u8]) -> Result<Cow<'_, [u8]>, Failure> {
    let bad = |e: &dyn std::fmt::Display| Failure::NoRequest(format!("not JSON, which kafka needs: {e}"));
    let text = str::from_utf8(body).map_err(|e| bad(&e))?;
    let has_records = if text.trim_start().starts_with('{') {
        let members: HashMap<Cow<str>, IgnoredAny> = serde_json::from_str(text).map_err(|e| bad(&e))?;
        members.contains_key("records")
    } else {
        serde_json::from_str::<IgnoredAny>(text).map_err(|e| bad(&e))?;
        false
    };
    if has_records {
        return Ok(Cow::from(body));
    }
    Ok(Cow::from([&b"{\"records\":[{\"value\":"[..], body, b"}]}"].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafka_gets_records() {
        for (body, expected) in [
            (r#"{ "foo":"bar" }"#, r#"{"records":[{"value":{ "foo":"bar" }}]}"#),
            ("[1, 2.50]", r#"{"records":[{"value":[1, 2.50]}]}"#),
            ("null", r#"{"records":[{"value":null}]}"#),
            (r#"{"records":[]}"#, r#"{"records":[]}"#),
            (r#" {"a":{"records":1}}"#, r#"{"records":[{"value": {"a":{"records":1}}}]}"#),
            (r#"{"\u0072ecords":1}"#, r#"{"\u0072ecords":1}"#),
        ] {
            assert_eq!(wrap(body.as_bytes()).as_deref(), Ok(expected.as_bytes()), "{body}");
        }
        for body in [&b""[..], b"foo", b"{\"a\":", b"{} {}", b"\"\xff\"", b"{\"a\":\"\xff\"}"] {
            let Err(Failure::NoRequest(cause)) = wrap(body) else { panic!("{body:?}") };
            assert!(cause.starts_with("not JSON, which kafka needs: "), "{cause}");
        }
    }
}
