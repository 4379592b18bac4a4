//! Which deliveries came within the last hour: a sender that heard no answer sends again, and that must
//! not count twice.

use std::collections::{HashSet, VecDeque};

use crate::store::query::{HOUR, STEP};
use crate::store::record::Seconds;

/// How long a delivery is remembered, at least.
pub const MEMORY: Seconds = HOUR;

/// Hashes of deliveries: 8 bytes for each of an hour, and twice as many for those of five minutes.
#[derive(Default)]
pub struct Deliveries {
    /// Those since then.
    since: Seconds,
    current: HashSet<u64>,
    /// Those before, sorted, by the second of the last one.
    sealed: VecDeque<(Seconds, Box<[u64]>)>,
}

impl Deliveries {
    /// Notes a delivery that comes `now`. Whether it has not come before.
    pub fn insert(&mut self, hash: u64, now: Seconds) -> bool {
        // A clock that was put back begins a new span, too.
        if now.abs_diff(self.since) >= STEP {
            self.seal(now);
        }
        let is_known = || self.sealed.iter().any(|(_, hashes)| hashes.binary_search(&hash).is_ok());
        !is_known() && self.current.insert(hash)
    }

    /// Forgets a delivery that came a moment ago and could not be accepted.
    pub fn take_back(&mut self, hash: u64) {
        self.current.remove(&hash);
    }

    fn seal(&mut self, now: Seconds) {
        let mut hashes: Box<[u64]> = std::mem::take(&mut self.current).into_iter().collect();
        hashes.sort_unstable();
        if !hashes.is_empty() {
            self.sealed.push_back((self.since.saturating_add(STEP), hashes));
        }
        self.since = now;
        self.sealed.retain(|(last, _)| now.saturating_sub(*last) <= MEMORY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Seconds = 1_700_000_000;

    #[test]
    fn a_delivery_is_known_for_an_hour() {
        let mut deliveries = Deliveries::default();
        assert!(deliveries.insert(1, START));
        for later in [0, 1, 299, 301, 1800, 3599] {
            assert!(!deliveries.insert(1, START + later), "after {later} s");
            assert!(deliveries.insert(1000 + u64::from(later), START + later));
        }
        assert!(deliveries.insert(1, START + 3 * HOUR), "and then forgotten");
        assert!(deliveries.sealed.len() < 15, "with all that was kept for it");
    }

    #[test]
    fn what_was_not_accepted_may_come_again() {
        let mut deliveries = Deliveries::default();
        assert!(deliveries.insert(1, START));
        deliveries.take_back(1);
        assert!(deliveries.insert(1, START + 1));
    }

    #[test]
    fn a_clock_that_is_put_back_forgets_nothing() {
        let mut deliveries = Deliveries::default();
        assert!(deliveries.insert(1, START));
        assert!(!deliveries.insert(1, START - 10_000));
        assert!(!deliveries.insert(1, START + 10));
    }
}
