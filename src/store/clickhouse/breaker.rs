//! Questions to a server that does not answer are not asked for a while, so that no thread waits for it
//! again and again.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Failures in a row after which no question is asked.
const FAILURES: u32 = 3;

/// For how long, and then one is let through.
const PAUSE: Duration = Duration::from_secs(5);

/// Lets questions through, or not.
#[derive(Default)]
pub struct Breaker(Mutex<State>);

#[derive(Default)]
struct State {
    failures: u32,
    /// No question is asked before.
    until: Option<Instant>,
}

impl Breaker {
    /// Whether a question may be asked now. After the pause, one may every time it ends.
    pub fn admits(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        match state.until {
            Some(until) if now < until => false,
            Some(_) => {
                state.until = Some(now + PAUSE);
                true
            }
            None => true,
        }
    }

    /// The server has answered.
    pub fn close(&self) {
        *self.0.lock() = State::default();
    }

    /// It has not.
    pub fn count(&self, now: Instant) {
        let mut state = self.0.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            state.until = Some(now + PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_failures_in_a_row_one_question_is_asked_now_and_then() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..FAILURES - 1 {
            assert!(breaker.admits(at(0)));
            breaker.count(at(0));
        }
        breaker.close();
        for _ in 0..FAILURES {
            assert!(breaker.admits(at(1)), "those before an answer do not count");
            breaker.count(at(1));
        }
        assert!(!breaker.admits(at(1)) && !breaker.admits(at(5)));
        assert!(breaker.admits(at(6)) && !breaker.admits(at(6)), "one of many");
        breaker.count(at(8));
        assert!(!breaker.admits(at(12)) && breaker.admits(at(13)));
        breaker.close();
        assert!(breaker.admits(at(13)) && breaker.admits(at(13)));
    }
}
