//! Commands from a pipe: each line is run, its answer printed, until the end.

use std::io::{self, BufRead, Write};

use crate::console::{shown, whole};
use crate::error::{Error, Result};

/// Hands every line of stdin to `execute` and prints what it answers, until it answers nothing.
/// Fails in the end when a command did.
pub fn run(mut execute: impl FnMut(&str) -> Result<Option<String>>) -> Result<()> {
    let execute = |line: &str| match execute(line) {
        Ok(answer) => Ok(answer.map(|answer| shown(&answer, &io::stdout()).into_owned())),
        Err(e) => Err(Error::Refused(shown(&e.to_string(), &io::stderr()).into_owned())),
    };
    run_on(execute, io::stdin().lock(), io::stdout().lock(), io::stderr().lock())
}

pub fn run_on(
    mut execute: impl FnMut(&str) -> Result<Option<String>>,
    commands: impl BufRead,
    mut answers: impl Write,
    mut errors: impl Write,
) -> Result<()> {
    let mut failed = 0;
    for line in commands.split(b'\n') {
        let line = line.map_err(Error::io("stdin"))?;
        let line = String::from_utf8_lossy(&line);
        match line.trim() {
            "" => continue,
            "quit" | "exit" => break,
            _ => {}
        }
        match execute(&line) {
            Ok(Some(answer)) => {
                answers.write_all(whole(answer).as_bytes()).map_err(Error::io("stdout"))?;
            }
            Ok(None) => break,
            Err(e) => {
                failed += 1;
                writeln!(errors, "Error: {e}").map_err(Error::io("stderr"))?;
            }
        }
    }
    match failed {
        0 => Ok(()),
        1 => Err(Error::Refused("a command failed".into())),
        more => Err(Error::Refused(format!("{more} commands failed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::local;
    use crate::lua::{Role, State};
    use crate::shared::Shared;
    use std::sync::Arc;

    #[test]
    fn every_line_is_run_and_failures_are_counted() {
        let shared = Arc::<Shared>::default();
        let state = State::new(shared.clone(), Role::Config, None).unwrap();
        state.become_console().unwrap();
        let commands = "x = 5\n\nx + 1\nprint('a', x)\nstats()\nnosuch()\naddACL('foo')\naddACL(5)\nsetACL({'x'})\nshutdown()\nprint('not run')\n";
        let (mut answers, mut errors) = (Vec::new(), Vec::new());
        let result = run_on(local(&state, &shared), commands.as_bytes(), &mut answers, &mut errors);
        assert_eq!(result.unwrap_err().to_string(), "4 commands failed");
        assert_eq!(String::from_utf8(answers).unwrap(), "6\na\t5\n0 reports\n");
        let errors = String::from_utf8(errors).unwrap();
        assert!(errors.contains("Error: console:1: attempt to call global 'nosuch'"), "{errors}");
        assert!(errors.contains("addACL(netmask): \"foo\" is not a netmask"), "{errors}");
    }
}
