//! The HTTP front: listeners, an accept thread, and web threads that own their clients. What a
//! request means is in `handlers`; nothing here waits for Lua.

mod accept;
mod auth;
mod client;
mod connection;
mod handlers;
mod request;
mod response;
mod routes;
mod site;
mod web;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::http::accept::{Accept, Door};
use crate::http::web::{Mailbox, Message, Web};
use crate::shared::Shared;

pub use site::Site;

/// Connections that the system may keep until they are accepted; it has a limit of its own.
const BACKLOG: i32 = 4096;

/// The running front.
pub struct Front {
    door: Arc<Door>,
    accept: JoinHandle<()>,
    web: Vec<(Arc<Mailbox>, JoinHandle<()>)>,
}

/// Opens a listener. One on an IPv6 address does not take IPv4 clients.
pub fn listen(address: SocketAddr) -> Result<TcpListener> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // A restart need not wait until the last connections of the old process are forgotten.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(TcpListener::from(socket))
    };
    open().map_err(Error::io(format!("listener {address}")))
}

impl Front {
    /// Serves `site` on listeners. No more than `connections` are open at a time.
    pub fn start(
        listeners: Vec<TcpListener>,
        site: Arc<Site>,
        config: &Config,
        connections: usize,
    ) -> Result<Front> {
        let shared: Arc<Shared> = site.shared.clone();
        let mut web = Vec::new();
        for number in 1..=config.worker_threads {
            let thread = Web::new(site.clone()).map_err(Error::io("epoll"))?;
            web.push((thread.mailbox(), spawn(&format!("web-{number}"), || thread.run())?));
        }
        let mailboxes = web.iter().map(|(mailbox, _)| mailbox.clone()).collect();
        let accept = Accept::new(listeners, shared, mailboxes, connections)?;
        let door = accept.door();
        Ok(Front { door, accept: spawn("accept", || accept.run())?, web })
    }

    /// Closes the listeners and lets the web threads finish what is under way.
    pub fn stop(&self) {
        self.door.close();
        self.web.iter().for_each(|(mailbox, _)| mailbox.send(Message::Stop));
    }

    /// Whether every thread has ended: no more jobs come from here.
    pub fn has_ended(&self) -> bool {
        self.accept.is_finished() && self.web.iter().all(|(_, thread)| thread.is_finished())
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(run).map_err(Error::io("thread"))
}
