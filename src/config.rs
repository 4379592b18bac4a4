//! What the configuration asks for, as plain data with its defaults. Lua fills it while the file
//! runs; after that it is frozen and `daemon` starts what it describes.

use std::net::SocketAddr;
use std::time::Duration;

use crate::net::tls::ServerTls;

/// The commands that are built in, which a custom endpoint can't replace.
pub const BUILT_IN: &[&str] = &["report", "stats", "metrics", "livez", "readyz"];

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

/// Everything that is decided before anything is started.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Whether `setReport` was called.
    pub has_report: bool,
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
            has_report: false,
        }
    }
}

impl Config {
    /// Threads of the report pool: a larger `setNumLuaStates` than the pools need goes to reports.
    pub fn report_pool(&self) -> usize {
        let spare = self.lua_states.unwrap_or(0).saturating_sub(self.endpoint_threads);
        self.report_threads.max(spare)
    }

    /// What to tell the operator when `setNumLuaStates` asked for fewer states than there are
    /// threads that need one.
    pub fn too_few_states(&self) -> Option<String> {
        let needed = self.report_threads + self.endpoint_threads;
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
