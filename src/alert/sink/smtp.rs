//! Alerts by mail: a text that people can read, with the same for programs beside it, given to a mail
//! server over a connection of its own.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::time::{Duration, UNIX_EPOCH};

use lettre::Transport;
use lettre::address::Address;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, Message, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls as SmtpTls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error as SmtpError, SmtpTransport};
use secrecy::ExposeSecret;

use crate::alert::message;
use crate::alert::outbox::Parcel;
use crate::alert::sink::Failure;
use crate::config::{Encryption, MailServer, MailSettings};
use crate::error::{Error, Result};
use crate::outbound::Tls;
use crate::unix;

/// How long the server may take for each of its answers.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends mail.
pub struct Mailer {
    transport: SmtpTransport,
    from: Mailbox,
    to: Mailbox,
    subject: String,
}

/// Whether mail can be sent there.
pub fn check_address(text: &str) -> Result<()> {
    mailbox(text).map(drop)
}

fn mailbox(text: &str) -> Result<Mailbox> {
    text.parse().map_err(|_| Error::Bad { what: "an address of mail", value: text.into() })
}

impl Mailer {
    /// Reads the system's certificates if they are needed.
    pub fn new(mail: &MailSettings, tls: &Tls) -> Result<Mailer> {
        let MailServer { host, port, encryption, user } = &mail.server;
        let refused = |e: SmtpError| Error::Config(format!("addAlertSink(options): smtp: {}", cause(&e)));
        let tls = parameters(host, *encryption, tls).map_err(refused)?;
        let tls = match encryption {
            Encryption::Tls => SmtpTls::Wrapper(tls),
            Encryption::StartTls => SmtpTls::Required(tls),
            Encryption::IfOffered => SmtpTls::Opportunistic(tls),
        };
        let mut transport = SmtpTransport::builder_dangerous(host.as_str())
            .port(*port)
            .tls(tls)
            .timeout(Some(TIMEOUT))
            .hello_name(ClientId::Domain(unix::host_name()));
        if let Some((name, password)) = user {
            let password = password.expose_secret().to_owned();
            transport = transport.credentials(Credentials::new(name.clone(), password));
        }
        let (from, to) = (mailbox(&mail.from)?, mailbox(&mail.to)?);
        Ok(Mailer { transport: transport.build(), from, to, subject: mail.subject.clone() })
    }

    /// Makes one attempt. The message has the same `name` at each.
    pub fn deliver(&self, name: &str, parcel: &Parcel) -> std::result::Result<(), Failure> {
        let message = self.message(name, parcel).map_err(|e| Failure::Message(e.to_string()))?;
        self.transport.send(&message).map(drop).map_err(|e| {
            let cause = cause(&e);
            if concerns_message(e.status().map(Into::into)) {
                Failure::Message(cause)
            } else {
                Failure::Receiver(cause)
            }
        })
    }

    fn message(&self, name: &str, parcel: &Parcel) -> std::result::Result<Message, lettre::error::Error> {
        let (subject, text) = message::mail(&parcel.json(), &self.subject);
        let json = ContentType::parse("application/json").unwrap_or(ContentType::TEXT_PLAIN);
        let domain = Address::domain(&self.from.email);
        // It must hold no character with a meaning in a message.
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let sent = UNIX_EPOCH + Duration::try_from_secs_f64(parcel.at).unwrap_or_default();
        Message::builder()
            .from(self.from.clone())
            .to(self.to.clone())
            .subject(subject)
            .date(sent)
            .message_id(Some(format!("<trackalert.{name}@{domain}>")))
            // Nobody's absence is to be answered to (RFC 3834).
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".into(),
            ))
            .multipart(
                MultiPart::mixed()
                    .singlepart(SinglePart::plain(text))
                    .singlepart(Attachment::new("alert.json".into()).body(parcel.body.clone(), json)),
            )
    }
}

/// What TLS trusts. A server that need not speak it may have any certificate: nothing keeps whoever is in
/// between from saying that it does not.
fn parameters(
    host: &str,
    encryption: Encryption,
    tls: &Tls,
) -> std::result::Result<TlsParameters, SmtpError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    let checks_chain = tls.checks_chain && encryption != Encryption::IfOffered;
    if !checks_chain || tls.bundle().is_some() {
        builder = builder.certificate_store(CertificateStore::None);
    }
    for certificate in tls.bundle().unwrap_or_default().iter().filter(|_| checks_chain) {
        builder = builder.add_root_certificate(Certificate::from_der(certificate.to_vec())?);
    }
    builder
        .dangerous_accept_invalid_certs(!checks_chain)
        .dangerous_accept_invalid_hostnames(!tls.checks_name || !checks_chain)
        .build_rustls()
}

/// Codes that say that no message is taken: 4yz, and of 5yz those about who we are.
fn concerns_message(code: Option<u16>) -> bool {
    code.is_some_and(|code| code >= 500 && ![521, 530, 534, 535, 538].contains(&code))
}

/// What went wrong, with what the server said of it.
fn cause(e: &SmtpError) -> String {
    let text = e.to_string();
    let mut source = e.source();
    while let Some(inner) = source {
        if let Some(e) = inner.downcast_ref::<io::Error>() {
            return io_cause(e);
        }
        source = inner.source();
    }
    text
}

/// The same in the words of this program.
fn io_cause(e: &io::Error) -> String {
    match e.kind() {
        // A socket's time-out is either.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("no answer within {} s", TIMEOUT.as_secs())
        }
        _ => e.to_string().split(" (os error").next().unwrap_or_default().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mailer(to: &str) -> Result<Mailer> {
        let server = MailServer::parse("smtp://192.0.2.1")?;
        let settings = MailSettings {
            server,
            from: "trackalert <trackalert@example.com>".into(),
            to: to.into(),
            subject: "trackalert".into(),
        };
        Mailer::new(&settings, &Tls::default())
    }

    #[test]
    fn a_message_has_its_text_and_its_json_and_the_same_number_each_time() {
        let body = json!({ "rule": "travel", "severity": "high", "login": "jö@example.com", "summary": "far",
            "id": 5, "data": { "km": 9000 } });
        let parcel = Parcel { id: 1, at: 1_790_000_000.0, body: body.to_string() };
        let mailer = mailer("ops@example.com").unwrap();
        let text = String::from_utf8(mailer.message("Aa+/1=", &parcel).unwrap().formatted()).unwrap();
        for part in [
            "From: trackalert <trackalert@example.com>\r\n",
            "To: ops@example.com\r\n",
            "Date: Mon, 21 Sep 2026 14:13:20 +0000\r\n",
            "Message-ID: <trackalert.Aa1@example.com>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "far\r\n\r\nRule: travel\r\n",
            "filename=\"alert.json\"",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_named() {
        for text in ["", "ops", "ops@", "a@example.com\r\nBcc: b@example.com"] {
            let error = mailer(text).err().unwrap().to_string();
            assert_eq!(error, format!("\"{text}\" is not an address of mail"));
        }
        assert!(check_address("ops@example.com").is_ok());
    }

    #[test]
    fn a_code_concerns_the_message_or_the_receiver() {
        for (code, expected) in [
            (None, false),
            (Some(421), false),
            (Some(451), false),
            (Some(535), false),
            (Some(550), true),
            (Some(552), true),
            (Some(554), true),
        ] {
            assert_eq!(concerns_message(code), expected, "{code:?}");
        }
    }
}
