//! What a client says of itself, as attributes that a policy can compare: `os.family`, `os.major` and
//! so on. How that is read depends on the protocol of the login: User-Agents by patterns, the IDs of
//! IMAP clients and the strings of mobile apps by their form. What of it tells devices apart is in
//! `identity`.

mod cache;
mod filter;
mod identity;
mod imap;
mod mobile;
mod uap;

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;

use cache::Cache;

pub use identity::identity;
pub use uap::Patterns;

/// Names, sorted, each with what is known: as `login::LoginTuple` holds them.
pub type Attributes = BTreeMap<CompactString, CompactString>;

/// Bytes of a User-Agent that are looked at. Of 30 000 real ones none is longer, and one that is made
/// to keep the patterns busy must not succeed.
pub const LONGEST: usize = 512;

/// Parses what clients say of themselves.
#[derive(Default)]
pub struct Devices {
    patterns: Option<Patterns>,
    cache: Cache,
    nothing: Arc<Attributes>,
}

impl Devices {
    /// Without patterns, nothing is known of User-Agents.
    pub fn new(patterns: Option<Patterns>) -> Devices {
        Devices { patterns, ..Devices::default() }
    }

    /// Whether there are patterns for User-Agents.
    pub fn has_patterns(&self) -> bool {
        self.patterns.is_some()
    }

    /// Compiles the patterns, which is otherwise done when the first of them is needed.
    pub fn compile(&self) {
        self.patterns.iter().for_each(Patterns::compile);
    }

    /// What is known of a client that used `protocol`.
    pub fn parse(&self, protocol: &str, device_id: &str) -> Arc<Attributes> {
        let is = |name| protocol.eq_ignore_ascii_case(name);
        if is("http") || is("https") {
            self.user_agent(device_id)
        } else if is("imap") || is("imaps") {
            // Half a microsecond, as for an app: a cache would save nothing that is worth its lock.
            Arc::new(imap::parse(device_id))
        } else if is("mobileapi") {
            Arc::new(mobile::parse(device_id))
        } else {
            self.nothing.clone()
        }
    }

    fn user_agent(&self, text: &str) -> Arc<Attributes> {
        let Some(patterns) = &self.patterns else { return self.nothing.clone() };
        let text = cut(text, LONGEST);
        self.cache.get_or_parse(text, || patterns.parse(text))
    }
}

/// The beginning of a text: at most so many bytes, without a part of a letter.
pub fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The first two numbers of a version: "10" and "12" of "10.12 (16A323)". A build such as "14E304"
/// has none.
fn version(text: &str) -> (&str, &str) {
    let (major, rest) = split_number(text.trim_start());
    if major.is_empty() || rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
        return ("", "");
    }
    let (minor, _) = rest.strip_prefix('.').map_or(("", ""), split_number);
    (major, minor)
}

/// The digits that a text begins with, and the rest.
fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_says_how_a_device_is_read() {
        let devices = Devices::new(Some(Patterns::example()));
        let agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/133.0";
        let id = r#""name" "Mail" "version" "1.2""#;
        let app = "OpenXchange.iOS.Mail/1.0.3 (OS: 10.0.3; device: iPhone)";
        for (protocol, text, name, value) in [
            ("http", agent, "browser.family", "Firefox"),
            ("HTTPS", agent, "browser.major", "133"),
            ("imap", id, "imapc.family", "Mail"),
            ("Imaps", id, "imapc.major", "1"),
            ("mobileapi", app, "device.family", "iPhone"),
            ("MobileAPI", app, "app.name", "Mail"),
            // What one protocol makes of a text says nothing about another.
            ("http", id, "browser.family", "Other"),
            ("imap", agent, "imapc.family", ""),
            ("http", app, "browser.family", "Other"),
            ("mobileapi", id, "app.name", ""),
        ] {
            for _ in 0..2 {
                assert_eq!(devices.parse(protocol, text)[name], value, "{protocol} {text}");
            }
        }
        for protocol in ["", "pop3", "smtp", "http2", "ima", "imap "] {
            assert!(devices.parse(protocol, agent).is_empty(), "{protocol}");
        }
    }

    #[test]
    fn without_patterns_nothing_is_known_of_browsers() {
        let devices = Devices::default();
        assert!(devices.parse("http", "Firefox/133.0").is_empty());
        assert_eq!(devices.parse("imap", r#""name" "x""#)["imapc.family"], "x");
    }

    #[test]
    fn a_version_has_two_numbers() {
        for (text, expected) in [
            ("10.12 (16A323)", ("10", "12")),
            ("1.2.3", ("1", "2")),
            (" 9.1 ", ("9", "1")),
            ("100.200.300.400", ("100", "200")),
            ("01.02", ("01", "02")),
            ("7.0; NRD90M", ("7", "0")),
            ("4.9-rc1", ("4", "9")),
            ("9.1a2", ("9", "1")),
            ("1.2_3", ("1", "2")),
            ("1", ("1", "")),
            ("1 (5)", ("1", "")),
            ("9.", ("9", "")),
            ("9.x", ("9", "")),
            ("14E304", ("", "")),
            ("10_1", ("", "")),
            ("v1.2", ("", "")),
            (".5", ("", "")),
            ("a 1.2", ("", "")),
            ("", ("", "")),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }

    #[test]
    fn a_long_user_agent_is_cut_between_letters() {
        for (text, length) in [
            (String::new(), 0),
            ("é".into(), 2),
            ("x".repeat(LONGEST), LONGEST),
            ("x".repeat(LONGEST + 1), LONGEST),
            ("x".to_owned() + &"é".repeat(LONGEST), LONGEST - 1),
        ] {
            assert_eq!(cut(&text, LONGEST).len(), length);
        }
        let devices = Devices::new(Some(Patterns::example()));
        let far = "x".repeat(LONGEST) + " Firefox/1.0";
        assert_eq!(devices.parse("http", &far)["browser.family"], "Other");
        assert_eq!(devices.parse("http", &far[100..])["browser.family"], "Firefox");
    }

    #[test]
    fn no_text_is_too_odd() {
        let devices = Devices::new(Some(Patterns::example()));
        let mut seed = 1_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let pieces = [
            "\"", "\\", "(", ")", ";", ":", "/", ".", " ", "name", "NIL", "OS", "Firefox/", "1", "é",
            "\u{fffd}", "\0",
        ];
        for round in 0..2000 {
            let text: String = match round % 2 {
                0 => (0..random() % 40).map(|_| pieces[random() as usize % pieces.len()]).collect(),
                _ => String::from_utf8_lossy(&random().to_le_bytes().repeat(1 + random() as usize % 100))
                    .into_owned(),
            };
            for (protocol, names) in [("http", 9), ("imap", 6), ("mobileapi", 8)] {
                assert_eq!(devices.parse(protocol, &text).len(), names, "{protocol} {text:?}");
            }
        }
        for piece in pieces {
            let long = piece.repeat(100_000);
            for protocol in ["http", "imap", "mobileapi"] {
                devices.parse(protocol, &long);
            }
        }
    }
}
