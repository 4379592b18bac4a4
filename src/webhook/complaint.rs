//! Failures for the log, which a dead receiver must not fill.

use std::io;
use std::time::{Duration, Instant};

use log::Level;

use crate::logger::{self, Limit};
use crate::webhook::hook::Hook;

/// How often there is a line about the same.
const INTERVAL: Duration = Duration::from_secs(1);

/// What has failed lately.
#[derive(Default)]
pub struct Complaints(Limit<Kind>);

/// What there is at most a line a second about.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Kind {
    Failed(u64),
    Dropped,
    Unknown,
    NoThread,
}

impl Complaints {
    /// An attempt has failed.
    pub fn failed(&self, hook: &Hook, cause: &str, now: Instant) {
        let url = hook.url.public();
        let fields = [("id", &*hook.id.to_string()), ("name", &hook.name), ("url", &url), ("cause", cause)];
        self.complain(Kind::Failed(hook.id), logger::line("webhook failed", &fields), now);
    }

    /// The queue was full.
    pub fn dropped(&self, hook: &Hook, now: Instant) {
        let fields = [("id", &*hook.id.to_string()), ("name", &hook.name)];
        self.complain(Kind::Dropped, logger::line("webhook dropped, the queue is full", &fields), now);
    }

    /// There is no hook of this name.
    pub fn unknown(&self, name: &str, now: Instant) {
        let line = logger::line("runCustomWebHook(name, data): no such webhook", &[("name", name)]);
        self.complain(Kind::Unknown, line, now);
    }

    /// The system gave no thread.
    pub fn no_thread(&self, e: &io::Error, now: Instant) {
        self.complain(Kind::NoThread, format!("no thread for webhooks: {e}"), now);
    }

    fn complain(&self, kind: Kind, line: String, now: Instant) {
        self.0.log(kind, Level::Error, INTERVAL, line, now);
    }

    /// Logs what has been kept back for long enough. Called about once a second.
    pub fn flush(&self, now: Instant) {
        self.0.flush(now);
    }
}
