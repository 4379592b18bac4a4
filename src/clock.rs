//! What time it is for policies: the system's clock says so, or whoever replays the past.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock that can be set.
#[derive(Default)]
pub struct Clock(AtomicU64);

impl Clock {
    /// Seconds since the epoch.
    pub fn now(&self) -> f64 {
        match self.0.load(Ordering::Relaxed) {
            0 => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            bits => f64::from_bits(bits),
        }
    }

    /// From now on it is this time, until the next call.
    pub fn set(&self, t: f64) {
        self.0.store(t.to_bits(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_by_itself_until_it_is_set() {
        let clock = Clock::default();
        assert!(clock.now() > 1_700_000_000.0);
        clock.set(5.5);
        assert_eq!(clock.now(), 5.5);
    }
}
