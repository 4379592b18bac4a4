//! A count of the last five minutes: twenty slots of fifteen seconds. Counting is one atomic
//! addition; time passes when `rotate` is called.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How many slots a window has.
const SLOTS: usize = 20;

/// How often a window must be rotated.
pub const SLOT: Duration = Duration::from_secs(15);

/// What a window spans.
pub const SPAN: Duration = Duration::from_secs(SLOTS as u64 * SLOT.as_secs());

/// A count of what happened within [`SPAN`], up to one [`SLOT`] less.
#[derive(Debug, Default)]
pub struct Window {
    slots: [AtomicU64; SLOTS],
    current: AtomicUsize,
}

impl Window {
    /// Counts one.
    pub fn add(&self) {
        self.slots[self.current.load(Ordering::Relaxed)].fetch_add(1, Ordering::Relaxed);
    }

    /// Begins the next slot and forgets the oldest. One thread alone calls this.
    pub fn rotate(&self) {
        let next = (self.current.load(Ordering::Relaxed) + 1) % SLOTS;
        self.slots[next].store(0, Ordering::Relaxed);
        self.current.store(next, Ordering::Relaxed);
    }

    /// How many were counted within the window.
    pub fn total(&self) -> u64 {
        self.slots.iter().map(|slot| slot.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_forgotten_after_twenty_rotations() {
        let window = Window::default();
        window.add();
        window.rotate();
        window.add();
        for rotation in 1..SLOTS {
            assert_eq!(window.total(), 2, "after {rotation} rotations");
            window.rotate();
        }
        assert_eq!(window.total(), 1);
        window.rotate();
        assert_eq!(window.total(), 0);
    }
}
