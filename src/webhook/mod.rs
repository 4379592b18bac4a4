//! Custom webhooks: the deliveries that wait, and the threads that make them, each one at a time. The
//! threads are started when there is work and end when there is none. Both outlive a configuration;
//! the set of hooks belongs to one, and a delivery that waits holds its hook.

mod complaint;
mod hook;
mod post;
mod queue;
mod url;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use prometheus::IntCounter;

use crate::config::WebhookLimits;
use crate::outbound::Client;
use crate::stats::Stats;
use complaint::Complaints;
use post::{Body, Delivery};
use queue::{Limits, Queue};

pub use hook::{Hook, Hooks, MAX_TIMEOUT};
pub use post::Failure;

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(5);

/// The wait before the first retry; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How many webhooks a configuration has delivered at a time.
pub struct Dispatch {
    pub limits: WebhookLimits,
    /// Whether a hook must leave room for others.
    pub shares: bool,
}

/// The deliveries that wait and the threads that make them.
pub struct Webhooks {
    state: Mutex<State>,
    /// Told when there is something to do for a thread that waits.
    work: Condvar,
    complaints: Complaints,
    dropped: IntCounter,
    /// Of the deliveries that wait or are under way.
    bytes: Arc<AtomicUsize>,
}

struct State {
    queue: Queue<Delivery>,
    /// Threads.
    senders: usize,
    /// Those of them that wait for work.
    idle: usize,
    /// The time of a retry that one of these waits for.
    kept: Option<Instant>,
}

impl State {
    /// Whether there is something to do for a thread: a delivery to begin, or a retry whose time
    /// nobody waits for.
    fn has_work(&self) -> bool {
        self.queue.can_take() || self.unkept().is_some()
    }

    /// The time of the next retry, if nobody waits for it.
    fn unkept(&self) -> Option<Instant> {
        self.queue.next_due().filter(|due| self.kept.is_none_or(|kept| *due < kept))
    }
}

/// How the deliveries of a configuration's hooks are made.
pub struct Settings {
    pub client: Client,
    pub timeout: Duration,
}

impl Webhooks {
    /// Without limits: nothing can be queued before [`Webhooks::configure`].
    pub fn new(stats: &Stats) -> Webhooks {
        let state = State { queue: Queue::new(), senders: 0, idle: 0, kept: None };
        Webhooks {
            state: Mutex::new(state),
            work: Condvar::new(),
            complaints: Complaints::default(),
            dropped: stats.metrics.webhook_dropped.clone(),
            bytes: Arc::default(),
        }
    }

    /// Has deliveries queued and begun within these limits from now on, those that wait too. Before the
    /// first call there are none.
    pub fn configure(self: &Arc<Self>, dispatch: Dispatch) {
        let Dispatch { limits, shares } = dispatch;
        let limits = Limits { waiting: limits.queue, under_way: limits.deliveries(), shares };
        let mut state = self.state.lock();
        state.queue.set_limits(limits);
        self.find_sender(state);
    }

    /// Queues a delivery. A full queue drops it, because a report must never wait for a receiver.
    pub fn push(self: &Arc<Self>, hook: Arc<Hook>, body: Vec<u8>) {
        let Some(body) = Body::new(body, &self.bytes) else { return self.drop_one(&hook) };
        let delivery = Delivery::new(hook.clone(), body);
        let mut state = self.state.lock();
        match state.queue.push(hook.id, delivery) {
            Ok(()) => self.find_sender(state),
            Err(_) => {
                drop(state);
                self.drop_one(&hook);
            }
        }
    }

    /// Logs that there is no hook of this name.
    pub fn complain_of_unknown(&self, name: &str) {
        self.complaints.unknown(name, Instant::now());
    }

    /// Deliveries that wait, for a thread or for their next attempt.
    pub fn len(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// Deliveries that wait or are under way.
    pub fn unfinished(&self) -> usize {
        self.state.lock().queue.unfinished()
    }

    /// Logs what was kept back so as not to fill the log. Called about once a second.
    pub fn watch(&self, now: Instant) {
        self.complaints.flush(now);
    }

    fn drop_one(&self, hook: &Hook) {
        self.dropped.inc();
        self.complaints.dropped(hook, Instant::now());
    }

    /// Wakes or starts a thread if there is something to do for one more.
    fn find_sender(self: &Arc<Self>, mut state: MutexGuard<State>) {
        if !state.has_work() {
            return;
        }
        if state.idle > 0 {
            self.work.notify_one();
        } else if state.senders < state.queue.most() {
            state.senders += 1;
            let number = state.senders;
            drop(state);
            self.start_sender(number);
        }
    }

    fn start_sender(self: &Arc<Self>, number: usize) {
        let webhooks = self.clone();
        let thread = thread::Builder::new().name(format!("hook-{number}"));
        if let Err(e) = thread.spawn(move || webhooks.send_all()) {
            // The other threads go on, and the next delivery tries again.
            self.state.lock().senders -= 1;
            self.complaints.no_thread(&e, Instant::now());
        }
    }

    /// What a thread does: deliveries, until there are none for a while.
    fn send_all(self: &Arc<Self>) {
        while let Some(delivery) = self.next() {
            let attempt = || delivery.post();
            let result = catch_unwind(AssertUnwindSafe(attempt));
            let result = result.unwrap_or_else(|_| Err(Failure::NoRequest("a fault of this program".into())));
            self.finish(delivery, result);
        }
    }

    /// The next delivery, once there is one; nothing after [`IDLE`], when the thread must end.
    fn next(self: &Arc<Self>) -> Option<Delivery> {
        let mut state = self.state.lock();
        loop {
            state.queue.advance(Instant::now());
            if let Some(delivery) = state.queue.take() {
                self.find_sender(state);
                return Some(delivery);
            }
            let due = state.unkept();
            state.kept = due.or(state.kept);
            state.idle += 1;
            let end = due.unwrap_or_else(|| Instant::now() + IDLE);
            let is_over = self.work.wait_until(&mut state, end).timed_out();
            state.idle -= 1;
            if due.is_some() && state.kept == due {
                state.kept = None;
            }
            if is_over && due.is_none() && !state.has_work() {
                state.senders -= 1;
                return None;
            }
        }
    }

    /// Counts the outcome of an attempt, and queues another if there is one to be made.
    fn finish(self: &Arc<Self>, mut delivery: Delivery, result: Result<(), Failure>) {
        let hook = delivery.hook.clone();
        let may_pass = match result {
            Ok(()) => {
                hook.successes.inc();
                false
            }
            Err(failure) => {
                hook.failures.inc();
                self.complaints.failed(&hook, &failure.to_string(), Instant::now());
                failure.may_pass()
            }
        };
        let mut state = self.state.lock();
        state.queue.finish(hook.id);
        if may_pass && delivery.failures < hook.retries {
            let due = Instant::now() + FIRST_WAIT * 2u32.pow(delivery.failures);
            delivery.failures += 1;
            if state.queue.push_later(hook.id, delivery, due).is_err() {
                drop(state);
                self.drop_one(&hook);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_waits_for_the_first_retry() {
        let stats = Stats::new();
        let hook = Hook::parse(1, "x", &[("url".into(), b"http://192.0.2.1/".to_vec())], &stats).unwrap();
        let hook = Arc::new(hook);
        let webhooks = Webhooks::new(&stats);
        let mut state = webhooks.state.lock();
        state.queue.set_limits(Limits { waiting: 10, under_way: 10, shares: false });
        let now = Instant::now();
        let retry = |state: &mut State, seconds| {
            let due = now + Duration::from_secs(seconds);
            state
                .queue
                .push_later(
                    1,
                    Delivery::new(hook.clone(), Body::new(Vec::new(), &webhooks.bytes).unwrap()),
                    due,
                )
                .unwrap();
            due
        };
        assert!(!state.has_work());
        let later = retry(&mut state, 8);
        assert_eq!(state.unkept(), Some(later));
        state.kept = Some(later);
        assert!(!state.has_work(), "one thread is enough");
        let sooner = retry(&mut state, 1);
        assert_eq!(state.unkept(), Some(sooner), "it would wait too long");
    }
}
