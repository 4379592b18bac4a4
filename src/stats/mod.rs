//! Everything that is counted: commands, custom counters, latencies, metrics. A count on the way of
//! a report is an atomic addition.

mod latency;
mod policy;
mod prometheus;
mod pulse;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::prometheus::IntCounter;
use parking_lot::RwLock;

use crate::error::{Error, Result};
use crate::stats::latency::Latency;
use crate::stats::prometheus::Metrics;
use crate::stats::window::Window;

pub use policy::{PolicyCounter, PolicyCounters};
pub use pulse::{Feed, MINUTES, Pulse};
pub use window::{SLOT, SPAN};

/// Custom counters that may be declared: each is a time series for whoever reads the metrics.
const MAX_CUSTOM: usize = 10_000;

/// A count of the last five minutes and since the start.
pub struct Counter {
    window: Window,
    total: IntCounter,
}

impl Counter {
    fn new(total: IntCounter) -> Arc<Counter> {
        Arc::new(Counter { window: Window::default(), total })
    }

    /// Counts one.
    pub fn count(&self) {
        self.window.add();
        self.total.inc();
    }
}

/// Everything that is counted.
pub struct Stats {
    pub metrics: Metrics,
    /// How long jobs waited for a Lua thread.
    pub wait: Latency,
    /// How long jobs ran.
    pub run: Latency,
    /// What came in the last minutes.
    pub pulse: Pulse,
    pub policies: PolicyCounters,
    started: Instant,
    reports: AtomicU64,
    commands: RwLock<BTreeMap<String, Arc<Counter>>>,
    custom: RwLock<BTreeMap<String, Arc<Counter>>>,
}

impl Stats {
    pub fn new() -> Stats {
        let metrics = Metrics::new();
        Stats {
            wait: Latency::new("WTW", metrics.queue_duration.clone()),
            run: Latency::new("WTR", metrics.response_duration.clone()),
            metrics,
            pulse: Pulse::default(),
            policies: PolicyCounters::default(),
            started: Instant::now(),
            reports: AtomicU64::new(0),
            commands: RwLock::default(),
            custom: RwLock::default(),
        }
    }

    /// The counter of a command, made when it is asked for first.
    pub fn command(&self, name: &str) -> Arc<Counter> {
        let make = || Counter::new(self.metrics.commands.with_label_values(&[name]));
        self.commands.write().entry(name.to_owned()).or_insert_with(make).clone()
    }

    /// Declares a custom counter; one that is there goes on.
    pub fn add_custom(&self, name: &str) -> Result<()> {
        let mut custom = self.custom.write();
        if custom.len() >= MAX_CUSTOM && !custom.contains_key(name) {
            return Err(Error::Refused(format!("there are {MAX_CUSTOM} custom counters already")));
        }
        let make = || Counter::new(self.metrics.custom.with_label_values(&[name]));
        custom.entry(name.to_owned()).or_insert_with(make);
        Ok(())
    }

    /// Forgets the counters of custom statistics and commands that are not wanted any more.
    pub fn retain(&self, custom: impl Fn(&str) -> bool, commands: impl Fn(&str) -> bool) {
        self.custom.write().retain(|name, _| {
            custom(name) || {
                // It is there: this was the name that it was made with.
                let _ = self.metrics.custom.remove_label_values(&[name]);
                false
            }
        });
        self.commands.write().retain(|name, _| {
            commands(name) || {
                let _ = self.metrics.commands.remove_label_values(&[name]);
                false
            }
        });
    }

    /// Adds one to a custom counter, and says whether there is one of that name.
    pub fn count_custom(&self, name: &str) -> bool {
        let counter = self.custom.read().get(name).cloned();
        counter.inspect(|counter| counter.count()).is_some()
    }

    /// Counts a report that was accepted.
    pub fn count_report(&self) {
        self.reports.fetch_add(1, Ordering::Relaxed);
    }

    /// Reports accepted since the start.
    pub fn reports(&self) -> u64 {
        self.reports.load(Ordering::Relaxed)
    }

    /// How long the daemon has been up.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Begins the next slot of every window; called once in a [`SLOT`].
    pub fn rotate(&self) {
        self.wait.rotate();
        self.run.rotate();
        for counters in [&self.commands, &self.custom] {
            counters.read().values().for_each(|counter| counter.window.rotate());
        }
    }

    /// How often each command was called in the last five minutes, by name.
    pub fn command_stats(&self) -> Vec<(String, u64)> {
        totals(&self.commands)
    }

    /// The custom counters of the last five minutes, by name.
    pub fn custom_stats(&self) -> Vec<(String, u64)> {
        totals(&self.custom)
    }

    /// How long jobs waited and ran in the last five minutes.
    pub fn perf_stats(&self) -> Vec<(String, u64)> {
        self.wait.counts().chain(self.run.counts()).collect()
    }

    /// What is logged every five minutes.
    pub fn log_lines(&self) -> [String; 3] {
        [("perf", self.perf_stats()), ("command", self.command_stats()), ("custom", self.custom_stats())]
            .map(|(what, counts)| format!("{what} stats last {} secs: {}", SPAN.as_secs(), pairs(counts)))
    }
}

fn totals(counters: &RwLock<BTreeMap<String, Arc<Counter>>>) -> Vec<(String, u64)> {
    counters.read().iter().map(|(name, counter)| (name.clone(), counter.window.total())).collect()
}

/// `name=count ` after each other, as the original logs them.
fn pairs(counts: Vec<(String, u64)>) -> String {
    counts.iter().map(|(name, count)| format!("{name}={count} ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_log_name_every_counter() {
        let stats = Stats::new();
        stats.command("report").count();
        stats.command("livez");
        stats.add_custom("failed").unwrap();
        assert!(
            stats.count_custom("failed") && stats.count_custom("failed") && !stats.count_custom("unknown")
        );
        stats.wait.observe(Duration::ZERO);
        let [perf, command, custom] = stats.log_lines();
        assert_eq!(
            perf,
            "perf stats last 300 secs: WTW_0_1=1 WTW_1_10=0 WTW_10_100=0 WTW_100_1000=0 WTW_Slow=0 \
             WTR_0_1=0 WTR_1_10=0 WTR_10_100=0 WTR_100_1000=0 WTR_Slow=0 "
        );
        assert_eq!(command, "command stats last 300 secs: livez=0 report=1 ");
        assert_eq!(custom, "custom stats last 300 secs: failed=2 ");
        (0..20).for_each(|_| stats.rotate());
        assert_eq!(stats.log_lines()[2], "custom stats last 300 secs: failed=0 ");
    }

    #[test]
    fn what_is_not_wanted_is_forgotten() {
        let stats = Stats::new();
        ["old", "kept"].iter().for_each(|name| stats.add_custom(name).unwrap());
        ["old", "report"].iter().for_each(|name| stats.command(name).count());
        stats.count_custom("kept");
        stats.retain(|name| name == "kept", |name| name == "report");
        assert!(!stats.count_custom("old") && stats.count_custom("kept"));
        assert_eq!(stats.custom_stats(), [("kept".into(), 2)]);
        assert_eq!(stats.command_stats(), [("report".into(), 1)]);
        let text = stats.metrics.text();
        assert!(!text.contains("old") && text.contains("{metric=\"kept\"} 2"), "{text}");
    }

    #[test]
    fn custom_counters_have_an_end() {
        let stats = Stats::new();
        (0..MAX_CUSTOM).for_each(|number| stats.add_custom(&number.to_string()).unwrap());
        assert!(stats.add_custom("one more").is_err());
        assert!(stats.add_custom("0").is_ok(), "one that is there");
    }
}
