//! What the threads of a pool share, and what each does: take jobs from the queue and run them in
//! its own Lua state.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::logger;
use crate::login::LoginTuple;
use crate::lua::{Failure, Role, Script, State};
use crate::shared::Shared;
use crate::unix;
use crate::worker::job::{Job, Outcome};
use crate::worker::queue::Queue;

/// What the threads of a pool need to make their states.
pub struct Crew {
    /// The name of the pool and, with a number, of its threads.
    pub name: &'static str,
    pub shared: Arc<Shared>,
    pub script: Arc<Script>,
    /// How long one call of Lua may take.
    pub timeout: Duration,
}

/// What the threads of a pool share.
pub struct Team {
    pub crew: Crew,
    pub queue: Queue<Job>,
    seats: Mutex<Vec<Weak<Seat>>>,
    /// Threads whose call can't be interrupted.
    stuck: AtomicUsize,
    /// Jobs that have been run.
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
    Background(Arc<str>),
}

thread_local! {
    /// The state of this thread, made before its first job.
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
}

/// What a thread has of its own.
struct Own {
    state: State,
    seat: Arc<Seat>,
}

/// How often a thread that finds no job lets others run, and looks again, before it goes to sleep:
/// being woken costs more than that.
const LOOKS: usize = 4;

impl Team {
    pub fn new(crew: Crew, queue: Queue<Job>) -> Team {
        Team {
            crew,
            queue,
            seats: Mutex::default(),
            stuck: AtomicUsize::new(0),
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

    /// Threads whose call can't be interrupted.
    pub fn stuck(&self) -> usize {
        self.stuck.load(Ordering::Relaxed)
    }

    /// Jobs that have been run.
    pub fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Looks for calls that take too long: interrupts them, and counts those that go on
    /// all the same.
    pub fn watch(&self, now: Instant) {
        let timeout = self.crew.timeout;
        self.seats.lock().retain(|seat| {
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
                self.stuck.fetch_add(1, Ordering::Relaxed);
                log::error!("{}", call.what.line("has not returned and can't be interrupted", elapsed));
            }
            true
        });
    }

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
                self.end_call(&made.seat);
            }
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
            Job::Report { mut login, reply } => {
                self.parse_device(&mut login);
                if logger::is_verbose() {
                    log::debug!("{}", login.line());
                }
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
                    reply.send(Outcome::Done);
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
            Job::Background { name, reply } => {
                begin_call(&own.seat, start, What::Background(name.clone()));
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
        if login.device_attrs.is_none() {
            let attrs = self.crew.shared.devices.parse(&login.protocol, &login.device_id);
            Arc::make_mut(login).device_attrs = Some(attrs);
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
            fields.push(("login", login.login.to_string()));
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
                &[("login", login.login.to_string()), ("remote", login.remote.to_string()), seconds],
            ),
            What::Endpoint(name) => logger::line(&format!("Lua custom function [{name}] {what}"), &[seconds]),
            What::Background(name) => {
                logger::line(&format!("Lua background function [{name}] {what}"), &[seconds])
            }
        }
    }
}

/// A job that finds no state can't be run; a report is at least in the log.
fn give_up(job: &Job, e: &Error) {
    log::error!("no Lua state for this thread: {}", Failure::new(e).message);
    if let Job::Report { login, .. } = job {
        log::error!("not run: {}", login.line());
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
