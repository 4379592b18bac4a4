//! What is counted of each policy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use prometheus::{Histogram, IntCounter};

use crate::stats::prometheus::Metrics;

/// What is counted of a policy since the start.
pub struct PolicyCounter {
    /// Alerts that were sent, or would have been; of a suppressor, reports that it kept from others.
    pub hits: AtomicU64,
    /// Alerts that nobody had to hear of again.
    pub suppressed: AtomicU64,
    pub errors: IntCounter,
    seconds: Histogram,
}

/// The counters of every policy, by name.
#[derive(Default)]
pub struct PolicyCounters(RwLock<BTreeMap<String, Arc<PolicyCounter>>>);

impl PolicyCounter {
    /// It has run for so long.
    pub fn ran(&self, time: Duration) {
        self.seconds.observe(time.as_secs_f64());
    }

    /// Microseconds of a run, on average.
    pub fn mean_us(&self) -> f64 {
        let runs = self.seconds.get_sample_count().max(1);
        self.seconds.get_sample_sum() / runs as f64 * 1e6
    }

    /// Hits, alerts that were suppressed, and errors.
    pub fn counts(&self) -> [u64; 3] {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [load(&self.hits), load(&self.suppressed), self.errors.get()]
    }
}

impl PolicyCounters {
    /// The counter of a policy, made when it is asked for first.
    pub fn of(&self, name: &str, metrics: &Metrics) -> Arc<PolicyCounter> {
        let make = || {
            Arc::new(PolicyCounter {
                hits: AtomicU64::default(),
                suppressed: AtomicU64::default(),
                errors: metrics.policy_errors.with_label_values(&[name]),
                seconds: metrics.policy_seconds.with_label_values(&[name]),
            })
        };
        self.0.write().entry(name.to_owned()).or_insert_with(make).clone()
    }

    /// Forgets those that no policy has any more.
    pub fn retain(&self, is_there: impl Fn(&str) -> bool, metrics: &Metrics) {
        self.0.write().retain(|name, _| {
            is_there(name) || {
                // They are there: these were the names that they were made with.
                let _ = metrics.policy_errors.remove_label_values(&[name]);
                let _ = metrics.policy_seconds.remove_label_values(&[name]);
                false
            }
        });
    }
}
