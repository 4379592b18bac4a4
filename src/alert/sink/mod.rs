//! Those who hear of alerts, and how one is brought to each.

mod smtp;
mod webhook;
mod wforce;

use std::sync::Arc;

use crate::alert::courier::Office;
use crate::alert::outbox::Parcel;
use crate::config::{Receiver, Severity, SinkSettings};
use crate::error::{Error, Result};
use crate::outbound::Tls;
use crate::store::Egress;
use crate::webhook::Hook;

use smtp::Mailer;
use wforce::Blocklist;

pub use smtp::check_address;

/// Why an alert was not delivered.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The receiver takes nothing at the moment.
    Receiver(String),
    /// It does not take this one.
    Message(String),
}

/// Somebody who hears of alerts.
pub struct Sink {
    /// What rows of the outbox know it by.
    pub name: Arc<str>,
    pub min_severity: Severity,
    way: Way,
}

enum Way {
    Webhook(Arc<Hook>),
    Mail(Box<Mailer>),
    Wforce(Box<Blocklist>),
}

impl Sink {
    /// A sink of the configuration, whose webhooks `find` knows. What is in `egress` is never blocked.
    pub fn make(
        settings: &SinkSettings,
        tls: &Tls,
        egress: &Arc<Egress>,
        find: impl Fn(&str) -> Option<Arc<Hook>>,
    ) -> Result<Sink> {
        let sink: Arc<str> = settings.receiver.name().into();
        let way = match &settings.receiver {
            Receiver::Webhook(name) => Way::Webhook(find(name).ok_or_else(|| {
                Error::Config(format!(
                    "addAlertSink(options): no addCustomWebHook(\"{name}\", …) in the configuration"
                ))
            })?),
            Receiver::Mail(mail) => Way::Mail(Box::new(Mailer::new(mail, tls)?)),
            Receiver::Wforce(wforce) => {
                let list = Blocklist::new(sink.clone(), wforce, tls, egress.clone());
                let named = |e| Error::Config(format!("addWforceBlocklist(options): {e}"));
                Way::Wforce(Box::new(list.map_err(named)?))
            }
        };
        Ok(Sink { name: sink, min_severity: settings.min_severity, way })
    }

    /// Whether it hears of the alerts of a rule that are bad enough.
    pub fn hears_of(&self, rule: &str) -> bool {
        match &self.way {
            Way::Wforce(list) => list.has_rule(rule),
            Way::Webhook(_) | Way::Mail(_) => true,
        }
    }

    /// Makes one attempt.
    pub fn deliver(&self, parcel: &Parcel, office: &Office) -> std::result::Result<(), Failure> {
        match &self.way {
            Way::Webhook(hook) => webhook::deliver(hook, &parcel.name(&self.name), parcel),
            Way::Mail(mailer) => mailer.deliver(&parcel.name(&self.name), parcel),
            Way::Wforce(list) => list.deliver(parcel, office),
        }
    }
}

/// Whether another message may fare better: the receiver is there, and not too busy.
fn concerns_message(status: u16) -> bool {
    (400..500).contains(&status) && ![408, 429].contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_concerns_the_message_or_the_receiver() {
        for (status, expected) in [
            (302, false),
            (400, true),
            (404, true),
            (408, false),
            (413, true),
            (429, false),
            (500, false),
            (503, false),
        ] {
            assert_eq!(concerns_message(status), expected, "{status}");
        }
    }
}
