//! Starting: from the configuration to listeners that are served, in the one order that leaves
//! nothing half done when a step fails.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use crate::cli::{Options, default_config};
use crate::config::Config;
use crate::console::{Listener, Server};
use crate::daemon::Daemon;
use crate::daemon::event::{executor, hear_signals};
use crate::daemon::generation::{Draft, limit_memory, load_devices, prepare_delivery, run_config};
use crate::daemon::learning::Learning;
use crate::daemon::store;
use crate::error::{Error, Result};
use crate::http::{self, Front};
use crate::logger::notice;
use crate::lua::{self, Role, Script, State};
use crate::schedule::Timer;
use crate::shared::Shared;
use crate::unix::{self, Identity, PidFile};

impl Daemon {
    /// Starts everything; what can't start stops all of it.
    pub fn start(options: &Options, pid_file: Option<PidFile>) -> Result<Daemon> {
        lua::install_interrupt()?;
        unix::survive_file_size_limit()?;
        let home = home(options).ok_or_else(no_config)?;
        let script = enter(&home)?;
        let draft = Draft::make(script, Shared::new(load_devices(options)?))?;
        let listeners = http::open(&draft.config.listeners, None)?;
        let console = draft.config.console();
        let console = console.map(|(address, key)| Listener::open(address).map(|listener| (listener, key)));
        let console = console.transpose()?;
        // What needs root is done. No client has been heard, and no other Lua state made.
        if let Some(identity) = draft.config.identity()? {
            give_up_root(&identity, &home)?;
        }
        draft.open_store()?;
        let mut current = draft.staff(Vec::new())?;
        // Until here a signal ends the process at once: a configuration may take for ever.
        let (sender, events) = mpsc::channel();
        let reloads = Arc::<AtomicBool>::default();
        hear_signals(sender.clone(), reloads.clone())?;
        let execute = executor(sender.clone());
        let console = console.map(|(listener, key)| Server::start(listener, key, execute.clone()));
        let console = console.transpose()?;
        current.announce(&listeners);
        current.deliver();
        let front = Front::start(listeners, current.site()?, &current.config, current.connections())?;
        let timer = Timer::start(current.shared.stats.clone())?;
        timer.change(&current.config.scheduled, current.pools.clone());
        let mut learning = None;
        if let Some(intake) = store::intake(&current.config, &current.shared)? {
            learning = Some(Learning::start(intake.store.clone(), current.shared.egress.clone())?);
            store::run_pending(intake, current.shared.clone(), current.pools.clone())?;
        }
        Ok(Daemon {
            options: options.clone(),
            home,
            current,
            retired: Vec::new(),
            has_spare_memory: true,
            reloads,
            front,
            timer,
            console,
            learning,
            execute,
            events,
            sender,
            _pid_file: pid_file,
        })
    }
}

/// Becomes another user, and says what that one can't do and will be asked to.
pub fn give_up_root(identity: &Identity, home: &Path) -> Result<()> {
    identity.assume()?;
    notice!("running as {identity}");
    if let Err(e) = File::open(home).map_err(Error::io(home)) {
        log::warn!("{e}: it can't be reloaded");
    }
    Ok(())
}

/// Runs the configuration in the two roles that it has, and gives what it asks for.
pub fn check(options: &Options) -> Result<(Config, Arc<Shared>)> {
    let script = enter(&home(options).ok_or_else(no_config)?)?;
    let devices = load_devices(options)?;
    devices.compile();
    let shared = Arc::new(Shared::new(devices));
    let config = run_config(&shared, Role::Config, Some(&script))?.config();
    config.check()?;
    store::check(&config, &shared)?;
    prepare_delivery(&config, &shared)?;
    limit_memory(&run_config(&shared, Role::Worker, Some(&script))?, &config, &script)?;
    Ok((config, shared))
}

/// A state for commands, with the configuration if there is one.
pub fn load_for_commands(options: &Options) -> Result<(State, Arc<Shared>)> {
    let shared = Arc::<Shared>::default();
    let script = home(options).map(|home| enter(&home)).transpose()?;
    let state = run_config(&shared, Role::Config, script.as_ref())?;
    state.become_console()?;
    Ok((state, shared))
}

/// The configuration, by its absolute path.
pub fn home(options: &Options) -> Option<PathBuf> {
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

pub fn no_config() -> Error {
    Error::Config("no configuration: name one with -C".into())
}
