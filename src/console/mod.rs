//! The operator's console: running a command, a prompt on a terminal, commands from a pipe, and the
//! encrypted connection between a client and the daemon.

mod client;
mod filter;
pub mod probe;
mod prompt;
mod server;
mod wire;

use std::borrow::Cow;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::lua::{Failure, State, is_for_console_only};
use crate::shared::Shared;

pub use client::Client;
pub use filter::run as filter;
pub use prompt::run as prompt;
pub use server::{Execute, Listener, Server};

/// How long a command may run.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a command in the state that ran the configuration and, if that went well, leaves it for the
/// Lua threads.
pub fn execute(state: &State, shared: &Shared, line: &str) -> Result<String> {
    let spreads = !is_for_console_only(line);
    if spreads {
        shared.check_spread()?;
    }
    let answer = state.command(line, Instant::now() + LIMIT).map_err(|e| {
        let failure = Failure::new(&e);
        let trace = if failure.traceback.is_empty() { "" } else { "\nstack traceback: " };
        Error::Refused(format!("{}{trace}{}", failure.message, failure.traceback))
    })?;
    if spreads {
        shared.spread(line)?;
    }
    Ok(answer)
}

/// For a filter of commands: runs them in this process, until `shutdown()` ends them.
pub fn local(state: &State, shared: &Shared) -> impl FnMut(&str) -> Result<Option<String>> {
    move |line| Ok(if state.stops() { None } else { Some(execute(state, shared, line)?) })
}

/// An answer as a terminal shows it: with a line end, unless it is empty.
fn whole(mut answer: String) -> String {
    if !answer.is_empty() && !answer.ends_with('\n') {
        answer.push('\n');
    }
    answer
}

/// A text, be it an answer or an error, as it goes to a stream: what reads a pipe gets all of it.
pub fn shown<'a>(text: &'a str, stream: &impl IsTerminal) -> Cow<'a, str> {
    if stream.is_terminal() { harmless(text).into() } else { text.into() }
}

/// A text without what a terminal would obey: it may hold a stranger's login.
fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => harmless.push(c),
            c if c.is_control() => drop(write!(harmless, "\\x{:02x}", u32::from(c))),
            c => harmless.push(c),
        }
    }
    harmless
}
