//! Alerts: what policies have noticed and people should hear of, once. A [`Book`] decides in memory what
//! becomes of each; what it decides is written to the store's file (`pen`), from where each sink has a
//! thread that delivers it (`courier`). What operators do with alerts is in `desk`.

mod archive;
mod blocked;
mod book;
mod courier;
mod desk;
mod guard;
mod message;
mod outbox;
mod pen;
mod plan;
mod rows;
mod scribe;
mod silence;
mod sink;
mod slot;
mod storm;
mod tally;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use prometheus::{IntCounterVec, IntGaugeVec};
use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::logger::Limit;
use crate::stats::Stats;
use crate::store::Store;

use archive::Archive;
use book::{Book, STORM};
use courier::{Courier, Office};
use pen::Pen;
use scribe::Scribe;
use tally::Tally;

pub use crate::config::Severity;
pub use message::{date, json};
pub use rows::{Filter, Row};
pub use silence::Silence;
pub use sink::{Sink, check_address};

/// Something that a policy has noticed.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// What was broken: the name of a policy, mostly.
    pub rule: String,
    /// What tells this alert from others of the rule: the same again is the same alert.
    pub key: String,
    pub severity: Severity,
    pub login: Option<String>,
    pub ip: Option<String>,
    /// One sentence for people.
    pub summary: String,
    /// Details for programs.
    pub data: Map<String, Value>,
    /// How long nothing more is sent of it at first; each further time is twice as long.
    pub realert: Duration,
    /// The time of the event, in seconds since the epoch.
    pub t: f64,
    /// Whether nobody is to hear of it but the log.
    pub is_dry: bool,
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Sent,
    /// It was sent before, or there are too many of the rule.
    Suppressed,
    Silenced,
    DryRun,
}

impl Outcome {
    /// As policies and metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Sent => "sent",
            Outcome::Suppressed => "suppressed",
            Outcome::Silenced => "silenced",
            Outcome::DryRun => "dry-run",
        }
    }
}

/// How long an alert is not sent again at first, unless it says so.
pub const REALERT: Duration = Duration::from_secs(86_400);

type Observer = Box<dyn Fn(&Alert) + Send + Sync>;

/// Everything about alerts. It outlives a configuration; the sinks are those of the last one.
pub struct Alerts {
    book: Mutex<Book>,
    /// Hears of alerts in the place of everybody else.
    observer: Option<Observer>,
    tally: Tally,
    pen: Pen,
    sinks: RwLock<Vec<Arc<Sink>>>,
    couriers: Mutex<BTreeMap<Arc<str>, Courier>>,
    scribe: Scribe,
    /// Lines of the log that a sink could cause without end.
    complaints: Arc<Limit<String>>,
    deliveries: IntCounterVec,
    waiting: IntGaugeVec,
}

impl Alerts {
    /// Without a file and without sinks.
    pub fn new(stats: &Stats) -> Alerts {
        let metrics = &stats.metrics;
        Alerts {
            book: Mutex::default(),
            observer: None,
            tally: Tally::new(metrics.alerts.clone()),
            pen: Pen::default(),
            sinks: RwLock::default(),
            couriers: Mutex::default(),
            scribe: Scribe::default(),
            complaints: Arc::default(),
            deliveries: metrics.alert_deliveries.clone(),
            waiting: metrics.alert_outbox.clone(),
        }
    }

    /// For whoever wants to know what would be sent: `hear` is called with each such alert, dry run or not,
    /// and nothing is logged, written or delivered.
    pub fn observe(hear: impl Fn(&Alert) + Send + Sync + 'static) -> Alerts {
        let book = Mutex::new(Book::blank());
        Alerts { book, observer: Some(Box::new(hear)), ..Alerts::new(&Stats::new()) }
    }

    /// Goes on with the alerts of a store's file, or with none, and begins to write. Called once.
    pub fn open(self: &Arc<Self>, store: Option<Arc<dyn Store>>) -> Result<()> {
        let archive = Arc::new(Archive::new(store)?);
        let mut book = self.book.lock();
        book.begin_after(archive.read(rows::last_id)?);
        archive.read(|file| rows::each_open(file, |row| book.remember(&row)))?;
        archive.read(rows::silences)?.into_iter().for_each(|silence| book.silences.set(silence));
        drop(book);
        self.pen.open(archive);
        self.scribe.start(self.clone())
    }

    /// Delivers to these sinks from now on. What waits for others stays in the file for a while.
    pub fn configure(&self, sinks: Vec<Sink>) {
        let sinks: Vec<Arc<Sink>> = sinks.into_iter().map(Arc::new).collect();
        self.couriers.lock().retain(|name, courier| {
            let sink = sinks.iter().find(|sink| sink.name == *name);
            match sink {
                Some(sink) => courier.change(sink.clone()),
                None => {
                    courier.end(true);
                    // It is there: the courier has made it.
                    let _ = self.waiting.remove_label_values(&[&**name]);
                }
            }
            sink.is_some()
        });
        *self.sinks.write() = sinks;
        self.send_couriers();
    }

    /// Starts a thread for each sink that has none. What the system refuses is tried again.
    fn send_couriers(&self) {
        let Some(archive) = self.pen.archive() else { return };
        let mut couriers = self.couriers.lock();
        for sink in &*self.sinks.read() {
            if couriers.get(&sink.name).is_some_and(|courier| !courier.has_ended()) {
                continue;
            }
            let (complaints, deliveries) = (self.complaints.clone(), self.deliveries.clone());
            let office = Office { archive: archive.clone(), complaints, deliveries };
            let waiting = self.waiting.with_label_values(&[&*sink.name]);
            match Courier::start(sink.clone(), office, waiting) {
                Ok(courier) => drop(couriers.insert(sink.name.clone(), courier)),
                Err(e) => log::error!("alerts for {} are not delivered: {e}", sink.name),
            }
        }
    }

    /// Decides what becomes of an alert, and has it sent if it is to be. Whoever calls this waits until it
    /// is in the file.
    pub fn raise(&self, alert: Alert) -> Outcome {
        let verdict = {
            let sinks = self.sinks.read();
            let listeners = sinks.iter().filter(|sink| sink.hears_of(&alert.rule));
            let listeners: Vec<_> = listeners.map(|sink| (&sink.name, sink.min_severity)).collect();
            self.book.lock().raise(&alert, &listeners)
        };
        self.tally.count(&alert, verdict.outcome);
        match (verdict.sent, &self.observer) {
            (Some(_), Some(hear)) => hear(&alert),
            (Some((id, count)), None) => {
                message::log(&alert, id, count);
                self.write_soon();
            }
            (None, _) => {}
        }
        if verdict.is_storm {
            self.raise(storm(&alert));
        }
        verdict.outcome
    }

    /// Writes what was decided, unless the file could not be written just now: then it is tried again
    /// within a second.
    fn write_soon(&self) {
        if !self.pen.rests(Instant::now()) {
            // It has said why, if it could not.
            let _ = self.write();
        }
    }

    /// Writes what was decided, and tells the couriers.
    fn write(&self) -> Result<()> {
        let sent = self.pen.write(&self.book, courier::clock())?;
        if !sent.is_empty() {
            let couriers = self.couriers.lock();
            for (sink, more) in sent {
                couriers.get(&sink).into_iter().for_each(|courier| courier.notify(more));
            }
        }
        Ok(())
    }

    /// Logs what was kept back so as not to fill the log. Called about once a second.
    pub fn watch(&self, now: Instant) {
        self.complaints.flush(now);
    }

    /// No more alerts come: what is due is delivered.
    pub fn finish(&self) {
        let _ = self.write();
        self.sinks.write().clear();
        self.couriers.lock().values().for_each(|courier| courier.end(false));
    }

    /// Whether nothing is due any more.
    pub fn has_finished(&self) -> bool {
        self.couriers.lock().values().all(Courier::has_ended)
    }

    /// Ends in any case, before the store does.
    pub fn close(&self) {
        self.couriers.lock().values().for_each(|courier| courier.end(true));
        self.scribe.stop();
        let _ = self.write();
    }
}

/// What is sent in the place of an alert for which there were too many of its rule.
fn storm(alert: &Alert) -> Alert {
    let Alert { rule, t, is_dry, .. } = alert;
    let data = json!({ "rule": rule });
    Alert {
        rule: STORM.into(),
        key: rule.clone(),
        severity: Severity::High,
        login: None,
        ip: None,
        summary: format!(
            "more than {} alerts of {rule} within an hour: the rest is only counted",
            storm::MOST
        ),
        data: data.as_object().cloned().unwrap_or_default(),
        realert: REALERT,
        t: *t,
        is_dry: *is_dry,
    }
}

#[cfg(test)]
impl Alert {
    /// An alert of a rule about a login, at the second 0.
    pub fn of(rule: &str, login: &str) -> Alert {
        Alert {
            rule: rule.into(),
            key: login.into(),
            severity: Severity::Medium,
            login: Some(login.into()),
            ip: None,
            summary: "something happened".into(),
            data: Map::new(),
            realert: REALERT,
            t: 0.0,
            is_dry: false,
        }
    }
}

#[cfg(test)]
mod tests;
