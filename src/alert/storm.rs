//! Storms: a rule that has had so many alerts sent within an hour that people could not read more.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use lru::LruCache;

/// Alerts of a rule that are sent within an hour of the events.
pub const MOST: usize = 200;
const HOUR: f64 = 3600.0;

/// Rules that are watched: those that were longest without an alert are forgotten.
const RULES: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// When the last alerts of each rule were sent; those of dry runs are counted apart.
pub struct Storms(LruCache<(String, bool), VecDeque<f64>>);

impl Default for Storms {
    fn default() -> Self {
        Storms(LruCache::unbounded())
    }
}

impl Storms {
    /// Whether as many of a rule were sent in the hour before `t` as may be. An hour after it counts too:
    /// a clock that was put back must not hold a rule up for longer.
    pub fn is_one(&mut self, rule: &str, is_dry: bool, t: f64) -> bool {
        let Some(times) = self.0.get(&(rule.to_owned(), is_dry)) else { return false };
        times.len() >= MOST && times.iter().all(|sent| (t - sent).abs() < HOUR)
    }

    /// One was sent.
    pub fn note(&mut self, rule: &str, is_dry: bool, t: f64) {
        let times = self.0.get_or_insert_mut((rule.to_owned(), is_dry), VecDeque::new);
        times.push_back(t);
        if times.len() > MOST {
            times.pop_front();
        }
        if self.0.len() > RULES.get() {
            self.0.pop_lru();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundred_in_an_hour_are_enough() {
        let mut storms = Storms::default();
        for second in 0..200 {
            assert!(!storms.is_one("spray", false, 10.0 * f64::from(second)), "{second}");
            storms.note("spray", false, 10.0 * f64::from(second));
        }
        for (t, expected) in
            [(1991.0, true), (3599.0, true), (3600.0, false), (-1600.0, true), (-1610.0, false)]
        {
            assert_eq!(storms.is_one("spray", false, t), expected, "{t}");
        }
        assert!(!storms.is_one("spray", true, 1991.0) && !storms.is_one("other", false, 1991.0));
        // Each one that is sent waits for another to be an hour old.
        storms.note("spray", false, 3600.0);
        assert!(storms.is_one("spray", false, 3605.0) && !storms.is_one("spray", false, 3611.0));
    }

    #[test]
    fn rules_without_end_are_forgotten() {
        let mut storms = Storms::default();
        (0..2 * RULES.get()).for_each(|number| storms.note(&number.to_string(), false, 0.0));
        assert_eq!(storms.0.len(), RULES.get());
    }
}
