//! HTTP for fuzz targets: one client of a web thread, without the thread and without sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::{Poll, Token, Waker};
use tiny_http::Method;

use super::{Mailbox, Ticket, WAKE};
use crate::config::{Config, HttpLimits};
use crate::error::{Error, Result};
use crate::http::connection::{Connection, Content, Desk};
use crate::http::request::{Framing, Head, Refusal, find_end};
use crate::http::response::{Answer, Printer};
use crate::http::site::Site;
use crate::lua::Script;
use crate::shared::Shared;
use crate::worker::{Crew, Pool, Pools, Urgency};

/// Its custom endpoint is `echo`, its password "super".
pub struct Server {
    site: Site,
    printer: Printer,
    mailbox: Arc<Mailbox>,
    /// The poller of the mailbox, which nobody asks.
    _poll: Poll,
    now: Instant,
}

/// What a connection came to.
pub struct Talk {
    /// All answers.
    pub output: Vec<u8>,
    pub is_closing: bool,
    /// Bytes that the connection held at most, beside those that it was just given.
    pub held: usize,
}

/// A request whose head can be read.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub is_head: bool,
    pub is_chunked: bool,
    /// Whether the client waits for leave to send the body, and whether it may get it.
    pub expects_continue: bool,
    pub gets_continue: bool,
    pub keeps_alive: bool,
    /// What it is answered before its body is looked at, if that is an error.
    pub rejected: Option<u16>,
    /// The body, if all of it has come.
    pub body: Option<Vec<u8>>,
    /// Where the next request begins.
    pub end: usize,
}

/// Why the next request can't be read.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    pub status: u16,
    /// Whether it asked for no body.
    pub is_head: bool,
}

/// The longest head and body.
pub const HEAD: usize = 2048;
pub const BODY: usize = 4096;

const CONFIG: &str = "setCustomEndpoint('echo', function(args) return true, args.attrs end)";
const LIMIT: Duration = Duration::from_secs(60);
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

impl Server {
    pub fn new() -> Result<Server> {
        let shared = Arc::<Shared>::default();
        shared.set_password("super".into())?;
        shared.add_endpoint("echo");
        let script = Arc::new(Script::of(CONFIG));
        let crew = || Crew {
            name: "probe",
            shared: shared.clone(),
            script: script.clone(),
            timeout: LIMIT,
            memory: Config::default().lua_memory,
        };
        let pool = |urgency| Pool::start(crew(), 1, 10_000, urgency);
        let pools = Pools {
            report: pool(Urgency::Unwaited)?,
            endpoint: pool(Urgency::Waited)?,
            scheduler: None,
            earlier: Vec::new(),
        };
        let http = HttpLimits { head: HEAD, body: BODY, ..HttpLimits::default() };
        let config = Config { http, ..Config::default() };
        let poll = Poll::new().map_err(Error::io("epoll"))?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(Error::io("epoll"))?;
        Ok(Server {
            site: Site::new(&config, shared, Arc::new(pools), None),
            printer: Printer::default(),
            mailbox: Arc::new(Mailbox { messages: Default::default(), waker }),
            _poll: poll,
            now: Instant::now(),
        })
    }

    /// Gives a new connection the bytes that a client sends, in these pieces. What Lua is to answer is
    /// answered at once, with nothing.
    pub fn talk<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Talk {
        let ticket = Ticket { mailbox: self.mailbox.clone(), token: Token(1) };
        let mut connection = Connection::new(PEER, ticket, self.now);
        let mut talk = Talk { output: Vec::new(), is_closing: false, held: 0 };
        let mut desk =
            Desk { site: &self.site, printer: &mut self.printer, now: self.now, is_closing: false };
        let mut out = Vec::new();
        for piece in pieces {
            let mut is_full = connection.take(&mut piece.to_vec(), &mut desk, &mut out);
            loop {
                talk.output.append(&mut out);
                if connection.is_waiting() {
                    connection.deliver(&Answer::EMPTY, &mut desk, &mut out);
                } else if !is_full {
                    break;
                }
                is_full = connection.take(&mut [], &mut desk, &mut out);
            }
            talk.held = talk.held.max(connection.held());
        }
        talk.is_closing = connection.is_closing();
        self.rest();
        talk
    }

    /// Waits for what Lua still does, so that the next connection meets what this one met.
    fn rest(&self) {
        while self.site.pools.unfinished() > 0 {
            thread::yield_now();
        }
        self.mailbox.messages.lock().clear();
    }

    /// The requests that bytes begin with, up to the first that is not whole, and what refuses the next
    /// one if that can't be read.
    pub fn requests(&self, bytes: &[u8]) -> (Vec<Request>, Option<Refused>) {
        let (mut requests, mut at): (Vec<Request>, usize) = (Vec::new(), 0);
        while requests.last().is_none_or(|last| last.body.is_some()) {
            match self.request(bytes, at, &mut requests) {
                Ok(Some(end)) => at = end,
                Ok(None) => break,
                Err(refusal) => {
                    let last = requests.last().filter(|last| last.body.is_none());
                    let begins = || bytes[at + empty_lines(&bytes[at..])..].starts_with(b"HEAD ");
                    let is_head = last.map_or_else(begins, |last| last.is_head);
                    return (requests, Some(Refused { status: refusal.status, is_head }));
                }
            }
        }
        (requests, None)
    }

    /// Reads one request and says where the next begins.
    fn request(
        &self,
        bytes: &[u8],
        at: usize,
        requests: &mut Vec<Request>,
    ) -> std::result::Result<Option<usize>, Refusal> {
        let limits = &self.site.limits;
        let at = at + empty_lines(&bytes[at..]);
        if &bytes[at..] == b"\r" {
            return Ok(None);
        }
        let Some(length) = find_end(&bytes[at..], &mut 0, limits.head)? else { return Ok(None) };
        let body_at = at + length;
        let head = Head::parse(&bytes[at..body_at], limits)?;
        let rejected = self.site.open(&head, PEER, self.now).err().map(|answer| answer.status);
        requests.push(Request {
            method: head.method.to_string(),
            path: head.path.to_owned(),
            query: head.query.to_owned(),
            is_head: head.method == Method::Head,
            is_chunked: head.framing == Framing::Chunked,
            expects_continue: head.expects_continue,
            gets_continue: head.expects_continue && head.framing != Framing::Length(0) && rejected.is_none(),
            keeps_alive: head.keeps_alive,
            rejected,
            body: None,
            end: body_at,
        });
        let mut content = Content::new(head.framing);
        let progress = content.take(&bytes[body_at..], limits.body)?;
        if let (Some(request), Some(body)) = (requests.last_mut(), progress.body) {
            request.body = Some(body.into_owned());
            request.end += progress.used;
        }
        Ok(requests.last().map(|request| request.end))
    }
}

/// Bytes of the empty lines before a request.
fn empty_lines(bytes: &[u8]) -> usize {
    2 * bytes.chunks(2).take_while(|line| line == b"\r\n").count()
}
