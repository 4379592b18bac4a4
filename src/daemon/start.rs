//! Starting: from the configuration to listeners that are served, in the one order that leaves
//! nothing half done when a step fails.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use crate::cli::{Options, default_config};
use crate::config::{Ack, Config};
use crate::daemon::Event;
use crate::device::{Devices, Patterns};
use crate::error::{Error, Result};
use crate::http::{Front, Site, listen};
use crate::logger::notice;
use crate::lua::{self, Failure, Role, Script, State};
use crate::shared::Shared;
use crate::stats::Stats;
use crate::unix::{self, PidFile};
use crate::worker::{Crew, Pool, Pools, Urgency};

/// Everything that runs.
pub struct Daemon {
    pub config: Config,
    pub shared: Arc<Shared>,
    pub pools: Arc<Pools>,
    pub front: Front,
    /// What ran the configuration, now the console's.
    pub state: State,
    pub events: Receiver<Event>,
    pub sender: Sender<Event>,
    _pid_file: Option<PidFile>,
}

impl Daemon {
    /// Starts everything; what can't start stops all of it.
    pub fn start(options: &Options, pid_file: Option<PidFile>) -> Result<Daemon> {
        lua::install_interrupt()?;
        let script = Arc::new(enter(options)?.ok_or_else(no_config)?);
        let devices = Arc::new(load_devices(options)?);
        let shared = Arc::new(Shared::new(Arc::new(Stats::new()), devices));
        let state = run_config(&shared, Role::Config, Some(&script))?;
        let config = state.config();
        warn(&config, &shared);
        if shared.password().is_some() {
            unix::disable_core_dumps();
        }
        let connections = connections(&config, unix::raise_file_limit());
        let listeners = config.listeners.iter().copied().map(listen).collect::<Result<Vec<_>>>()?;
        let pools = Arc::new(start_pools(&config, &shared, &script)?);
        state.become_console()?;
        // Until here a signal ends the process at once: a configuration may take for ever.
        let (sender, events) = mpsc::channel();
        hear_signals(sender.clone())?;
        announce(&shared, &listeners);
        let site = Arc::new(Site::new(&config, shared.clone(), pools.clone()));
        let front = Front::start(listeners, site, &config, connections)?;
        Ok(Daemon { config, shared, pools, front, state, events, sender, _pid_file: pid_file })
    }
}

/// Runs the configuration in the two roles that it has.
pub fn check(options: &Options) -> Result<()> {
    let script = enter(options)?.ok_or_else(no_config)?;
    load_devices(options)?;
    for role in [Role::Config, Role::Worker] {
        run_config(&Arc::<Shared>::default(), role, Some(&script))?;
    }
    Ok(())
}

/// A state for commands, with the configuration if there is one.
pub fn load_for_commands(options: &Options) -> Result<(State, Arc<Shared>)> {
    let shared = Arc::<Shared>::default();
    let script = enter(options)?;
    let state = run_config(&shared, Role::Config, script.as_ref())?;
    state.become_console()?;
    Ok((state, shared))
}

/// Reads the configuration and makes its folder the working directory; nothing if there is none.
fn enter(options: &Options) -> Result<Option<Script>> {
    let Some(path) = options.config.as_deref().or_else(default_config) else { return Ok(None) };
    let enter = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::env::set_current_dir(folder).map_err(Error::io(folder))?;
        Script::read(Path::new(path.file_name().unwrap_or(path.as_os_str())))
    };
    enter().map(Some).map_err(|e| Error::Config(format!("configuration {}: {e}", path.display())))
}

/// Reads the patterns of User-Agents that the command line names, or else the first of the default
/// files that is there. The working directory is the configuration's.
fn load_devices(options: &Options) -> Result<Devices> {
    const PLACES: [&str; 3] =
        ["regexes.yaml", "/usr/share/trackalert/regexes.yaml", "/usr/share/uap-core/regexes.yaml"];
    let default = || PLACES.into_iter().map(Path::new).find(|path| path.exists());
    let path = options.regexes.as_deref().or_else(default);
    Ok(Devices::new(path.map(Patterns::load).transpose()?))
}

fn no_config() -> Error {
    Error::Config("no configuration: name one with -C".into())
}

/// Makes a state; what fails in it is the configuration's fault.
fn run_config(shared: &Arc<Shared>, role: Role, script: Option<&Script>) -> Result<State> {
    State::new(shared.clone(), role, script).map_err(|e| blame(script, &e))
}

/// The error of a configuration, which names the file even where Lua does not.
fn blame(script: Option<&Script>, e: &Error) -> Error {
    let message = Failure::new(e).message;
    let name = script.map_or("", Script::name);
    Error::Config(if message.contains(name) { message } else { format!("{name}: {message}") })
}

fn start_pools(config: &Config, shared: &Arc<Shared>, script: &Arc<Script>) -> Result<Pools> {
    let start = |name, size, limit, urgency| {
        let crew = Crew { name, shared: shared.clone(), script: script.clone(), timeout: config.lua_timeout };
        Pool::start(crew, size, limit, urgency).map_err(|e| blame(Some(script), &e))
    };
    let urgency = match config.report_ack {
        Ack::Queued => Urgency::Unwaited,
        Ack::Done => Urgency::Waited,
    };
    Ok(Pools {
        report: start("report", config.report_pool(), config.report_queue, urgency)?,
        // A connection waits for one answer at a time, so no more calls can come together.
        endpoint: start("endpoint", config.endpoint_threads, config.connections, Urgency::Waited)?,
    })
}

/// Every signal from now on is an event.
fn hear_signals(events: Sender<Event>) -> Result<()> {
    let requests = unix::requests()?;
    let hear = move || {
        for request in requests {
            if events.send(Event::Request(request)).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(hear).map(drop).map_err(Error::io("thread"))
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
    if !shared.devices.has_patterns() {
        notice!("no regexes.yaml, see trackalert(1): the devices of http reports are unknown");
    }
    if let Some(text) = config.too_few_states() {
        notice!("{text}");
    }
}

fn announce(shared: &Shared, listeners: &[TcpListener]) {
    notice!("ACL allowing queries from: {}", shared.acl().join(", "));
    for listener in listeners {
        match listener.local_addr() {
            Ok(address) => notice!("listening on {address}"),
            Err(e) => log::error!("a listener has no address: {e}"),
        }
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
