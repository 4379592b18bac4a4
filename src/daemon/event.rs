//! What the main thread is told, and by whom: signals, and other threads that have it run commands.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;
use std::{process, thread};

use parking_lot::Mutex;

use crate::console::Execute;
use crate::error::{Error, Result};
use crate::unix::{self, Request};

/// What the main thread is told.
pub enum Event {
    Request(Request),
    /// A line that was typed at the prompt, and where the answer goes.
    Command(String, Sender<String>),
}

/// How long the end may take after it was asked for twice, when the main thread does not react.
const LAST: Duration = Duration::from_secs(1);

/// Every signal from now on is an event.
pub fn hear_signals(events: Sender<Event>) -> Result<()> {
    let requests = unix::requests()?;
    let hear = move || {
        let mut stops = 0;
        for request in requests {
            stops += u32::from(request == Request::Stop);
            if events.send(Event::Request(request)).is_err() {
                return;
            }
            if stops > 1 {
                thread::sleep(LAST);
                log::error!("ended at once: the main thread is busy");
                process::exit(1);
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(hear).map(drop).map_err(Error::io("thread"))
}

/// How often a command that goes on is looked after.
const LOOK: Duration = Duration::from_secs(1);

/// Lets other threads have the main thread, which calls this, run a command.
pub fn executor(events: Sender<Event>) -> Execute {
    let main = unix::current_thread();
    let events = Mutex::new(events);
    Arc::new(move |line| {
        let (answer, answers) = mpsc::channel();
        events.lock().send(Event::Command(line.to_owned(), answer)).ok()?;
        loop {
            match answers.recv_timeout(LOOK) {
                Ok(answer) => return Some(answer),
                // It fails if its time is up.
                Err(RecvTimeoutError::Timeout) => unix::send_signal(main, unix::INTERRUPT),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    })
}
