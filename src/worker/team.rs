//! What the threads of a pool share, and what each does: take jobs from the queue and run them in
//! its own Lua state.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::logger;
use crate::login::LoginTuple;
use crate::lua::{Failure, Role, Script, State};
use crate::shared::Shared;
use crate::unix;
use crate::worker::job::{Job, Outcome};
use crate::worker::queue::Queue;
use crate::worker::seat::{Seat, Seats, What};

/// What the threads of a pool need to make their states.
pub struct Crew {
    /// The name of the pool and, with a number, of its threads.
    pub name: &'static str,
    pub shared: Arc<Shared>,
    pub script: Arc<Script>,
    /// How long one call of Lua may take.
    pub timeout: Duration,
    /// KiB that a state may have.
    pub memory: usize,
}

/// What the threads of a pool share.
pub struct Team {
    pub crew: Crew,
    pub queue: Queue<Job>,
    pub seats: Seats,
    /// Jobs that have been run.
    finished: AtomicU64,
    numbers: AtomicUsize,
}

thread_local! {
    /// The state of this thread, made before its first job.
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
    /// The number of this thread among those of its pool, from 1.
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// What a thread has of its own.
struct Own {
    state: State,
    seat: Arc<Seat>,
}

/// How often a thread that makes its state is looked after, and how long it is given after its time.
const LOOK: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(5);

/// How long the commands of the console may run in each thread, taken together.
const COMMANDS: Duration = Duration::from_secs(10);

/// How often a thread that finds no job lets others run, and looks again, before it goes to sleep:
/// being woken costs more than that.
const LOOKS: usize = 4;

impl Team {
    pub fn new(crew: Crew, queue: Queue<Job>) -> Team {
        Team {
            crew,
            queue,
            seats: Seats::default(),
            finished: AtomicU64::new(0),
            numbers: AtomicUsize::new(0),
        }
    }

    /// Makes the state of the thread that calls this.
    pub fn join(&self) -> Result<()> {
        OWN.with_borrow_mut(|own| {
            *own = Some(self.make()?);
            Ok(())
        })
    }

    /// Waits for a thread to make its state, for no longer than the configuration may take.
    pub fn wait_for<T>(&self, made: &Receiver<T>) -> Result<T> {
        let end = self.crew.script.limit().map(|limit| Instant::now() + limit + LAST);
        loop {
            match made.recv_timeout(LOOK) {
                Ok(made) => return Ok(made),
                Err(RecvTimeoutError::Timeout) if end.is_none_or(|end| Instant::now() < end) => {
                    self.seats.watch(Instant::now());
                }
                Err(_) => {
                    let pool = self.crew.name;
                    return Err(Error::Refused(format!("a {pool} thread does not finish the configuration")));
                }
            }
        }
    }

    /// Runs jobs until there are none.
    pub fn work(&self) {
        let mut has_run = false;
        loop {
            for _ in 0..LOOKS {
                if self.queue.len() == 0 {
                    thread::yield_now();
                }
            }
            let now = Instant::now();
            let Some((job, queued)) = self.queue.take(has_run, now) else { return };
            if matches!(job, Job::Report { .. } | Job::Endpoint { .. }) {
                self.crew.shared.stats.wait.observe(now.saturating_duration_since(queued));
            }
            self.run(job, now);
            has_run = true;
        }
    }

    /// Jobs that have been run.
    pub fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Makes the state of the thread that calls this.
    fn make(&self) -> Result<Own> {
        if NUMBER.get() == 0 {
            NUMBER.set(self.numbers.fetch_add(1, Ordering::Relaxed) + 1);
            unix::name_thread(&format!("{}-{}", self.crew.name, NUMBER.get()));
        }
        let (seat, script) = (self.seats.take(), &self.crew.script);
        if let Some(limit) = script.limit() {
            self.seats.begin(&seat, Instant::now(), limit, What::Configuration);
        }
        let state = State::new(self.crew.shared.clone(), Role::Worker, Some(script));
        self.seats.end(&seat);
        let state = state?;
        state.limit_memory(self.crew.memory)?;
        Ok(Own { state, seat })
    }

    /// Runs one job in the state of this thread. A panic costs that job, and the state.
    fn run(&self, job: Job, start: Instant) {
        let run = || {
            OWN.with_borrow_mut(|own| {
                if own.is_none() {
                    match self.make() {
                        Ok(made) => *own = Some(made),
                        Err(e) => give_up(&job, &e),
                    }
                }
                if let Some(made) = own {
                    self.run_in(made, job, start);
                }
            });
        };
        let result = catch_unwind(AssertUnwindSafe(run));
        self.finished.fetch_add(1, Ordering::Relaxed);
        OWN.with_borrow_mut(|own| {
            if let Some(made) = own {
                self.seats.end(&made.seat);
            }
            let is_exhausted = own.as_ref().is_some_and(|made| made.state.is_exhausted());
            if let Err(panic) = result {
                self.crew.shared.stats.metrics.lua_errors.with_label_values(&["panic"]).inc();
                log::error!("a job of the {} pool panicked: {}", self.crew.name, message(&*panic));
                *own = None;
            } else if is_exhausted {
                let (name, most) = (self.crew.name, self.crew.memory >> 10);
                log::error!("a Lua state of the {name} pool had more than {most} MiB and is made anew");
                *own = None;
            }
        });
    }

    fn run_in(&self, own: &Own, job: Job, mut start: Instant) {
        let begin = |since, limit, what| self.seats.begin(&own.seat, since, limit, what);
        if own.state.is_behind() {
            begin(start, COMMANDS, What::Command);
            own.state.catch_up(start + COMMANDS);
            self.seats.end(&own.seat);
            start = Instant::now();
        }
        let (timeout, deadline) = (self.crew.timeout, start + self.crew.timeout);
        let stats = &self.crew.shared.stats;
        match job {
            Job::Report { mut login, known, reply } => {
                self.parse_device(&mut login);
                if logger::is_verbose() {
                    log::debug!("{}", login.line());
                }
                begin(start, timeout, What::Report(login.clone()));
                if let Err(e) = own.state.report(&login, known.as_ref(), deadline) {
                    self.log_failure(
                        "report",
                        "Lua function [report] exception",
                        Failure::new(&e),
                        Some(&login),
                    );
                }
                stats.run.observe(start.elapsed());
                if let Some(reply) = reply {
                    reply.send(Outcome::Done);
                }
            }
            Job::Endpoint { name, attrs, reply } => {
                begin(start, timeout, What::Endpoint(name.clone()));
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
            Job::Background { name, reply } => {
                begin(start, timeout, What::Background(name.clone()));
                if let Err(e) = own.state.background(&name, deadline) {
                    let what = format!("Lua background function [{name}] exception");
                    self.log_failure("background", &what, Failure::new(&e), None);
                }
                reply.send(Outcome::Done);
            }
            Job::Probe => {}
        }
    }

    /// Parses what the client said of itself, if the sender has not.
    fn parse_device(&self, login: &mut Arc<LoginTuple>) {
        if login.is_device_unknown() {
            let devices = &self.crew.shared.devices;
            Arc::make_mut(login).parse_device(|protocol, text| devices.parse(protocol, text));
        }
    }

    fn log_failure(&self, kind: &str, what: &str, failure: Failure, login: Option<&LoginTuple>) {
        self.crew.shared.stats.metrics.lua_errors.with_label_values(&[kind]).inc();
        let mut fields = Vec::new();
        if let Some(login) = login {
            fields.push(("login", login.login().to_owned()));
            fields.push(("remote", login.remote.to_string()));
        }
        if !failure.traceback.is_empty() {
            fields.push(("traceback", failure.traceback));
        }
        log::error!("{}", logger::line(&format!("{what}: {}", failure.message), &fields));
    }
}

/// A job that finds no state can't be run; a report is at least in the log.
fn give_up(job: &Job, e: &Error) {
    log::error!("no Lua state for this thread: {}", Failure::new(e).message);
    if let Job::Report { login, .. } = job {
        log::error!("not run: {}", login.line());
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
