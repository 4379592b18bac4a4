//! The HTTP front: listeners, an accept thread, and web threads that own their clients. What a
//! request means is in `handlers`; nothing here waits for Lua. All of it can be changed while clients
//! are served, and none of them notices.

mod accept;
mod alerts;
mod auth;
mod client;
mod connection;
mod handlers;
mod intake;
mod listener;
#[cfg(test)]
mod openapi;
mod query;
mod request;
mod response;
mod routes;
mod site;
mod target;
mod web;
mod wire;

use std::num::NonZero;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::config::{Config, Listener};
use crate::error::{Error, Result};
use crate::http::accept::{Accept, Door, Plan};
use crate::http::listener::Place;
use crate::http::web::{Mailbox, Message, Web};
use crate::unix::spawn;

pub use intake::Intake;
pub use listener::Opened;
pub use site::Site;
pub use web::probe;

/// The running front.
pub struct Front {
    door: Arc<Door>,
    accept: JoinHandle<()>,
    listeners: Vec<Place>,
    web: Vec<Worker>,
    /// Web threads that end with their last client.
    leaving: Vec<Worker>,
}

/// A web thread.
struct Worker {
    mailbox: Arc<Mailbox>,
    thread: JoinHandle<()>,
}

/// Opens listeners, but for those that a running front has open already. None is served yet.
pub fn open(wanted: &[Listener], front: Option<&Front>) -> Result<Vec<Opened>> {
    listener::open(wanted, front.map_or(&[], |front| &front.listeners))
}

impl Front {
    /// Serves `site` on listeners. No more than `connections` are open at a time.
    pub fn start(
        listeners: Vec<Opened>,
        site: Arc<Site>,
        config: &Config,
        connections: usize,
    ) -> Result<Front> {
        let accept = Accept::new(site.shared.clone()).map_err(Error::io("epoll"))?;
        let mut front = Front {
            door: accept.door(),
            accept: spawn("accept", || accept.run())?,
            listeners: Vec::new(),
            web: Vec::new(),
            leaving: Vec::new(),
        };
        match front.change(listeners, site, config, connections) {
            Ok(()) => Ok(front),
            Err(e) => {
                front.stop();
                Err(e)
            }
        }
    }

    /// Goes on with another site, other listeners and limits. Every client stays; a request whose
    /// head has come may be served by either site. Nothing has changed if this fails.
    pub fn change(
        &mut self,
        listeners: Vec<Opened>,
        site: Arc<Site>,
        config: &Config,
        connections: usize,
    ) -> Result<()> {
        let places = listeners.iter().map(|opened| opened.place).collect();
        let expiries: Vec<_> = listeners.iter().filter_map(Opened::expiry).collect();
        let listeners = self.door.watch(listeners)?;
        // They never wait, so that more of them than processors would only be in each other's way.
        let threads = config.worker_threads.min(thread::available_parallelism().map_or(1, NonZero::get));
        self.grow(&site, threads)?;
        self.listeners = places;
        site.shared.stats.metrics.show_expiries(&expiries);
        self.leaving.extend(self.web.drain(threads..));
        // They know the site before the first client comes that is let in by it.
        self.tell_all(|| Message::Serve(site.clone()));
        let mailboxes = self.web.iter().map(|worker| worker.mailbox.clone()).collect();
        self.door.change(Plan { listeners, shared: site.shared.clone(), mailboxes, connections });
        Ok(())
    }

    /// Starts web threads until there are as many as asked for, or no more than before.
    fn grow(&mut self, site: &Arc<Site>, number: usize) -> Result<()> {
        let before = self.web.len();
        for number in before + 1..=number {
            let start = || {
                let thread = Web::new(site.clone()).map_err(Error::io("epoll"))?;
                Ok(Worker {
                    mailbox: thread.mailbox(),
                    thread: spawn(&format!("web-{number}"), || thread.run())?,
                })
            };
            match start() {
                Ok(worker) => self.web.push(worker),
                Err(e) => {
                    self.web.drain(before..).for_each(|worker| worker.mailbox.send(Message::Stop));
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// Lets go of what is left of web threads that have ended.
    pub fn tidy(&mut self) {
        self.leaving.retain(|worker| !worker.thread.is_finished());
    }

    /// Closes the listeners and lets the web threads finish what is under way.
    pub fn stop(&self) {
        self.door.close();
        self.tell_all(|| Message::Stop);
    }

    /// Whether every thread has ended: no more jobs come from here.
    pub fn has_ended(&self) -> bool {
        self.accept.is_finished() && self.workers().all(|worker| worker.thread.is_finished())
    }

    fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.web.iter().chain(&self.leaving)
    }

    fn tell_all(&self, message: impl Fn() -> Message) {
        self.workers().for_each(|worker| worker.mailbox.send(message()));
    }
}

#[cfg(test)]
mod tests;
