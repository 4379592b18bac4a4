//! Since when a login is in use: its successes in spans with no long absence in them, told in nearly any
//! order.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::store::aggregate::days::Days;
use crate::store::habit::ABSENCE;
use crate::store::record::Seconds;

/// Spans that are remembered, as many as there can be in the 180 days that a profile is kept by default.
/// Only the latest counts; a report that comes late may join it with the one before.
const STAYS: usize = 3;

/// Spans of successes, the latest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stays(Vec<Stay>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stay {
    first: Seconds,
    last: Seconds,
    days: Days,
}

impl Stays {
    /// There was a success.
    pub fn insert(&mut self, t: Seconds) {
        let Some(at) = self.0.iter().position(|stay| stay.is_near(t)) else {
            self.0.push(Stay::of(t));
            self.0.sort_by_key(|stay| Reverse(stay.first));
            return self.0.truncate(STAYS);
        };
        let stay = &mut self.0[at];
        let (first, last) = (stay.first.min(t), stay.last.max(t));
        (stay.first, stay.last) = (first, last);
        stay.days.insert(t);
        if self.0.get(at + 1).is_some_and(|before| before.is_near(first)) {
            let before = self.0.remove(at + 1);
            self.0[at].first = before.first;
            self.0[at].days.join(before.days);
        }
    }

    /// When the latest span began, and the days with a success in it.
    pub fn latest(&self) -> (Seconds, u32) {
        self.0.first().map_or((0, 0), |stay| (stay.first, stay.days.count()))
    }
}

impl Stay {
    fn of(t: Seconds) -> Stay {
        let mut days = Days::default();
        days.insert(t);
        Stay { first: t, last: t, days }
    }

    /// Whether there is no absence between it and `t`.
    fn is_near(&self, t: Seconds) -> bool {
        self.first.saturating_sub(t) < ABSENCE && t.saturating_sub(self.last) < ABSENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::query::DAY;

    fn latest(days: &[u32]) -> (u32, u32) {
        let mut stays = Stays::default();
        days.iter().for_each(|day| stays.insert(day * DAY + 7));
        let (first, count) = stays.latest();
        (first / DAY, count)
    }

    #[test]
    fn an_absence_begins_a_new_span() {
        for (days, expected) in [
            (&[][..], (0, 0)),
            (&[1000], (1000, 1)),
            (&[1000, 1010, 1099], (1000, 3)),
            (&[1000, 1010, 1100], (1100, 1)),
            (&[1000, 1100, 1200, 1300, 1300, 1301], (1300, 2)),
        ] {
            assert_eq!(latest(days), expected, "{days:?}");
        }
    }

    #[test]
    fn a_late_report_joins_what_was_apart() {
        for (days, expected) in [
            (&[1000, 1001, 1150, 1151, 1075][..], (1000, 5)),
            (&[1150, 1151, 1000, 1001, 1080], (1000, 5)),
            (&[1150, 1000, 1070], (1000, 3)),
            (&[1000, 1200, 1050], (1200, 1)),
            (&[1000, 1200, 1130], (1130, 2)),
        ] {
            assert_eq!(latest(days), expected, "{days:?}");
        }
        // On the last day of the earlier one.
        let mut stays = Stays::default();
        [1000 * DAY, 1090 * DAY + 60, 1000 * DAY + 120].into_iter().for_each(|t| stays.insert(t));
        assert_eq!(stays.latest(), (1000 * DAY, 2));
    }
}
