//! One client of a web thread: its socket and the connection's state, joined.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use mio::event::Event;

use crate::http::accept::Guest;
use crate::http::connection::{Connection, Desk};
use crate::http::response::Answer;
use crate::http::site::Site;
use crate::http::wire::{Input, Stage, Wire};

/// How long the client may take to read an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a web thread lends to its clients, one after the other: an idle client holds no buffer.
pub struct Buffers {
    pub input: Box<[u8]>,
    /// What comes inside TLS, before it is input.
    pub sealed: Box<[u8]>,
    pub output: Vec<u8>,
}

/// Bytes that are read at a time.
const READ: usize = 64 << 10;

/// The same inside TLS. What they hold, with the rest of a record that began before, fits into the
/// input.
const READ_SEALED: usize = 32 << 10;

impl Default for Buffers {
    fn default() -> Buffers {
        let zeros = |length| vec![0; length].into_boxed_slice();
        Buffers { input: zeros(READ), sealed: zeros(READ_SEALED), output: Vec::new() }
    }
}

/// What becomes of a client after some work.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits: for its socket, for Lua or for its deadline.
    Waits,
    /// There is more to do at once, but others should have their turn.
    Again,
    /// It is over.
    Gone,
}

/// One client.
pub struct Client {
    wire: Wire,
    connection: Connection,
    /// What was not sent yet, and since when.
    unsent: Vec<u8>,
    unsent_since: Instant,
    is_readable: bool,
    /// Whether the client has shut its side down: then a short read is not the last.
    is_read_closed: bool,
    is_shut: bool,
    /// Whether the connection still has input to use, held back until its answers are sent.
    is_full: bool,
    /// Whether the web thread has noted that it is to work again.
    pub is_noted: bool,
    _guest: Guest,
}

impl Client {
    pub fn new(wire: Wire, mut connection: Connection, guest: Guest, now: Instant) -> Client {
        if wire.stage() == Stage::Handshake {
            connection.await_handshake();
        }
        Client {
            wire,
            connection,
            unsent: Vec::new(),
            unsent_since: now,
            is_readable: false,
            is_read_closed: false,
            is_shut: false,
            is_full: false,
            is_noted: false,
            _guest: guest,
        }
    }

    /// Takes note of what the poller says of the socket.
    pub fn notice(&mut self, event: &Event) {
        self.is_readable |= event.is_readable() || event.is_error();
        self.is_read_closed |= event.is_read_closed() || event.is_error();
    }

    /// Does whatever can be done without waiting.
    pub fn work(&mut self, desk: &mut Desk, buffers: &mut Buffers) -> Fate {
        self.try_work(desk, buffers).unwrap_or(Fate::Gone)
    }

    /// The error is the socket's: there is nobody left to tell.
    fn try_work(&mut self, desk: &mut Desk, buffers: &mut Buffers) -> io::Result<Fate> {
        let mut has_read = false;
        loop {
            if !self.send_unsent()? {
                return Ok(Fate::Waits);
            }
            if self.is_full {
                self.is_full = self.connection.take(&mut [], desk, &mut buffers.output);
                self.send(buffers, desk.now)?;
                continue;
            }
            if self.connection.is_closing() && !self.is_shut {
                self.is_shut = self.wire.close()?;
                if !self.is_shut {
                    return Ok(Fate::Waits);
                }
            }
            if !self.is_readable || self.connection.is_waiting() {
                return Ok(Fate::Waits);
            }
            if has_read {
                return Ok(Fate::Again);
            }
            let Some(Input { length, has_more }) = self.read(buffers, desk.now)? else {
                return Ok(Fate::Gone);
            };
            has_read = has_more;
            self.is_full = self.connection.take(&mut buffers.input[..length], desk, &mut buffers.output);
            if !buffers.output.is_empty() {
                // Its turn to send comes when the others have been read: a peer on this machine that
                // is woken by each answer would take the processor for each.
                self.unsent_since = desk.now;
                self.unsent.append(&mut buffers.output);
                return Ok(Fate::Again);
            }
        }
    }

    /// Reads once; nothing at the end of the stream.
    fn read(&mut self, buffers: &mut Buffers, now: Instant) -> io::Result<Option<Input>> {
        let input = loop {
            match self.wire.read(buffers) {
                Ok(None) => return Ok(None),
                Ok(Some(input)) => {
                    self.is_readable = input.has_more || self.is_read_closed;
                    break input;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.is_readable = false;
                    break Input::default();
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        };
        match self.wire.stage() {
            Stage::Handshake => {}
            Stage::Open => self.connection.finish_handshake(now),
            Stage::Broken => self.connection.abandon(now),
        }
        Ok(Some(input))
    }

    /// Sends what is in the output buffer and keeps what the socket does not take.
    fn send(&mut self, buffers: &mut Buffers, now: Instant) -> io::Result<()> {
        // There may be unsent bytes when Lua made an answer while the client did not read those before.
        if !self.has_unsent() {
            self.unsent_since = now;
            let sent = self.wire.write(&buffers.output)?;
            buffers.output.drain(..sent);
        }
        self.unsent.append(&mut buffers.output);
        Ok(())
    }

    /// Whether nothing is left to send.
    fn send_unsent(&mut self) -> io::Result<bool> {
        if !self.has_unsent() {
            return Ok(true);
        }
        let sent = self.wire.write(&self.unsent)?;
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        Ok(!self.has_unsent())
    }

    fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.wire.is_pending()
    }

    /// Takes the answer that a Lua thread has made.
    pub fn deliver(&mut self, answer: &Answer, desk: &mut Desk, buffers: &mut Buffers) -> Fate {
        self.connection.deliver(answer, desk, &mut buffers.output);
        self.is_full = true;
        self.send_and_work(desk, buffers)
    }

    /// Answers before any byte is read, and closes.
    pub fn refuse(&mut self, answer: &Answer, desk: &mut Desk, buffers: &mut Buffers) -> Fate {
        self.connection.close_with(answer, false, desk, &mut buffers.output);
        self.send_and_work(desk, buffers)
    }

    /// Ends a client whose time is up.
    pub fn expire(&mut self, desk: &mut Desk, buffers: &mut Buffers) -> Fate {
        if self.has_unsent() || !self.connection.expire(desk, &mut buffers.output) {
            return Fate::Gone;
        }
        self.send_and_work(desk, buffers)
    }

    fn send_and_work(&mut self, desk: &mut Desk, buffers: &mut Buffers) -> Fate {
        match self.send(buffers, desk.now) {
            Ok(()) => self.work(desk, buffers),
            Err(_) => Fate::Gone,
        }
    }

    /// When the client must have got further. Reading late does not extend a handshake.
    pub fn deadline(&self, site: &Site) -> Option<Instant> {
        if self.has_unsent() && self.wire.stage() != Stage::Handshake {
            return Some(self.unsent_since + WRITE_TIMEOUT);
        }
        self.connection.deadline(site)
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.connection.is_idle() && !self.has_unsent()
    }

    /// Whether a Lua thread makes the answer.
    pub fn is_waiting(&self) -> bool {
        self.connection.is_waiting()
    }
}
