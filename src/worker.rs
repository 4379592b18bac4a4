//! The pools whose threads own a Lua state each, and the jobs that they run. Who asks for a job and
//! who writes its answer is up to `http`; a job never waits for a thread but in the pool's queue.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Barrier, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use threadpool::ThreadPool;

use crate::error::{Error, Result};
use crate::logger;
use crate::login::{Attributes, LoginTuple};
use crate::lua::{Failure, Role, Script, State};
use crate::shared::Shared;
use crate::unix;

/// Something for a Lua thread to do.
pub enum Job {
    /// Calls the report function.
    Report { login: Arc<LoginTuple>, reply: Option<Reply> },
    /// Calls the function of a custom endpoint.
    Endpoint { name: Arc<str>, attrs: Attributes, reply: Reply },
    /// Does nothing: that it was run shows that the pool moves.
    Probe,
}

/// What became of a job that somebody waits for.
pub enum Outcome {
    /// The report function has run, with or without an error of its own.
    Reported,
    /// What the function of a custom endpoint returned.
    Answered { success: bool, attrs: Vec<(String, String)> },
    /// It could not be run to its end, for this reason.
    Failed(String),
}

/// Where the outcome of a job goes. One that is dropped says that the job failed, so that nobody
/// waits for ever.
pub struct Reply(Option<Box<dyn FnOnce(Outcome) + Send>>);

impl Reply {
    pub fn new(send: impl FnOnce(Outcome) + Send + 'static) -> Reply {
        Reply(Some(Box::new(send)))
    }

    fn send(mut self, outcome: Outcome) {
        if let Some(send) = self.0.take() {
            send(outcome);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(send) = self.0.take() {
            send(Outcome::Failed("the call was given up".into()));
        }
    }
}

/// What the threads of a pool need to make their states.
pub struct Crew {
    /// The name of the pool and, with a number, of its threads.
    pub name: &'static str,
    pub shared: Arc<Shared>,
    pub script: Arc<Script>,
    /// How long one call of Lua may take.
    pub timeout: Duration,
}

/// Threads with a Lua state each, behind a bounded queue.
pub struct Pool {
    threads: ThreadPool,
    size: usize,
    limit: usize,
    team: Arc<Team>,
}

/// The queue of a pool has no room.
#[derive(Debug)]
pub struct Full;

/// What the threads of a pool share.
struct Team {
    crew: Crew,
    seats: Mutex<Vec<Weak<Seat>>>,
    stuck: AtomicUsize,
    finished: AtomicU64,
    numbers: AtomicUsize,
}

/// A thread's place in its pool, seen by the thread that watches.
struct Seat {
    thread: unix::ThreadId,
    call: Mutex<Option<Call>>,
}

/// A call of Lua that goes on.
struct Call {
    since: Instant,
    what: What,
    is_reported: bool,
}

/// What is called, for the log.
#[derive(Clone)]
enum What {
    Report(Arc<LoginTuple>),
    Endpoint(Arc<str>),
}

thread_local! {
    /// The state of this thread, made before its first job.
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
}

struct Own {
    state: State,
    seat: Arc<Seat>,
}

impl Pool {
    /// Starts the threads and waits until each has its state. At most `limit` jobs wait.
    pub fn start(crew: Crew, size: usize, limit: usize) -> Result<Pool> {
        let threads = threadpool::Builder::new().num_threads(size).thread_name(crew.name.into()).build();
        let team = Team {
            crew,
            seats: Mutex::default(),
            stuck: AtomicUsize::new(0),
            finished: AtomicU64::new(0),
            numbers: AtomicUsize::new(0),
        };
        let team = Arc::new(team);
        let barrier = Arc::new(Barrier::new(size));
        let (send, results) = mpsc::channel();
        for _ in 0..size {
            let (team, barrier, send) = (team.clone(), barrier.clone(), send.clone());
            threads.execute(move || {
                let made = OWN.with_borrow_mut(|own| {
                    *own = Some(team.make()?);
                    Ok(())
                });
                // No thread takes a second one of these jobs while another still makes its state.
                barrier.wait();
                let _ = send.send(made);
            });
        }
        drop(send);
        results.iter().collect::<Result<()>>()?;
        Ok(Pool { threads, size, limit, team })
    }

    /// Makes and queues a job, if the queue has room. As many more may slip in as there are threads
    /// that push at the same moment.
    pub fn push(&self, job: impl FnOnce() -> Job) -> std::result::Result<(), Full> {
        if self.threads.queued_count() >= self.limit {
            return Err(Full);
        }
        let (team, job) = (self.team.clone(), job());
        let queued = Instant::now();
        self.threads.execute(move || team.run(job, queued));
        Ok(())
    }

    /// Jobs that wait.
    pub fn queued(&self) -> usize {
        self.threads.queued_count()
    }

    /// Whether a thread is left that is not stuck.
    pub fn is_alive(&self) -> bool {
        self.stuck() < self.size * 2
    }

    /// Threads whose call can't be interrupted.
    pub fn stuck(&self) -> usize {
        self.team.stuck.load(Ordering::Relaxed)
    }

    /// Jobs that wait or run.
    pub fn unfinished(&self) -> usize {
        self.threads.queued_count() + self.threads.active_count()
    }

    /// Jobs that have been run.
    pub fn finished(&self) -> u64 {
        self.team.finished.load(Ordering::Relaxed)
    }

    /// Looks for calls that take too long: interrupts them and, where that does not help, puts a
    /// further thread in their place. Called about once a second.
    pub fn watch(&self, now: Instant) {
        let timeout = self.team.crew.timeout;
        self.team.seats.lock().retain(|seat| {
            let Some(seat) = seat.upgrade() else { return false };
            let mut call = seat.call.lock();
            let Some(call) = call.as_mut() else { return true };
            let elapsed = now.saturating_duration_since(call.since);
            if elapsed < timeout {
                return true;
            }
            // The call is running, so its thread lives.
            unix::send_signal(seat.thread, unix::INTERRUPT);
            if elapsed > timeout + Duration::from_secs(1) && !call.is_reported {
                call.is_reported = true;
                self.team.stuck.fetch_add(1, Ordering::Relaxed);
                log::error!("{}", call.what.line("has not returned and can't be interrupted", elapsed));
            }
            true
        });
        let wanted = self.size + self.stuck().min(self.size);
        if wanted != self.threads.max_count() {
            self.threads.clone().set_num_threads(wanted);
        }
    }
}

impl Team {
    /// Makes the state of the thread that calls this.
    fn make(&self) -> Result<Own> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        unix::name_thread(&format!("{}-{number}", self.crew.name));
        let state = State::new(self.crew.shared.clone(), Role::Worker, Some(&self.crew.script))?;
        let seat = Arc::new(Seat { thread: unix::current_thread(), call: Mutex::new(None) });
        self.seats.lock().push(Arc::downgrade(&seat));
        Ok(Own { state, seat })
    }

    /// Runs one job in the state of this thread. A panic costs that job, and the state.
    fn run(&self, job: Job, queued: Instant) {
        let start = Instant::now();
        self.crew.shared.stats.wait.observe(start.saturating_duration_since(queued));
        OWN.with_borrow_mut(|own| {
            if own.is_none() {
                match self.make() {
                    Ok(made) => *own = Some(made),
                    Err(e) => {
                        return log::error!("no Lua state for this thread: {}", Failure::new(&e).message);
                    }
                }
            }
            let Some(made) = own else { return };
            let result = catch_unwind(AssertUnwindSafe(|| self.run_in(made, job, start)));
            self.end_call(&made.seat);
            self.finished.fetch_add(1, Ordering::Relaxed);
            if let Err(panic) = result {
                self.crew.shared.stats.metrics.lua_errors.with_label_values(&["panic"]).inc();
                log::error!("a job of the {} pool panicked: {}", self.crew.name, message(&*panic));
                *own = None;
            }
        });
    }

    fn run_in(&self, own: &Own, job: Job, start: Instant) {
        own.state.catch_up();
        let deadline = start + self.crew.timeout;
        let stats = &self.crew.shared.stats;
        match job {
            Job::Report { login, reply } => {
                begin_call(&own.seat, start, What::Report(login.clone()));
                if let Err(e) = own.state.report(&login, deadline) {
                    self.log_failure(
                        "report",
                        "Lua function [report] exception",
                        Failure::new(&e),
                        Some(&login),
                    );
                }
                stats.run.observe(start.elapsed());
                if let Some(reply) = reply {
                    reply.send(Outcome::Reported);
                }
            }
            Job::Endpoint { name, attrs, reply } => {
                begin_call(&own.seat, start, What::Endpoint(name.clone()));
                let outcome = match own.state.endpoint(&name, &attrs, deadline) {
                    Ok((success, attrs)) => Outcome::Answered { success, attrs },
                    Err(e) => {
                        let failure = Failure::new(&e);
                        let text = failure.message.clone();
                        self.log_failure(
                            "endpoint",
                            &format!("Lua custom function [{name}] exception"),
                            failure,
                            None,
                        );
                        Outcome::Failed(text)
                    }
                };
                stats.run.observe(start.elapsed());
                reply.send(outcome);
            }
            Job::Probe => {}
        }
    }

    fn end_call(&self, seat: &Seat) {
        let call = seat.call.lock().take();
        if let Some(call) = call.filter(|call| call.is_reported) {
            self.stuck.fetch_sub(1, Ordering::Relaxed);
            log::warn!("{}", call.what.line("has returned at last", call.since.elapsed()));
        }
    }

    fn log_failure(&self, kind: &str, what: &str, failure: Failure, login: Option<&LoginTuple>) {
        self.crew.shared.stats.metrics.lua_errors.with_label_values(&[kind]).inc();
        let mut fields = Vec::new();
        if let Some(login) = login {
            fields.push(("login", login.login.clone()));
            fields.push(("remote", login.remote.to_string()));
        }
        if !failure.traceback.is_empty() {
            fields.push(("traceback", failure.traceback));
        }
        log::error!("{}", logger::line(&format!("{what}: {}", failure.message), &fields));
    }
}

impl What {
    fn line(&self, what: &str, elapsed: Duration) -> String {
        let seconds = ("seconds", elapsed.as_secs().to_string());
        match self {
            What::Report(login) => logger::line(
                &format!("Lua function [report] {what}"),
                &[("login", login.login.clone()), ("remote", login.remote.to_string()), seconds],
            ),
            What::Endpoint(name) => logger::line(&format!("Lua custom function [{name}] {what}"), &[seconds]),
        }
    }
}

fn begin_call(seat: &Seat, since: Instant, what: What) {
    *seat.call.lock() = Some(Call { since, what, is_reported: false });
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// The pools of one configuration.
pub struct Pools {
    pub report: Pool,
    pub endpoint: Pool,
}

impl Pools {
    fn all(&self) -> [&Pool; 2] {
        [&self.report, &self.endpoint]
    }

    /// Looks after calls that take too long.
    pub fn watch(&self, now: Instant) {
        self.all().iter().for_each(|pool| pool.watch(now));
    }

    /// Jobs that wait or run.
    pub fn unfinished(&self) -> usize {
        self.all().iter().map(|pool| pool.unfinished()).sum()
    }

    /// Threads whose call can't be interrupted.
    pub fn stuck(&self) -> usize {
        self.all().iter().map(|pool| pool.stuck()).sum()
    }

    /// Why the pools can't work, if they can't.
    pub fn check(&self) -> Result<()> {
        match self.all().iter().find(|pool| !pool.is_alive()) {
            Some(pool) => {
                Err(Error::Refused(format!("every {} thread is stuck in Lua", pool.team.crew.name)))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Stats;

    fn pool(config: &str, size: usize, limit: usize) -> Pool {
        let shared = Arc::new(Shared::new(Arc::new(Stats::new())));
        let script = Arc::new(Script::of(config));
        Pool::start(Crew { name: "test", shared, script, timeout: Duration::from_secs(60) }, size, limit)
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
    fn a_job_that_is_given_up_is_answered() {
        let (send, outcomes) = mpsc::channel();
        drop(Reply::new(move |outcome| drop(send.send(outcome))));
        assert!(matches!(outcomes.recv().unwrap(), Outcome::Failed(_)));
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
        let shared = Arc::new(Shared::new(Arc::new(Stats::new())));
        let script = Arc::new(Script::of("error('no')"));
        let crew = Crew { name: "test", shared, script, timeout: Duration::from_secs(60) };
        assert!(Pool::start(crew, 3, 10).is_err());
    }
}
