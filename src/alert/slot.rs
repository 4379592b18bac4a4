//! What is remembered of each alert: a few numbers, found by the hash of its rule and key, so that the same
//! alert ten thousand times a second costs a look into a table.

use std::hash::{BuildHasher, RandomState};

use lru::LruCache;

/// Alerts that are remembered; those that were longest without a repetition are forgotten.
const MOST: usize = 1_000_000;

/// The longest pause that came of doubling, in seconds.
const LONGEST_PAUSE: f64 = 7.0 * DAY;

/// How long an alert is open at least after its last repetition.
const DAY: f64 = 86_400.0;

/// How an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    /// Somebody knows of it: it is counted, and nobody hears of it.
    Acknowledged,
    Silenced,
    /// It is over; what comes then is another alert.
    Closed,
}

impl State {
    const ALL: [State; 4] = [State::Open, State::Acknowledged, State::Silenced, State::Closed];

    pub fn name(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Acknowledged => "acknowledged",
            State::Silenced => "silenced",
            State::Closed => "closed",
        }
    }

    /// The state of this name; one that nobody knows is as good as none.
    pub fn of(name: &str) -> State {
        State::ALL.into_iter().find(|state| state.name() == name).unwrap_or(State::Closed)
    }
}

/// What is remembered of an alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slot {
    /// 0 for a dry run, which is not in the file.
    pub id: i64,
    pub count: u64,
    pub first: f64,
    pub last: f64,
    pub state: State,
    /// When it was sent last, if it ever was.
    pub sent: Option<f64>,
    /// How many seconds it is not sent again.
    pub pause: f64,
    /// Whether the file has to hear of it.
    pub is_dirty: bool,
}

impl Slot {
    /// Whether it is over by `t`, or was closed.
    pub fn is_over(&self, t: f64) -> bool {
        self.state == State::Closed || t - self.last > self.pause.max(DAY)
    }

    /// Whether it may be sent at `t`, as far as it alone is concerned.
    pub fn is_due(&self, t: f64) -> bool {
        self.sent.is_none_or(|sent| t >= sent + self.pause)
    }

    /// It is sent at `t`. The pause doubles each time, up to a week; one that was longer from the start
    /// stays as it is.
    pub fn send(&mut self, t: f64) {
        if self.sent.is_some() && self.pause < LONGEST_PAUSE {
            self.pause = (2.0 * self.pause).min(LONGEST_PAUSE);
        }
        self.sent = Some(t);
    }
}

/// The alerts that are remembered.
pub struct Slots {
    hasher: RandomState,
    slots: LruCache<u64, Slot>,
}

impl Default for Slots {
    fn default() -> Self {
        Slots { hasher: RandomState::new(), slots: LruCache::unbounded() }
    }
}

impl Slots {
    /// What an alert is found by. A dry run is another alert than a real one.
    pub fn hash(&self, rule: &str, key: &str, is_dry: bool) -> u64 {
        self.hasher.hash_one((rule, key, is_dry))
    }

    pub fn get(&mut self, hash: u64) -> Option<&mut Slot> {
        self.slots.get_mut(&hash)
    }

    /// Remembers an alert; gives the one that is forgotten for it.
    pub fn put(&mut self, hash: u64, slot: Slot) -> Option<Slot> {
        self.slots.put(hash, slot);
        if self.slots.len() <= MOST {
            return None;
        }
        self.slots.pop_lru().map(|(_, slot)| slot)
    }

    pub fn remove(&mut self, hash: u64) {
        self.slots.pop(&hash);
    }

    /// Gives a slot that the file has to hear of, which it has from now on.
    pub fn settle(&mut self, hash: u64) -> Option<Slot> {
        let slot = self.slots.peek_mut(&hash).filter(|slot| slot.is_dirty)?;
        slot.is_dirty = false;
        Some(*slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(pause: f64) -> Slot {
        Slot {
            id: 1,
            count: 1,
            first: 0.0,
            last: 0.0,
            state: State::Open,
            sent: None,
            pause,
            is_dirty: false,
        }
    }

    #[test]
    fn the_pause_doubles_up_to_a_week() {
        for (first, pauses) in [
            (DAY, vec![DAY, 2.0 * DAY, 4.0 * DAY, 7.0 * DAY, 7.0 * DAY]),
            (30.0 * DAY, vec![30.0 * DAY, 30.0 * DAY]),
            (0.0, vec![0.0, 0.0]),
        ] {
            let (mut slot, mut t) = (slot(first), 0.0);
            for pause in pauses {
                assert!(slot.is_due(t));
                slot.send(t);
                assert_eq!(slot.pause, pause);
                assert!(!slot.is_due(t + pause - 1.0));
                t += pause;
            }
        }
    }

    #[test]
    fn it_is_over_after_its_pause_or_a_day() {
        for (pause, t, expected) in [
            (3600.0, DAY, false),
            (3600.0, DAY + 1.0, true),
            (3.0 * DAY, 3.0 * DAY, false),
            (3.0 * DAY, 3.0 * DAY + 1.0, true),
            (3600.0, -10.0 * DAY, false),
        ] {
            assert_eq!(slot(pause).is_over(t), expected, "{pause} {t}");
        }
        assert!(Slot { state: State::Closed, ..slot(3600.0) }.is_over(0.0));
    }

    #[test]
    fn a_million_are_remembered() {
        let mut slots = Slots::default();
        let first = slots.hash("rule", "first", false);
        assert_eq!(slots.put(first, slot(1.0)), None);
        (0..MOST as u64 - 1).for_each(|number| assert_eq!(slots.put(number, slot(2.0)), None));
        assert_eq!(slots.put(u64::MAX, slot(2.0)), Some(slot(1.0)));
        assert!(slots.get(first).is_none());
        assert_ne!(first, slots.hash("rule", "first", true));
    }
}
