//! A prompt on a terminal, with line editing, history and completion of the console's functions.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};
use secrecy::zeroize::Zeroizing;

use crate::console::{shown, whole};
use crate::error::{Error, Result};
use crate::lua::{complete, takes_secret};

/// Reads commands until `quit`, `exit` or the end of the input, hands each to `execute` and prints
/// what it answers; nothing more is read once there is no answer. The history is kept in a file.
pub fn run(history: &Path, mut execute: impl FnMut(&str) -> Result<Option<String>>) -> Result<()> {
    let refused = |e: ReadlineError| Error::Refused(format!("terminal: {e}"));
    let mut editor: Editor<Names, FileHistory> = Editor::new().map_err(refused)?;
    editor.set_helper(Some(Names));
    // Commands may hold secrets that nobody can tell. A history that can't be kept is no reason not to work.
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(history);
    let _ = file.and_then(|file| file.set_permissions(Permissions::from_mode(0o600)));
    let _ = editor.load_history(history);
    loop {
        let line = match editor.readline("> ") {
            Ok(line) => Zeroizing::new(line),
            Err(ReadlineError::Eof) => return Ok(()),
            // Ctrl-C gives the line up, as in a shell.
            Err(ReadlineError::Interrupted) => continue,
            Err(e) => return Err(refused(e)),
        };
        match line.trim() {
            "" => continue,
            "quit" | "exit" => return Ok(()),
            _ => {}
        }
        if !takes_secret(&line) {
            let _ = editor.add_history_entry(line.as_str());
            let _ = editor.append_history(history);
        }
        match execute(&line) {
            Ok(Some(answer)) => {
                let answer = whole(answer);
                let answer = shown(&answer, &io::stdout());
                io::stdout().write_all(answer.as_bytes()).map_err(Error::io("stdout"))?;
            }
            Ok(None) => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}

/// Completes the names of functions.
struct Names;

impl Completer for Names {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(candidates(&line[..at]))
    }
}

/// Where the name at the end of `text` begins, and the functions that begin like it.
pub fn candidates(text: &str) -> (usize, Vec<String>) {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let name = text.trim_end_matches(is_name).len();
    (name, complete(&text[name..]))
}

impl Hinter for Names {
    type Hint = String;
}

impl Highlighter for Names {}
impl Validator for Names {}
impl Helper for Names {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_of_a_line_is_completed() {
        for (text, start, expected) in [
            ("showAC", 0, vec!["showACL()"]),
            ("print(showAC", 6, vec!["showACL()"]),
            ("é addA", 3, vec!["addACL("]),
        ] {
            assert_eq!(candidates(text), (start, expected.into_iter().map(String::from).collect()), "{text}");
        }
    }
}
