//! What is usual for a source: on how many logins it failed in windows of the past. A network of many people
//! fails on more of them every hour than another one in a week of guessing.

use crate::store::query::{HOUR, SOURCE_HOURS, Window};
use crate::store::record::Seconds;

/// Hours of a window at most, so that there is one before the last.
pub const MOST_HOURS: u32 = SOURCE_HOURS / 2;

/// One in so many windows may have more than is usual.
const UNUSUAL: usize = 100;

/// Windows of whole hours, one before the other, as far back as there are counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Past {
    hours: u32,
    /// When the latest one ends, and the next one begins, which has not ended and does not count.
    end: Seconds,
}

impl Past {
    /// The windows before that one which `at` is in the last hour of.
    pub fn new(at: f64, hours: u32) -> Past {
        let hours = hours.clamp(1, MOST_HOURS);
        let now = at as Seconds / HOUR;
        Past { hours, end: (now + 1).saturating_sub(hours) * HOUR }
    }

    /// The latest first.
    pub fn windows(self) -> impl Iterator<Item = Window> {
        let back = move |windows| self.end.saturating_sub(windows * self.width());
        (0..self.count()).map(move |number| Window { start: back(number + 1), end: back(number) })
    }

    /// All of them as one.
    pub fn whole(self) -> Window {
        Window { start: self.end.saturating_sub(self.count() * self.width()), end: self.end }
    }

    /// Seconds of one of them.
    pub fn width(self) -> Seconds {
        self.hours * HOUR
    }

    fn count(self) -> u32 {
        SOURCE_HOURS / self.hours - 1
    }

    /// What all windows but one in a hundred have at most (the 99th percentile, by the nearest rank), of
    /// counts in any order. Those that are not given are 0.
    pub fn usual(self, mut counts: Vec<u64>) -> u64 {
        let windows = self.count() as usize;
        counts.resize(windows, 0);
        counts.sort_unstable();
        counts[windows - windows / UNUSUAL - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_go_back_from_the_last_one_as_far_as_there_are_counts() {
        let at = 1_000_000_123.9;
        let end_of_hour = 1_000_000_800;
        for (hours, count) in [(1, 335), (2, 167), (24, 13), (100, 2), (168, 1), (0, 335), (999, 1)] {
            let past = Past::new(at, hours);
            let windows: Vec<Window> = past.windows().collect();
            assert_eq!(windows.len(), count, "{hours}");
            let whole = Window { start: windows[count - 1].start, end: windows[0].end };
            assert_eq!(past.whole(), whole, "{hours}");
            assert!(windows.windows(2).all(|pair| pair[0].start == pair[1].end), "{hours}");
            assert!(windows.iter().all(|window| window.end - window.start == past.width()), "{hours}");
            assert_eq!(whole.end + past.width(), end_of_hour, "{hours}");
            assert!(whole.start >= end_of_hour - SOURCE_HOURS * HOUR, "{hours}");
        }
    }

    #[test]
    fn one_window_in_a_hundred_may_have_more() {
        for (hours, counts, expected) in [
            (1, vec![], 0),
            (1, vec![9, 8, 7], 0),
            (1, vec![7, 9, 6, 8], 6),
            (1, (0..335).collect(), 331),
            (24, vec![5], 5),
            (24, vec![3, 5, 4], 5),
            (168, vec![2], 2),
        ] {
            assert_eq!(Past::new(1e9, hours).usual(counts.clone()), expected, "{hours} {counts:?}");
        }
    }
}
