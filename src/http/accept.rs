//! The accept thread: takes new connections from the listeners, checks them against the ACL and the
//! limit, and deals them out to the web threads in turn. By which listeners, limit and threads it
//! goes can change while it runs.

use std::io::{self, ErrorKind};
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use log::Level;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use parking_lot::Mutex;
use prometheus::IntGauge;
use rustls::ServerConfig;
use serde_json::json;

use crate::error::{Error, Result};
use crate::http::auth::CHALLENGE;
use crate::http::listener::Opened;
use crate::http::response::Answer;
use crate::http::web::{Mailbox, Message};
use crate::net::addr::Address;
use crate::shared::{Shared, Subject};

/// Refused clients that may be told why at the same time, at most and as a part of the connections
/// that may be open; more are closed without a word.
const MAX_REFUSED: i64 = 16;
const REFUSED_PART: i64 = 4;

/// How long nothing is accepted when the system has no room for one more.
const PAUSE: Duration = Duration::from_millis(100);

/// How often such a lack is logged.
const COMPLAINT: Duration = Duration::from_secs(1);

/// Counts a connection while it lives.
pub struct Guest(IntGauge);

impl Guest {
    fn new(open: &IntGauge) -> Guest {
        open.inc();
        Guest(open.clone())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A client that has been accepted.
pub struct Arrival {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    /// What to show it in a handshake, if there is to be one.
    pub tls: Option<Arc<ServerConfig>>,
    pub guest: Guest,
    /// What to tell it instead of serving it.
    pub refusal: Option<Answer>,
}

/// What the accept thread goes by.
pub struct Plan {
    pub listeners: Vec<Listening>,
    /// Has the ACL.
    pub shared: Arc<Shared>,
    /// The web threads that take clients.
    pub mailboxes: Vec<Arc<Mailbox>>,
    /// Connections that may be open.
    pub connections: usize,
}

/// A listener of the accept thread.
pub struct Listening {
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    /// Its socket; in a plan, nothing if the accept thread has it already.
    socket: Option<TcpListener>,
    /// Whether it is closed as soon as those who wait for it are accepted.
    is_leaving: bool,
}

/// What the accept thread works on.
pub struct Accept {
    poll: Poll,
    door: Arc<Door>,
    plan: Plan,
    /// The web thread whose turn it is.
    turn: usize,
}

/// How others reach the accept thread.
pub struct Door {
    is_closed: AtomicBool,
    /// What came since the thread looked last.
    plans: Mutex<Vec<Plan>>,
    registry: Registry,
    waker: Waker,
}

/// Nobody asks which listener or waker it was: all are tried.
const ANY: Token = Token(0);

impl Door {
    /// Has the sockets of new listeners watched, and does nothing else yet.
    pub fn watch(&self, listeners: Vec<Opened>) -> Result<Vec<Listening>> {
        let watch = |opened: Opened| {
            let mut socket = opened.socket.map(TcpListener::from_std);
            if let Some(socket) = &mut socket {
                self.registry.register(socket, ANY, Interest::READABLE)?;
            }
            let (address, tls) = (opened.place.actual, opened.tls.map(|tls| tls.config()));
            Ok(Listening { address, tls, socket, is_leaving: false })
        };
        listeners.into_iter().map(watch).collect::<io::Result<_>>().map_err(Error::io("epoll"))
    }

    /// Has the thread go by another plan.
    pub fn change(&self, plan: Plan) {
        self.plans.lock().push(plan);
        self.wake();
    }

    /// Ends the thread, which closes its listeners.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        if let Err(e) = self.waker.wake() {
            log::error!("the accept thread can't be woken: {e}");
        }
    }
}

impl Accept {
    /// One without listeners.
    pub fn new(shared: Arc<Shared>) -> io::Result<Accept> {
        let poll = Poll::new()?;
        let door = Door {
            is_closed: AtomicBool::new(false),
            plans: Mutex::default(),
            registry: poll.registry().try_clone()?,
            waker: Waker::new(poll.registry(), ANY)?,
        };
        let plan = Plan { listeners: Vec::new(), shared, mailboxes: Vec::new(), connections: 0 };
        Ok(Accept { poll, door: Arc::new(door), plan, turn: 0 })
    }

    pub fn door(&self) -> Arc<Door> {
        self.door.clone()
    }

    /// Accepts until the door is closed.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(64);
        let mut is_short = false;
        while !self.door.is_closed.load(Ordering::Acquire) {
            if let Err(e) = self.poll.poll(&mut events, is_short.then_some(PAUSE))
                && e.kind() != ErrorKind::Interrupted
            {
                return log::error!("the accept thread can't wait for clients: {e}");
            }
            if is_short {
                // The poller would return at once for a client that hangs up meanwhile.
                thread::sleep(PAUSE);
            }
            let plans = mem::take(&mut *self.door.plans.lock());
            plans.into_iter().for_each(|plan| self.change(plan));
            is_short = self.accept_all();
        }
    }

    /// Goes by another plan. Listeners that are in it keep their sockets.
    fn change(&mut self, plan: Plan) {
        let mut before = mem::replace(&mut self.plan, plan);
        for listening in &mut self.plan.listeners {
            if listening.socket.is_none() {
                let held = before.listeners.iter().position(|held| held.address == listening.address);
                listening.socket = held.and_then(|at| before.listeners.swap_remove(at).socket);
            }
        }
        for mut left in before.listeners {
            left.is_leaving = true;
            self.plan.listeners.push(left);
        }
        // They hear it from here, because after that nothing more comes for them.
        for mailbox in before.mailboxes {
            if !self.plan.mailboxes.iter().any(|kept| Arc::ptr_eq(kept, &mailbox)) {
                mailbox.send(Message::Leave);
            }
        }
    }

    /// Takes every connection that waits, and closes listeners that are not wanted any more; whether
    /// the system had no room for one more connection.
    fn accept_all(&mut self) -> bool {
        let mut listeners = mem::take(&mut self.plan.listeners);
        let mut is_short = false;
        listeners.retain(|listening| {
            let is_empty = !self.accept_from(listening);
            is_short |= !is_empty;
            !(listening.is_leaving && is_empty)
        });
        self.plan.listeners = listeners;
        is_short
    }

    /// Takes every connection that waits; whether the system had no room for one more.
    fn accept_from(&mut self, listening: &Listening) -> bool {
        let Some(socket) = &listening.socket else { return false };
        loop {
            match socket.accept() {
                Ok((stream, peer)) => self.deal(stream, peer, listening.tls.clone()),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return false,
                // Interrupted, or a client that went before its turn.
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(e) => {
                    self.complain(&e);
                    return true;
                }
            }
        }
    }

    /// Gives a connection to the web thread whose turn it is.
    fn deal(&mut self, stream: TcpStream, peer: SocketAddr, tls: Option<Arc<ServerConfig>>) {
        let open = &self.plan.shared.stats.metrics.connections;
        let refusal = self.refusal(peer, open.get());
        if refusal.is_some() {
            // Whoever is not let in is not worth a handshake, without which there is no telling why.
            if tls.is_some() {
                return log::debug!("no TLS with {peer}: not in the ACL, or too many connections");
            }
            if open.get() >= self.most() + self.most_refused() {
                return;
            }
        }
        // An answer is one write: it need not wait for the acknowledgement of the last one.
        let _ = stream.set_nodelay(true);
        let guest = Guest::new(open);
        self.turn = (self.turn + 1) % self.plan.mailboxes.len();
        let arrival = Arrival { stream, peer, tls, guest, refusal };
        self.plan.mailboxes[self.turn].send(Message::Client(arrival));
    }

    fn most(&self) -> i64 {
        i64::try_from(self.plan.connections).unwrap_or(i64::MAX - MAX_REFUSED)
    }

    fn most_refused(&self) -> i64 {
        (self.most() / REFUSED_PART).clamp(1, MAX_REFUSED)
    }

    /// Why a client is not let in, if it is not.
    fn refusal(&self, peer: SocketAddr, open: i64) -> Option<Answer> {
        let ip = Address::from(peer.ip()).unmapped().ip();
        if !self.plan.shared.admits(ip) {
            let reason = "Source IP Address not in ACL";
            let body = json!({ "status": "failure", "reason": reason, "ip": ip.to_string() });
            // The password would not help, but RFC 9110, section 15.5.2, asks for this, and some clients
            // take an answer without it for broken.
            return Some(Answer::json(401, &body).with_header("WWW-Authenticate", CHALLENGE));
        }
        (open >= self.most())
            .then(|| Answer::failure(503, "too many connections").with_header("Retry-After", "1"))
    }

    fn complain(&self, e: &io::Error) {
        let line = format!("no connection can be accepted for {} ms: {e}", PAUSE.as_millis());
        let complaints = &self.plan.shared.complaints;
        complaints.log(Subject::Accept, Level::Error, COMPLAINT, line, Instant::now());
    }
}
