//! Failures for the log: of each kind a line at once, and after that one a second at most, which says
//! how many failures it stands for. A dead receiver must not fill the log.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::logger;
use crate::webhook::hook::Hook;

/// How often there is a line about the same.
const INTERVAL: Duration = Duration::from_secs(1);

/// Kinds of failures that are remembered; there is one for each hook.
const MAX_KINDS: usize = 10_000;

/// What has failed lately.
#[derive(Default)]
pub struct Complaints(Mutex<HashMap<Kind, Kept>>);

/// What there is at most a line a second about.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Kind {
    Failed(u64),
    Dropped,
    Unknown,
    NoThread,
}

/// Since when failures of a kind have been kept back, how many, and the latest of them.
struct Kept {
    since: Instant,
    count: u64,
    line: String,
}

impl Complaints {
    /// An attempt has failed.
    pub fn failed(&self, hook: &Hook, cause: &str, now: Instant) {
        let url = hook.url.public();
        let fields = [("id", &*hook.id.to_string()), ("name", &hook.name), ("url", &url), ("cause", cause)];
        self.complain(Kind::Failed(hook.id), logger::line("webhook failed", &fields), now);
    }

    /// The queue was full.
    pub fn dropped(&self, hook: &Hook, now: Instant) {
        let fields = [("id", &*hook.id.to_string()), ("name", &hook.name)];
        self.complain(Kind::Dropped, logger::line("webhook dropped, the queue is full", &fields), now);
    }

    /// There is no hook of this name.
    pub fn unknown(&self, name: &str, now: Instant) {
        let line = logger::line("runCustomWebHook(name, data): no such webhook", &[("name", name)]);
        self.complain(Kind::Unknown, line, now);
    }

    /// The system gave no thread.
    pub fn no_thread(&self, e: &io::Error, now: Instant) {
        self.complain(Kind::NoThread, format!("no thread for webhooks: {e} "), now);
    }

    fn complain(&self, kind: Kind, line: String, now: Instant) {
        if let Some(line) = self.keep(kind, line, now) {
            log::error!("{line}");
        }
    }

    /// Keeps a line back, or gives it to be logged.
    fn keep(&self, kind: Kind, line: String, now: Instant) -> Option<String> {
        let mut kinds = self.0.lock();
        if let Some(kept) = kinds.get_mut(&kind) {
            kept.count += 1;
            kept.line = line;
            return None;
        }
        if kinds.len() >= MAX_KINDS {
            return None;
        }
        kinds.insert(kind, Kept { since: now, count: 0, line: String::new() });
        Some(line)
    }

    /// Logs what has been kept back for long enough. Called about once a second.
    pub fn flush(&self, now: Instant) {
        for line in self.take(now) {
            log::error!("{line}");
        }
    }

    /// The lines that are due; a kind that was quiet is forgotten.
    fn take(&self, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        self.0.lock().retain(|_, kept| {
            if now.saturating_duration_since(kept.since) < INTERVAL {
                return true;
            }
            let count = std::mem::take(&mut kept.count);
            kept.since = now;
            match count {
                0 => return false,
                1 => lines.push(std::mem::take(&mut kept.line)),
                _ => lines.push(format!("{}({count} times since the last line)", kept.line)),
            }
            true
        });
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_and_told_once_a_second() {
        let (complaints, start) = (Complaints::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let keep =
            |number: u32, millis| complaints.keep(Kind::Dropped, format!("failure {number} "), at(millis));
        assert_eq!(keep(1, 10).as_deref(), Some("failure 1 "));
        assert_eq!((2..=4).filter_map(|number| keep(number, 20)).count(), 0);
        assert_eq!(complaints.take(at(500)), Vec::<String>::new());
        assert_eq!(complaints.take(at(1500)), ["failure 4 (3 times since the last line)"]);
        assert_eq!(keep(5, 1600), None);
        assert_eq!(complaints.take(at(2600)), ["failure 5 "]);
        assert_eq!(complaints.take(at(4000)), Vec::<String>::new());
        assert!(complaints.0.lock().is_empty(), "quiet again");
    }
}
