//! `--import` and `--export`: the configuration is run as a check runs it, and of all that it asks for only
//! the report store is opened.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::{Options, Stream};
use crate::config::Config;
use crate::daemon::{init_log, start, store};
use crate::error::{Error, Result};
use crate::shared::Shared;
use crate::store::Store;
use crate::transfer::{self, Import, Input, Output, Tally};
use crate::unix::{self, Request};

/// Fills the store of a configuration. Fails in the end when there were bad lines.
pub fn import(options: &Options, from: &Stream) -> Result<()> {
    init_log(options, false)?;
    let (mut config, shared) = start::check(options)?;
    // What a crash takes of an import, the next one reads again.
    config.store.iter_mut().for_each(|settings| settings.durable = false);
    let mut input = match from {
        Stream::Standard => Input::standard()?,
        Stream::File(path) => Input::open(path)?,
    };
    let store = open(options, &config, &shared)?;
    let settings = config.store.as_ref().ok_or_else(no_store)?;
    let enrich = store::enrich(settings, &shared)?;
    let import = Import {
        store: &*store,
        enrich: &enrich,
        egress: &shared.egress,
        devices: &shared.devices,
        stop: hear_stop()?,
    };
    let result = import.run(&mut input, &mut io::stderr());
    store.close();
    match result? {
        Tally { bad: 0, .. } => Ok(()),
        Tally { bad, .. } => Err(Error::Refused(format!("{}: {bad} bad lines", input.name().display()))),
    }
}

/// Writes what the store of a configuration holds.
pub fn export(options: &Options, to: &Stream) -> Result<()> {
    // The configuration may print.
    let stdout = unix::take_stdout()?;
    init_log(options, false)?;
    let (config, shared) = start::check(options)?;
    let output = match to {
        Stream::Standard => Output::to("stdout", stdout),
        Stream::File(path) => Output::create(path)?,
    };
    let store = open(options, &config, &shared);
    store
        .and_then(|store| transfer::export(&*store, &output, &mut io::stderr()))
        .inspect_err(|_| output.give_up())
}

/// Opens the store as whoever the daemon runs as, so that it can open it later. What that one may not read
/// or write is open by now.
pub fn open(options: &Options, config: &Config, shared: &Shared) -> Result<Arc<dyn Store>> {
    if let Some(identity) = config.identity()? {
        let home = start::home(options).ok_or_else(start::no_config)?;
        start::give_up_root(&identity, &home)?;
    }
    store::open(config, shared)?.ok_or_else(no_store)
}

pub fn no_store() -> Error {
    Error::Config("no newReportStore() in the configuration".into())
}

/// What a signal to stop sets. A second one ends the process, which costs what is not stored yet.
pub fn hear_stop() -> Result<Arc<AtomicBool>> {
    let (stop, requests) = (Arc::<AtomicBool>::default(), unix::requests()?);
    let set = stop.clone();
    let run = move || {
        // A terminal that is closed asks for the same.
        for _ in requests.filter(|request| *request != Request::LogStats) {
            if set.swap(true, Ordering::Relaxed) {
                process::exit(1);
            }
        }
    };
    unix::spawn("signals", run)?;
    Ok(stop)
}
