//! What the configuration says of a wforce that is to refuse the sources of alerts. Which of them it is told
//! is up to `alert`.

use std::collections::BTreeSet;
use std::time::Duration;

use secrecy::SecretString;

use crate::error::{Error, Result};
use crate::outbound::{is_https, split_user};

/// A wforce whose blocklist gets entries.
#[derive(Clone, Debug)]
pub struct WforceSettings {
    /// Of its web server, without a slash at the end.
    pub url: String,
    pub password: SecretString,
    /// How long an entry is there.
    pub expire: Duration,
    /// Entries within an hour.
    pub max_per_hour: u32,
    /// The rules whose alerts count.
    pub rules: BTreeSet<String>,
    /// Whether loopback and private addresses can be blocked.
    pub is_private: bool,
}

impl WforceSettings {
    /// Reads `http://host:port`, with a path in front of what wforce has there if there is one.
    pub fn parse_url(text: &str) -> Result<String> {
        // It may hold a password, so the message does not hold it.
        let bad = || Error::Refused("http or https URL without a user and a query expected".into());
        let (text, user) = split_user(text).ok_or_else(bad)?;
        let uri = text.parse().ok();
        let is_plain = user.is_none() && !text.contains(['?', '#']);
        uri.filter(|uri| is_plain && is_https(uri).is_some()).ok_or_else(bad)?;
        Ok(text.trim_end_matches('/').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_no_user_and_no_query() {
        for (text, expected) in [
            ("http://127.0.0.1:8084", "http://127.0.0.1:8084"),
            ("https://wforce.example.com/", "https://wforce.example.com"),
            ("http://[2001:db8::1]:8084/wforce/", "http://[2001:db8::1]:8084/wforce"),
        ] {
            assert_eq!(WforceSettings::parse_url(text).unwrap(), expected);
        }
        for text in [
            "",
            "127.0.0.1:8084",
            "ftp://wforce.example.com",
            "http://u:secret@wforce.example.com",
            "http://wforce.example.com/?command=secret",
            "http://wforce.example.com/#secret",
            "http://wforce.example.com:secret",
        ] {
            let error = WforceSettings::parse_url(text).unwrap_err().to_string();
            assert_eq!(error, "http or https URL without a user and a query expected", "{text}");
        }
    }
}
