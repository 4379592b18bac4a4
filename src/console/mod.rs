//! The operator's console: running a command, a prompt on a terminal, commands from a pipe.

mod filter;
mod prompt;

use crate::error::{Error, Result};
use crate::lua::{Failure, State, is_for_console_only};
use crate::shared::Shared;

pub use filter::run as filter;
pub use prompt::run as prompt;

/// Runs a command in the state that ran the configuration and, if that went well, leaves it for the
/// Lua threads. What it answers ends with a line end, unless it is empty.
pub fn execute(state: &State, shared: &Shared, line: &str) -> Result<String> {
    let mut answer = state.command(line).map_err(|e| {
        let failure = Failure::new(&e);
        let trace = if failure.traceback.is_empty() { "" } else { "\nstack traceback: " };
        Error::Refused(format!("{}{trace}{}", failure.message, failure.traceback))
    })?;
    if !is_for_console_only(line) {
        shared.spread(line)?;
    }
    if !answer.is_empty() && !answer.ends_with('\n') {
        answer.push('\n');
    }
    Ok(answer)
}
