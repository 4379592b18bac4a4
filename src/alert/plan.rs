//! When what is tried again: the pauses of a receiver that fails as a whole, and of messages that it does
//! not take. Pure: time is an argument.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Pauses of a receiver that can't be reached, and of a message that was refused. Each is twice as long
/// as the one before.
const RECEIVER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
const MESSAGE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(7200));

/// What is to be done for a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It rests until then.
    Rest(Instant),
    /// A message that was refused is due again.
    Again(i64),
    /// The first message after this one, if there is one.
    After(i64),
}

/// What is known of a receiver and its messages.
#[derive(Debug, Default)]
pub struct Plan {
    /// How often it failed since it last did not, and when it is tried again.
    failures: u32,
    rests_until: Option<Instant>,
    /// The last message that was delivered or refused for the first time.
    after: i64,
    /// Messages that were refused: how often, and when they are due.
    refused: HashMap<i64, (u32, Instant)>,
    due: BTreeSet<(Instant, i64)>,
}

impl Plan {
    /// What is to be done at `now`.
    pub fn turn(&self, now: Instant) -> Turn {
        match (self.rests_until, self.due.first()) {
            (Some(end), _) if now < end => Turn::Rest(end),
            (_, Some((due, id))) if now >= *due => Turn::Again(*id),
            _ => Turn::After(self.after),
        }
    }

    /// When the next message that was refused is due, if there is one.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Messages that were refused and are to be tried again.
    pub fn refused_count(&self) -> usize {
        self.refused.len()
    }

    /// A message was delivered, or is not there any more.
    pub fn done(&mut self, id: i64) {
        (self.failures, self.rests_until) = (0, None);
        self.after = self.after.max(id);
        if let Some((_, due)) = self.refused.remove(&id) {
            self.due.remove(&(due, id));
        }
    }

    /// The receiver does not take this message, but may take others.
    pub fn refused(&mut self, id: i64, now: Instant) {
        let times = self.refused.get(&id).map_or(0, |(times, _)| *times);
        self.done(id);
        let due = now + pause(MESSAGE, times);
        self.refused.insert(id, (times + 1, due));
        self.due.insert((due, id));
    }

    /// The receiver takes nothing.
    pub fn failed(&mut self, now: Instant) {
        self.rests_until = Some(now + pause(RECEIVER, self.failures));
        self.failures += 1;
    }
}

fn pause((first, longest): (Duration, Duration), times: u32) -> Duration {
    first.saturating_mul(1 << times.min(20)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_rests_longer_each_time_until_it_takes_something() {
        let (mut plan, start, mut now) = (Plan::default(), Instant::now(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..12 {
            plan.failed(now);
            let Turn::Rest(end) = plan.turn(now) else { panic!("it must rest") };
            pauses.push((end - now).as_secs());
            now = end;
            assert_eq!(plan.turn(now), Turn::After(0));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        plan.done(1);
        assert_eq!(plan.turn(now), Turn::After(1));
        plan.failed(start);
        assert_eq!(plan.turn(start), Turn::Rest(start + Duration::from_secs(1)), "it begins anew");
    }

    #[test]
    fn a_message_that_is_refused_lets_others_go_before() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let minute = |n: u64| now + Duration::from_secs(60 * n);
        plan.refused(1, now);
        assert_eq!((plan.turn(now), plan.next_due()), (Turn::After(1), Some(minute(1))));
        plan.done(2);
        assert_eq!(plan.turn(minute(1)), Turn::Again(1));
        // The whole receiver fails: the message is due again when that is over.
        plan.failed(minute(1));
        assert_eq!(plan.turn(minute(1)), Turn::Rest(minute(1) + Duration::from_secs(1)));
        assert_eq!(plan.turn(minute(2)), Turn::Again(1));
        let mut due = Vec::new();
        for _ in 0..9 {
            plan.refused(1, now);
            due.push((plan.next_due().unwrap() - now).as_secs() / 60);
        }
        assert_eq!(due, [2, 4, 8, 16, 32, 64, 120, 120, 120]);
        assert_eq!(plan.turn(now), Turn::After(2), "what was delivered is not looked for again");
        plan.done(1);
        assert_eq!((plan.next_due(), plan.turn(minute(200))), (None, Turn::After(2)));
    }
}
