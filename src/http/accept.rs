//! The accept thread: takes new connections from the listeners, checks them against the ACL and the
//! limit, and deals them out to the web threads in turn.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use prometheus::IntGauge;
use serde_json::json;

use crate::error::{Error, Result};
use crate::http::response::Answer;
use crate::http::web::{Mailbox, Message};
use crate::net::addr::Address;
use crate::shared::Shared;

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

/// What the accept thread works on.
pub struct Accept {
    listeners: Vec<TcpListener>,
    poll: Poll,
    door: Arc<Door>,
    shared: Arc<Shared>,
    mailboxes: Vec<Arc<Mailbox>>,
    /// Connections that may be open.
    most: i64,
    /// The same with those that are told why they are refused.
    most_with_refused: i64,
    /// The web thread whose turn it is.
    turn: usize,
    last_complaint: Option<Instant>,
}

/// Closes the accept thread's listeners.
pub struct Door {
    is_closed: AtomicBool,
    waker: Waker,
}

impl Door {
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        if let Err(e) = self.waker.wake() {
            log::error!("the accept thread can't be woken: {e}");
        }
    }
}

impl Accept {
    pub fn new(
        listeners: Vec<StdListener>,
        shared: Arc<Shared>,
        mailboxes: Vec<Arc<Mailbox>>,
        connections: usize,
    ) -> Result<Accept> {
        let poll = Poll::new().map_err(Error::io("epoll"))?;
        let mut listeners: Vec<TcpListener> = listeners.into_iter().map(TcpListener::from_std).collect();
        for (number, listener) in listeners.iter_mut().enumerate() {
            poll.registry()
                .register(listener, Token(number), Interest::READABLE)
                .map_err(Error::io("epoll"))?;
        }
        let waker = Waker::new(poll.registry(), Token(listeners.len())).map_err(Error::io("epoll"))?;
        let door = Arc::new(Door { is_closed: AtomicBool::new(false), waker });
        let most = i64::try_from(connections).unwrap_or(i64::MAX - MAX_REFUSED);
        let most_with_refused = most + (most / REFUSED_PART).clamp(1, MAX_REFUSED);
        Ok(Accept {
            listeners,
            poll,
            door,
            shared,
            mailboxes,
            most,
            most_with_refused,
            turn: 0,
            last_complaint: None,
        })
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
            is_short = false;
            for number in 0..self.listeners.len() {
                is_short |= self.accept_all(number);
            }
        }
    }

    /// Takes every connection that waits; whether the system had no room for one more.
    fn accept_all(&mut self, number: usize) -> bool {
        loop {
            match self.listeners[number].accept() {
                Ok((stream, peer)) => self.deal(stream, peer),
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
    fn deal(&mut self, stream: TcpStream, peer: SocketAddr) {
        let open = &self.shared.stats.metrics.connections;
        let refusal = self.refusal(peer, open.get());
        if refusal.is_some() && open.get() >= self.most_with_refused {
            return;
        }
        // An answer is one write: it need not wait for the acknowledgement of the last one.
        let _ = stream.set_nodelay(true);
        let guest = Guest::new(open);
        self.turn = (self.turn + 1) % self.mailboxes.len();
        self.mailboxes[self.turn].send(Message::Client { stream, peer, guest, refusal });
    }

    /// Why a client is not let in, if it is not.
    fn refusal(&self, peer: SocketAddr, open: i64) -> Option<Answer> {
        let ip = Address::from(peer.ip()).unmapped().ip();
        if !self.shared.admits(ip) {
            let reason = "Source IP Address not in ACL";
            let body = json!({ "status": "failure", "reason": reason, "ip": ip.to_string() });
            return Some(Answer::json(401, &body));
        }
        (open >= self.most)
            .then(|| Answer::failure(503, "too many connections").with_header("Retry-After", "1"))
    }

    fn complain(&mut self, e: &io::Error) {
        let now = Instant::now();
        if self.last_complaint.is_none_or(|last| now.saturating_duration_since(last) >= COMPLAINT) {
            self.last_complaint = Some(now);
            log::error!("no connection can be accepted for {} ms: {e}", PAUSE.as_millis());
        }
    }
}
