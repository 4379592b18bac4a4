//! The console's client: sends commands to a daemon and prints what they answer.

use std::io::{self, IsTerminal, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::console::wire::{Channel, LONGEST, Lost, TIMEOUT};
use crate::console::{filter, prompt, shown, whole};
use crate::error::{Error, Result};
use crate::net::crypto::Key;

/// How long a command may run: it may do whatever Lua can.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Where the daemon is, and the key that it has too.
pub struct Client {
    address: SocketAddr,
    key: Key,
    channel: Option<Channel>,
}

impl Client {
    /// Connects to a daemon.
    pub fn connect(address: SocketAddr, key: Key) -> Result<Client> {
        let mut client = Client { address, key, channel: None };
        client.channel = Some(client.open()?);
        Ok(client)
    }

    fn open(&self) -> Result<Channel> {
        let stream = TcpStream::connect_timeout(&self.address, TIMEOUT)
            .map_err(Error::io(self.address.to_string()))?;
        stream.set_nodelay(true).map_err(Error::io(self.address.to_string()))?;
        Channel::open(stream, self.key.clone()).map_err(|e| self.lost(&e))
    }

    fn lost(&self, e: &Lost) -> Error {
        let hint = match e {
            Lost::Closed => " (does the daemon have another key?)",
            _ => "",
        };
        Error::Refused(format!("{}: {e}{hint}", self.address))
    }

    /// What a command answers. A connection that was lost since the last command is opened again.
    fn ask(&mut self, line: &str) -> Result<String> {
        if line.len() > LONGEST {
            return Err(Error::Refused(format!("a command may have {LONGEST} bytes")));
        }
        let mut channel = match self.channel.take().filter(|channel| !channel.is_over()) {
            Some(channel) => channel,
            None => self.open()?,
        };
        let answer = channel
            .write(line.as_bytes())
            .and_then(|()| channel.read(PATIENCE))
            .map_err(|e| self.lost(&e))?;
        self.channel = Some(channel);
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Runs one command and prints its answer.
    pub fn execute(mut self, line: &str) -> Result<()> {
        let answer = whole(self.ask(line)?);
        io::stdout().write_all(shown(&answer, &io::stdout()).as_bytes()).map_err(Error::io("stdout"))?;
        if is_error(&answer) { Err(Error::Refused("the command failed".into())) } else { Ok(()) }
    }

    /// Runs the commands that are typed, or come from a pipe.
    pub fn run(mut self) -> Result<()> {
        if !io::stdin().is_terminal() {
            return filter::run(|line| match self.ask(line)? {
                error if is_error(&error) => Err(Error::Refused(error[ERROR.len()..].trim_end().into())),
                answer => Ok(Some(answer)),
            });
        }
        let mut was_lost = false;
        prompt::run(Path::new(".history"), |line| {
            let answer = self.ask(line);
            // The daemon may be back for the next command.
            if let Err(e) = &answer
                && !was_lost
            {
                was_lost = true;
                return Ok(Some(format!("{e}\n")));
            }
            was_lost = false;
            answer.map(Some)
        })
    }
}

/// What the answer of a command that failed begins with, the original's too.
const ERROR: &str = "Error: ";

fn is_error(answer: &str) -> bool {
    answer.starts_with(ERROR)
}
