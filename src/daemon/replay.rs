//! `--replay`: the configuration's policies over reports of the past, in a store of their own that is gone
//! afterwards. What they would raise is printed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Local};
use parking_lot::Mutex;
use serde_json::json;

use crate::alert::{Alert, Alerts};
use crate::cli::{Options, Past, Replay as Asked, Stream};
use crate::config::{Config, StorePlace, StoreSettings};
use crate::daemon::generation::{blame, load_devices, run_config};
use crate::daemon::{init_log, start, store, transfer};
use crate::error::{Error, Result};
use crate::lua::{self, Role, State};
use crate::shared::Shared;
use crate::stats::Stats;
use crate::store::{Enrich, line};
use crate::transfer::{Input, Player, Replay, Stage};
use crate::unix;

/// Runs the policies over what is asked for, and prints what they would raise.
pub fn replay(options: &Options, asked: &Asked) -> Result<()> {
    // The configuration may print.
    let mut stdout = unix::take_stdout()?;
    init_log(options, false)?;
    lua::install_interrupt()?;
    let folder = Folder::make()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut input = match &asked.from {
        Past::File(Stream::Standard) => Input::standard()?,
        Past::File(Stream::File(path)) => Input::open(path)?,
        Past::Store(days) => stored(options, *days, now, &folder)?,
    };
    let raised = Arc::<Mutex<Vec<Alert>>>::default();
    let (stage, enrich) = stage(options, asked, &folder, raised.clone())?;
    let (shared, store) = (stage.shared.clone(), stage.store.clone());
    let player = Player::new(stage);
    let stop = transfer::hear_stop()?;
    let mut replay = Replay { player, enrich: &enrich, devices: &shared.devices, stop };
    let mut told = Told { out: &mut stdout, is_json: asked.is_json, counts: BTreeMap::new() };
    let result = replay.run(&mut input, now, &mut io::stderr(), &mut || told.tell(&mut raised.lock()));
    store.close();
    let bad = result?;
    told.end()?;
    match bad {
        0 => Ok(()),
        bad => Err(Error::Refused(format!("{}: {bad} bad lines", input.name().display()))),
    }
}

/// The configuration's policies with a store of their own.
fn stage(
    options: &Options,
    asked: &Asked,
    folder: &Folder,
    raised: Arc<Mutex<Vec<Alert>>>,
) -> Result<(Stage, Enrich)> {
    let script = start::enter(&start::home(options).ok_or_else(start::no_config)?)?;
    let alerts = Alerts::observe(move |alert| raised.lock().push(alert.clone()));
    let shared = Arc::new(Shared::with_alerts(load_devices(options)?, Stats::new(), alerts));
    let place = StorePlace::File(folder.0.join("replay.db"));
    let further = asked.policies.as_ref().map(|set| format!("usePolicies({set:?})"));
    let add = |state: &State| further.as_deref().map_or(Ok(()), |line| state.add(line));
    let config = {
        let state = run_config(&shared, Role::Config, Some(&script))?;
        add(&state).map_err(|e| blame(None, &e))?;
        state.config()
    };
    let settings = config.store.clone().unwrap_or_else(|| StoreSettings::new(place.clone()));
    let settings = StoreSettings { place, durable: false, commit: Duration::ZERO, ..settings };
    let config = Config { store: Some(settings.clone()), ..config };
    config.check()?;
    store::check(&config, &shared)?;
    let enrich = store::enrich(&settings, &shared)?;
    let store = store::open(&config, &shared)?.ok_or_else(transfer::no_store)?;
    shared.set_store(store.clone());
    let state = run_config(&shared, Role::Worker, Some(&script))?;
    add(&state).map_err(|e| blame(None, &e))?;
    let is_policy = |scheduled: &crate::config::Scheduled| scheduled.name.starts_with(lua::SCHEDULED);
    let scheduled = config.scheduled.into_iter().filter(is_policy).collect();
    Ok((Stage { state, shared, store, scheduled }, enrich))
}

/// What the store of the configuration holds of the last days.
fn stored(options: &Options, days: u32, now: f64, folder: &Folder) -> Result<Input> {
    let (config, shared) = start::check(options)?;
    let store = transfer::open(options, &config, &shared)?;
    let (path, since) = (folder.0.join("reports.json"), now - f64::from(days) * 86_400.0);
    let mut file = io::BufWriter::new(File::create(&path).map_err(Error::io(&path))?);
    let result = store.each_report(&mut |record| match record.t >= since {
        true => line::write(record, &mut file).map_err(Error::io(&path)),
        false => Ok(()),
    });
    store.close();
    result?;
    file.flush().map_err(Error::io(&path))?;
    Input::open(&path)
}

/// What the replay is told in.
struct Told<'o> {
    out: &'o mut File,
    is_json: bool,
    /// Alerts by rule and day.
    counts: BTreeMap<(String, String), u64>,
}

impl Told<'_> {
    /// Prints alerts, or counts them for later.
    fn tell(&mut self, raised: &mut Vec<Alert>) -> Result<()> {
        for alert in raised.drain(..) {
            if !self.is_json {
                *self.counts.entry((alert.rule.clone(), day(alert.t))).or_default() += 1;
                continue;
            }
            let line = json!({
                "rule": alert.rule, "severity": alert.severity.name(), "key": alert.key, "login": alert.login,
                "ip": alert.ip, "t": alert.t, "summary": alert.summary, "data": alert.data,
            });
            writeln!(self.out, "{line}").map_err(Error::io("stdout"))?;
        }
        Ok(())
    }

    /// Prints what was counted: a line for each rule and day.
    fn end(self) -> Result<()> {
        let mut text = String::new();
        for ((rule, day), count) in &self.counts {
            text += &format!("{rule:<28} {day} {count:>8}\n");
        }
        if !self.is_json {
            let total: u64 = self.counts.values().sum();
            text = format!(
                "{:<28} {:<10} {:>8}\n{text}{:<28} {:<10} {total:>8}\n",
                "Policy", "Day", "Alerts", "all", ""
            );
        }
        self.out.write_all(text.as_bytes()).map_err(Error::io("stdout"))
    }
}

fn day(t: f64) -> String {
    let time = DateTime::from_timestamp(t as i64, 0).unwrap_or_default();
    time.with_timezone(&Local).format("%Y-%m-%d").to_string()
}

/// A folder of its own, which goes with this.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Folder> {
        let path = std::env::temp_dir().join(format!("trackalert-replay-{}", std::process::id()));
        let made =
            std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&path);
        made.map_err(Error::io(&path)).map(|()| Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
