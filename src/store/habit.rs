//! When a login is known well enough to tell what is unusual for it, and what is not unusual any more.
//! Policies ask this of the store, so that all of them mean the same.

use crate::store::query::{DAY, Profile, Value};
use crate::store::record::Seconds;

/// Who did not succeed for so long is learned anew.
pub const ABSENCE: Seconds = 90 * DAY;

/// How long an established login was in use, and on how many days it succeeded.
const AGE: Seconds = 14 * DAY;
const DAYS: u32 = 5;

/// Days with a success after which a value is familiar.
const FAMILIAR: u32 = 3;

impl Profile {
    /// Whether the login is in use long and often enough at this time, and was not away for long.
    pub fn is_established(&self, at: Seconds) -> bool {
        self.since.saturating_add(AGE) <= at
            && self.since_days >= DAYS
            && at.saturating_sub(self.last) < ABSENCE
    }
}

impl Value {
    /// Whether the login has it often enough for it to be no surprise.
    pub fn is_familiar(&self) -> bool {
        self.days >= FAMILIAR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_established_after_a_while_and_until_an_absence() {
        let start = 1_000_000_000;
        let profile = |days, last| Profile { since: start, since_days: days, last, ..Profile::default() };
        for (days, last, at, expected) in [
            (5, 13 * DAY, 14 * DAY, true),
            (5, 13 * DAY, 14 * DAY - 1, false),
            (4, 13 * DAY, 14 * DAY, false),
            (400, 500 * DAY, 500 * DAY + ABSENCE - 1, true),
            (400, 500 * DAY, 500 * DAY + ABSENCE, false),
            (400, 500 * DAY, 400 * DAY, true),
        ] {
            let found = profile(days, start + last).is_established(start + at);
            assert_eq!(found, expected, "{days} days until {last} at {at}");
        }
    }

    #[test]
    fn a_value_is_familiar_after_three_days() {
        assert!(Value { days: 3, ..Value::default() }.is_familiar());
        assert!(!Value { ok: 100, days: 2, ..Value::default() }.is_familiar());
    }
}
