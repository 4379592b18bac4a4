//! The store that many hosts share, in ClickHouse: reports go to a spool on disk and from there to the
//! server, a second later or when it is back; questions are put to the server.

mod backlog;
mod breaker;
mod cache;
mod client;
mod forget;
mod question;
mod quote;
mod reader;
mod row;
mod schema;
mod sender;
mod spool;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rusqlite::Connection;
use serde::Deserialize;

use crate::config::ClickHouse;
use crate::error::{Error, Result};
use crate::outbound::Tls;
use crate::stats::Stats;
use crate::store::arrival::Arrival;
use crate::store::journal::desk::Desk;
use crate::store::journal::file::StoreFile;
use crate::store::journal::thread::Journal;
use crate::store::journal::unfinished::Unfinished;
use crate::store::journal::writer::{Intake, Limits};
use crate::store::journal::{kept, marks};
use crate::store::query::Reader;
use crate::store::record::{Record, Seconds, seconds};
use crate::store::sqlite::Retention;
use crate::store::{Aside, History, Mark, Pending, Status, Store};
use crate::unix;

use backlog::Backlog;
use client::Client;
use quote::Quoted;
use reader::{Library, ServerReader};
use sender::Sender;
use spool::{Spool, SpoolChores};

pub use backlog::Room;

/// What a store in ClickHouse is asked to be.
pub struct Settings {
    pub server: ClickHouse,
    pub tls: Tls,
    /// The file of reports that the server does not have yet.
    pub spool: PathBuf,
    /// How many of them there may be.
    pub room: Room,
    pub limits: Limits,
    pub retention: Retention,
}

/// A store in ClickHouse.
pub struct ClickHouseStore {
    file: Arc<StoreFile>,
    desk: Arc<Desk>,
    backlog: Arc<Backlog>,
    journal: Arc<Journal<Spool>>,
    unfinished: Unfinished,
    library: Arc<Library>,
    sending: Arc<Mutex<()>>,
    sender: Mutex<Option<JoinHandle<()>>>,
}

impl ClickHouseStore {
    /// Opens the spool, or makes it. The server need not be there.
    pub fn open(settings: Settings, stats: Arc<Stats>) -> Result<ClickHouseStore> {
        let client = Arc::new(Client::new(&settings.server, &settings.tls)?);
        let file = Arc::new(StoreFile::open(&settings.spool, &spool::FORM)?);
        let failed = |e| file.failed(e);
        let backlog = Arc::new(Backlog::new(settings.room));
        let spool = Spool::open(&file, settings.limits.is_durable, backlog.clone())?;
        let unfinished = Unfinished::of(spool.file()).map_err(failed)?;
        let reader = file.reader()?;
        let host = spool::host(&reader).map_err(failed)?;
        let known = kept::deliveries(&reader, seconds(SystemTime::now())).map_err(failed)?;
        let desk = Arc::new(Desk::new(stats.clone()));
        let limits = settings.limits;
        let journal = Journal::start(file.clone(), spool, known, SpoolChores, desk.clone(), limits)?;
        let (journal, sending) = (Arc::new(journal), Arc::default());
        let sender = Sender {
            client: client.clone(),
            file: reader,
            host,
            journal: journal.clone(),
            backlog: backlog.clone(),
            retention: settings.retention,
            stats,
            sending: Arc::clone(&sending),
            kept: None,
            complained: None,
        };
        let sender = Mutex::new(Some(unix::spawn("store-send", || sender.run())?));
        let library = Library { client, breaker: Default::default(), cache: Default::default() };
        let library = Arc::new(library);
        Ok(ClickHouseStore { file, desk, backlog, journal, unfinished, library, sending, sender })
    }
}

#[derive(Deserialize)]
struct Size {
    size: u64,
    reports: u64,
    first_day: u32,
}

#[derive(Deserialize)]
struct First {
    first: Seconds,
    reports: u64,
}

impl Store for ClickHouseStore {
    fn push(&self, arrival: Arrival) {
        self.journal.push(arrival);
    }

    fn has_run(&self, report: i64) {
        self.desk.has_run(report);
    }

    fn pending(&self, after: i64, limit: u32) -> Result<Vec<Pending>> {
        let reports = spool::pending(&self.file.reader()?, after, self.unfinished.last(), limit);
        let reports = reports.map_err(|e| self.file.failed(e))?;
        self.unfinished.note(&reports, &self.journal);
        Ok(reports)
    }

    /// A server that is away is no trouble while the spool has room.
    fn trouble(&self) -> Option<String> {
        self.desk.trouble().or_else(|| self.backlog.refusal())
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        Ok(Box::new(ServerReader(self.library.clone())))
    }

    fn forget(&self, login: &str) -> Result<u64> {
        // What is on its way has arrived.
        let _sending = self.sending.lock();
        let name = login.to_owned();
        let waiting = self.journal.order(move |spool| spool.forget(&name).map(|rows| (rows, false)))?;
        self.file.empty_log()?;
        let removed = forget::forget(&self.library.client, login)?;
        self.library.cache.clear();
        Ok(waiting + removed)
    }

    fn backup(&self, _: &Path) -> Result<()> {
        Err(Error::Refused("the reports are in ClickHouse, which has backups of its own".into()))
    }

    fn load(&self, history: History) {
        let History { records, mark, answer } = history;
        if let Some(why) = self.backlog.refusal() {
            return answer(Err(Error::Store(why)));
        }
        let work = move |spool: &mut Spool| {
            spool.load(&records, mark.as_ref()).map(|()| (records.len() as u64, false))
        };
        self.journal.hand(work, |result| answer(result.map(drop)));
    }

    fn marks(&self) -> Result<Vec<Mark>> {
        marks::all(&self.file.reader()?).map_err(|e| self.file.failed(e))
    }

    fn each_report(&self, _: &mut dyn FnMut(&Record) -> Result<()>) -> Result<()> {
        Err(Error::Refused("the reports are in ClickHouse, whose own client can export them".into()))
    }

    /// Counts seals, too, of which there are few. The queue are the reports that the server lacks.
    fn status(&self) -> Result<Status> {
        let database = Quoted(self.library.client.database());
        let size = format!(
            "SELECT sum(bytes_on_disk) AS size, sumIf(rows, table = 'report') AS reports,
                minIf(toUInt32(partition), table = 'report') AS first_day
            FROM system.parts WHERE database = {database} AND active"
        );
        let size: Size = self.library.ask_one(size)?;
        let day = size.first_day;
        let first = format!(
            "SELECT min(second) AS first, count() AS reports FROM report WHERE origin = '' AND day = {day}"
        );
        let first: Option<First> = if size.reports > 0 { Some(self.library.ask_one(first)?) } else { None };
        Ok(Status {
            rows: size.reports,
            bytes: size.size,
            oldest: first.filter(|first| first.reports > 0).map(|first| f64::from(first.first)),
            queue: self.backlog.rows() as usize + self.desk.waiting(),
            lag: self.backlog.lag().max(self.desk.lag()),
        })
    }

    fn settle(&self, patience: Duration) -> bool {
        self.backlog.wait_until_empty(patience)
    }

    fn change_aside(&self, work: Aside) -> Result<()> {
        self.journal.aside(work)
    }

    fn read_aside(&self) -> Result<Connection> {
        self.file.reader()
    }

    /// What was not sent stays in the spool.
    fn close(&self) {
        self.backlog.end();
        if let Some(sender) = self.sender.lock().take()
            && sender.join().is_err()
        {
            log::error!("the thread that sends to the store's server has panicked");
        }
        self.journal.close();
    }
}

impl Drop for ClickHouseStore {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
#[path = "../../../tests/support/clickhouse.rs"]
mod server;
#[cfg(test)]
mod tests;
