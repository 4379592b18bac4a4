//! The state of one client as HTTP sees it: bytes in, answers out, deadlines. Nothing here knows of
//! sockets, and the time is an argument.

use std::borrow::Cow;
use std::mem;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use secrecy::zeroize::Zeroize;
use tiny_http::Method;

use crate::http::handlers::Reaction;
use crate::http::request::{Chunks, Framing, Head, Refusal, find_end};
use crate::http::response::{Answer, Manner, Printer};
use crate::http::routes::Target;
use crate::http::site::Site;
use crate::http::web::Ticket;

/// A client that sends requests faster than it reads answers is not read from beyond this many
/// bytes of answers.
const MAX_OUTPUT: usize = 64 << 10;

/// How long a client may take to notice that the connection is closed. Until then what it sends is
/// read and thrown away: a reset would destroy the answer on its way (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(2);

/// What a connection needs from its web thread while it works.
pub struct Desk<'a> {
    pub site: &'a Site,
    pub printer: &'a mut Printer,
    pub now: Instant,
    /// Whether the daemon stops, so that every answer is the last of its connection.
    pub is_closing: bool,
}

/// The state of one client.
pub struct Connection {
    peer: SocketAddr,
    ticket: Ticket,
    /// What has been read and not been used. Empty between requests.
    input: Vec<u8>,
    /// How much of a head was searched for its end.
    scanned: usize,
    /// Where in the bytes of the step a password was.
    credentials: Range<usize>,
    state: State,
    /// When the state began.
    since: Instant,
}

/// What is left of a head goes with the connection.
impl Drop for Connection {
    fn drop(&mut self) {
        self.input.zeroize();
    }
}

/// Appends bytes without leaving copies, as a vector does where it was too small.
fn join(stored: &mut Vec<u8>, fresh: &mut [u8]) {
    let length = stored.len() + fresh.len();
    if length > stored.capacity() {
        let mut larger = Vec::with_capacity(length.max(2 * stored.capacity()));
        larger.extend_from_slice(stored);
        mem::replace(stored, larger).zeroize();
    }
    stored.extend_from_slice(fresh);
    fresh.zeroize();
}

enum State {
    /// Before the first request, until the handshake of TLS is done.
    Handshake,
    /// Between requests.
    Idle,
    /// A part of a head has come.
    Head,
    /// A head has come, its body has not.
    Body { target: Target, delivery: Option<Box<[u8]>>, manner: Manner, content: Content },
    /// The rest of a body that nobody wants.
    Skip(usize),
    /// A Lua thread makes the answer.
    Waiting(Manner),
    /// The last answer is made.
    Closing,
}

/// What is to come of a body.
pub enum Content {
    Length(usize),
    Chunked(Chunks),
}

impl Connection {
    pub fn new(peer: SocketAddr, ticket: Ticket, now: Instant) -> Connection {
        Connection {
            peer,
            ticket,
            input: Vec::new(),
            scanned: 0,
            credentials: 0..0,
            state: State::Idle,
            since: now,
        }
    }

    /// No request can come yet.
    pub fn await_handshake(&mut self) {
        self.state = State::Handshake;
    }

    /// Requests can come, if they could not before.
    pub fn finish_handshake(&mut self, now: Instant) {
        if matches!(self.state, State::Handshake) {
            self.enter(State::Idle, now);
        }
    }

    /// Closes without an answer, which could not be understood any more.
    pub fn abandon(&mut self, now: Instant) {
        if !self.is_closing() {
            self.enter(State::Closing, now);
        }
    }

    /// Uses `fresh` bytes after what is there already and appends answers to `out`. Whether it
    /// stopped for the answers being enough: call again, without fresh bytes, when they are sent.
    /// Passwords are wiped, in `fresh` as well.
    pub fn take(&mut self, fresh: &mut [u8], desk: &mut Desk, out: &mut Vec<u8>) -> bool {
        let mut stored = mem::take(&mut self.input);
        // A request that comes in one piece is used where it was read.
        let bytes = if stored.is_empty() {
            &mut *fresh
        } else {
            join(&mut stored, fresh);
            &mut stored
        };
        let mut used = 0;
        let is_full = loop {
            if out.len() >= MAX_OUTPUT {
                break true;
            }
            match self.step(&mut bytes[used..], desk, out) {
                Some(more) => used += more,
                None => break false,
            }
        };
        if stored.is_empty() {
            self.input = fresh[used..].to_vec();
            fresh[used..].zeroize();
        } else {
            let left = stored.len() - used;
            stored.copy_within(used.., 0);
            stored[left..].zeroize();
            stored.truncate(left);
            self.input = stored;
        }
        is_full
    }

    /// One step: how many bytes it used, or nothing when it needs more of them.
    fn step(&mut self, bytes: &mut [u8], desk: &mut Desk, out: &mut Vec<u8>) -> Option<usize> {
        match &mut self.state {
            State::Idle if bytes.is_empty() || bytes == b"\r" => None,
            // Old clients send an empty line after a body (RFC 9112, section 2.2).
            State::Idle if bytes.starts_with(b"\r\n") => Some(2),
            State::Idle => {
                self.enter(State::Head, desk.now);
                Some(0)
            }
            State::Head => match self.head(bytes, desk, out) {
                Ok(used) => {
                    bytes[mem::take(&mut self.credentials)].zeroize();
                    used
                }
                Err(refusal) => {
                    let used = self.refuse(refusal, bytes, desk, out);
                    bytes.zeroize();
                    Some(used)
                }
            },
            State::Body { content, .. } => match content.take(bytes, desk.site.limits.body) {
                Ok(Progress { used, body: None }) => (used > 0).then_some(used),
                Ok(Progress { used, body: Some(body) }) => {
                    let state = mem::replace(&mut self.state, State::Idle);
                    if let State::Body { target, delivery, manner, .. } = state {
                        let reaction = desk.site.run(&target, delivery, &body, &self.ticket);
                        self.react(reaction, manner, desk, out);
                    }
                    Some(used)
                }
                Err(refusal) => Some(self.refuse(refusal, bytes, desk, out)),
            },
            State::Skip(left) => {
                let used = bytes.len().min(*left);
                *left -= used;
                if *left == 0 {
                    self.enter(State::Idle, desk.now);
                }
                (used > 0).then_some(used)
            }
            State::Handshake | State::Waiting(_) => None,
            State::Closing => (!bytes.is_empty()).then_some(bytes.len()),
        }
    }

    /// Reads a head, once it is whole.
    fn head(&mut self, bytes: &[u8], desk: &mut Desk, out: &mut Vec<u8>) -> Result<Option<usize>, Refusal> {
        let Some(end) = find_end(bytes, &mut self.scanned, desk.site.limits.head)? else { return Ok(None) };
        self.scanned = 0;
        let (head, rest) = bytes.split_at(end);
        let head = Head::parse(head, &desk.site.limits)?;
        self.credentials = head.credentials(bytes);
        let manner = Manner {
            version: head.version.clone(),
            keeps_alive: head.keeps_alive,
            is_head: head.method == Method::Head,
        };
        let target = match desk.site.open(&head, self.peer, desk.now) {
            Ok(target) => target,
            Err(answer) => return Ok(Some(end + self.reject(&head, manner, &answer, rest.len(), desk, out))),
        };
        // A client that asks for leave to send its body gets it (RFC 9110, section 10.1.1).
        if head.expects_continue && head.framing != Framing::Length(0) {
            out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let (delivery, content) = (desk.site.delivery(&head), Content::new(head.framing));
        self.enter(State::Body { target, delivery, manner, content }, desk.now);
        Ok(Some(end))
    }

    /// Answers a request whose body nobody wants, and says how much of the body is used up.
    fn reject(
        &mut self,
        head: &Head,
        mut manner: Manner,
        answer: &Answer,
        available: usize,
        desk: &mut Desk,
        out: &mut Vec<u8>,
    ) -> usize {
        let Framing::Length(length) = head.framing else {
            manner.keeps_alive = false;
            self.answer(&manner, answer, desk, out);
            return available;
        };
        // Whether a body that waits for leave still comes is up to the client.
        manner.keeps_alive &= !head.expects_continue;
        self.answer(&manner, answer, desk, out);
        let used = available.min(length);
        if used < length && !self.is_closing() {
            self.enter(State::Skip(length - used), desk.now);
        }
        used
    }

    fn react(&mut self, reaction: Reaction, manner: Manner, desk: &mut Desk, out: &mut Vec<u8>) {
        match reaction {
            Reaction::Now(answer) => self.answer(&manner, &answer, desk, out),
            Reaction::Later => self.enter(State::Waiting(manner), desk.now),
        }
    }

    /// Takes the answer that a Lua thread has made.
    pub fn deliver(&mut self, answer: &Answer, desk: &mut Desk, out: &mut Vec<u8>) {
        if let State::Waiting(manner) = mem::replace(&mut self.state, State::Idle) {
            self.answer(&manner, answer, desk, out);
        }
    }

    fn answer(&mut self, manner: &Manner, answer: &Answer, desk: &mut Desk, out: &mut Vec<u8>) {
        let keeps_alive = manner.keeps_alive && !desk.is_closing;
        desk.printer.print(out, answer, &Manner { keeps_alive, ..manner.clone() }, desk.now);
        self.enter(if keeps_alive { State::Idle } else { State::Closing }, desk.now);
    }

    /// Answers what can't be understood, and closes: where the next request begins is unknown.
    fn refuse(&mut self, refusal: Refusal, bytes: &[u8], desk: &mut Desk, out: &mut Vec<u8>) -> usize {
        let is_head = self.is_head(bytes);
        self.close_with(&refusal.into(), is_head, desk, out);
        bytes.len()
    }

    /// Whether what came asks for no body, good or bad as it is (RFC 9110, section 9.3.2).
    fn is_head(&self, bytes: &[u8]) -> bool {
        match &self.state {
            State::Body { manner, .. } => manner.is_head,
            _ => bytes.starts_with(b"HEAD "),
        }
    }

    /// Answers whatever came, and closes.
    pub fn close_with(&mut self, answer: &Answer, is_head: bool, desk: &mut Desk, out: &mut Vec<u8>) {
        self.answer(&Manner { is_head, ..Manner::CLOSE }, answer, desk, out);
    }

    fn enter(&mut self, state: State, now: Instant) {
        self.state = state;
        self.since = now;
    }

    /// What becomes of the connection when its time is up: whether there is something to say first.
    pub fn expire(&mut self, desk: &mut Desk, out: &mut Vec<u8>) -> bool {
        let is_late = matches!(self.state, State::Head | State::Body { .. });
        if is_late {
            let is_head = self.is_head(&self.input);
            self.close_with(&Answer::failure(408, "Request timed out"), is_head, desk, out);
        }
        is_late
    }

    /// When the client must have got further.
    pub fn deadline(&self, site: &Site) -> Option<Instant> {
        let time = match self.state {
            State::Idle => site.limits.idle_timeout,
            State::Handshake | State::Head => site.limits.head_timeout,
            State::Body { .. } | State::Skip(_) => site.limits.body_timeout,
            State::Waiting(_) => return None,
            State::Closing => LINGER,
        };
        Some(self.since + time)
    }

    /// Bytes that it keeps for later.
    pub fn held(&self) -> usize {
        self.input.capacity()
    }

    /// Whether no request has begun.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Handshake | State::Idle)
    }

    /// Whether a Lua thread makes the answer.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    /// Whether the last answer is made.
    pub fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing)
    }
}

/// How far a body has come: the bytes used, and the whole of it once it is there.
pub struct Progress<'a> {
    pub used: usize,
    pub body: Option<Cow<'a, [u8]>>,
}

impl Content {
    pub fn new(framing: Framing) -> Content {
        match framing {
            Framing::Length(length) => Content::Length(length),
            Framing::Chunked => Content::Chunked(Chunks::default()),
        }
    }

    /// Uses what it can of the bytes after those that it has used.
    pub fn take<'a>(&mut self, bytes: &'a [u8], limit: usize) -> Result<Progress<'a>, Refusal> {
        match self {
            Content::Length(length) => {
                let body = bytes.get(..*length);
                Ok(Progress { used: body.map_or(0, <[u8]>::len), body: body.map(Into::into) })
            }
            Content::Chunked(chunks) => {
                let used = chunks.take(bytes, limit)?;
                let body = chunks.is_done().then(|| mem::take(&mut chunks.content).into());
                Ok(Progress { used, body })
            }
        }
    }
}
