//! On how many days something happened, told day by day in nearly any order.

use serde::{Deserialize, Serialize};

use crate::store::query::DAY;
use crate::store::record::Seconds;

/// Distinct days (UTC). A day that is told late counts if it is one of the 32 before the latest, or
/// before all others; else nobody knows whether it was told already, and it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Days {
    count: u16,
    first: u16,
    last: u16,
    /// Bit n: the day n before the last.
    recent: u32,
}

impl Days {
    pub fn insert(&mut self, t: Seconds) {
        let day = (t / DAY) as u16;
        if self.count == 0 {
            *self = Days { count: 1, first: day, last: day, recent: 1 };
        } else if day > self.last {
            self.recent = self.recent.checked_shl((day - self.last).into()).unwrap_or_default() | 1;
            self.last = day;
            self.count += 1;
        } else if day < self.first {
            self.recent |= self.bit(day);
            self.first = day;
            self.count += 1;
        } else {
            let bit = self.bit(day);
            self.count += u16::from(bit & !self.recent != 0);
            self.recent |= bit;
        }
    }

    /// The bit of a day that is not after the last; none when it is too long ago.
    fn bit(&self, day: u16) -> u32 {
        1_u32.checked_shl((self.last - day).into()).unwrap_or_default()
    }

    /// Adds days of long before, of which the last may be the first of these.
    pub fn join(&mut self, before: Days) {
        self.count += before.count - u16::from(before.last == self.first);
        self.first = before.first;
    }

    pub fn count(&self) -> u32 {
        self.count.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_counts_once_in_any_order() {
        for (days, expected) in [
            (&[][..], 0),
            (&[100, 100], 1),
            (&[100, 101, 100, 101], 2),
            (&[131, 100, 131, 100, 120, 101, 120], 4),
            (&[100, 200, 200], 2),
            (&[200, 100, 100], 2),
            (&[200, 150, 100, 50], 4),
            // Between two that are far apart.
            (&[100, 200, 150], 2),
            (&[1, 49_000, 48_999, 48_999], 3),
        ] {
            let mut told = Days::default();
            days.iter().for_each(|day| told.insert(day * DAY + 5));
            assert_eq!(told.count(), expected, "{days:?}");
        }
    }
}
