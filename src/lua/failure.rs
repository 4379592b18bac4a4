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
                // The parser's complaint of another file, as `dofile` passes it on, is a runtime error.
                Failure { message: without_string(message).to_owned(), traceback: trace(traceback) }
            }
            rlua::Error::ExternalError(e) => Failure { message: e.to_string(), traceback: String::new() },
            other => Failure { message: other.to_string(), traceback: String::new() },
        }
    }
}

/// A message without the string that it ends with, if the string is what the parser complains of: one
/// that has no end may be a password.
fn without_string(message: &str) -> &str {
    let cut = message
        .match_indices(NEAR)
        .map(|(at, _)| at)
        .find(|at| message[at + NEAR.len()..].starts_with(['"', '\'', '[']) && is_parsers(&message[..*at]));
    cut.map_or(message, |at| &message[..at])
}

/// What stands between the complaint and the text.
const NEAR: &str = " near '";

/// How the complaints end that LuaJIT's parser has about a text.
const COMPLAINTS: &[&str] = &[
    "' expected",
    "function arguments expected",
    "unfinished string",
    "unfinished long string",
    "invalid escape sequence",
    "invalid long string delimiter",
    "unexpected symbol",
    "syntax error",
    "malformed number",
    "ambiguous syntax (function call or new statement)",
    "function or expression too complex",
    "function too long for return fixup",
    "control structure too long",
    "chunk has too many lines",
    "cannot use '...' outside a vararg function",
    "no loop to break",
];

/// Whether a message is the parser's, and not what a policy says.
fn is_parsers(message: &str) -> bool {
    // "')' expected (to close '(' at line 1)"
    let complaint = match message.rsplit_once(" (to close '") {
        Some((complaint, place)) if place.contains("' at line ") && place.ends_with(')') => complaint,
        _ => message,
    };
    COMPLAINTS.iter().any(|end| complaint.ends_with(end))
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
    fn only_a_string_that_can_not_be_parsed_is_not_told() {
        for (code, expected) in [
            ("f(\"secret)\n", "x:1: unfinished string"),
            ("f('secret)\n", "x:1: unfinished string"),
            ("f('a' 'secret')", "x:1: ')' expected"),
            ("f('a' [[secret]])", "x:1: ')' expected"),
            ("f([[secret)", "x:1: unfinished long string near '<eof>'"),
            ("f(a b)", "x:1: ')' expected near 'b'"),
            ("f('a'", "x:1: ')' expected near '<eof>'"),
            ("f('a'\n'secret')", "x:2: ')' expected (to close '(' at line 1)"),
            ("'secret'", "x:1: unexpected symbol"),
            ("f('\\secret')", "x:1: invalid escape sequence"),
            ("for 'secret'", "x:1: '<name>' expected"),
            ("a 'b' = 'secret'", "x:1: unexpected symbol near '='"),
            ("a.b:c = 'secret'", "x:1: function arguments expected near '='"),
            ("local a = 'b' 'secret'", "x:1: unexpected symbol"),
            // What another file holds.
            ("error(select(2, loadstring('f(\"secret\\n', '=y')), 0)", "y:1: unfinished string"),
            // What a policy says is its own.
            ("error('it is near \\'\"home\"\\'', 0)", "it is near '\"home\"'"),
            ("error('not expected near \\'\"home\"\\'', 0)", "not expected near '\"home\"'"),
            ("error('(to close \\'it\\') near \\'[x]\\'', 0)", "(to close 'it') near '[x]'"),
        ] {
            let error = Lua::new().load(code).set_name("=x").exec().unwrap_err();
            assert_eq!(Failure::new(&error.into()).message, expected, "{code}");
        }
    }
}
