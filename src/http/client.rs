//! One client of a web thread: its socket and the connection's state, joined.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;

use crate::http::accept::Guest;
use crate::http::connection::{Connection, Desk};
use crate::http::response::Answer;
use crate::http::site::Site;

/// How long the client may take to read an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a web thread lends to its clients, one after the other: an idle client holds no buffer.
pub struct Buffers {
    pub input: Box<[u8]>,
    pub output: Vec<u8>,
}

/// What becomes of a client after some work.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits: for its socket, for Lua or for its deadline.
    Waits,
    /// There is more to read at once, but others should have their turn.
    Again,
    /// It is over.
    Gone,
}

/// One client.
pub struct Client {
    stream: TcpStream,
    connection: Connection,
    /// What the socket did not take yet, and since when.
    unsent: Vec<u8>,
    unsent_since: Instant,
    is_readable: bool,
    /// Whether the client has shut its side down: then a short read is not the last.
    is_read_closed: bool,
    is_shut: bool,
    /// Whether the connection still has input to use, held back until its answers are sent.
    is_full: bool,
    _guest: Guest,
}

impl Client {
    pub fn new(stream: TcpStream, connection: Connection, guest: Guest, now: Instant) -> Client {
        Client {
            stream,
            connection,
            unsent: Vec::new(),
            unsent_since: now,
            is_readable: false,
            is_read_closed: false,
            is_shut: false,
            is_full: false,
            _guest: guest,
        }
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
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
                self.is_full = self.connection.take(&[], desk, &mut buffers.output);
                self.send(buffers, desk.now)?;
                continue;
            }
            if self.connection.is_closing() && !self.is_shut {
                self.is_shut = true;
                self.stream.shutdown(Shutdown::Write)?;
            }
            if !self.is_readable || self.connection.is_waiting() {
                return Ok(Fate::Waits);
            }
            if has_read {
                return Ok(Fate::Again);
            }
            let Some(length) = self.read(&mut buffers.input)? else { return Ok(Fate::Gone) };
            has_read = length == buffers.input.len();
            self.is_full = self.connection.take(&buffers.input[..length], desk, &mut buffers.output);
            self.send(buffers, desk.now)?;
        }
    }

    /// Reads once: how many bytes there were, nothing at the end of the stream.
    fn read(&mut self, input: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.stream.read(input) {
                Ok(0) => return Ok(None),
                Ok(length) => {
                    // Less than asked for means that the socket is empty: epoll(7), question 9.
                    self.is_readable = length == input.len() || self.is_read_closed;
                    return Ok(Some(length));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.is_readable = false;
                    return Ok(Some(0));
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Sends what is in the output buffer and keeps what the socket does not take.
    fn send(&mut self, buffers: &mut Buffers, now: Instant) -> io::Result<()> {
        let sent = write(&mut self.stream, &buffers.output)?;
        if sent < buffers.output.len() {
            self.unsent = buffers.output[sent..].to_vec();
            self.unsent_since = now;
        }
        buffers.output.clear();
        Ok(())
    }

    /// Whether nothing is left to send.
    fn send_unsent(&mut self) -> io::Result<bool> {
        if self.unsent.is_empty() {
            return Ok(true);
        }
        let sent = write(&mut self.stream, &self.unsent)?;
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        Ok(self.unsent.is_empty())
    }

    /// Takes the answer that a Lua thread has made.
    pub fn deliver(&mut self, answer: &Answer, desk: &mut Desk, buffers: &mut Buffers) -> Fate {
        self.connection.deliver(answer, desk, &mut buffers.output);
        self.is_full = true;
        self.send_and_work(desk, buffers)
    }

    /// Answers before any byte is read, and closes.
    pub fn refuse(&mut self, answer: &Answer, desk: &mut Desk, buffers: &mut Buffers) -> Fate {
        self.connection.close_with(answer, desk, &mut buffers.output);
        self.send_and_work(desk, buffers)
    }

    /// Ends a client whose time is up.
    pub fn expire(&mut self, desk: &mut Desk, buffers: &mut Buffers) -> Fate {
        if !self.unsent.is_empty() || !self.connection.expire(desk, &mut buffers.output) {
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

    /// When the client must have got further.
    pub fn deadline(&self, site: &Site) -> Option<Instant> {
        if self.unsent.is_empty() {
            return self.connection.deadline(site);
        }
        Some(self.unsent_since + WRITE_TIMEOUT)
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.unsent.is_empty() && self.connection.is_idle()
    }

    /// Whether a Lua thread makes the answer.
    pub fn is_waiting(&self) -> bool {
        self.connection.is_waiting()
    }
}

/// Writes as much as the socket takes.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(length) => sent += length,
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(sent)
}
