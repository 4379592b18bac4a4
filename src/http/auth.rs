//! Basic authentication (RFC 7617). The user name is ignored.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use parking_lot::Mutex;
use secrecy::zeroize::Zeroizing;

use crate::net::crypto::is_same;

/// What a browser is asked for.
pub const CHALLENGE: &str = "basic realm=\"wforce\"";

/// Base64 whether or not its padding was left out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether an `Authorization` field holds the password: everything after the first colon.
pub fn is_authorized(field: Option<&[u8]>, password: Option<&str>) -> bool {
    let (Some(field), Some(password)) = (field, password) else { return false };
    let Some(given) = credentials(field) else { return false };
    let Some(colon) = memchr::memchr(b':', &given) else { return false };
    is_same(&given[colon + 1..], password.as_bytes())
}

/// The user's name, a colon and the password.
fn credentials(field: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, credentials) = field.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    BASE64.decode(credentials.trim_ascii()).ok().map(Zeroizing::new)
}

/// How often failures of one address are logged.
const INTERVAL: Duration = Duration::from_secs(10);

/// Addresses whose failures are remembered.
const MAX_ADDRESSES: usize = 10_000;

/// How often those that are remembered for nothing are looked for.
const PRUNE: Duration = Duration::from_secs(1);

/// Logs failures: a line for each address in [`INTERVAL`], so that guessing does not fill the log.
#[derive(Default)]
pub struct FailureLog(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    /// When a failure of each address was logged last.
    logged: HashMap<IpAddr, Instant>,
    pruned: Option<Instant>,
}

impl FailureLog {
    pub fn log(&self, path: &str, peer: SocketAddr, now: Instant) {
        if self.0.lock().is_due(peer.ip(), now) {
            log::warn!("WforceWebserver: HTTP(S) Request \"{path}\" from {peer}: Web Authentication failed");
        }
    }
}

impl Memory {
    fn is_due(&mut self, ip: IpAddr, now: Instant) -> bool {
        let is_past = |then: &Instant, time| now.saturating_duration_since(*then) >= time;
        if self.logged.len() >= MAX_ADDRESSES && self.pruned.is_none_or(|then| is_past(&then, PRUNE)) {
            self.pruned = Some(now);
            self.logged.retain(|_, then| !is_past(then, INTERVAL));
        }
        let is_due = match self.logged.get(&ip) {
            Some(then) => is_past(then, INTERVAL),
            None => self.logged.len() < MAX_ADDRESSES,
        };
        if is_due {
            self.logged.insert(ip, now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_what_follows_the_first_colon() {
        for (field, password, expected) in [
            ("Basic d2ZvcmNlOnN1cGVy", Some("super"), true),
            ("BASIC d2ZvcmNlOnN1cGVy", Some("super"), true),
            ("Basic  d2ZvcmNlOnN1cGVy ", Some("super"), true),
            ("Basic OnN1cGVy", Some("super"), true),
            ("Basic dTpzdTpwZXI=", Some("su:per"), true),
            ("Basic dTpzdTpwZXI", Some("su:per"), true),
            ("Basic d2ZvcmNlOnN1cGVyAA==", Some("super"), false),
            ("Basic d2ZvcmNlOnN1cGVy", Some("Super"), false),
            ("Basic d2ZvcmNlOnN1cGVy", None, false),
            ("Basic d2ZvcmNlc3VwZXI=", Some("wforcesuper"), false),
            ("Bearer d2ZvcmNlOnN1cGVy", Some("super"), false),
            ("Basic", Some("super"), false),
            ("Basic !", Some("super"), false),
            ("", Some(""), false),
        ] {
            assert_eq!(is_authorized(Some(field.as_bytes()), password), expected, "{field} {password:?}");
        }
        assert!(!is_authorized(None, Some("")));
    }

    #[test]
    fn failures_of_an_address_are_logged_now_and_then() {
        let (mut log, now) = (Memory::default(), Instant::now());
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        for (ip, seconds, expected) in
            [(one, 0, true), (one, 9, false), (other, 9, true), (one, 10, true), (one, 11, false)]
        {
            assert_eq!(log.is_due(ip, now + Duration::from_secs(seconds)), expected, "{ip} {seconds}");
        }
    }

    #[test]
    fn the_memory_of_failures_has_an_end() {
        let (mut log, now) = (Memory::default(), Instant::now());
        let ip = |number: usize| IpAddr::from((number as u128).to_be_bytes());
        let logged = (0..2 * MAX_ADDRESSES).filter(|number| log.is_due(ip(*number), now)).count();
        assert_eq!(logged, MAX_ADDRESSES);
        assert!(log.is_due(ip(usize::MAX), now + INTERVAL), "room again");
    }
}
