//! A web thread: its poller, its clients and its mailbox. It never waits for anything but its
//! poller; what others have for it, they leave in the mailbox.

pub mod probe;

use std::collections::HashMap;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;

use crate::http::accept::Arrival;
use crate::http::client::{Buffers, Client, Fate};
use crate::http::connection::{Connection, Desk};
use crate::http::response::{Answer, Printer};
use crate::http::site::Site;
use crate::http::wire::Wire;

/// What others have for a web thread.
pub enum Message {
    /// A new client.
    Client(Arrival),
    /// What a Lua thread answers to the client with this token.
    Answer(Token, Answer),
    /// Serve this from the next request on.
    Serve(Arc<Site>),
    /// End with the last client: no more come.
    Leave,
    /// End, with a little time for what is under way.
    Stop,
}

/// Where messages for a web thread are left. There are hardly more of them than clients.
pub struct Mailbox {
    messages: Mutex<Vec<Message>>,
    waker: Waker,
}

impl Mailbox {
    pub fn send(&self, message: Message) {
        let mut messages = self.messages.lock();
        messages.push(message);
        let is_first = messages.len() == 1;
        drop(messages);
        // One wake-up is enough for all that come before it is heard.
        if is_first && let Err(e) = self.waker.wake() {
            log::error!("a web thread can't be woken: {e}");
        }
    }
}

/// Where the answer for a client goes, from whatever thread makes it.
#[derive(Clone)]
pub struct Ticket {
    mailbox: Arc<Mailbox>,
    token: Token,
}

impl Ticket {
    pub fn answer(&self, answer: Answer) {
        self.mailbox.send(Message::Answer(self.token, answer));
    }
}

/// The token of the waker; clients count from the next.
const WAKE: Token = Token(0);

/// How often the deadlines are looked at.
const SWEEP: Duration = Duration::from_millis(500);

/// After how long a thread that always finds more to do lets others have its processor: left to itself
/// it keeps it for milliseconds, which their clients feel where threads are more than processors.
const TURN: Duration = Duration::from_micros(300);

/// A wait of this length was sleep.
const REST: Duration = Duration::from_micros(50);

/// How long a request that has begun may take once the daemon stops.
const GRACE: Duration = Duration::from_secs(1);

/// A web thread's own.
pub struct Web {
    site: Arc<Site>,
    poll: Poll,
    mailbox: Arc<Mailbox>,
    clients: HashMap<Token, Client>,
    last_token: usize,
    printer: Printer,
    buffers: Buffers,
    /// Clients that have more to do before the poller is asked again.
    again: Vec<Token>,
    is_leaving: bool,
    stopping_since: Option<Instant>,
}

impl Web {
    pub fn new(site: Arc<Site>) -> io::Result<Web> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        Ok(Web {
            site,
            poll,
            mailbox: Arc::new(Mailbox { messages: Mutex::default(), waker }),
            clients: HashMap::new(),
            last_token: WAKE.0,
            printer: Printer::default(),
            buffers: Buffers::default(),
            again: Vec::new(),
            is_leaving: false,
            stopping_since: None,
        })
    }

    pub fn mailbox(&self) -> Arc<Mailbox> {
        self.mailbox.clone()
    }

    /// Serves until it is told to stop and nothing is under way any more.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut turn = Vec::new();
        let mut awake_since = Instant::now();
        let mut next_sweep = Instant::now() + SWEEP;
        while !self.is_done() {
            let now = Instant::now();
            let timeout = if self.again.is_empty() {
                next_sweep.saturating_duration_since(now)
            } else {
                Duration::ZERO
            };
            if let Err(e) = self.poll.poll(&mut events, Some(timeout))
                && e.kind() != io::ErrorKind::Interrupted
            {
                return log::error!("a web thread can't wait for its clients: {e}");
            }
            let asked = now;
            let now = Instant::now();
            if now >= asked + REST {
                awake_since = now;
            }
            for event in &events {
                match event.token() {
                    WAKE => self.read_mail(now),
                    token => self.with(token, now, |client, desk, buffers| {
                        client.notice(event);
                        client.work(desk, buffers)
                    }),
                }
            }
            mem::swap(&mut self.again, &mut turn);
            for token in turn.drain(..) {
                self.with(token, now, |client, desk, buffers| {
                    client.is_noted = false;
                    client.work(desk, buffers)
                });
            }
            if now >= awake_since + TURN {
                thread::yield_now();
                awake_since = now;
            }
            if now >= next_sweep {
                next_sweep = now + SWEEP;
                self.sweep(now);
            }
        }
    }

    fn is_done(&self) -> bool {
        (self.is_leaving || self.stopping_since.is_some()) && self.clients.is_empty()
    }

    fn read_mail(&mut self, now: Instant) {
        let messages = mem::take(&mut *self.mailbox.messages.lock());
        for message in messages {
            match message {
                Message::Client(arrival) => self.add(arrival, now),
                // A client that has gone meanwhile has no entry.
                Message::Answer(token, answer) => {
                    self.with(token, now, |client, desk, buffers| client.deliver(&answer, desk, buffers))
                }
                Message::Serve(site) => self.site = site,
                Message::Leave => self.is_leaving = true,
                Message::Stop => self.stop(now),
            }
        }
    }

    fn add(&mut self, arrival: Arrival, now: Instant) {
        let Arrival { stream, peer, tls, guest, refusal } = arrival;
        self.last_token += 1;
        let token = Token(self.last_token);
        let ticket = Ticket { mailbox: self.mailbox.clone(), token };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let watched = Wire::new(stream, peer, tls).and_then(|mut wire| {
            self.poll.registry().register(wire.stream(), token, interest)?;
            Ok(Client::new(wire, Connection::new(peer, ticket, now), guest, now))
        });
        match watched {
            Ok(client) => self.clients.insert(token, client),
            Err(e) => return log::error!("a connection from {peer} can't be watched: {e}"),
        };
        match refusal {
            Some(answer) => {
                self.with(token, now, |client, desk, buffers| client.refuse(&answer, desk, buffers))
            }
            None => self.with(token, now, Client::work),
        }
    }

    /// Lets a client work, if it is still there.
    fn with(
        &mut self,
        token: Token,
        now: Instant,
        work: impl FnOnce(&mut Client, &mut Desk, &mut Buffers) -> Fate,
    ) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        let mut desk = Desk {
            site: &self.site,
            printer: &mut self.printer,
            now,
            is_closing: self.stopping_since.is_some(),
        };
        // A fault of ours costs the client that met it, not every client of this thread.
        let work = AssertUnwindSafe(|| work(client, &mut desk, &mut self.buffers));
        match catch_unwind(work).unwrap_or(Fate::Gone) {
            Fate::Waits => {}
            Fate::Again if mem::replace(&mut client.is_noted, true) => {}
            Fate::Again => self.again.push(token),
            Fate::Gone => {
                // Closing the socket takes it from the poller as well.
                self.clients.remove(&token);
            }
        }
        self.buffers.output.clear();
    }

    /// Ends clients whose time is up.
    fn sweep(&mut self, now: Instant) {
        let grace = self.stopping_since.map(|since| since + GRACE);
        let is_late = |client: &Client| {
            let deadline = client.deadline(&self.site);
            let cut = grace.filter(|_| !client.is_waiting());
            [deadline, cut].into_iter().flatten().min().is_some_and(|deadline| now >= deadline)
        };
        let late: Vec<Token> =
            self.clients.iter().filter(|(_, client)| is_late(client)).map(|(token, _)| *token).collect();
        for token in late {
            self.with(token, now, Client::expire);
        }
    }

    /// Reads what has come already, then lets go of every client that waits for nothing.
    fn stop(&mut self, now: Instant) {
        self.stopping_since = Some(now);
        let tokens: Vec<Token> = self.clients.keys().copied().collect();
        for token in tokens {
            self.with(token, now, |client, desk, buffers| match client.work(desk, buffers) {
                Fate::Waits if client.is_idle() => Fate::Gone,
                fate => fate,
            });
        }
    }
}
