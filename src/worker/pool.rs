//! A pool: threads with a Lua state each, behind a bounded queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use nix::errno::Errno;
use parking_lot::RwLock;
use threadpool::ThreadPool;

use crate::error::{Error, Result};
use crate::unix;
use crate::worker::job::Job;
use crate::worker::queue::{Full, Queue, Urgency};
use crate::worker::team::{Crew, Team};

/// Threads with a Lua state each, behind a bounded queue.
pub struct Pool {
    threads: ThreadPool,
    size: usize,
    team: Arc<Team>,
}

/// A place in the queue of a pool, given back if it is not used.
pub struct Slot(Option<Arc<Team>>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|team| team.queue.release());
    }
}

impl Pool {
    /// Starts the threads and waits until each has its state. At most `limit` jobs wait.
    pub fn start(crew: Crew, size: usize, limit: usize, urgency: Urgency) -> Result<Pool> {
        let threads = threadpool::Builder::new().num_threads(size).thread_name(crew.name.into());
        let threads = threads.thread_stack_size(unix::lua_stack());
        // It panics when the system has no thread left.
        let threads = catch_unwind(|| threads.build())
            .map_err(|_| Error::io(format!("{size} {} threads", crew.name))(Errno::EAGAIN.into()))?;
        let team = Arc::new(Team::new(crew, Queue::new(limit, size, urgency)));
        // No thread takes a second one of these jobs while another still makes its state.
        let gate = Arc::new(RwLock::new(()));
        let closed = gate.write();
        let (send, results) = mpsc::channel();
        for _ in 0..size {
            let (team, gate, send) = (team.clone(), gate.clone(), send.clone());
            threads.execute(move || {
                let _ = send.send(team.join());
                drop(gate.read());
            });
        }
        for _ in 0..size {
            team.wait_for(&results)??;
        }
        drop(closed);
        Ok(Pool { threads, size, team })
    }

    /// Makes and queues a job, if the queue has room.
    pub fn push(&self, job: impl FnOnce() -> Job) -> std::result::Result<(), Full> {
        if self.team.queue.push(job, Instant::now())? {
            self.wake();
        }
        Ok(())
    }

    /// Keeps a place in the queue for a job that is to come, if there is room.
    pub fn reserve(&self) -> std::result::Result<Slot, Full> {
        self.team.queue.reserve().map(|()| Slot(Some(self.team.clone())))
    }

    /// Queues the job that a place of this pool was kept for.
    pub fn push_reserved(&self, mut slot: Slot, job: Job) {
        if let Some(team) = slot.0.take()
            && team.queue.push_reserved(job, Instant::now())
        {
            self.wake();
        }
    }

    fn wake(&self) {
        let team = self.team.clone();
        self.threads.execute(move || team.work());
    }

    /// Jobs that wait.
    pub fn queued(&self) -> usize {
        self.team.queue.len()
    }

    /// Jobs that wait or run.
    pub fn unfinished(&self) -> usize {
        self.team.queue.unfinished()
    }

    /// Jobs that have been run.
    pub fn finished(&self) -> u64 {
        self.team.finished()
    }

    /// Threads whose call can't be interrupted.
    pub fn stuck(&self) -> usize {
        self.team.seats.stuck()
    }

    /// Why the pool can't work, if it can't.
    pub fn check(&self) -> Result<()> {
        if self.stuck() < self.most() {
            return Ok(());
        }
        Err(Error::Refused(format!("every {} thread is stuck in Lua", self.team.crew.name)))
    }

    /// Gives jobs that no thread will ever take to another pool, as far as that has room.
    pub fn hand_over(&self, other: &Pool) {
        // A thread that is free after all may take the last job first.
        while self.queued() > 0 && other.push(|| self.team.queue.steal().unwrap_or(Job::Probe)).is_ok() {}
    }

    /// Threads that there may be: as many again as were asked for may take the place of stuck ones.
    fn most(&self) -> usize {
        self.size * 2
    }

    /// Interrupts calls that take too long and, where that does not help, puts a further thread in
    /// their place. Called about once a second.
    pub fn watch(&self, now: Instant) {
        self.team.seats.watch(now);
        let wanted = (self.size + self.stuck()).min(self.most());
        if wanted != self.threads.max_count() {
            // A clone is another handle of the same threads.
            let mut threads = self.threads.clone();
            let change = AssertUnwindSafe(|| threads.set_num_threads(wanted));
            if catch_unwind(change).is_err() {
                log::error!("a further {} thread can't be started", self.team.crew.name);
            }
        }
        if self.team.queue.allow(wanted, now) {
            self.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::Attributes;
    use crate::lua::Script;
    use crate::shared::Shared;
    use crate::worker::job::{Outcome, Reply};
    use std::time::Duration;

    fn pool(config: &str, size: usize, limit: usize) -> Pool {
        let shared = Arc::<Shared>::default();
        let script = Arc::new(Script::of(config));
        Pool::start(
            Crew { name: "test", shared, script, timeout: Duration::from_secs(60), memory: 1 << 20 },
            size,
            limit,
            Urgency::Waited,
        )
        .unwrap()
    }

    /// Has a pool call an endpoint, and waits for what becomes of it.
    fn call(pool: &Pool, name: &str) -> Outcome {
        let (send, outcomes) = mpsc::channel();
        let reply = Reply::new(move |outcome| drop(send.send(outcome)));
        pool.push(|| Job::Endpoint { name: name.into(), attrs: Attributes::default(), reply }).unwrap();
        outcomes.recv().unwrap()
    }

    fn count(pool: &Pool) -> String {
        match call(pool, "count") {
            Outcome::Answered { attrs, .. } => attrs[0].1.clone(),
            _ => panic!("no answer"),
        }
    }

    const COUNT: &str = "local n = 0
        setCustomEndpoint('count', function() n = n + 1 return true, { n = n } end)";

    #[test]
    fn a_panic_costs_one_job_and_the_state() {
        let pool = pool(COUNT, 1, 10);
        assert_eq!((count(&pool), count(&pool)), ("1".into(), "2".into()));
        let reply = Reply::new(|_| panic!("on purpose"));
        pool.push(|| Job::Endpoint { name: "count".into(), attrs: Attributes::default(), reply }).unwrap();
        assert_eq!(count(&pool), "1", "the state was made anew");
        assert_eq!(pool.team.crew.shared.stats.metrics.lua_errors.with_label_values(&["panic"]).get(), 1);
    }

    #[test]
    fn the_queue_has_an_end() {
        let pool = pool(COUNT, 1, 2);
        let (hold, held) = mpsc::channel::<()>();
        let (send, running) = mpsc::channel();
        let reply = Reply::new(move |_| {
            let _ = send.send(());
            let _ = held.recv();
        });
        pool.push(|| Job::Endpoint { name: "count".into(), attrs: Attributes::default(), reply }).unwrap();
        running.recv().unwrap();
        assert!(pool.push(|| Job::Probe).is_ok() && pool.push(|| Job::Probe).is_ok());
        assert!(pool.push(|| panic!("a job is made only if there is room")).is_err());
        assert_eq!((pool.queued(), pool.unfinished()), (2, 3));
        drop(hold);
        while pool.unfinished() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(count(&pool), "2");
    }

    #[test]
    fn a_command_of_the_console_reaches_every_state_once() {
        let pool = pool("n = 10 setCustomEndpoint('count', function() return true, { n = n } end)", 1, 10);
        pool.team.crew.shared.spread("n = n + 1").unwrap();
        assert_eq!((count(&pool), count(&pool)), ("11".into(), "11".into()));
    }

    #[test]
    fn a_configuration_that_fails_starts_no_pool() {
        let shared = Arc::<Shared>::default();
        let script = Arc::new(Script::of("error('no')"));
        let crew = Crew { name: "test", shared, script, timeout: Duration::from_secs(60), memory: 1 << 20 };
        assert!(Pool::start(crew, 3, 10, Urgency::Waited).is_err());
    }
}
