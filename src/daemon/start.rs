//! Starting: from the configuration to listeners that are served, in the one order that leaves
//! nothing half done when a step fails.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;
use std::{process, thread};

use parking_lot::Mutex;

use crate::cli::{Options, default_config};
use crate::config::{Ack, Config};
use crate::console::{Client, Execute, Server};
use crate::daemon::{Daemon, Event};
use crate::device::{Devices, Patterns};
use crate::error::{Error, Result};
use crate::http::{self, Front, Opened, Site};
use crate::logger::notice;
use crate::lua::{self, Failure, Role, Script, State};
use crate::net::crypto::Key;
use crate::schedule::Timer;
use crate::shared::Shared;
use crate::unix::{self, PidFile, Request};
use crate::webhook::Dispatch;
use crate::worker::{Crew, Pool, Pools, Urgency};

/// What a configuration makes. Until it is put to use, it can be dropped without a trace.
pub struct Generation {
    pub config: Config,
    pub shared: Arc<Shared>,
    pub pools: Arc<Pools>,
    /// What ran the configuration, now the console's.
    pub state: State,
    /// How webhooks are delivered, until that is in force.
    dispatch: Option<Dispatch>,
}

impl Generation {
    /// Runs the configuration in every state that it needs. Counters, and deliveries that wait, go on
    /// from those of `shared`.
    pub fn make(script: Script, shared: Shared) -> Result<Generation> {
        let script = Arc::new(script);
        let shared = Arc::new(shared);
        let state = run_config(&shared, Role::Config, Some(&script))?;
        let config = state.config();
        config.check()?;
        warn(&config, &shared);
        if shared.password().is_some() || config.key.is_some() {
            unix::disable_core_dumps();
        }
        let dispatch = Some(prepare_webhooks(&config, &shared)?);
        let pools = Arc::new(start_pools(&config, &shared, &script)?);
        state.become_console()?;
        Ok(Generation { config, shared, pools, state, dispatch })
    }

    /// Has webhooks delivered as this configuration asks for.
    pub fn dispatch_webhooks(&mut self) {
        self.dispatch.take().into_iter().for_each(|dispatch| self.shared.webhooks.configure(dispatch));
    }

    /// Connections that may be open: what the configuration says, as far as the system lets us open
    /// that many files.
    pub fn connections(&self) -> usize {
        connections(&self.config, unix::raise_file_limit())
    }

    /// What requests are served from.
    pub fn site(&self) -> Arc<Site> {
        Arc::new(Site::new(&self.config, self.shared.clone(), self.pools.clone()))
    }

    /// Where a console is to listen, and for which key. One that nothing would encrypt is none.
    pub fn console(&self) -> Option<(SocketAddr, Key)> {
        self.config.control_socket.zip(self.config.key.clone())
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

impl Daemon {
    /// Starts everything; what can't start stops all of it.
    pub fn start(options: &Options, pid_file: Option<PidFile>) -> Result<Daemon> {
        lua::install_interrupt()?;
        let home = home(options).ok_or_else(no_config)?;
        let script = enter(&home)?;
        let mut current = Generation::make(script, Shared::new(load_devices(options)?))?;
        let listeners = http::open(&current.config.listeners, None)?;
        // Until here a signal ends the process at once: a configuration may take for ever.
        let (sender, events) = mpsc::channel();
        hear_signals(sender.clone())?;
        let execute = executor(sender.clone());
        let console = current.console().map(|(address, key)| Server::start(address, key, execute.clone()));
        let console = console.transpose()?;
        current.announce(&listeners);
        current.dispatch_webhooks();
        let front = Front::start(listeners, current.site(), &current.config, current.connections())?;
        let timer = Timer::start(current.shared.stats.clone())?;
        timer.change(&current.config.scheduled, current.pools.clone());
        Ok(Daemon {
            options: options.clone(),
            home,
            current,
            retired: Vec::new(),
            front,
            timer,
            console,
            execute,
            events,
            sender,
            _pid_file: pid_file,
        })
    }
}

/// Runs the configuration in the two roles that it has.
pub fn check(options: &Options) -> Result<()> {
    let script = enter(&home(options).ok_or_else(no_config)?)?;
    load_devices(options)?.compile();
    let shared = Arc::<Shared>::default();
    let config = run_config(&shared, Role::Config, Some(&script))?.config();
    config.check()?;
    prepare_webhooks(&config, &shared)?;
    run_config(&Arc::<Shared>::default(), Role::Worker, Some(&script)).map(drop)
}

/// A state for commands, with the configuration if there is one.
pub fn load_for_commands(options: &Options) -> Result<(State, Arc<Shared>)> {
    let shared = Arc::<Shared>::default();
    let script = home(options).map(|home| enter(&home)).transpose()?;
    let state = run_config(&shared, Role::Config, script.as_ref())?;
    state.become_console()?;
    Ok((state, shared))
}

/// Connects to the daemon that the configuration describes, and says to `out` which one that is.
pub fn connect(options: &Options, out: &mut impl Write) -> Result<Client> {
    let home = home(options).ok_or_else(no_config)?;
    let script = enter(&home)?;
    // Where this is said may be a pipe that nobody reads.
    let _ = writeln!(out, "Read configuration from '{}'", script.name());
    let (config, error) = State::read_for_client(&script)?;
    let error = error.map(|e| blame(Some(&script), &e));
    match (config.control_socket, config.key, error) {
        (Some(address), Some(key), error) => {
            if let Some(e) = error {
                let _ = writeln!(io::stderr(), "trackalert: {e}");
            }
            let _ = writeln!(out, "Connecting to {address}");
            Client::connect(address, key)
        }
        (_, _, Some(e)) => Err(e),
        (None, ..) => Err(Error::Config(format!("{}: there is no controlSocket()", script.name()))),
        (_, None, _) => Err(Error::Config(format!("{}: there is no setKey() with a key", script.name()))),
    }
}

/// The configuration, by its absolute path.
fn home(options: &Options) -> Option<PathBuf> {
    let path = options.config.as_deref().or_else(default_config)?;
    Some(std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()))
}

/// Reads a configuration and makes its folder the working directory.
pub fn enter(home: &Path) -> Result<Script> {
    let enter = || {
        let folder = home.parent().unwrap_or(Path::new("/"));
        std::env::set_current_dir(folder).map_err(Error::io(folder))?;
        Script::read(Path::new(home.file_name().unwrap_or(home.as_os_str())))
    };
    enter().map_err(|e| Error::Config(format!("configuration {}: {e}", home.display())))
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

/// What delivers webhooks; its threads start with the first delivery.
fn prepare_webhooks(config: &Config, shared: &Shared) -> Result<Dispatch> {
    shared.prepare_webhooks(config).map_err(|e| Error::Config(e.to_string()))
}

/// How many times longer than a report a background function may take.
const BACKGROUND: u32 = 60;

fn start_pools(config: &Config, shared: &Arc<Shared>, script: &Arc<Script>) -> Result<Pools> {
    let start = |name, size, limit, urgency, timeout| {
        let crew = Crew { name, shared: shared.clone(), script: script.clone(), timeout };
        Pool::start(crew, size, limit, urgency).map_err(|e| blame(Some(script), &e))
    };
    let timeout = config.lua_timeout;
    let urgency = match config.report_ack {
        Ack::Queued => Urgency::Unwaited,
        Ack::Done => Urgency::Waited,
    };
    Ok(Pools {
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

/// How long the end may take after it was asked for twice, when the main thread does not react.
const LAST: Duration = Duration::from_secs(1);

/// Every signal from now on is an event.
fn hear_signals(events: Sender<Event>) -> Result<()> {
    let requests = unix::requests()?;
    let hear = move || {
        let mut stops = 0;
        for request in requests {
            stops += u32::from(request == Request::Stop);
            if events.send(Event::Request(request)).is_err() {
                return;
            }
            if stops > 1 {
                thread::sleep(LAST);
                log::error!("ended at once: the main thread is busy");
                process::exit(1);
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(hear).map(drop).map_err(Error::io("thread"))
}

/// How often a command that goes on is looked after.
const LOOK: Duration = Duration::from_secs(1);

/// Lets other threads have the main thread, which calls this, run a command.
fn executor(events: Sender<Event>) -> Execute {
    let main = unix::current_thread();
    let events = Mutex::new(events);
    Arc::new(move |line| {
        let (answer, answers) = mpsc::channel();
        events.lock().send(Event::Command(line.to_owned(), answer)).ok()?;
        loop {
            match answers.recv_timeout(LOOK) {
                Ok(answer) => return Some(answer),
                // It fails if its time is up.
                Err(RecvTimeoutError::Timeout) => unix::send_signal(main, unix::INTERRUPT),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
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
