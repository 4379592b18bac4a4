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
                Failure { message: without_string(message).to_owned(), traceback: trace(traceback) }
            }
            rlua::Error::ExternalError(e) => Failure { message: e.to_string(), traceback: String::new() },
            other => Failure { message: other.to_string(), traceback: String::new() },
        }
    }
}

/// A message without the string that it ends with, if the string is what can't be parsed: one that has no
/// end may be a password.
fn without_string(message: &str) -> &str {
    let near =
        message.find(" near '").filter(|at| message[*at + " near '".len()..].starts_with(['"', '\'', '[']));
    near.map_or(message, |at| &message[..at])
}

/// A traceback in one line, innermost first, without the frames of C code and of the prelude.
fn trace(traceback: &str) -> String {
    let frames = traceback.trim_start_matches("stack traceback:").lines().map(str::trim);
    let frames = frames
        .filter(|line| !line.is_empty() && !line.starts_with("[C]") && !line.starts_with("trackalert:"));
    frames.collect::<Vec<_>>().join(" < ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlua::Lua;

    #[test]
    fn what_can_not_be_parsed_is_not_told_if_it_is_a_string() {
        for (code, expected) in [
            ("f(\"secret)\n", "x:1: unfinished string"),
            ("f('secret)\n", "x:1: unfinished string"),
            ("f('a' 'secret')", "x:1: ')' expected"),
            ("f('a' [[secret]])", "x:1: ')' expected"),
            ("f([[secret)", "x:1: unfinished long string near '<eof>'"),
            ("f(a b)", "x:1: ')' expected near 'b'"),
            ("f('a'", "x:1: ')' expected near '<eof>'"),
            ("error('it is near \\'\"home\"\\'', 0)", "it is"),
        ] {
            let error = Lua::new().load(code).set_name("=x").exec().unwrap_err();
            assert_eq!(Failure::new(&error.into()).message, expected, "{code}");
        }
    }
}
