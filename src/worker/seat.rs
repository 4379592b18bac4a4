//! What the threads of a pool run at the moment, seen by the thread that watches: it interrupts calls
//! that take too long, and counts those that go on all the same.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::logger;
use crate::login::LoginTuple;
use crate::unix;

/// The places of a pool's threads.
#[derive(Default)]
pub struct Seats {
    seats: Mutex<Vec<Weak<Seat>>>,
    /// Threads whose call can't be interrupted.
    stuck: AtomicUsize,
}

/// A thread's place in its pool.
pub struct Seat {
    thread: unix::ThreadId,
    call: Mutex<Option<Call>>,
}

/// A call of Lua that goes on.
struct Call {
    since: Instant,
    limit: Duration,
    what: What,
    is_reported: bool,
}

/// What is called, for the log.
#[derive(Clone)]
pub enum What {
    Configuration,
    Command,
    Report(Arc<LoginTuple>),
    Endpoint(Arc<str>),
    Background(Arc<str>),
}

impl Seats {
    /// A place for the thread that calls this, as long as it keeps it.
    pub fn take(&self) -> Arc<Seat> {
        let seat = Arc::new(Seat { thread: unix::current_thread(), call: Mutex::new(None) });
        self.seats.lock().push(Arc::downgrade(&seat));
        seat
    }

    /// A call begins, which may take as long as `limit`.
    pub fn begin(&self, seat: &Seat, since: Instant, limit: Duration, what: What) {
        *seat.call.lock() = Some(Call { since, limit, what, is_reported: false });
    }

    /// The call, if there is one, has returned.
    pub fn end(&self, seat: &Seat) {
        let call = seat.call.lock().take();
        if let Some(call) = call.filter(|call| call.is_reported) {
            self.stuck.fetch_sub(1, Ordering::Relaxed);
            log::warn!("{}", call.what.line("has returned at last", call.since.elapsed()));
        }
    }

    /// Threads whose call can't be interrupted.
    pub fn stuck(&self) -> usize {
        self.stuck.load(Ordering::Relaxed)
    }

    /// Looks for calls that take too long. Called about once a second.
    pub fn watch(&self, now: Instant) {
        self.seats.lock().retain(|seat| {
            let Some(seat) = seat.upgrade() else { return false };
            let mut call = seat.call.lock();
            let Some(call) = call.as_mut() else { return true };
            let elapsed = now.saturating_duration_since(call.since);
            if elapsed < call.limit {
                return true;
            }
            // The call is running, so its thread lives.
            unix::send_signal(seat.thread, unix::INTERRUPT);
            if elapsed > call.limit + Duration::from_secs(1) && !call.is_reported {
                call.is_reported = true;
                self.stuck.fetch_add(1, Ordering::Relaxed);
                log::error!("{}", call.what.line("has not returned and can't be interrupted", elapsed));
            }
            true
        });
    }
}

impl What {
    fn line(&self, what: &str, elapsed: Duration) -> String {
        let seconds = ("seconds", elapsed.as_secs().to_string());
        match self {
            What::Configuration => logger::line(&format!("configuration {what}"), &[seconds]),
            What::Command => logger::line(&format!("console command {what}"), &[seconds]),
            What::Report(login) => logger::line(
                &format!("Lua function [report] {what}"),
                &[("login", login.login().to_owned()), ("remote", login.remote.to_string()), seconds],
            ),
            What::Endpoint(name) => logger::line(&format!("Lua custom function [{name}] {what}"), &[seconds]),
            What::Background(name) => {
                logger::line(&format!("Lua background function [{name}] {what}"), &[seconds])
            }
        }
    }
}
