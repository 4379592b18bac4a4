//! The deliveries that wait and the order in which they are begun, so that a receiver that is slow or
//! dead delays its own hook only. Pure: no threads, and time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// How much may wait, and how much may be under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Deliveries that may wait.
    pub waiting: usize,
    /// Deliveries that may be under way.
    pub under_way: usize,
    /// Whether a hook must leave room for others.
    pub shares: bool,
}

/// The queue has no room.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// Deliveries, each for a hook that is known by its number.
#[derive(Debug)]
pub struct Queue<T> {
    limits: Limits,
    /// The hooks that have deliveries ready or under way.
    lanes: BTreeMap<u64, Lane<T>>,
    /// The hooks that have deliveries ready, in the order of their turns.
    turns: VecDeque<u64>,
    /// Deliveries that wait for their next attempt, by when that is due; the number makes it unique.
    later: BTreeMap<(Instant, u64), (u64, T)>,
    last_number: u64,
    ready: usize,
    under_way: usize,
}

#[derive(Debug)]
struct Lane<T> {
    ready: VecDeque<T>,
    under_way: usize,
}

impl<T> Queue<T> {
    /// A queue without room for anything.
    pub fn new() -> Queue<T> {
        Queue {
            limits: Limits::default(),
            lanes: BTreeMap::new(),
            turns: VecDeque::new(),
            later: BTreeMap::new(),
            last_number: 0,
            ready: 0,
            under_way: 0,
        }
    }

    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// How many may be under way.
    pub fn most(&self) -> usize {
        self.limits.under_way
    }

    /// Deliveries that wait, for a thread or for their next attempt.
    pub fn len(&self) -> usize {
        self.ready + self.later.len()
    }

    /// Deliveries that wait or are under way.
    pub fn unfinished(&self) -> usize {
        self.len() + self.under_way
    }

    /// Adds a delivery, if there is room.
    pub fn push(&mut self, hook: u64, delivery: T) -> Result<(), Full> {
        self.check_room()?;
        self.make_ready(hook, delivery);
        Ok(())
    }

    /// Adds a delivery that is not to be begun before `due`, if there is room.
    pub fn push_later(&mut self, hook: u64, delivery: T, due: Instant) -> Result<(), Full> {
        self.check_room()?;
        self.last_number += 1;
        self.later.insert((due, self.last_number), (hook, delivery));
        Ok(())
    }

    fn check_room(&self) -> Result<(), Full> {
        if self.len() < self.limits.waiting { Ok(()) } else { Err(Full) }
    }

    fn make_ready(&mut self, hook: u64, delivery: T) {
        let lane = self.lanes.entry(hook).or_insert_with(|| Lane { ready: VecDeque::new(), under_way: 0 });
        if lane.ready.is_empty() {
            self.turns.push_back(hook);
        }
        lane.ready.push_back(delivery);
        self.ready += 1;
    }

    /// Makes what is due ready.
    pub fn advance(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now) {
            let (hook, delivery) = entry.remove();
            self.make_ready(hook, delivery);
        }
    }

    /// When the first of those that wait for their next attempt is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((due, _), _)| *due)
    }

    /// The next delivery to begin: hooks take turns, and one that has its share under way is passed over.
    pub fn take(&mut self) -> Option<T> {
        let turn = self.turns.iter().position(|hook| self.may_begin(*hook))?;
        let hook = self.turns.remove(turn)?;
        let lane = self.lanes.get_mut(&hook)?;
        let delivery = lane.ready.pop_front()?;
        lane.under_way += 1;
        if !lane.ready.is_empty() {
            self.turns.push_back(hook);
        }
        self.ready -= 1;
        self.under_way += 1;
        Some(delivery)
    }

    /// Whether there is a delivery to begin.
    pub fn can_take(&self) -> bool {
        self.turns.iter().any(|hook| self.may_begin(*hook))
    }

    /// A delivery of a hook is no longer under way.
    pub fn finish(&mut self, hook: u64) {
        self.under_way -= 1;
        if let Some(lane) = self.lanes.get_mut(&hook) {
            lane.under_way -= 1;
            if lane.ready.is_empty() && lane.under_way == 0 {
                self.lanes.remove(&hook);
            }
        }
    }

    /// Whether a hook may have one more under way: fewer than there are places free. So the first slow
    /// one takes half of them, the next a quarter, and a healthy one always finds a place.
    fn may_begin(&self, hook: u64) -> bool {
        let free = self.limits.under_way.saturating_sub(self.under_way);
        let is_alone = !self.limits.shares && self.lanes.len() <= 1;
        free > 0 && (is_alone || self.lanes.get(&hook).is_some_and(|lane| lane.under_way < free))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn queue(waiting: usize, under_way: usize, shares: bool) -> Queue<u64> {
        let mut queue = Queue::new();
        queue.set_limits(Limits { waiting, under_way, shares });
        queue
    }

    /// Takes all that can be taken; each delivery is the number of its hook.
    fn take_all(queue: &mut Queue<u64>) -> Vec<u64> {
        std::iter::from_fn(|| queue.take()).collect()
    }

    fn count(taken: &[u64], hook: u64) -> usize {
        taken.iter().filter(|taken| **taken == hook).count()
    }

    #[test]
    fn slow_hooks_leave_room_for_others() {
        let mut queue = queue(1000, 50, true);
        let mut shares = Vec::new();
        for hook in 1..=5 {
            (0..100).for_each(|_| queue.push(hook, hook).unwrap());
            shares.push(count(&take_all(&mut queue), hook));
        }
        assert_eq!(shares, [25, 13, 6, 3, 2]);
        queue.push(6, 6).unwrap();
        assert_eq!(take_all(&mut queue), [6], "a healthy one");
        queue.finish(6);
        assert_eq!((queue.len(), queue.unfinished()), (451, 500));
    }

    #[test]
    fn a_hook_alone_may_use_all() {
        for (shares, expected) in [(false, 50), (true, 25)] {
            let mut queue = queue(1000, 50, shares);
            (0..100).for_each(|_| queue.push(1, 1).unwrap());
            assert_eq!(take_all(&mut queue).len(), expected);
        }
        // One of an earlier configuration is still there.
        let mut queue = queue(1000, 50, false);
        queue.push(2, 2).unwrap();
        (0..100).for_each(|_| queue.push(1, 1).unwrap());
        assert_eq!(take_all(&mut queue).len(), 26);
    }

    #[test]
    fn hooks_take_turns() {
        let mut queue = queue(1000, 1, true);
        for hook in [1, 1, 1, 2, 2, 3] {
            queue.push(hook, hook).unwrap();
        }
        let mut taken = Vec::new();
        while let Some(hook) = queue.take() {
            assert!(!queue.can_take(), "there is one place");
            taken.push(hook);
            queue.finish(hook);
        }
        assert_eq!(taken, [1, 2, 3, 1, 2, 1]);
        assert!(queue.lanes.is_empty() && queue.turns.is_empty());
    }

    #[test]
    fn the_queue_has_an_end_and_retries_count() {
        let (mut queue, now) = (queue(2, 5, false), Instant::now());
        assert!(queue.push(1, 1).is_ok() && queue.push_later(1, 1, now).is_ok());
        assert_eq!((queue.push(1, 1), queue.push_later(2, 2, now)), (Err(Full), Err(Full)));
        assert!(queue.take().is_some() && queue.push(1, 1).is_ok());
        assert_eq!(Queue::new().push(1, 1), Err(Full), "before there are limits");
    }

    #[test]
    fn a_retry_is_ready_when_it_is_due() {
        let (mut queue, now) = (queue(10, 5, false), Instant::now());
        let second = |n| now + Duration::from_secs(n);
        queue.push_later(1, 12, second(2)).unwrap();
        queue.push_later(1, 11, second(1)).unwrap();
        queue.push_later(1, 13, second(2)).unwrap();
        assert_eq!((queue.next_due(), queue.take(), queue.len()), (Some(second(1)), None, 3));
        queue.advance(second(1));
        assert_eq!((take_all(&mut queue), queue.next_due()), (vec![11], Some(second(2))));
        queue.advance(second(3));
        assert_eq!((take_all(&mut queue), queue.next_due()), (vec![12, 13], None));
    }
}
