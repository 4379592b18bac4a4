//! A login as wforce reports it. What a field means to a sender is in trackalert_api(7), to a policy
//! in trackalert.conf(5).

mod attributes;
mod json;
mod text;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use compact_str::CompactString;

use crate::logger;
use crate::net::addr::Address;

use attributes::Entry;
use text::{Place, Texts};

pub use attributes::{Attributes, Value};

/// One report: who logged in, from where, how and with what result.
#[derive(Clone, Debug)]
pub struct LoginTuple {
    /// When, in seconds since the epoch.
    pub t: f64,
    /// Where the client is, never an IPv4-mapped address.
    pub remote: Address,
    pub success: bool,
    /// Whether the login was refused by policy, whatever the password.
    pub policy_reject: bool,
    pub tls: bool,
    /// Every text of what follows.
    texts: Texts,
    login: Place,
    pwhash: Place,
    protocol: Place,
    device_id: Place,
    session_id: Place,
    fail_type: Place,
    attrs: Vec<Entry>,
    device: Device,
}

/// What is known of the client's device.
#[derive(Clone, Debug)]
enum Device {
    /// Nothing until a report thread does what the sender did not.
    Unknown,
    /// What the sender says.
    Sent(Vec<Entry>),
    /// What the client said of itself, parsed.
    Parsed(Arc<DeviceAttributes>),
}

/// What a client said of itself, by the names that policies know: `os.family` and others.
pub type DeviceAttributes = BTreeMap<CompactString, CompactString>;

impl LoginTuple {
    pub fn login(&self) -> &str {
        self.texts.get(self.login)
    }

    /// A hash of the password, comparable within one login only.
    pub fn pwhash(&self) -> &str {
        self.texts.get(self.pwhash)
    }

    pub fn protocol(&self) -> &str {
        self.texts.get(self.protocol)
    }

    /// What the client said of itself: a User-Agent, an IMAP ID.
    pub fn device_id(&self) -> &str {
        self.texts.get(self.device_id)
    }

    pub fn session_id(&self) -> &str {
        self.texts.get(self.session_id)
    }

    pub fn fail_type(&self) -> &str {
        self.texts.get(self.fail_type)
    }

    pub fn attrs(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        attributes::iter(&self.texts, &self.attrs)
    }

    /// What is known of the client's device.
    pub fn device_attrs(&self) -> impl Iterator<Item = (&str, &str)> {
        let (sent, parsed) = match &self.device {
            Device::Unknown => (&[][..], None),
            Device::Sent(entries) => (&entries[..], None),
            Device::Parsed(attrs) => (&[][..], Some(attrs)),
        };
        let sent = attributes::iter(&self.texts, sent).filter_map(|(name, value)| match value {
            Value::One(text) => Some((name, text)),
            Value::Many(_) => None,
        });
        let parsed = parsed.into_iter().flat_map(|attrs| attrs.iter());
        sent.chain(parsed.map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// Whether the sender has said nothing of the device, and nobody has parsed what the client said.
    pub fn is_device_unknown(&self) -> bool {
        matches!(self.device, Device::Unknown)
    }

    /// Has what the client said of itself parsed, if nobody has: `parse` takes the protocol and `device_id`.
    pub fn parse_device(&mut self, parse: impl FnOnce(&str, &str) -> Arc<DeviceAttributes>) {
        if self.is_device_unknown() {
            self.device = Device::Parsed(parse(self.protocol(), self.device_id()));
        }
    }

    /// The report as a log line.
    pub fn line(&self) -> String {
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut add = |name: &str, value: &dyn Display| fields.push((name.to_owned(), value.to_string()));
        add("t", &format_args!("{:.3}", self.t));
        add("remote", &self.remote);
        add("success", &self.success);
        add("policy_reject", &self.policy_reject);
        add("tls", &self.tls);
        add("login", &self.login());
        add("pwhash", &self.pwhash());
        add("protocol", &self.protocol());
        add("device_id", &self.device_id());
        add("session_id", &self.session_id());
        add("fail_type", &self.fail_type());
        for (name, value) in self.attrs() {
            match value {
                Value::One(text) => add(&format!("attrs.{name}"), &text),
                Value::Many(items) => {
                    add(&format!("attrs.{name}"), &items.iter().collect::<Vec<_>>().join(","))
                }
            }
        }
        for (name, text) in self.device_attrs() {
            add(&format!("device_attrs.{name}"), &text);
        }
        logger::line("report", &fields)
    }
}

impl Default for LoginTuple {
    fn default() -> Self {
        LoginTuple {
            t: 0.0,
            remote: Address::UNSPECIFIED,
            success: false,
            policy_reject: false,
            tls: false,
            texts: Texts::default(),
            login: Place::default(),
            pwhash: Place::default(),
            protocol: Place::default(),
            device_id: Place::default(),
            session_id: Place::default(),
            fail_type: Place::default(),
            attrs: Vec::new(),
            device: Device::Unknown,
        }
    }
}
