//! Going to the background, where the process that was called waits for the start to succeed.

use std::fs::OpenOptions;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};

use nix::sys::stat::{Mode, umask};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use crate::error::{Error, Result};
use crate::unix::{is_parent, system};

/// A daemon that is starting, and the process that waits for it.
pub struct Starting(PipeWriter);

/// Goes to the background: fork, setsid, fork, /dev/null on the standard streams, umask 022.
///
/// Returns in two processes. In the daemon with the way to tell how the start went; in the process
/// that was called, when it has been told, with nothing or with the daemon's error. There must be
/// no other thread yet.
pub fn daemonize() -> Result<Option<Starting>> {
    let (reader, writer) = pipe().map_err(Error::io("pipe"))?;
    if is_parent()? {
        drop(writer);
        return wait_for_start(reader).map(|()| None);
    }
    drop(reader);
    setsid().map_err(system("setsid"))?;
    if is_parent()? {
        std::process::exit(0);
    }
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(Error::io("/dev/null"))?;
    dup2_stdin(&null)
        .and_then(|()| dup2_stdout(&null))
        .and_then(|()| dup2_stderr(&null))
        .map_err(system("dup2"))?;
    umask(Mode::from_bits_truncate(0o022));
    Ok(Some(Starting(writer)))
}

/// The daemon sends its exit status and its error, or a 0 when it is up.
fn wait_for_start(mut reader: PipeReader) -> Result<()> {
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).map_err(Error::io("pipe"))?;
    match answer.split_first() {
        Some((0, _)) => Ok(()),
        Some((78, text)) => Err(Error::Config(String::from_utf8_lossy(text).into_owned())),
        Some((_, text)) => Err(Error::Refused(String::from_utf8_lossy(text).into_owned())),
        None => Err(Error::Refused("the daemon ended before it was up".into())),
    }
}

impl Starting {
    /// Says that the daemon is up.
    pub fn up(mut self) {
        // Nobody reads it when the caller was killed meanwhile; the daemon is up all the same.
        let _ = self.0.write_all(&[0]);
    }

    /// Says why the daemon could not start.
    pub fn failed(mut self, error: &Error) {
        let _ = self.0.write_all(&[error.status()]);
        let _ = self.0.write_all(error.to_string().as_bytes());
    }
}
