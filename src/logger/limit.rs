//! Lines that something outside could have logged without end: of each subject a line at once, and
//! after that one in an interval at most, which says how many it stands for.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::time::{Duration, Instant};

use log::Level;
use parking_lot::Mutex;

/// Subjects that are remembered.
const MOST: usize = 10_000;

/// What has been said of subjects lately.
pub struct Limit<K>(Mutex<Memory<K>>);

struct Memory<K> {
    subjects: HashMap<K, Kept>,
    /// Lines about subjects that there was no room for.
    others: u64,
}

/// Since when lines about a subject have been kept back, how many, and the latest of them.
struct Kept {
    level: Level,
    interval: Duration,
    since: Instant,
    count: u64,
    line: String,
}

impl<K> Default for Limit<K> {
    fn default() -> Self {
        Limit(Mutex::new(Memory { subjects: HashMap::new(), others: 0 }))
    }
}

impl<K: Eq + Hash> Limit<K> {
    /// Logs a line about `subject`, or keeps it back when there was one less than `interval` ago.
    pub fn log(&self, subject: K, level: Level, interval: Duration, line: String, now: Instant) {
        if let Some(line) = self.keep(subject, level, interval, line, now) {
            log::log!(level, "{line}");
        }
    }

    /// Logs what has been kept back for long enough. Called about once a second.
    pub fn flush(&self, now: Instant) {
        for (level, line) in self.take(now) {
            log::log!(level, "{line}");
        }
    }

    /// Keeps a line back, or gives it to be logged.
    fn keep(
        &self,
        subject: K,
        level: Level,
        interval: Duration,
        line: String,
        now: Instant,
    ) -> Option<String> {
        let mut memory = self.0.lock();
        if let Some(kept) = memory.subjects.get_mut(&subject) {
            kept.count += 1;
            kept.line = line;
            return None;
        }
        if memory.subjects.len() >= MOST {
            memory.others += 1;
            return None;
        }
        memory.subjects.insert(subject, Kept { level, interval, since: now, count: 0, line: String::new() });
        Some(line)
    }

    /// The lines that are due; a subject that was quiet is forgotten.
    fn take(&self, now: Instant) -> Vec<(Level, String)> {
        let mut lines = Vec::new();
        let mut memory = self.0.lock();
        memory.subjects.retain(|_, kept| {
            if now.saturating_duration_since(kept.since) < kept.interval {
                return true;
            }
            let count = mem::take(&mut kept.count);
            kept.since = now;
            let line = match count {
                0 => return false,
                1 => mem::take(&mut kept.line),
                _ => format!("{} ({count} times since the last line)", kept.line.trim_end()),
            };
            lines.push((kept.level, line));
            true
        });
        let others = mem::take(&mut memory.others);
        if others > 0 {
            lines.push((Level::Warn, format!("{others} lines like those before were left out")));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    fn keep<K: Eq + Hash>(limit: &Limit<K>, subject: K, line: &str, now: Instant) -> bool {
        limit.keep(subject, Level::Error, INTERVAL, line.to_owned(), now).is_some()
    }

    #[test]
    fn lines_are_counted_and_told_once_in_an_interval() {
        let (limit, start) = (Limit::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let keep = |number: u32, millis| keep(&limit, 'x', &format!("failure {number} "), at(millis));
        let take = |millis| limit.take(at(millis)).into_iter().map(|(_, line)| line).collect::<Vec<_>>();
        assert!(keep(1, 10));
        assert!(!keep(2, 20) && !keep(3, 20) && !keep(4, 20));
        assert_eq!(take(500), Vec::<String>::new());
        assert_eq!(take(1500), ["failure 4 (3 times since the last line)"]);
        assert!(!keep(5, 1600));
        assert_eq!(take(2600), ["failure 5 "]);
        assert_eq!(take(4000), Vec::<String>::new());
        assert!(limit.0.lock().subjects.is_empty(), "quiet again");
    }

    #[test]
    fn each_subject_has_its_line_until_there_are_too_many() {
        let (limit, now) = (Limit::default(), Instant::now());
        assert_eq!((0..2 * MOST).filter(|number| keep(&limit, *number, "x", now)).count(), MOST);
        let line = format!("{MOST} lines like those before were left out");
        assert_eq!(limit.take(now), [(Level::Warn, line)]);
        assert_eq!(limit.take(now + INTERVAL), []);
        assert!(keep(&limit, 2 * MOST, "x", now + INTERVAL), "room again");
    }
}
