//! What the configuration asks for, as plain data with its defaults. Lua fills it while the file
//! runs; after that it is frozen and `daemon` starts what it describes.

mod alert;
mod policy;
mod store;
mod wforce;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::cron::Expression;
use crate::error::{Error, Result};
use crate::net::crypto::Key;
use crate::net::tls::ServerTls;
use crate::outbound::Tls;
use crate::unix::{Account, GroupId, Identity};

pub use alert::{Encryption, MailServer, MailSettings, Receiver, Severity, SinkSettings};
pub use policy::PolicyMode;
pub use store::{ClickHouse, StorePlace, StoreSettings};
pub use wforce::WforceSettings;

/// The port of the console when `controlSocket` names none.
pub const CONSOLE_PORT: u16 = 4004;

/// The commands that are built in, which a custom endpoint can't replace.
pub const BUILT_IN: &[&str] =
    &["report", "stats", "metrics", "livez", "readyz", "alerts", "ackAlert", "closeAlert", "silence"];

/// When a report is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// As soon as it is in the queue.
    #[default]
    Queued,
    /// After the report function has run.
    Done,
}

/// What a client of the HTTP listeners may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Bytes of a request line with its header fields.
    pub head: usize,
    /// Bytes of a body.
    pub body: usize,
    /// How long a head may take, from its first byte.
    pub head_timeout: Duration,
    /// How long a body may take.
    pub body_timeout: Duration,
    /// How long a connection may be kept without a request.
    pub idle_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            head: 64 << 10,
            body: 1 << 20,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// An HTTP listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub address: SocketAddr,
    /// Without it, HTTP is plain.
    pub tls: Option<ServerTls>,
}

/// How webhooks are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookLimits {
    /// What `setNumWebHookThreads` asked for.
    pub threads: usize,
    /// What `setNumWebHookConnsPerThread` asked for.
    pub connections: usize,
    /// Deliveries that may wait.
    pub queue: usize,
    /// How long one may take.
    pub timeout: Duration,
}

impl Default for WebhookLimits {
    fn default() -> Self {
        WebhookLimits { threads: 5, connections: 10, queue: 50_000, timeout: Duration::from_secs(2) }
    }
}

impl WebhookLimits {
    /// Deliveries that may be under way at a time; each has a thread.
    pub fn deliveries(&self) -> usize {
        (self.threads * self.connections).min(1024)
    }
}

/// Everything that is decided before anything is started.
#[derive(Clone, Debug)]
pub struct Config {
    /// In the order of the file.
    pub listeners: Vec<Listener>,
    /// Threads that serve HTTP.
    pub worker_threads: usize,
    /// Threads, each with a Lua state, that run the report function.
    pub report_threads: usize,
    /// The same for custom endpoints.
    pub endpoint_threads: usize,
    /// What `setNumLuaStates` asked for.
    pub lua_states: Option<usize>,
    /// Reports that may wait.
    pub report_queue: usize,
    pub report_ack: Ack,
    /// Connections that may be open at a time.
    pub connections: usize,
    pub http: HttpLimits,
    /// How long queued reports may take to finish at the end.
    pub shutdown_timeout: Duration,
    /// How long one call of Lua may take.
    pub lua_timeout: Duration,
    /// KiB that a Lua state may have.
    pub lua_memory: usize,
    /// Whether `setReport` was called.
    pub has_report: bool,
    /// Threads, each with a Lua state, that run background functions.
    pub scheduler_threads: usize,
    /// The names that `setBackground` was called with.
    pub background: BTreeSet<String>,
    pub scheduled: Vec<Scheduled>,
    /// Where the console listens.
    pub control_socket: Option<SocketAddr>,
    /// What encrypts the console.
    pub key: Option<Key>,
    pub webhooks: WebhookLimits,
    /// What outbound HTTPS trusts and shows.
    pub outbound: Tls,
    /// The report store; without it, nothing is stored.
    pub store: Option<StoreSettings>,
    /// Who hears of alerts.
    pub sinks: Vec<SinkSettings>,
    /// The policies that are used, by name.
    pub policies: BTreeMap<String, PolicyMode>,
    /// Who the daemon is to be instead of root.
    pub user: Option<Account>,
    pub group: Option<GroupId>,
}

/// A background function that is to run.
#[derive(Clone, Debug)]
pub struct Scheduled {
    pub name: String,
    pub when: When,
    /// Where the configuration says so, `file:line`.
    pub place: String,
}

/// When a background function is to run.
#[derive(Clone, Debug)]
pub enum When {
    Cron(Expression),
    /// So long after the end of its last run.
    Every(Duration),
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listeners: Vec::new(),
            worker_threads: 4,
            report_threads: 6,
            endpoint_threads: 2,
            lua_states: None,
            report_queue: 5000,
            report_ack: Ack::default(),
            connections: 10_000,
            http: HttpLimits::default(),
            shutdown_timeout: Duration::from_secs(30),
            lua_timeout: Duration::from_secs(60),
            lua_memory: 1 << 20,
            has_report: false,
            scheduler_threads: 4,
            background: BTreeSet::new(),
            scheduled: Vec::new(),
            control_socket: None,
            key: None,
            webhooks: WebhookLimits::default(),
            outbound: Tls::default(),
            store: None,
            sinks: Vec::new(),
            policies: BTreeMap::new(),
            user: None,
            group: None,
        }
    }
}

impl Config {
    /// Where the console listens, and for which key. One that nothing would encrypt is none.
    pub fn console(&self) -> Option<(SocketAddr, Key)> {
        self.control_socket.zip(self.key.clone())
    }

    /// What only shows when the whole file has run.
    pub fn check(&self) -> Result<()> {
        self.identity()?;
        if let Some((name, _)) = self.policies.first_key_value().filter(|_| self.store.is_none()) {
            return Err(Error::Config(format!(
                "usePolicy(name, options): {name}: no newReportStore() in the configuration"
            )));
        }
        let unknown = self.scheduled.iter().find(|scheduled| !self.background.contains(&scheduled.name));
        let Some(Scheduled { name, when, place }) = unknown else { return Ok(()) };
        let function = match when {
            When::Cron(_) => "cronScheduleBackgroundFunc(cron, name)",
            When::Every(_) => "intervalScheduleBackgroundFunc(duration, name)",
        };
        Err(Error::Config(format!(
            "{place}: {function}: no setBackground(\"{name}\", …) in the configuration"
        )))
    }

    /// Who the daemon is to be, if that is not left to whoever starts it.
    pub fn identity(&self) -> Result<Option<Identity>> {
        match (&self.user, self.group) {
            (Some(user), group) => Identity::new(user, group).map(Some),
            (None, Some(_)) => Err(Error::Config("setGroup(name): no setUser() in the configuration".into())),
            (None, None) => Ok(None),
        }
    }

    /// Threads of the report pool: a larger `setNumLuaStates` than the pools need goes to reports.
    pub fn report_pool(&self) -> usize {
        let others = self.endpoint_threads + self.scheduler_pool();
        self.report_threads.max(self.lua_states.unwrap_or(0).saturating_sub(others))
    }

    /// Threads of the scheduler's pool: none when nothing is scheduled.
    pub fn scheduler_pool(&self) -> usize {
        if self.scheduled.is_empty() { 0 } else { self.scheduler_threads }
    }

    /// What to tell the operator when `setNumLuaStates` asked for fewer states than there are
    /// threads that need one.
    pub fn too_few_states(&self) -> Option<String> {
        let needed = self.report_threads + self.endpoint_threads + self.scheduler_pool();
        let asked = self.lua_states.filter(|asked| *asked < needed)?;
        Some(format!(
            "setNumLuaStates({asked}) is ignored: each of the {needed} Lua threads has a state of its own"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_states_raise_the_report_threads() {
        for (states, threads, noticed) in
            [(None, 6, false), (Some(3), 6, true), (Some(8), 6, false), (Some(20), 18, false)]
        {
            let config = Config { lua_states: states, ..Config::default() };
            assert_eq!(config.report_pool(), threads, "{states:?}");
            assert_eq!(config.too_few_states().is_some(), noticed, "{states:?}");
        }
    }
}
