//! The thread that writes behind: counts that have changed, once a second, and what was not written at
//! once. It also does what would keep others waiting, and takes away what nobody has to know any more.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SendError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::alert::courier::{PATIENCE, clock};
use crate::alert::rows::Change;
use crate::alert::{Alerts, outbox, rows};
use crate::error::Result;
use crate::unix;

/// How often there is a look at what has changed.
const TICK: Duration = Duration::from_secs(1);

/// Ticks from one look at what is over to the next, and from one at what is old.
const CLOSE: u32 = 60;
const THIN: u32 = 600;

/// How long a silence is remembered after its end, in seconds: some reports come late.
const MEMORY: f64 = 86_400.0;

/// Something to do for the thread.
pub type Job = Box<dyn FnOnce(&Alerts) + Send>;

/// The thread, once it is started.
#[derive(Default)]
pub struct Scribe(Mutex<Option<(Sender<Job>, JoinHandle<()>)>>);

impl Scribe {
    pub fn start(&self, alerts: Arc<Alerts>) -> Result<()> {
        let (jobs, receiver) = mpsc::channel();
        let thread = unix::spawn("alerts", move || work(&alerts, &receiver))?;
        *self.0.lock() = Some((jobs, thread));
        Ok(())
    }

    /// Has the thread do something; gives it back if there is none.
    pub fn ask(&self, job: Job) -> Option<Job> {
        match &*self.0.lock() {
            Some((jobs, _)) => jobs.send(job).err().map(|SendError(job)| job),
            None => Some(job),
        }
    }

    /// Does what it was asked to, and ends.
    pub fn stop(&self) {
        if let Some((jobs, thread)) = self.0.lock().take() {
            drop(jobs);
            if thread.join().is_err() {
                log::error!("the thread of alerts has panicked");
            }
        }
    }
}

fn work(alerts: &Alerts, jobs: &Receiver<Job>) {
    let (mut tick, mut ticks) = (Instant::now() + TICK, 0u32);
    loop {
        match jobs.recv_timeout(tick.saturating_duration_since(Instant::now())) {
            Ok(job) => job(alerts),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if Instant::now() >= tick {
            tick = Instant::now() + TICK;
            alerts.write_soon();
            alerts.send_couriers();
            alerts.tidy(ticks, clock());
            ticks = ticks.wrapping_add(1);
        }
    }
}

impl Alerts {
    /// Has a thread do something that would take the caller too long.
    pub fn ask(&self, job: Job) {
        self.scribe.ask(job).into_iter().for_each(|job| job(self));
    }

    /// Takes away what is over and what is old.
    fn tidy(&self, ticks: u32, now: f64) {
        if !ticks.is_multiple_of(CLOSE) {
            return;
        }
        let mut book = self.book.lock();
        for silence in book.silences.ended(now - MEMORY) {
            book.silences.remove(&silence.rule, &silence.key);
            book.push(Change::Unsilence { rule: silence.rule, key: silence.key });
        }
        drop(book);
        let sinks: Vec<Arc<str>> = self.sinks.read().iter().map(|sink| sink.name.clone()).collect();
        let is_time_to_thin = ticks.is_multiple_of(THIN);
        let work = move |file: &rusqlite::Connection| {
            rows::close_over(file, now)?;
            if is_time_to_thin {
                rows::thin(file, now)?;
                let left = outbox::remove_others(file, &sinks, now - PATIENCE)?;
                if left > 0 {
                    log::error!("{left} alerts are given up: their sinks are not in the configuration");
                }
            }
            Ok(())
        };
        // The next time comes soon; whoever has something to write says why it can't be.
        let _ = self.pen.change(work);
    }
}
