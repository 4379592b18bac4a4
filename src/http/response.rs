//! Answers, and how they become bytes: tiny_http writes each one, the answer of a good report is
//! written once a second and copied from then on.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tiny_http::{HTTPVersion, Header, Response, StatusCode};

use crate::http::request::Refusal;

/// What a client is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// Empty for an empty body, which is of no kind: not even JSON.
    kind: &'static str,
    body: Cow<'static, str>,
    headers: Vec<(&'static str, String)>,
}

const JSON: &str = "application/json";
/// Prometheus' text format, version 0.0.4.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OK_BODY: &str = r#"{"status":"ok"}"#;

impl Answer {
    /// What a good report is told.
    pub const OK: Answer = Answer::new(200, JSON, Cow::Borrowed(OK_BODY));
    /// Good, and nothing to say.
    pub const EMPTY: Answer = Answer::new(200, "", Cow::Borrowed(""));

    const fn new(status: u16, kind: &'static str, body: Cow<'static, str>) -> Answer {
        Answer { status, kind, body, headers: Vec::new() }
    }

    pub fn json(status: u16, body: &Value) -> Answer {
        Answer::new(status, JSON, Cow::Owned(body.to_string()))
    }

    pub fn metrics(text: String) -> Answer {
        Answer::new(200, METRICS, Cow::Owned(text))
    }

    /// `{"status":"failure","reason":…}`
    pub fn failure(status: u16, reason: &str) -> Answer {
        Answer::json(status, &json!({ "status": "failure", "reason": reason }))
    }

    /// What a custom endpoint's client is told when there is no answer of the function.
    pub fn endpoint_failure(status: u16, reason: &str) -> Answer {
        Answer::json(status, &json!({ "success": false, "reason": reason }))
    }

    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    fn is_ok_of_report(&self) -> bool {
        matches!(self.body, Cow::Borrowed(OK_BODY))
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Answer {
        Answer::failure(refusal.status, refusal.reason)
    }
}

/// How a request wants to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Manner {
    pub version: HTTPVersion,
    /// Whether the connection may serve another request.
    pub keeps_alive: bool,
    /// Whether the method is HEAD, so that no body is sent.
    pub is_head: bool,
}

impl Manner {
    /// For a request that could not be read.
    pub const CLOSE: Manner = Manner { version: HTTPVersion(1, 1), keeps_alive: false, is_head: false };

    fn is_usual(&self) -> bool {
        self.version == HTTPVersion(1, 1) && self.keeps_alive && !self.is_head
    }
}

/// Writes answers.
#[derive(Default)]
pub struct Printer {
    /// The usual answer of a good report, and when it was written.
    ok: Option<(Instant, Vec<u8>)>,
}

/// How old the `Date` of a copied answer may be.
const FRESH: Duration = Duration::from_secs(1);

impl Printer {
    /// Appends an answer to `out`.
    pub fn print(&mut self, out: &mut Vec<u8>, answer: &Answer, manner: &Manner, now: Instant) {
        if !manner.is_usual() || !answer.is_ok_of_report() {
            return write(out, answer, manner);
        }
        match &self.ok {
            Some((made, bytes)) if now.saturating_duration_since(*made) < FRESH => {
                out.extend_from_slice(bytes)
            }
            _ => {
                let start = out.len();
                write(out, answer, manner);
                self.ok = Some((now, out[start..].to_vec()));
            }
        }
    }
}

fn write(out: &mut Vec<u8>, answer: &Answer, manner: &Manner) {
    let headers = [("Server", "trackalert"), ("Content-Type", answer.kind)];
    let own = answer.headers.iter().map(|(name, value)| (*name, value.as_str()));
    let headers = headers.into_iter().chain(own).filter(|(_, value)| !value.is_empty());
    let headers = headers.filter_map(|(name, value)| Header::from_bytes(name, value).ok());
    let body = answer.body.as_bytes();
    let response = Response::new(StatusCode(answer.status), headers.collect(), body, Some(body.len()), None)
        .with_chunked_threshold(usize::MAX);
    let start = out.len();
    let written = response.raw_print(&mut *out, manner.version.clone(), &[], manner.is_head, None);
    debug_assert!(written.is_ok(), "memory takes everything");
    let connection: &[u8] = match (manner.keeps_alive, manner.version.1) {
        (false, _) => b"Connection: close\r\n",
        (true, 0) => b"Connection: keep-alive\r\n",
        (true, _) => b"",
    };
    // tiny_http leaves this field to its own server, which we don't use.
    if let Some(end) = memchr::memchr(b'\n', &out[start..]) {
        let at = start + end + 1;
        out.splice(at..at, connection.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(answer: &Answer, manner: &Manner) -> String {
        let mut out = Vec::new();
        Printer::default().print(&mut out, answer, manner, Instant::now());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_says_what_becomes_of_the_connection() {
        let usual = Manner { version: HTTPVersion(1, 1), keeps_alive: true, is_head: false };
        for (manner, begins, ends) in [
            (usual.clone(), "HTTP/1.1 200 OK\r\nDate: ", "{\"status\":\"ok\"}"),
            (Manner::CLOSE, "HTTP/1.1 200 OK\r\nConnection: close\r\n", "{\"status\":\"ok\"}"),
            (
                Manner { version: HTTPVersion(1, 0), ..usual.clone() },
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n",
                "{\"status\":\"ok\"}",
            ),
            (Manner { is_head: true, ..usual }, "HTTP/1.1 200 OK\r\n", "Content-Length: 15\r\n\r\n"),
        ] {
            let text = print(&Answer::OK, &manner);
            assert!(text.starts_with(begins), "{text}");
            assert!(text.ends_with(ends), "{text}");
            assert!(text.contains("\r\nContent-Length: 15\r\n") && text.contains("\r\nDate: "), "{text}");
        }
    }

    #[test]
    fn an_empty_answer_is_of_no_kind() {
        let text = print(&Answer::EMPTY, &Manner::CLOSE);
        assert!(text.ends_with("Content-Length: 0\r\n\r\n") && !text.contains("Content-Type"), "{text}");
    }

    #[test]
    fn a_copied_answer_is_as_good_as_a_written_one() {
        let usual = Manner { version: HTTPVersion(1, 1), keeps_alive: true, is_head: false };
        let (mut printer, mut out, now) = (Printer::default(), Vec::new(), Instant::now());
        for step in 0..3 {
            printer.print(&mut out, &Answer::OK, &usual, now + FRESH * step / 2);
        }
        let text = String::from_utf8(out).unwrap();
        let third = text.len() / 3;
        let is_date = |line: &&str| !line.starts_with("Date");
        let answers = [&text[..third], &text[third..2 * third], &text[2 * third..]];
        let answers = answers.map(|answer| answer.lines().filter(is_date).collect::<Vec<_>>());
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[1], answers[2]);
        assert_eq!(answers[0][0], "HTTP/1.1 200 OK");
    }

    #[test]
    fn reasons_are_valid_json() {
        let text = print(&Answer::failure(400, "a \"quoted\"\nline"), &Manner::CLOSE);
        let body: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(body["reason"], "a \"quoted\"\nline");
    }
}
