//! The URL of a hook: macros for the date in it, and without the credentials that it may hold.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDate;
use secrecy::zeroize::Zeroizing;
use ureq::http::Uri;

use crate::error::{Error, Result};
use crate::outbound::{User, is_https, split_user};

/// The URL of a hook, without a user and a password.
#[derive(PartialEq, Eq)]
pub struct Url {
    text: String,
    pub is_https: bool,
}

impl Url {
    /// Reads a URL. What stands before an `@` in it comes back apart, as basic authentication has it.
    pub fn parse(text: &str) -> Result<(Url, Option<Zeroizing<String>>)> {
        // The URL may hold secrets, so the message does not hold the URL.
        let bad = || Error::Refused("url: not an http or https URL".into());
        let (text, user) = split_user(text).ok_or_else(bad)?;
        let mut url = Url { text, is_https: false };
        url.is_https = url.on(NaiveDate::default()).as_ref().and_then(is_https).ok_or_else(bad)?;
        Ok((url, user.as_ref().map(credentials)))
    }

    /// The URL with the macros of a date replaced; other macros stay as they are.
    pub fn on(&self, date: NaiveDate) -> Option<Uri> {
        if !self.text.contains("%{") {
            return self.text.parse().ok();
        }
        [("%{YYYY}", "%Y"), ("%{MM}", "%m"), ("%{dd}", "%d")]
            .iter()
            .fold(self.text.clone(), |text, (name, format)| {
                text.replace(name, &date.format(format).to_string())
            })
            .parse()
            .ok()
    }

    /// The URL for logs and metrics: without its query, in which many receivers want a key.
    pub fn public(&self) -> String {
        match self.text.find(['?', '#']) {
            Some(at) if self.text[at..].starts_with('?') => format!("{}?...", &self.text[..at]),
            Some(at) => self.text[..at].to_owned(),
            None => self.text.clone(),
        }
    }
}

/// A query may hold a key.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Url").field(&self.public()).finish()
    }
}

/// Basic credentials of the user of a URL.
fn credentials(user: &User) -> Zeroizing<String> {
    let pair = Zeroizing::new([&user.name[..], b":", &user.password].concat());
    Zeroizing::new(STANDARD.encode(&pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_become_the_date_and_others_stay() {
        let date = NaiveDate::from_ymd_opt(2026, 1, 9).unwrap();
        for (text, expected) in [
            ("http://example.com/", "http://example.com/"),
            (
                "http://example.com/m/%{YYYY}/%{MM}/%{dd}?d=%{YYYY}-%{MM}-%{dd}&x=%{foo}&y=%{yyyy}",
                "http://example.com/m/2026/01/09?d=2026-01-09&x=%{foo}&y=%{yyyy}",
            ),
            ("https://%{YYYY}.example.com/a%20b", "https://2026.example.com/a%20b"),
        ] {
            let (url, _) = Url::parse(text).unwrap();
            assert_eq!(url.on(date).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn credentials_are_taken_out() {
        for (text, public, credentials) in [
            ("http://u:p@example.com/a", "http://example.com/a", Some("dTpw")),
            ("http://u@example.com", "http://example.com", Some("dTo=")),
            ("http://a%40b:%3a%zz@[2001:db8::1]:80/", "http://[2001:db8::1]:80/", Some("YUBiOjoleno=")),
            ("http://example.com/a@b", "http://example.com/a@b", None),
            ("http://example.com/a?key=secret", "http://example.com/a?...", None),
            ("http://example.com/a#part", "http://example.com/a", None),
            ("http://example.com/%{YYYY}", "http://example.com/%{YYYY}", None),
        ] {
            let (url, found) = Url::parse(text).unwrap();
            assert_eq!(
                (url.public().as_str(), found.as_ref().map(|text| text.as_str())),
                (public, credentials),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_url_of_a_web_server_is_refused() {
        for text in [
            "",
            "example.com",
            "/path",
            "ftp://example.com/",
            "http://",
            "http:///path",
            "http://u:p@/",
            "http://exa mple.com/",
            "http://example.com/a b",
            "http://example.com/\r\nX-Injected: 1",
            "http://example.com:port/",
        ] {
            let error = Url::parse(text).unwrap_err();
            assert_eq!(error.to_string(), "url: not an http or https URL", "{text:?}");
        }
        assert!(Url::parse("HTTPS://example.com").unwrap().0.is_https);
    }
}
