//! The report store of the daemon: opened once, kept over reloads, and what it still has to run after
//! a crash.

use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::config::{Config, StorePlace, StoreSettings};
use crate::error::{Error, Result};
use crate::http::Intake;
use crate::logger::notice;
use crate::login::LoginTuple;
use crate::shared::Shared;
use crate::store::{
    ClickHouseSettings, ClickHouseStore, Enrich, FileStore, Known, Limits, Pending, Retention, Room, Store,
};
use crate::unix;
use crate::worker::{Job, Pools, Reply};

/// Reports that may wait for ClickHouse.
const ROOM: Room = Room { rows: 50_000_000, bytes: 16 << 30 };

/// Reports that are read again at a time, and how often there is a look whether the queue has room.
const ROUND: u32 = 100;
const LOOK: Duration = Duration::from_millis(10);

/// After a failure, how long until they are read again.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens the store that a configuration asks for, and takes over what was learned and noticed before.
pub fn open(config: &Config, shared: &Shared) -> Result<Option<Arc<dyn Store>>> {
    let Some(settings) = &config.store else { return Ok(None) };
    let store = open_file_or_server(settings, config, shared)?;
    shared.egress.load(&*store)?;
    shared.episodes.load(&*store)?;
    Ok(Some(store))
}

fn open_file_or_server(settings: &StoreSettings, config: &Config, shared: &Shared) -> Result<Arc<dyn Store>> {
    let limits = Limits { wait: settings.commit, rows: settings.commit_rows, is_durable: settings.durable };
    let retention = Retention { raw_days: settings.raw_days, profile_days: settings.profile_days };
    match &settings.place {
        StorePlace::File(path) => {
            let store = FileStore::open(path, limits, retention, shared.stats.clone())?;
            notice!("report store {}: {} reports", path.display(), store.status()?.rows);
            Ok(Arc::new(store))
        }
        StorePlace::ClickHouse(server) => {
            let (server, tls, stats) = (server.clone(), config.outbound.clone(), shared.stats.clone());
            let spool = server.spool.clone();
            let name = format!("{}/{}", server.url, server.database);
            let settings = ClickHouseSettings { server, tls, spool, room: ROOM, limits, retention };
            let store = ClickHouseStore::open(settings, stats)?;
            notice!("report store {name}");
            Ok(Arc::new(store))
        }
    }
}

/// What only shows when the whole configuration has run.
pub fn check(config: &Config, shared: &Shared) -> Result<()> {
    config.store.as_ref().map_or(Ok(()), |settings| enrich(settings, shared).map(drop))
}

/// What makes records of reports, as a configuration says.
pub fn enrich(settings: &StoreSettings, shared: &Shared) -> Result<Enrich> {
    let (geo, asn) = (settings.geo.as_deref(), settings.asn.as_deref());
    let enrich = Enrich::new(&shared.geoip, geo, asn, (settings.net4, settings.net6), shared.egress.clone());
    enrich.map_err(|e| Error::Config(format!("newReportStore(options): {e}")))
}

/// Whether a configuration asks for the store that is open. Where an address is, and how long a network
/// is, may change at any time.
pub fn check_same(current: &Config, next: &Config) -> Result<()> {
    let fixed = |config: &Config| {
        let settings = config.store.clone();
        settings.map(|settings| StoreSettings { geo: None, asn: None, net4: 0, net6: 0, ..settings })
    };
    if fixed(current) == fixed(next) {
        return Ok(());
    }
    Err(Error::Config("newReportStore() says other than at the start, so this needs a restart".into()))
}

/// The way of reports into the store.
pub fn intake(config: &Config, shared: &Shared) -> Result<Option<Intake>> {
    let Some((settings, store)) = config.store.as_ref().zip(shared.store()) else { return Ok(None) };
    Ok(Some(Intake { store, enrich: enrich(settings, shared)?, is_durable: settings.durable }))
}

/// Has the reports run that were accepted and had not run when the process ended.
pub fn run_pending(intake: Intake, shared: Arc<Shared>, pools: Arc<Pools>) -> Result<()> {
    let Intake { store, enrich, .. } = intake;
    let first = store.pending(0, 1)?;
    if first.is_empty() {
        return Ok(());
    }
    unix::spawn("again", move || {
        let (mut after, mut count, mut has_complained) = (0, 0, false);
        loop {
            let reports = match store.pending(after, ROUND) {
                Ok(reports) if reports.is_empty() => break,
                Ok(reports) => reports,
                Err(e) => {
                    if !mem::replace(&mut has_complained, true) {
                        log::error!(
                            "reports that had not run can't be read, and are tried every second: {e}"
                        );
                    }
                    thread::sleep(PAUSE);
                    continue;
                }
            };
            for report in reports {
                (after, count) = (report.id, count + 1);
                run(report, &store, &enrich, &shared, &pools);
            }
        }
        notice!("{count} reports run that had not when the process ended");
    })
    .map(drop)
}

fn run(report: Pending, store: &Arc<dyn Store>, enrich: &Enrich, shared: &Shared, pools: &Pools) {
    let Pending { id, body, before } = report;
    let mut login = match LoginTuple::from_json(&body, SystemTime::now()) {
        Ok(login) => login,
        // It was read when it came.
        Err(e) => {
            store.has_run(id);
            return log::error!("a report that had not run can't be read again: {e}");
        }
    };
    login.parse_device(|protocol, text| shared.devices.parse(protocol, text));
    let slot = loop {
        match pools.report.reserve() {
            Ok(slot) => break slot,
            Err(_) => thread::sleep(LOOK),
        }
    };
    let known = Some(Known { record: Arc::new(enrich.record(&login)), before });
    let store = store.clone();
    let reply = Reply::new(move |_| store.has_run(id));
    let job = Job::Report { login: Arc::new(login), known, reply: Some(reply) };
    pools.report.push_reserved(slot, job);
}
