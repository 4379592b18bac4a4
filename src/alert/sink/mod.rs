//! Those who hear of alerts, and how one is brought to each.

mod smtp;
mod webhook;

use std::sync::Arc;

use crate::alert::outbox::Parcel;
use crate::config::{Receiver, Severity, SinkSettings};
use crate::error::{Error, Result};
use crate::outbound::Tls;
use crate::webhook::Hook;

use smtp::Mailer;

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
}

impl Sink {
    /// A sink of the configuration, whose webhooks `find` knows.
    pub fn make(
        settings: &SinkSettings,
        tls: &Tls,
        find: impl Fn(&str) -> Option<Arc<Hook>>,
    ) -> Result<Sink> {
        let way = match &settings.receiver {
            Receiver::Webhook(name) => Way::Webhook(find(name).ok_or_else(|| {
                Error::Config(format!(
                    "addAlertSink(options): no addCustomWebHook(\"{name}\", …) in the configuration"
                ))
            })?),
            Receiver::Mail(mail) => Way::Mail(Box::new(Mailer::new(mail, tls)?)),
        };
        Ok(Sink { name: settings.receiver.name().into(), min_severity: settings.min_severity, way })
    }

    /// Makes one attempt.
    pub fn deliver(&self, parcel: &Parcel) -> std::result::Result<(), Failure> {
        match &self.way {
            Way::Webhook(hook) => webhook::deliver(hook, &parcel.name(&self.name), parcel),
            Way::Mail(mailer) => mailer.deliver(&parcel.name(&self.name), parcel),
        }
    }
}
