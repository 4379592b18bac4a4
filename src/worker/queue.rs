//! The bounded queue of a pool, and the question whether a new job is worth waking a thread for:
//! waking costs more than most jobs, so the threads that are awake are given the chance first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// When no job was taken for this long, those that are awake are busy with long ones.
const LONG: Duration = Duration::from_micros(500);

/// How many jobs for each thread that is awake are no reason to wake another.
const BACKLOG: usize = 16;

/// Whom a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits for the outcome: a thread is woken if none is free.
    Waited,
    /// Nobody waits: a fraction of a millisecond is of no matter.
    Unwaited,
}

/// The queue has no room.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// Jobs that wait for a thread.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    limit: usize,
    urgency: Urgency,
    /// The number of jobs, to be read without the lock.
    length: AtomicUsize,
}

struct State<T> {
    jobs: VecDeque<(T, Instant)>,
    /// Threads that run a job or are about to take one.
    awake: usize,
    /// Those of them that run a job.
    busy: usize,
    /// Places for jobs that are still to come.
    reserved: usize,
    /// Threads that may be awake.
    most: usize,
    /// When a job was taken last.
    taken: Instant,
}

impl<T> Queue<T> {
    pub fn new(limit: usize, threads: usize, urgency: Urgency) -> Queue<T> {
        let (jobs, taken) = (VecDeque::new(), Instant::now());
        let state = State { jobs, awake: 0, busy: 0, reserved: 0, most: threads, taken };
        Queue { state: Mutex::new(state), limit, urgency, length: AtomicUsize::new(0) }
    }

    /// Makes and adds a job, if there is room, at `now`. Whether a thread must be woken for it.
    pub fn push(&self, job: impl FnOnce() -> T, now: Instant) -> Result<bool, Full> {
        let mut state = self.state.lock();
        if state.jobs.len() + state.reserved >= self.limit {
            return Err(Full);
        }
        Ok(self.add(&mut state, job(), now))
    }

    /// Keeps a place for a job that is to come, if there is room.
    pub fn reserve(&self) -> Result<(), Full> {
        let mut state = self.state.lock();
        if state.jobs.len() + state.reserved >= self.limit {
            return Err(Full);
        }
        state.reserved += 1;
        Ok(())
    }

    /// Gives back a place that was kept.
    pub fn release(&self) {
        self.state.lock().reserved -= 1;
    }

    /// Adds the job that a place was kept for. Whether a thread must be woken for it.
    pub fn push_reserved(&self, job: T, now: Instant) -> bool {
        let mut state = self.state.lock();
        state.reserved -= 1;
        self.add(&mut state, job, now)
    }

    fn add(&self, state: &mut State<T>, job: T, now: Instant) -> bool {
        state.jobs.push_back((job, now));
        self.length.store(state.jobs.len(), Ordering::Relaxed);
        state.wakes(self.urgency, now)
    }

    /// The next job for a thread that is awake, with the time it was pushed at; without one the
    /// thread must go to sleep. `has_run` says whether it comes from another job.
    pub fn take(&self, has_run: bool, now: Instant) -> Option<(T, Instant)> {
        let mut state = self.state.lock();
        state.busy -= usize::from(has_run);
        match state.jobs.pop_front() {
            Some(job) => {
                self.length.store(state.jobs.len(), Ordering::Relaxed);
                state.busy += 1;
                state.taken = now;
                Some(job)
            }
            None => {
                state.awake -= 1;
                None
            }
        }
    }

    /// Takes a job out that is to be done elsewhere.
    pub fn steal(&self) -> Option<T> {
        let mut state = self.state.lock();
        let (job, _) = state.jobs.pop_front()?;
        self.length.store(state.jobs.len(), Ordering::Relaxed);
        Some(job)
    }

    /// Sets how many threads may be awake. Whether one must be woken because jobs wait for it.
    pub fn allow(&self, threads: usize, now: Instant) -> bool {
        let mut state = self.state.lock();
        state.most = threads;
        !state.jobs.is_empty() && state.wakes(self.urgency, now)
    }

    /// Jobs that wait.
    pub fn len(&self) -> usize {
        self.length.load(Ordering::Relaxed)
    }

    /// Jobs that wait, run or are to come.
    pub fn unfinished(&self) -> usize {
        let state = self.state.lock();
        state.jobs.len() + state.busy + state.reserved
    }
}

impl<T> State<T> {
    /// Counts a further thread as awake, if one is needed and allowed.
    fn wakes(&mut self, urgency: Urgency, now: Instant) -> bool {
        let waiting = self.jobs.len();
        let is_needed = match urgency {
            Urgency::Waited => waiting > self.awake - self.busy,
            Urgency::Unwaited => {
                self.awake == 0
                    || waiting > self.awake * BACKLOG
                    || self.busy == self.awake && now.saturating_duration_since(self.taken) > LONG
            }
        };
        let wakes = is_needed && self.awake < self.most;
        self.awake += usize::from(wakes);
        wakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_micros(10);

    #[test]
    fn whoever_is_waited_for_has_a_thread_woken() {
        let (queue, now) = (Queue::new(10, 2, Urgency::Waited), Instant::now());
        assert_eq!([1, 2, 3].map(|job| queue.push(|| job, now)), [Ok(true), Ok(true), Ok(false)]);
        assert_eq!(queue.take(false, now).map(|(job, _)| job), Some(1));
        assert_eq!(queue.take(true, now).map(|(job, _)| job), Some(2));
        assert_eq!(queue.take(false, now).map(|(job, _)| job), Some(3));
        assert_eq!((queue.take(true, now), queue.take(true, now)), (None, None));
        assert_eq!(queue.push(|| 4, now), Ok(true), "all are asleep");
    }

    #[test]
    fn a_job_can_be_done_elsewhere() {
        let (queue, now) = (Queue::new(2, 1, Urgency::Unwaited), Instant::now());
        for job in 1..=2 {
            queue.push(|| job, now).unwrap();
        }
        assert_eq!(queue.take(false, now).map(|(job, _)| job), Some(1));
        assert_eq!((queue.steal(), queue.steal(), queue.len()), (Some(2), None, 0));
        assert_eq!(queue.unfinished(), 1, "the one that runs");
    }

    #[test]
    fn a_thread_that_is_awake_does_the_short_jobs() {
        let (queue, now) = (Queue::new(100, 4, Urgency::Unwaited), Instant::now());
        assert_eq!(queue.push(|| 0, now), Ok(true));
        queue.take(false, now);
        let pushed: Vec<bool> = (1..20).map(|job| queue.push(|| job, now + SOON).unwrap()).collect();
        assert_eq!(pushed.iter().position(|wakes| *wakes), Some(BACKLOG), "the backlog wakes another");
        assert_eq!(pushed.iter().filter(|wakes| **wakes).count(), 1);
    }

    #[test]
    fn a_long_job_is_no_reason_to_wait() {
        let (queue, now) = (Queue::new(100, 2, Urgency::Unwaited), Instant::now());
        assert_eq!(queue.push(|| 0, now), Ok(true));
        queue.take(false, now);
        assert_eq!(queue.push(|| 1, now + SOON), Ok(false));
        assert_eq!(queue.push(|| 2, now + LONG + SOON), Ok(true));
        queue.take(false, now);
        assert_eq!(queue.push(|| 3, now + LONG + SOON), Ok(false), "there are two threads");
        assert!(!queue.allow(2, now) && queue.allow(3, now + 2 * LONG), "there is a third");
    }

    #[test]
    fn the_queue_has_an_end() {
        let (queue, now) = (Queue::new(2, 1, Urgency::Unwaited), Instant::now());
        assert!(queue.push(|| 1, now).is_ok() && queue.push(|| 2, now).is_ok());
        assert_eq!(queue.push(|| panic!("a job is made only if there is room"), now), Err(Full));
        assert_eq!((queue.len(), queue.unfinished()), (2, 2));
        queue.take(false, now);
        assert_eq!((queue.len(), queue.unfinished()), (1, 2));
    }

    #[test]
    fn a_place_is_kept_for_a_job_that_is_to_come() {
        let (queue, now) = (Queue::new(2, 1, Urgency::Unwaited), Instant::now());
        assert!(queue.reserve().is_ok() && queue.push(|| 1, now).is_ok());
        assert_eq!((queue.reserve(), queue.push(|| 2, now)), (Err(Full), Err(Full)));
        assert_eq!((queue.len(), queue.unfinished()), (1, 2));
        queue.push_reserved(3, now);
        assert_eq!((queue.len(), queue.unfinished()), (2, 2));
        queue.take(false, now);
        assert!(queue.reserve().is_ok());
        queue.release();
        assert!(queue.push(|| 4, now).is_ok());
    }
}
