//! How many reports came in the last minutes: whether the feed lives, and whether the backend does.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Minutes that are remembered.
pub const MINUTES: u32 = 60;

/// What came in each of the last minutes.
#[derive(Default)]
pub struct Pulse(Mutex<Beats>);

#[derive(Default)]
struct Beats {
    /// By minute since the epoch; minutes without a report may be missing.
    minutes: VecDeque<Beat>,
    /// The minute of the first look or report.
    since: Option<u32>,
}

struct Beat {
    minute: u32,
    reports: u64,
    internal: u64,
}

/// What came in a number of minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    pub reports: u64,
    /// Those that say that the backend has failed.
    pub internal: u64,
    /// Whether the daemon has looked for as long as that.
    pub is_whole: bool,
}

impl Pulse {
    /// A report has come at this time, in seconds since the epoch.
    pub fn note(&self, now: f64, is_internal: bool) {
        let mut beats = self.0.lock();
        let minute = beats.begin(now);
        // The clock may have been put back a little; what came then counts as of now.
        match beats.minutes.back_mut() {
            Some(beat) if beat.minute >= minute => beat.add(is_internal),
            _ => {
                let mut beat = Beat { minute, reports: 0, internal: 0 };
                beat.add(is_internal);
                beats.minutes.push_back(beat);
            }
        }
        let first = minute.saturating_sub(MINUTES);
        while beats.minutes.front().is_some_and(|beat| beat.minute < first) {
            beats.minutes.pop_front();
        }
    }

    /// What came in the last `minutes` whole minutes and the present one.
    pub fn last(&self, now: f64, minutes: u32) -> Feed {
        let mut beats = self.0.lock();
        let minute = beats.begin(now);
        let first = minute.saturating_sub(minutes);
        let recent = || beats.minutes.iter().filter(|beat| beat.minute >= first);
        Feed {
            reports: recent().map(|beat| beat.reports).sum(),
            internal: recent().map(|beat| beat.internal).sum(),
            is_whole: beats.since.is_some_and(|since| since <= first),
        }
    }
}

impl Beats {
    fn begin(&mut self, now: f64) -> u32 {
        let minute = (now / 60.0) as u32;
        self.since.get_or_insert(minute);
        minute
    }
}

impl Beat {
    fn add(&mut self, is_internal: bool) {
        self.reports += 1;
        self.internal += u64::from(is_internal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minutes_are_counted() {
        let (pulse, start) = (Pulse::default(), 1_700_000_040.0);
        assert_eq!(pulse.last(start, 5), Feed::default(), "it has just begun to look");
        for minute in 0..100 {
            pulse.note(start + 60.0 * f64::from(minute), minute % 2 == 0);
        }
        let end = start + 60.0 * 99.0;
        assert_eq!(pulse.last(end, 5), Feed { reports: 6, internal: 3, is_whole: true });
        assert_eq!(pulse.last(end + 600.0, 5), Feed { reports: 0, internal: 0, is_whole: true });
        assert!(pulse.0.lock().minutes.len() <= 61);
    }
}
