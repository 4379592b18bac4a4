//! What the configuration says of the report store, as plain data with its defaults. What is kept there
//! and how is up to `store`.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, Result};
use crate::outbound::{User, is_https, split_user};

/// The report store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreSettings {
    pub place: StorePlace,
    /// Days that every report is kept.
    pub raw_days: u32,
    /// Days that what is known of a login is kept after its last report.
    pub profile_days: u32,
    /// Whether the answer to a report means that it is on disk.
    pub durable: bool,
    /// Bits of an address that make its network.
    pub net4: u8,
    pub net6: u8,
    /// The names of the databases that say where an address is, and in which autonomous system.
    pub geo: Option<String>,
    pub asn: Option<String>,
    /// How long reports are gathered to be committed together, and how many.
    pub commit: Duration,
    pub commit_rows: usize,
}

/// Where the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// In a file of SQLite; the path is absolute.
    File(PathBuf),
    ClickHouse(ClickHouse),
}

/// A database of a ClickHouse server.
#[derive(Clone, Debug)]
pub struct ClickHouse {
    /// The server, `http://host:port`.
    pub url: String,
    pub database: String,
    pub user: Option<String>,
    pub password: SecretString,
    /// The file of reports that the server does not have yet.
    pub spool: PathBuf,
}

/// The spool, if the configuration does not say another one.
const SPOOL: &str = "/var/lib/trackalert/spool.db";

impl StoreSettings {
    pub fn new(place: StorePlace) -> StoreSettings {
        StoreSettings {
            place,
            raw_days: 30,
            profile_days: 180,
            durable: true,
            net4: 24,
            net6: 64,
            geo: None,
            asn: None,
            commit: Duration::from_millis(10),
            commit_rows: 2000,
        }
    }
}

impl ClickHouse {
    /// Reads `http://user:password@host:port/database`, of which the scheme and the host must be there.
    pub fn parse(text: &str) -> Result<ClickHouse> {
        // The URL may hold a password, so the message does not hold the URL.
        let bad = || Error::Refused("http or https URL of a server and a database expected".into());
        let (text, user) = split_user(text).ok_or_else(bad)?;
        let uri = text.parse().ok().filter(|uri| is_https(uri).is_some()).ok_or_else(bad)?;
        let database = match uri.path().trim_start_matches('/') {
            "" => "default",
            name => name,
        };
        // What needs no quotes in a statement.
        let is_plain = database.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_plain || text.contains(['?', '#']) {
            return Err(bad());
        }
        let (scheme, authority) = (uri.scheme_str(), uri.authority());
        let (scheme, authority) = scheme.zip(authority).ok_or_else(bad)?;
        let url = format!("{scheme}://{authority}");
        let (user, password) = user.map(texts).transpose()?.unzip();
        let password = password.unwrap_or_default();
        Ok(ClickHouse { url, database: database.to_owned(), user, password, spool: SPOOL.into() })
    }
}

/// A user and a password as text, which the server wants.
fn texts(user: User) -> Result<(String, SecretString)> {
    let text = |bytes: &[u8]| str::from_utf8(bytes).ok().map(str::to_owned);
    let texts = text(&user.name).zip(text(&user.password));
    let bad = || Error::Refused("user and password in UTF-8 expected".into());
    texts.map(|(name, password)| (name, password.into())).ok_or_else(bad)
}

/// A reload asks whether it is the same store.
impl PartialEq for ClickHouse {
    fn eq(&self, other: &Self) -> bool {
        let parts = |it: &Self| (it.url.clone(), it.database.clone(), it.user.clone(), it.spool.clone());
        parts(self) == parts(other) && self.password.expose_secret() == other.password.expose_secret()
    }
}

impl Eq for ClickHouse {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_with_its_database_and_user() {
        for (text, url, database, user, password) in [
            ("http://u:p@ch1:8123/logins", "http://ch1:8123", "logins", Some("u"), "p"),
            ("http://ch1:8123", "http://ch1:8123", "default", None, ""),
            ("https://u%40x:a%3ab@[2001:db8::1]/", "https://[2001:db8::1]", "default", Some("u@x"), "a:b"),
        ] {
            let server = ClickHouse::parse(text).unwrap();
            assert_eq!((server.url.as_str(), server.database.as_str()), (url, database), "{text}");
            assert_eq!((server.user.as_deref(), server.password.expose_secret()), (user, password), "{text}");
            assert_eq!(server, ClickHouse::parse(text).unwrap());
        }
        let other = |text| ClickHouse::parse(text).unwrap();
        assert_ne!(other("http://u:p@ch1/"), other("http://u:q@ch1/"));
    }

    #[test]
    fn an_error_does_not_hold_the_password() {
        for text in [
            "",
            "ch1:8123",
            "u:secret@ch1:8123/logins",
            "ftp://u:secret@ch1/logins",
            "http://u:secret@/logins",
            "http://u:secret@ch1:port/logins",
            "http://u:secret@ch1/logins/more",
            "http://u:secret@ch1/logins?password=secret",
            "http://u:secret@ch1/log-ins",
            "http://u:secret%ff@ch1/logins",
        ] {
            let error = ClickHouse::parse(text).unwrap_err().to_string();
            assert!(error.ends_with("expected") && !error.contains("secret"), "{text}: {error}");
        }
        let shown = format!("{:?}", ClickHouse::parse("http://u:secret@ch1/logins").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
