//! The way to a running daemon: its own configuration says where its console is, and with which key.

use std::io::{self, Write};

use crate::cli::Options;
use crate::console::Client;
use crate::daemon::generation::blame;
use crate::daemon::start::{enter, home, no_config};
use crate::error::{Error, Result};
use crate::lua::State;

/// Connects to the daemon that the configuration describes, and says to `out` which one that is.
pub fn connect(options: &Options, out: &mut impl Write) -> Result<Client> {
    let home = home(options).ok_or_else(no_config)?;
    let script = enter(&home)?;
    // Where this is said may be a pipe that nobody reads.
    let _ = writeln!(out, "Read configuration from '{}'", script.name());
    let (config, error) = State::read_for_client(&script)?;
    let error = error.map(|e| blame(Some(&script), &e));
    match (config.control_socket, config.key, error) {
        (Some(address), Some(key), error) => {
            if let Some(e) = error {
                let _ = writeln!(io::stderr(), "trackalert: {e}");
            }
            let _ = writeln!(out, "Connecting to {address}");
            Client::connect(address, key)
        }
        (_, _, Some(e)) => Err(e),
        (None, ..) => Err(Error::Config(format!("{}: there is no controlSocket()", script.name()))),
        (_, None, _) => Err(Error::Config(format!("{}: there is no setKey() with a key", script.name()))),
    }
}
