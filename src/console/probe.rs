//! The console for fuzz targets, without the program around it.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use crate::console::wire::{self, Lost};
use crate::console::{self, filter, prompt};
use crate::error::Result;
use crate::net::crypto;

/// One side of an encrypted connection.
pub struct Channel(wire::Channel);

/// The longest text of a message.
pub const LONGEST: usize = wire::LONGEST;

/// Why a message did not come.
#[derive(Debug, PartialEq, Eq)]
pub enum Loss {
    Closed,
    Undecipherable,
    Io(io::ErrorKind),
}

impl From<Lost> for Loss {
    fn from(lost: Lost) -> Loss {
        match lost {
            Lost::Closed => Loss::Closed,
            Lost::Undecipherable => Loss::Undecipherable,
            Lost::Io(e) => Loss::Io(e.kind()),
        }
    }
}

impl Channel {
    /// Exchanges the random bytes. The key is in base64.
    pub fn open(stream: TcpStream, key: &str) -> std::result::Result<Channel, Loss> {
        let key: crypto::Key = key.parse().map_err(|_| Loss::Undecipherable)?;
        Ok(Channel(wire::Channel::open(stream, key)?))
    }

    /// The next text.
    pub fn read(&mut self, patience: Duration) -> std::result::Result<Vec<u8>, Loss> {
        Ok(self.0.read(patience)?.to_vec())
    }

    /// Sends a text.
    pub fn write(&mut self, text: &[u8]) -> std::result::Result<(), Loss> {
        Ok(self.0.write(text)?)
    }
}

/// Whether a text is a key.
pub fn is_key(text: &str) -> bool {
    text.parse::<crypto::Key>().is_ok()
}

/// A text as it fits into a message.
pub fn fit(text: String) -> String {
    wire::fit(text)
}

/// Runs the commands of a pipe through the filter; gives what went to stdout and to stderr.
pub fn run(commands: &[u8], execute: impl FnMut(&str) -> Result<Option<String>>) -> (Vec<u8>, Vec<u8>) {
    let (mut answers, mut errors) = (Vec::new(), Vec::new());
    // That commands failed is in the errors.
    let _ = filter::run_on(execute, commands, &mut answers, &mut errors);
    (answers, errors)
}

/// Where the name at the end of a line begins, and what may be put in its place.
pub fn candidates(line: &str) -> (usize, Vec<String>) {
    prompt::candidates(line)
}

/// A text as a terminal shows it.
pub fn harmless(text: &str) -> String {
    console::harmless(text)
}
