//! What the main thread is told, and by whom: signals, and other threads that have it run commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;
use std::{process, thread};

use parking_lot::Mutex;
use secrecy::zeroize::Zeroizing;

use crate::console::Execute;
use crate::error::Result;
use crate::lua;
use crate::unix::{self, Request, ThreadId};

/// What the main thread is told.
pub enum Event {
    Request(Request),
    /// A line that was typed at the prompt, and where the answer goes.
    Command(Zeroizing<String>, Sender<String>),
}

/// How long the end may take after it was asked for twice, when the main thread does not react.
const LAST: Duration = Duration::from_secs(1);

/// Every signal from now on is an event for the main thread, which calls this. One that asks for the
/// end also ends what the main thread runs in Lua.
///
/// `reloads` says that a reload is to come: further requests for one are for the same.
pub fn hear_signals(events: Sender<Event>, reloads: Arc<AtomicBool>) -> Result<()> {
    let main = unix::current_thread();
    let requests = unix::requests()?;
    let hear = move || {
        let mut stops = 0;
        for request in requests {
            if request == Request::Reload && reloads.swap(true, Ordering::Relaxed) {
                continue;
            }
            if events.send(Event::Request(request)).is_err() {
                return;
            }
            if request != Request::Stop {
                continue;
            }
            lua::hurry();
            unix::send_signal(main, unix::INTERRUPT);
            stops += 1;
            if stops > 1 {
                thread::sleep(LAST);
                // The main thread is busy. Nothing is logged: that may be what it waits for.
                process::exit(1);
            }
        }
    };
    unix::spawn("signals", hear).map(drop)
}

/// How often what the main thread runs is looked after.
pub const LOOK: Duration = Duration::from_secs(1);

/// For a main thread that runs Lua, which can't go on for ever: it fails if its time is up. Until then
/// there is no reason for systemd to worry.
pub fn vouch_for(main: ThreadId) {
    unix::send_signal(main, unix::INTERRUPT);
    unix::notify_watchdog();
}

/// Lets other threads have the main thread, which calls this, run a command.
pub fn executor(events: Sender<Event>) -> Execute {
    let main = unix::current_thread();
    let events = Mutex::new(events);
    Arc::new(move |line| {
        let (answer, answers) = mpsc::channel();
        events.lock().send(Event::Command(Zeroizing::new(line.to_owned()), answer)).ok()?;
        loop {
            match answers.recv_timeout(LOOK) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) => vouch_for(main),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    })
}
