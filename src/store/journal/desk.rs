//! What other threads have for the writer and hear of it without waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::stats::Stats;
use crate::store::journal::ReportId;

/// What other threads have for the writer and hear of it.
pub struct Desk {
    stats: Arc<Stats>,
    /// Reports that wait to be written.
    waiting: AtomicUsize,
    /// Reports that have run, which need not be kept for that any more.
    done: Mutex<Vec<ReportId>>,
    /// Why nothing can be written.
    trouble: Mutex<Option<String>>,
    /// When something was committed last, or began to wait.
    committed: Mutex<Instant>,
}

impl Desk {
    pub fn new(stats: Arc<Stats>) -> Desk {
        let (waiting, committed) = (AtomicUsize::new(0), Mutex::new(Instant::now()));
        Desk { stats, waiting, done: Mutex::default(), trouble: Mutex::default(), committed }
    }

    /// A report is on its way to the writer.
    pub fn sent(&self) {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        if waiting == 0 {
            *self.committed.lock() = Instant::now();
        }
        self.stats.metrics.store_queue.set(1 + waiting as i64);
    }

    /// The writer has so many of them.
    pub fn taken(&self, reports: usize) {
        let waiting = self.waiting.fetch_sub(reports, Ordering::Relaxed) - reports;
        self.stats.metrics.store_queue.set(waiting as i64);
    }

    /// Reports that wait to be written.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A report has run.
    pub fn has_run(&self, report: ReportId) {
        self.done.lock().push(report);
    }

    /// The reports that have run since this was asked.
    pub fn done(&self) -> Vec<ReportId> {
        std::mem::take(&mut *self.done.lock())
    }

    /// What was taken could not be written.
    pub fn undone(&self, mut reports: Vec<ReportId>) {
        self.done.lock().append(&mut reports);
    }

    /// So many reports were committed within a time.
    pub fn committed(&self, reports: usize, time: Duration) {
        self.stats.metrics.store_rows.inc_by(reports as u64);
        self.stats.metrics.store_commit.observe(time.as_secs_f64());
        *self.trouble.lock() = None;
        *self.committed.lock() = Instant::now();
    }

    /// How long nothing was committed although reports wait.
    pub fn lag(&self) -> Duration {
        if self.waiting() > 0 { self.committed.lock().elapsed() } else { Duration::ZERO }
    }

    /// Nothing can be written, for this reason.
    pub fn failed(&self, why: String) {
        self.stats.metrics.store_errors.inc();
        *self.trouble.lock() = Some(why);
    }

    /// Something could be written.
    pub fn recovered(&self) {
        *self.trouble.lock() = None;
    }

    /// Why nothing can be written, if that is so.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// How large the files are.
    pub fn measured(&self, bytes: u64) {
        self.stats.metrics.store_bytes.set(bytes as i64);
    }
}
