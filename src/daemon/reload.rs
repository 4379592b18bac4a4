//! Reading the configuration again: all of it is tried first, then all of it is put to use. What
//! the old one has accepted, its own pools finish.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::console::{Listener, Server};
use crate::daemon::Daemon;
use crate::daemon::event::{LOOK, vouch_for};
use crate::daemon::generation::{Draft, Generation, load_devices};
use crate::daemon::start::enter;
use crate::error::{Error, Result};
use crate::http;
use crate::logger::{self, notice};
use crate::unix;

/// How long the configuration may run, so that one that never ends does not keep the daemon from
/// hearing anything else.
const LIMIT: Duration = Duration::from_secs(60);

impl Daemon {
    /// Reads the configuration again. If it can't be used, everything stays as it was.
    pub fn reload(&mut self) {
        self.reloads.store(false, Ordering::Relaxed);
        unix::notify_reloading();
        notice!("reloading {}", self.home.display());
        let was_verbose = logger::is_verbose();
        logger::set_verbose(self.options.verbose);
        match self.try_reload() {
            Ok(()) => notice!("reloaded"),
            Err(e) => {
                logger::set_verbose(was_verbose);
                log::error!("not reloaded, everything stays as it was: {e}");
            }
        }
        self.current.shared.forget_others();
        unix::notify_ready();
    }

    fn try_reload(&mut self) -> Result<()> {
        let script = enter(&self.home)?.within(LIMIT);
        let shared = self.current.shared.next(load_devices(&self.options)?);
        let earlier = self.all_pools().map(Arc::downgrade).collect();
        let current = &self.current;
        let mut next = interruptible(|| {
            let draft = Draft::make(script, shared)?;
            check_user(&current.config, &draft.config)?;
            draft.keep_store(current)?;
            draft.staff(earlier)
        })?;
        let console = self.open_console(&next)?;
        let listeners = http::open(&next.config.listeners, Some(&self.front))?;
        next.announce(&listeners);
        self.front.change(listeners, next.site()?, &next.config, next.connections())?;
        // Nothing fails from here on.
        next.deliver();
        self.timer.change(&next.config.scheduled, next.pools.clone());
        self.change_console(&next, console);
        let old = mem::replace(&mut self.current, next);
        self.retired.push(old.pools);
        Ok(())
    }

    /// Opens the console's listener, if it is to be on another address.
    fn open_console(&self, next: &Generation) -> Result<Option<Server>> {
        match (self.current.config.console(), next.config.console()) {
            (old, Some((address, key))) if old.as_ref().is_none_or(|(old, _)| *old != address) => {
                Server::start(Listener::open(address)?, key, self.execute.clone()).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn change_console(&mut self, next: &Generation, opened: Option<Server>) {
        match (&self.console, next.config.console()) {
            (Some(console), Some((_, key))) if opened.is_none() => console.change_key(&key),
            _ => {
                let old = mem::replace(&mut self.console, opened);
                old.into_iter().for_each(|console| console.stop(Instant::now()));
            }
        }
    }
}

/// Whoever the daemon has become, it can't become another.
fn check_user(current: &Config, next: &Config) -> Result<()> {
    if current.identity()? == next.identity()? {
        return Ok(());
    }
    Err(Error::Config("setUser() and setGroup() say other than at the start, so this needs a restart".into()))
}

/// Lets `make` run Lua in this thread, which is interrupted when its time is up.
fn interruptible<T>(make: impl FnOnce() -> Result<T>) -> Result<T> {
    let thread = unix::current_thread();
    let (done, wait) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while wait.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                vouch_for(thread);
            }
        });
        let made = make();
        drop(done);
        made
    })
}
