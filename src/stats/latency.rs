//! How long things took in the last five minutes, in the five buckets of `showPerfStats()`, and
//! since the start, as a Prometheus histogram with the same bounds.

use std::time::Duration;

use prometheus::Histogram;

use crate::stats::window::Window;

/// The upper bounds of the buckets; what takes longer is slow.
pub const BOUNDS: [Duration; 4] =
    [Duration::from_millis(1), Duration::from_millis(10), Duration::from_millis(100), Duration::from_secs(1)];

/// The names of the buckets, in milliseconds.
const NAMES: [&str; 5] = ["0_1", "1_10", "10_100", "100_1000", "Slow"];

/// A distribution of durations.
pub struct Latency {
    /// What the names of its buckets begin with.
    prefix: &'static str,
    windows: [Window; 5],
    histogram: Histogram,
}

impl Latency {
    pub fn new(prefix: &'static str, histogram: Histogram) -> Latency {
        Latency { prefix, windows: Default::default(), histogram }
    }

    /// Counts one thing that took this long.
    pub fn observe(&self, took: Duration) {
        let bucket = BOUNDS.iter().position(|bound| took < *bound).unwrap_or(BOUNDS.len());
        self.windows[bucket].add();
        self.histogram.observe(took.as_secs_f64());
    }

    pub fn rotate(&self) {
        self.windows.iter().for_each(Window::rotate);
    }

    /// The buckets of the last five minutes, fastest first.
    pub fn counts(&self) -> impl Iterator<Item = (String, u64)> {
        NAMES
            .iter()
            .zip(&self.windows)
            .map(|(name, window)| (format!("{}_{name}", self.prefix), window.total()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_one_bucket() {
        let latency =
            Latency::new("WTW", Histogram::with_opts(prometheus::HistogramOpts::new("x", "x")).unwrap());
        for micros in [0, 999, 1000, 9_999, 10_000, 100_000, 1_000_000, 60_000_000] {
            latency.observe(Duration::from_micros(micros));
        }
        let counts: Vec<String> = latency.counts().map(|(name, count)| format!("{name}={count}")).collect();
        assert_eq!(counts, ["WTW_0_1=2", "WTW_1_10=2", "WTW_10_100=1", "WTW_100_1000=1", "WTW_Slow=2"]);
        assert_eq!(latency.histogram.get_sample_count(), 8);
    }
}
