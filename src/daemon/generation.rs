//! What a configuration makes of itself before any of it is in use: settings, Lua states, pools.

use std::path::Path;
use std::sync::{Arc, Weak};

use crate::alert::Sink;
use crate::cli::Options;
use crate::config::{Ack, Config};
use crate::daemon::store;
use crate::device::{Devices, Patterns};
use crate::error::{Error, Result};
use crate::http::{Opened, Site};
use crate::logger::notice;
use crate::lua::{Failure, Role, Script, State};
use crate::shared::Shared;
use crate::unix;
use crate::webhook::Dispatch;
use crate::worker::{Crew, Pool, Pools, Urgency};

/// A configuration that has run in the state of the main thread, and in no other yet.
pub struct Draft {
    pub config: Config,
    shared: Arc<Shared>,
    script: Arc<Script>,
    state: State,
    delivery: Delivery,
}

/// How webhooks and alerts are delivered, once that is in force.
struct Delivery {
    dispatch: Dispatch,
    sinks: Vec<Sink>,
}

impl Draft {
    /// Runs the configuration. Whatever it names is read here, before root is given up.
    pub fn make(script: Script, shared: Shared) -> Result<Draft> {
        let (script, shared) = (Arc::new(script), Arc::new(shared));
        let state = run_config(&shared, Role::Config, Some(&script))?;
        let config = state.config();
        config.check()?;
        limit_memory(&state, &config, &script)?;
        warn(&config, &shared);
        store::check(&config, &shared)?;
        let (dispatch, sinks) = prepare_delivery(&config, &shared)?;
        Ok(Draft { config, shared, script, state, delivery: Delivery { dispatch, sinks } })
    }

    /// Opens the report store, if the configuration asks for one, and the alerts that are in it.
    pub fn open_store(&self) -> Result<()> {
        let store = store::open(&self.config, &self.shared)?;
        store.iter().for_each(|store| self.shared.set_store(store.clone()));
        self.shared.alerts.open(store)
    }

    /// Goes on with the store of the configuration before, which must be the one that this one asks for.
    pub fn keep_store(&self, before: &Generation) -> Result<()> {
        store::check_same(&before.config, &self.config)?;
        before.shared.store().into_iter().for_each(|store| self.shared.set_store(store));
        Ok(())
    }

    /// Starts the Lua threads, each of which runs the configuration as well.
    pub fn staff(self, earlier: Vec<Weak<Pools>>) -> Result<Generation> {
        let Draft { config, shared, script, state, delivery } = self;
        let pools = Arc::new(start_pools(&config, &shared, &script, earlier)?);
        state.become_console()?;
        Ok(Generation { config, shared, pools, state, delivery: Some(delivery) })
    }
}

/// What a configuration makes. Until it is put to use, it can be dropped without a trace.
pub struct Generation {
    pub config: Config,
    pub shared: Arc<Shared>,
    pub pools: Arc<Pools>,
    /// What ran the configuration, now the console's.
    pub state: State,
    delivery: Option<Delivery>,
}

impl Generation {
    /// Has webhooks and alerts delivered as this configuration asks for.
    pub fn deliver(&mut self) {
        if let Some(Delivery { dispatch, sinks }) = self.delivery.take() {
            self.shared.webhooks.configure(dispatch);
            self.shared.alerts.configure(sinks);
        }
    }

    /// Connections that may be open: what the configuration says, as far as the system lets us open
    /// that many files.
    pub fn connections(&self) -> usize {
        connections(&self.config, unix::raise_file_limit())
    }

    /// What requests are served from.
    pub fn site(&self) -> Result<Arc<Site>> {
        let intake = store::intake(&self.config, &self.shared)?;
        Ok(Arc::new(Site::new(&self.config, self.shared.clone(), self.pools.clone(), intake)))
    }

    /// Says who may connect, and where.
    pub fn announce(&self, listeners: &[Opened]) {
        notice!("ACL allowing queries from: {}", self.shared.acl().join(", "));
        for opened in listeners {
            let kind = if opened.tls.is_some() { "listening with TLS on" } else { "listening on" };
            notice!("{kind} {}", opened.place.actual);
        }
    }
}

/// Reads the patterns of User-Agents that the command line names, or else the first of the default
/// files that is there. The working directory is the configuration's.
pub fn load_devices(options: &Options) -> Result<Devices> {
    const PLACES: [&str; 3] =
        ["regexes.yaml", "/usr/share/trackalert/regexes.yaml", "/usr/share/uap-core/regexes.yaml"];
    let default = || PLACES.into_iter().map(Path::new).find(|path| path.exists());
    let path = options.regexes.as_deref().or_else(default);
    Ok(Devices::new(path.map(Patterns::load).transpose()?))
}

/// Makes a state; what fails in it is the configuration's fault.
pub fn run_config(shared: &Arc<Shared>, role: Role, script: Option<&Script>) -> Result<State> {
    State::new(shared.clone(), role, script).map_err(|e| blame(script, &e))
}

/// Holds a state to the memory that its configuration allows.
pub fn limit_memory(state: &State, config: &Config, script: &Script) -> Result<()> {
    state.limit_memory(config.lua_memory).map_err(|e| blame(Some(script), &e))
}

/// The error of a configuration, which names the file even where Lua does not.
pub fn blame(script: Option<&Script>, e: &Error) -> Error {
    if let Error::Exit(status, text) = e {
        return Error::Exit(*status, text.clone());
    }
    let message = Failure::new(e).message;
    let name = script.map_or("", Script::name);
    Error::Config(if message.contains(name) { message } else { format!("{name}: {message}") })
}

/// What delivers webhooks and alerts; nothing of it runs yet.
pub fn prepare_delivery(config: &Config, shared: &Shared) -> Result<(Dispatch, Vec<Sink>)> {
    let dispatch = shared.prepare_webhooks(config).map_err(|e| Error::Config(e.to_string()))?;
    let sinks = shared.prepare_sinks(config).map_err(|e| Error::Config(e.to_string()))?;
    Ok((dispatch, sinks))
}

/// How many times longer than a report a background function may take.
const BACKGROUND: u32 = 60;

fn start_pools(
    config: &Config,
    shared: &Arc<Shared>,
    script: &Arc<Script>,
    earlier: Vec<Weak<Pools>>,
) -> Result<Pools> {
    let start = |name, size, limit, urgency, timeout| {
        let crew =
            Crew { name, shared: shared.clone(), script: script.clone(), timeout, memory: config.lua_memory };
        Pool::start(crew, size, limit, urgency).map_err(|e| match e {
            // The system has no threads left.
            Error::Io(..) => e,
            e => blame(Some(script), &e),
        })
    };
    let timeout = config.lua_timeout;
    let urgency = match config.report_ack {
        Ack::Queued => Urgency::Unwaited,
        Ack::Done => Urgency::Waited,
    };
    Ok(Pools {
        earlier,
        report: start("report", config.report_pool(), config.report_queue, urgency, timeout)?,
        // A connection waits for one answer at a time, so no more calls can come together.
        endpoint: start("endpoint", config.endpoint_threads, config.connections, Urgency::Waited, timeout)?,
        // A function does not run twice at a time. Nobody waits for it, so it may take long.
        scheduler: (config.scheduler_pool() > 0)
            .then(|| {
                let (size, limit) = (config.scheduler_pool(), config.scheduled.len());
                start("sched", size, limit, Urgency::Waited, timeout * BACKGROUND)
            })
            .transpose()?,
    })
}

/// Says what an operator would wonder about later.
fn warn(config: &Config, shared: &Shared) {
    if config.listeners.is_empty() {
        log::warn!("no addListener() in the configuration: no reports can come");
    }
    if shared.password().is_none() {
        log::warn!("no setWebserverPassword() in the configuration: every protected command is refused");
    }
    if !config.has_report {
        log::warn!("no setReport() in the configuration: reports are only counted");
    }
    if config.control_socket.is_some() && config.key.is_none() {
        log::error!("controlSocket() opens no console: there is no setKey() with a key in the configuration");
    }
    let limits = &config.webhooks;
    if limits.deliveries() < limits.threads * limits.connections {
        notice!("at most {} deliveries of webhooks at a time", limits.deliveries());
    }
    if !shared.devices.has_patterns() {
        notice!("no regexes.yaml, see trackalert(1): the devices of http reports are unknown");
    }
    if let Some(text) = config.too_few_states() {
        notice!("{text}");
    }
}

/// How many connections may be open: what the configuration says, as far as the system lets us open
/// that many files and some of our own.
fn connections(config: &Config, files: u64) -> usize {
    let reserve = (files / 2).min(64);
    let most = usize::try_from(files - reserve).unwrap_or(usize::MAX);
    if config.connections > most {
        notice!("at most {most} connections: the system allows {files} open files");
    }
    config.connections.min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        for (asked, files, expected) in
            [(10_000, 1_048_576, 10_000), (10_000, 1024, 960), (100, 64, 32), (10, 64, 10)]
        {
            let config = Config { connections: asked, ..Config::default() };
            assert_eq!(connections(&config, files), expected, "{asked} of {files}");
        }
    }
}
