//! What tiny_http sees in what a client sends. It needs a socket and threads of its own.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::thread;

use tiny_http::{Response, Server};

use crate::opinions::Seen;

/// A running server, which notes what it sees.
pub struct Tiny {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// The path and the query of a target, whose authority tiny_http leaves in it.
fn split(target: &str) -> (&str, &str) {
    let is_absolute = ["http://", "https://"]
        .iter()
        .any(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let authority = target.find("//").filter(|_| is_absolute).map_or(0, |at| at + 2);
    let local = target[authority..].find(['/', '?']).map_or("", |at| &target[authority + at..]);
    let local = if is_absolute { local } else { target };
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    (if is_absolute && path.is_empty() { "/" } else { path }, query)
}

impl Tiny {
    pub fn start() -> Tiny {
        // In the abstract namespace nothing is left behind.
        let name = format!("trackalert-fuzz-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).expect("the name is short");
        let listener = UnixListener::bind_addr(&address).expect("nobody else has the name");
        let server = Server::from_listener(listener, None).expect("it has a listener");
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let notes = seen.clone();
        thread::spawn(move || {
            for mut request in server.incoming_requests() {
                let mut body = Vec::new();
                if request.as_reader().read_to_end(&mut body).is_ok() {
                    let (path, query) = split(request.url());
                    notes.lock().expect("no panic").push(Seen {
                        method: request.method().to_string(),
                        path: path.to_owned(),
                        query: query.to_owned(),
                        body,
                    });
                }
                let _ = request.respond(Response::empty(200));
            }
        });
        Tiny { address, seen }
    }

    /// The requests that tiny_http sees.
    pub fn read(&self, sent: &[u8]) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clear();
        let mut stream = UnixStream::connect_addr(&self.address).expect("it listens");
        // It may close the connection before the end.
        let _ = stream.write_all(sent);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
        std::mem::take(&mut *self.seen.lock().expect("no panic"))
    }
}
