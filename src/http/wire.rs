//! The bytes of one client, as they are or inside TLS. Nothing here waits: what the socket does not
//! take or give at once is asked for again when the poller says so.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{ServerConfig, ServerConnection};

use crate::http::client::Buffers;

/// The stream of one client.
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<Session>),
}

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Requests can't come yet.
    Handshake,
    Open,
    /// What comes can't be understood any more.
    Broken,
}

/// What a read has brought.
#[derive(Default)]
pub struct Input {
    /// Bytes in the input buffer.
    pub length: usize,
    /// Whether another read may find something at once.
    pub has_more: bool,
}

impl Wire {
    /// A stream that begins with a handshake if there is something to show in it.
    pub fn new(stream: TcpStream, peer: SocketAddr, tls: Option<Arc<ServerConfig>>) -> io::Result<Wire> {
        let Some(config) = tls else { return Ok(Wire::Plain(stream)) };
        let tls = ServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Wire::Tls(Box::new(Session { stream, peer, tls, is_broken: false, has_ended: false })))
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        match self {
            Wire::Plain(stream) => stream,
            Wire::Tls(session) => &mut session.stream,
        }
    }

    pub fn stage(&self) -> Stage {
        match self {
            Wire::Plain(_) => Stage::Open,
            Wire::Tls(session) => session.stage(),
        }
    }

    /// Reads once from the socket; nothing at the end of the stream.
    pub fn read(&mut self, buffers: &mut Buffers) -> io::Result<Option<Input>> {
        match self {
            Wire::Plain(stream) => {
                let length = stream.read(&mut buffers.input)?;
                // Less than asked for means that the socket is empty: epoll(7), question 9.
                Ok((length > 0).then_some(Input { length, has_more: length == buffers.input.len() }))
            }
            Wire::Tls(session) => session.read(buffers),
        }
    }

    /// Writes as much as the socket takes, and says how much that was. A little more may have been
    /// taken: see [`Wire::is_pending`].
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => write(stream, bytes),
            Wire::Tls(session) => session.write(bytes),
        }
    }

    /// Whether bytes wait here until the socket takes them: call [`Wire::write`], if with nothing new.
    pub fn is_pending(&self) -> bool {
        match self {
            Wire::Plain(_) => false,
            Wire::Tls(session) => session.tls.wants_write(),
        }
    }

    /// Tells the client that nothing more comes; whether that is done.
    pub fn close(&mut self) -> io::Result<bool> {
        if let Wire::Tls(session) = self {
            session.tls.send_close_notify();
            if !session.flush()? {
                return Ok(false);
            }
        }
        self.stream().shutdown(Shutdown::Write).map(|()| true)
    }
}

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

/// A stream inside TLS. What it keeps is bounded: incoming, what has come of one record or of a
/// handshake message, which rustls ends at 64 KiB; outgoing, as much again.
pub struct Session {
    stream: TcpStream,
    peer: SocketAddr,
    tls: ServerConnection,
    is_broken: bool,
    /// Whether the client has said that nothing more comes.
    has_ended: bool,
}

impl Session {
    fn stage(&self) -> Stage {
        match self.is_broken {
            true => Stage::Broken,
            false if self.tls.is_handshaking() => Stage::Handshake,
            false => Stage::Open,
        }
    }

    fn read(&mut self, buffers: &mut Buffers) -> io::Result<Option<Input>> {
        if self.has_ended {
            return Ok(None);
        }
        let received = self.stream.read(&mut buffers.sealed)?;
        if received == 0 {
            return Ok(None);
        }
        let is_full = received == buffers.sealed.len();
        if self.is_broken {
            return Ok(Some(Input { length: 0, has_more: is_full }));
        }
        let length = self.decrypt(&buffers.sealed[..received], &mut buffers.input).unwrap_or_else(|e| {
            log::debug!("TLS with {}: {e}", self.peer);
            self.is_broken = true;
            0
        });
        Ok(Some(Input { length, has_more: is_full || self.has_ended }))
    }

    /// Takes what has come, and says how much plain text it held.
    fn decrypt(&mut self, mut sealed: &[u8], plain: &mut [u8]) -> io::Result<usize> {
        let mut length = 0;
        while !sealed.is_empty() && !self.has_ended {
            if self.tls.read_tls(&mut sealed)? == 0 {
                return Err(io::Error::other("the record has no end"));
            }
            let state = self.tls.process_new_packets().map_err(io::Error::other)?;
            let end = length + state.plaintext_bytes_to_read();
            let room = plain.get_mut(length..end).ok_or_else(|| io::Error::other("too much at a time"))?;
            self.tls.reader().read_exact(room)?;
            length = end;
            self.has_ended = state.peer_has_closed();
        }
        Ok(length)
    }

    /// rustls is given more only when the socket has taken what it was given before: so a client that
    /// does not read costs no more than one of its buffers, which it limits itself.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while self.flush()? && taken < bytes.len() {
            taken += self.tls.writer().write(&bytes[taken..])?;
        }
        Ok(taken)
    }

    /// Sends what rustls has for the client; whether the socket took all of it.
    fn flush(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }
}

impl Drop for Session {
    /// Tells the client that the end is meant, if the socket takes that at once.
    fn drop(&mut self) {
        if self.stage() == Stage::Open {
            self.tls.send_close_notify();
            let _ = self.flush();
        }
    }
}
