//! Errors of Lua code as the log and the console have them: one message, and the way to it in one line.

use crate::error::Error;

/// A failure of Lua code as it is logged: the message with its place, and the traceback apart.
pub struct Failure {
    pub message: String,
    pub traceback: String,
}

impl Failure {
    pub fn new(error: &Error) -> Failure {
        match error {
            Error::Lua(e) => Failure::of_lua(e),
            other => Failure { message: other.to_string(), traceback: String::new() },
        }
    }

    fn of_lua(error: &rlua::Error) -> Failure {
        match error {
            rlua::Error::CallbackError { traceback, cause } => {
                let inner = Failure::of_lua(cause);
                let traceback = if inner.traceback.is_empty() { traceback } else { &inner.traceback };
                Failure { message: inner.message, traceback: trace(traceback) }
            }
            rlua::Error::RuntimeError(text) | rlua::Error::SyntaxError { message: text, .. } => {
                let (message, traceback) = text.split_once("\nstack traceback:").unwrap_or((text, ""));
                Failure { message: message.to_owned(), traceback: trace(traceback) }
            }
            rlua::Error::ExternalError(e) => Failure { message: e.to_string(), traceback: String::new() },
            other => Failure { message: other.to_string(), traceback: String::new() },
        }
    }
}

/// A traceback in one line, innermost first, without the frames of C code and of the prelude.
fn trace(traceback: &str) -> String {
    let frames = traceback.trim_start_matches("stack traceback:").lines().map(str::trim);
    let frames = frames
        .filter(|line| !line.is_empty() && !line.starts_with("[C]") && !line.starts_with("trackalert:"));
    frames.collect::<Vec<_>>().join(" < ")
}
