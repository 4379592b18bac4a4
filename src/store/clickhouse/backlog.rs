//! How many reports wait to be sent. It is counted where they come in, and read by the sender and by
//! whoever asks how the store is.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How many reports may wait, and how many bytes of them.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub rows: u64,
    pub bytes: u64,
}

impl Default for Room {
    /// A night of a large platform.
    fn default() -> Self {
        Room { rows: 10_000_000, bytes: 8 << 30 }
    }
}

/// Reports that wait to be sent.
pub struct Backlog {
    room: Room,
    counts: Mutex<Counts>,
    /// There is something to do for the sender.
    bell: Condvar,
}

#[derive(Default)]
struct Counts {
    rows: u64,
    bytes: u64,
    /// Since when some wait although none is sent.
    since: Option<Instant>,
    is_over: bool,
}

impl Backlog {
    pub fn new(room: Room) -> Backlog {
        Backlog { room, counts: Mutex::default(), bell: Condvar::new() }
    }

    /// So many wait, whatever was counted before.
    pub fn set(&self, rows: u64, bytes: u64) {
        let mut counts = self.counts.lock();
        (counts.rows, counts.bytes) = (rows, bytes);
        counts.since = (rows > 0).then(Instant::now);
        self.bell.notify_all();
    }

    /// Another one waits.
    pub fn add(&self, bytes: usize) {
        let mut counts = self.counts.lock();
        counts.rows += 1;
        counts.bytes += bytes as u64;
        counts.since.get_or_insert_with(Instant::now);
        self.bell.notify_all();
    }

    /// So many were sent.
    pub fn remove(&self, rows: u64, bytes: u64) {
        let mut counts = self.counts.lock();
        counts.rows = counts.rows.saturating_sub(rows);
        counts.bytes = counts.bytes.saturating_sub(bytes);
        counts.since = (counts.rows > 0).then(Instant::now);
        self.bell.notify_all();
    }

    pub fn rows(&self) -> u64 {
        self.counts.lock().rows
    }

    /// How long some wait although none is sent.
    pub fn lag(&self) -> Duration {
        self.counts.lock().since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Why no more can be taken, if that is so.
    pub fn refusal(&self) -> Option<String> {
        let counts = self.counts.lock();
        let is_full = counts.rows >= self.room.rows || counts.bytes >= self.room.bytes;
        is_full.then(|| format!("{} reports wait to be sent, which is as many as there may be", counts.rows))
    }

    /// Waits until `rows` are there, or until some wait for `time`. Whether the sender is to go on.
    pub fn wait(&self, rows: u64, time: Duration) -> bool {
        let mut counts = self.counts.lock();
        loop {
            if counts.is_over || counts.rows >= rows {
                return !counts.is_over;
            }
            let left = counts.since.map(|since| time.saturating_sub(since.elapsed()));
            match left {
                Some(Duration::ZERO) => return true,
                Some(left) => drop(self.bell.wait_for(&mut counts, left)),
                None => self.bell.wait(&mut counts),
            }
        }
    }

    /// Waits for a time, unless the end comes first. Whether the sender is to go on.
    pub fn pause(&self, time: Duration) -> bool {
        let mut counts = self.counts.lock();
        let end = Instant::now() + time;
        while !counts.is_over && !self.bell.wait_until(&mut counts, end).timed_out() {}
        !counts.is_over
    }

    /// Waits until none waits to be sent, at most so long. Whether that is so.
    pub fn wait_until_empty(&self, time: Duration) -> bool {
        let mut counts = self.counts.lock();
        let end = Instant::now() + time;
        while counts.rows > 0 && !self.bell.wait_until(&mut counts, end).timed_out() {}
        counts.rows == 0
    }

    /// Has the sender end.
    pub fn end(&self) {
        self.counts.lock().is_over = true;
        self.bell.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_backlog_takes_no_more_until_some_were_sent() {
        let backlog = Backlog::new(Room { rows: 2, bytes: 100 });
        backlog.add(10);
        assert_eq!((backlog.rows(), backlog.refusal()), (1, None));
        backlog.add(10);
        let refusal = backlog.refusal().unwrap();
        assert_eq!(refusal, "2 reports wait to be sent, which is as many as there may be");
        backlog.remove(1, 10);
        assert_eq!(backlog.refusal(), None);
        backlog.set(1, 100);
        assert!(backlog.refusal().is_some());
        backlog.set(0, 0);
        assert_eq!(backlog.lag(), Duration::ZERO);
    }

    #[test]
    fn whoever_waits_for_the_end_of_it_waits_for_a_while_at_most() {
        let backlog = Backlog::new(Room { rows: 100, bytes: 100 });
        assert!(backlog.wait_until_empty(Duration::ZERO));
        backlog.add(1);
        assert!(!backlog.wait_until_empty(Duration::ZERO));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| backlog.wait_until_empty(Duration::from_secs(1000)));
            backlog.remove(1, 1);
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn the_sender_waits_for_many_or_for_a_while_or_for_the_end() {
        let backlog = Backlog::new(Room { rows: 100, bytes: 100 });
        let long = Duration::from_secs(1000);
        backlog.add(1);
        assert!(backlog.wait(1, long), "many");
        assert!(backlog.wait(2, Duration::ZERO), "a while");
        std::thread::scope(|scope| {
            let waiting = [scope.spawn(|| backlog.wait(2, long)), scope.spawn(|| backlog.pause(long))];
            backlog.end();
            assert!(waiting.into_iter().all(|thread| !thread.join().unwrap()));
        });
    }
}
