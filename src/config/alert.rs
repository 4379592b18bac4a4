//! What the configuration says of alerts: how bad they can be, and who hears of which. How they are
//! delivered is up to `alert`.

use std::fmt;
use std::str::FromStr;

use secrecy::SecretString;

use crate::config::WforceSettings;
use crate::error::{Error, Result};
use crate::outbound::{User, split_user};

/// How bad an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    const ALL: [Severity; 5] =
        [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Severity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Severity> {
        let found = Severity::ALL.into_iter().find(|severity| severity.name() == text);
        found.ok_or_else(|| Error::Bad {
            what: "a severity: info, low, medium, high or critical",
            value: text.into(),
        })
    }
}

/// Somebody who hears of alerts.
#[derive(Clone, Debug)]
pub struct SinkSettings {
    pub receiver: Receiver,
    pub min_severity: Severity,
}

/// What hears of alerts.
#[derive(Clone, Debug)]
pub enum Receiver {
    /// A custom webhook, by its name.
    Webhook(String),
    Mail(MailSettings),
    /// A wforce that is to refuse their sources.
    Wforce(WforceSettings),
}

impl Receiver {
    /// What it is known by, also after a restart.
    pub fn name(&self) -> String {
        match self {
            Receiver::Webhook(name) => format!("webhook:{name}"),
            Receiver::Mail(mail) => format!("smtp:{}", mail.to),
            Receiver::Wforce(wforce) => format!("wforce:{}", wforce.url),
        }
    }
}

/// Somebody who gets mail.
#[derive(Clone, Debug)]
pub struct MailSettings {
    pub server: MailServer,
    pub from: String,
    pub to: String,
    /// What subjects begin with.
    pub subject: String,
}

/// How the way to a mail server is kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// TLS from the first byte.
    Tls,
    /// STARTTLS, or nothing.
    StartTls,
    /// STARTTLS if the server offers it, whoever it is.
    IfOffered,
}

/// A mail server.
#[derive(Clone, Debug)]
pub struct MailServer {
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    pub user: Option<(String, SecretString)>,
}

impl MailServer {
    /// Reads `smtps://user:password@host:port` or `smtp://…`, of which the scheme and the host must be
    /// there. `?tls=required` and `?tls=opportunistic` say whether `smtp` goes without TLS; without that,
    /// a password does not.
    pub fn parse(text: &str) -> Result<MailServer> {
        // It may hold a password, so the message does not hold it.
        let bad = || Error::Refused("smtp:// or smtps:// URL of a mail server expected".into());
        let (text, user) = split_user(text).ok_or_else(bad)?;
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let place = place.strip_suffix('/').unwrap_or(place);
        let (host, port) = split_port(place).ok_or_else(bad)?;
        let user = user.map(texts).transpose()?;
        let encryption = match (scheme, query) {
            ("smtps", "") => Encryption::Tls,
            ("smtp", "tls=required") => Encryption::StartTls,
            ("smtp", "tls=opportunistic") => Encryption::IfOffered,
            ("smtp", "") if user.is_some() => Encryption::StartTls,
            ("smtp", "") => Encryption::IfOffered,
            _ => return Err(bad()),
        };
        let usual = if encryption == Encryption::Tls { 465 } else { 25 };
        Ok(MailServer { host: host.to_owned(), port: port.unwrap_or(usual), encryption, user })
    }
}

/// A host, which may be an address of IPv6 in brackets, and its port.
fn split_port(place: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let port =
        port.map(|port| port.parse().ok().filter(|port| *port > 0)).map_or(Some(None), |port| port.map(Some));
    (!host.is_empty() && host.chars().all(is_plain)).then_some((host, port?))
}

/// A user and a password as text, which the protocol wants.
fn texts(user: User) -> Result<(String, SecretString)> {
    let text = |bytes: &[u8]| str::from_utf8(bytes).ok().map(str::to_owned);
    let texts = text(&user.name).zip(text(&user.password));
    let bad = || Error::Refused("user and password in UTF-8 expected".into());
    texts.map(|(name, password)| (name, password.into())).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_severity_is_read_by_its_name() {
        for severity in Severity::ALL {
            assert_eq!(severity.name().parse::<Severity>().unwrap(), severity);
        }
        assert!(Severity::Low < Severity::Critical);
        let error = "High".parse::<Severity>().unwrap_err().to_string();
        assert_eq!(error, "\"High\" is not a severity: info, low, medium, high or critical");
    }

    #[test]
    fn a_mail_server_is_read_with_its_user() {
        use Encryption::{IfOffered, StartTls, Tls};
        for (text, host, port, encryption, user) in [
            ("smtp://192.0.2.1", "192.0.2.1", 25, IfOffered, None),
            ("smtp://mx.example.com:2525/", "mx.example.com", 2525, IfOffered, None),
            ("smtp://mx.example.com:587?tls=required", "mx.example.com", 587, StartTls, None),
            ("smtp://u:p@mx.example.com:587", "mx.example.com", 587, StartTls, Some(("u", "p"))),
            ("smtp://u:p@[2001:db8::1]?tls=opportunistic", "2001:db8::1", 25, IfOffered, Some(("u", "p"))),
            ("smtps://u%40x:p%3a%2f@mx.example.com", "mx.example.com", 465, Tls, Some(("u@x", "p:/"))),
        ] {
            let server = MailServer::parse(text).unwrap();
            assert_eq!(
                (server.host.as_str(), server.port, server.encryption),
                (host, port, encryption),
                "{text}"
            );
            let found = server.user.as_ref().map(|(name, word)| (name.as_str(), word.expose_secret()));
            assert_eq!(found, user, "{text}");
        }
    }

    #[test]
    fn an_error_does_not_hold_the_password() {
        for text in [
            "",
            "u:secret@mx.example.com",
            "http://u:secret@mx.example.com",
            "smtp://u:secret@",
            "smtp://u:secret@mx.example.com:port",
            "smtp://u:secret@mx.example.com:0",
            "smtp://u:secret@mx.example.com/path",
            "smtp://u:secret@mx.example.com?tls=secret",
            "smtps://u:secret@mx.example.com?tls=opportunistic",
            "smtp://u:secret%ff@mx.example.com",
            "smtp://u:secret@[192.0.2.1]",
        ] {
            let error = MailServer::parse(text).unwrap_err().to_string();
            assert!(error.ends_with("expected") && !error.contains("secret"), "{text}: {error}");
        }
        let shown = format!("{:?}", MailServer::parse("smtp://u:secret@mx.example.com").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
