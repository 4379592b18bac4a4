//! What a sink's thread does: it takes the rows of its sink one by one, in their order, delivers each, and
//! removes it then. Whatever fails is tried again as `plan` says; another sink does not notice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::Level;
use parking_lot::{Condvar, Mutex};
use prometheus::{IntCounterVec, IntGauge};

use crate::alert::archive::Archive;
use crate::alert::outbox::{self, Parcel};
use crate::alert::plan::{Plan, Turn};
use crate::alert::sink::{Failure, Sink};
use crate::error::Result;
use crate::logger::{self, Limit};
use crate::unix;

/// How long an alert is tried to be delivered, in seconds.
pub const PATIENCE: f64 = 2.0 * 86_400.0;

/// Alerts that may wait for a sink.
const MOST: u64 = 100_000;

/// How long it waits when the file can't be read.
const LOOK: Duration = Duration::from_secs(1);

/// How often the same failure is logged.
const INTERVAL: Duration = Duration::from_secs(60);

/// Seconds since the epoch.
pub fn clock() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// What couriers have in common.
#[derive(Clone)]
pub struct Office {
    pub archive: Arc<Archive>,
    pub complaints: Arc<Limit<String>>,
    pub deliveries: IntCounterVec,
}

/// The work of one sink.
struct Round {
    name: Arc<str>,
    office: Office,
    plan: Plan,
    waiting: IntGauge,
    /// Delivered, and still in the file.
    delivered: Vec<i64>,
}

/// How it goes on.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There may be more to do.
    More,
    /// There is nothing until then, or until somebody says so.
    Wait(Option<Instant>),
}

impl Round {
    fn new(name: Arc<str>, office: Office, waiting: IntGauge) -> Round {
        // Whoever reads the metrics sees an increase only of what was there before it.
        for status in ["ok", "error", "given-up"] {
            office.deliveries.with_label_values(&[&*name, status]);
        }
        Round { name, office, plan: Plan::default(), waiting, delivered: Vec::new() }
    }

    /// Delivers one alert, if one is due.
    fn step(
        &mut self,
        now: Instant,
        clock: f64,
        deliver: &dyn Fn(&Parcel) -> std::result::Result<(), Failure>,
    ) -> Step {
        self.settle();
        let parcel = match self.plan.turn(now) {
            Turn::Rest(end) => {
                self.trim();
                return Step::Wait(Some(end));
            }
            Turn::Again(id) => match self.office.archive.read(|file| outbox::with_id(file, id)) {
                // Somebody has removed it.
                Ok(None) => {
                    self.plan.done(id);
                    return Step::More;
                }
                found => found,
            },
            Turn::After(id) => self.office.archive.read(|file| outbox::after(file, &self.name, id)),
        };
        match parcel {
            Ok(Some(parcel)) => {
                self.hand_over(&parcel, now, clock, deliver);
                Step::More
            }
            Ok(None) => {
                // Nothing else can be there.
                self.waiting.set((self.plan.refused_count() + self.delivered.len()) as i64);
                Step::Wait(self.plan.next_due())
            }
            Err(e) => {
                self.complain("alerts can't be read", &e.to_string());
                Step::Wait(Some(now + LOOK))
            }
        }
    }

    fn hand_over(
        &mut self,
        parcel: &Parcel,
        now: Instant,
        clock: f64,
        deliver: &dyn Fn(&Parcel) -> std::result::Result<(), Failure>,
    ) {
        let attempt = catch_unwind(AssertUnwindSafe(|| deliver(parcel)));
        let fault = |_| Err(Failure::Message("a fault of this program".into()));
        let cause = match attempt.unwrap_or_else(fault) {
            Ok(()) => {
                self.count("ok", 1);
                self.plan.done(parcel.id);
                self.delivered.push(parcel.id);
                return self.settle();
            }
            Err(Failure::Receiver(cause)) => {
                self.plan.failed(now);
                cause
            }
            Err(Failure::Message(cause)) => {
                self.plan.refused(parcel.id, now);
                cause
            }
        };
        self.count("error", 1);
        self.complain("an alert can't be delivered", &cause);
        if clock - parcel.at > PATIENCE {
            self.give_up("2 days old", move |file, sink| outbox::remove_before(file, sink, clock - PATIENCE));
        }
    }

    /// Removes what was delivered. A file that can't be written keeps nothing from being delivered.
    fn settle(&mut self) {
        if self.delivered.is_empty() {
            return;
        }
        let ids = self.delivered.clone();
        if self.office.archive.change(move |file| outbox::remove(file, &ids)).is_ok() {
            self.waiting.sub(self.delivered.len() as i64);
            self.delivered.clear();
        }
    }

    /// Gives up the oldest when there are too many.
    fn trim(&mut self) {
        let many = self.waiting.get().max(0) as u64;
        if many > MOST {
            self.give_up("too many", move |file, sink| outbox::remove_first(file, sink, many - MOST));
        }
    }

    fn give_up(
        &mut self,
        why: &str,
        remove: impl FnOnce(&rusqlite::Connection, &str) -> rusqlite::Result<usize> + Send + 'static,
    ) {
        let (removed, name) = (Arc::new(Mutex::new(0)), self.name.clone());
        let count = removed.clone();
        let work = move |file: &rusqlite::Connection| {
            *count.lock() = remove(file, &name)?;
            Ok(())
        };
        if self.office.archive.change(work).is_err() {
            return;
        }
        let removed = *removed.lock();
        if removed > 0 {
            self.waiting.sub(removed as i64);
            self.count("given-up", removed as u64);
            let number = removed.to_string();
            let fields = [("sink", &*self.name), ("alerts", &number), ("cause", why)];
            log::error!("{}", logger::line("alerts are given up", &fields));
        }
    }

    fn count(&self, status: &str, many: u64) {
        self.office.deliveries.with_label_values(&[&*self.name, status]).inc_by(many);
    }

    fn complain(&self, what: &str, cause: &str) {
        let line = logger::line(what, &[("sink", &*self.name), ("cause", cause)]);
        self.office.complaints.log(self.name.to_string(), Level::Error, INTERVAL, line, Instant::now());
    }
}

/// A sink and its thread.
pub struct Courier {
    desk: Arc<Desk>,
    thread: JoinHandle<()>,
}

/// What others say to the thread.
struct Desk {
    sink: Mutex<Arc<Sink>>,
    orders: Mutex<Orders>,
    wake: Condvar,
    waiting: IntGauge,
}

#[derive(Default)]
struct Orders {
    has_news: bool,
    /// It ends when nothing is due any more, or at once.
    ends: bool,
    ends_now: bool,
}

impl Courier {
    /// Begins to deliver what waits for the sink.
    pub fn start(sink: Arc<Sink>, office: Office, waiting: IntGauge) -> Result<Courier> {
        let name = sink.name.clone();
        waiting.set(office.archive.read(|file| outbox::count(file, &name))? as i64);
        let round = Round::new(name, office, waiting.clone());
        let (sink, orders) = (Mutex::new(sink), Mutex::default());
        let desk = Arc::new(Desk { sink, orders, wake: Condvar::new(), waiting });
        let theirs = desk.clone();
        let thread = unix::spawn("alert-sink", move || theirs.run(round))?;
        Ok(Courier { desk, thread })
    }

    /// From now on the sink is delivered to like this.
    pub fn change(&self, sink: Arc<Sink>) {
        *self.desk.sink.lock() = sink;
        self.tell(|_| {});
    }

    /// There is as much in its outbox.
    pub fn recount(&self, waiting: u64) {
        self.desk.waiting.set(waiting as i64);
    }

    /// There is more in its outbox.
    pub fn notify(&self, more: i64) {
        self.desk.waiting.add(more);
        self.tell(|_| {});
    }

    /// No more comes: it ends when nothing is due, or at once.
    pub fn end(&self, at_once: bool) {
        self.tell(|orders| (orders.ends, orders.ends_now) = (true, at_once));
    }

    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    fn tell(&self, change: impl FnOnce(&mut Orders)) {
        let mut orders = self.desk.orders.lock();
        orders.has_news = true;
        change(&mut orders);
        self.desk.wake.notify_one();
    }
}

impl Desk {
    fn run(&self, mut round: Round) {
        let office = round.office.clone();
        loop {
            let sink = self.sink.lock().clone();
            let step = round.step(Instant::now(), clock(), &|parcel| sink.deliver(parcel, &office));
            let mut orders = self.orders.lock();
            match step {
                _ if orders.ends_now => return,
                Step::More => continue,
                Step::Wait(_) if orders.ends => return,
                Step::Wait(_) if orders.has_news => {}
                Step::Wait(None) => self.wake.wait(&mut orders),
                Step::Wait(Some(until)) => drop(self.wake.wait_until(&mut orders, until)),
            }
            orders.has_news = false;
        }
    }
}

#[cfg(test)]
mod tests;
