//! The embedded store: a file of SQLite, one thread that writes it, and a reader for each thread that
//! asks. What changes with every report is counted in memory and written a little later; after a crash it
//! is counted again from the reports, which are on disk before they are acknowledged.

mod backup;
mod commit;
mod counts;
mod forget;
mod history;
mod ledger;
mod packed;
mod pending;
mod raw;
mod reader;
mod recovery;
mod repair;
mod shelf;
mod thinning;
mod top;
mod upkeep;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use rusqlite::Connection;

use crate::error::Result;
use crate::stats::Stats;
use crate::store::arrival::Arrival;
use crate::store::journal::desk::Desk;
use crate::store::journal::file::{Form, StoreFile};
use crate::store::journal::thread::Journal;
use crate::store::journal::unfinished::Unfinished;
use crate::store::journal::writer::Limits;
use crate::store::journal::{ASIDE, kept, marks};
use crate::store::query::Reader;
use crate::store::record::{Record, seconds};
use crate::store::{Aside, History, Mark, Pending, Status, Store};

use backup::Backup;
use commit::Books;
use ledger::Ledger;
use reader::FileReader;
use upkeep::Upkeep;

pub use repair::repair;
pub use upkeep::Retention;

/// What says that a file is a store ("TrAl"), and what makes its tables.
const FORM: Form =
    Form { application: 0x5472_416c, migrations: &[include_str!("schema.sql"), ASIDE], what: "report store" };

/// A store in a file.
pub struct FileStore {
    file: Arc<StoreFile>,
    ledger: Arc<Mutex<Ledger>>,
    desk: Arc<Desk>,
    journal: Journal<Books>,
    unfinished: Unfinished,
    backup: Backup,
}

impl FileStore {
    /// Opens the file, or makes it, and counts what was not written when it was closed.
    pub fn open(path: &Path, limits: Limits, retention: Retention, stats: Arc<Stats>) -> Result<FileStore> {
        let file = Arc::new(StoreFile::open(path, &FORM)?);
        let failed = |e| file.failed(e);
        let books = Books::open(&file, limits.is_durable)?;
        let (ledger, desk) = (books.ledger.clone(), Arc::new(Desk::new(stats)));
        let unfinished = Unfinished::of(&books.file).map_err(failed)?;
        let known = kept::deliveries(&books.file, seconds(SystemTime::now())).map_err(failed)?;
        let upkeep = Upkeep::new(&books, retention).map_err(failed)?;
        let journal = Journal::start(file.clone(), books, known, upkeep, desk.clone(), limits)?;
        Ok(FileStore { file, ledger, desk, journal, unfinished, backup: Backup::default() })
    }
}

impl Store for FileStore {
    fn push(&self, arrival: Arrival) {
        self.journal.push(arrival);
    }

    fn has_run(&self, report: i64) {
        self.desk.has_run(report);
    }

    fn pending(&self, after: i64, limit: u32) -> Result<Vec<Pending>> {
        let file = self.file.reader()?;
        let reports = pending::between(&file, after, self.unfinished.last(), limit);
        let reports = reports.map_err(|e| self.file.failed(e))?;
        self.unfinished.note(&reports, &self.journal);
        Ok(reports)
    }

    fn trouble(&self) -> Option<String> {
        self.desk.trouble()
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        let (file, ledger) = (self.file.clone(), self.ledger.clone());
        Ok(Box::new(FileReader { connection: file.reader()?, file, ledger }))
    }

    fn forget(&self, login: &str) -> Result<u64> {
        let login = login.to_owned();
        let rows =
            self.journal.order(move |books| forget::forget(books, &login, seconds(SystemTime::now())))?;
        self.file.empty_log()?;
        Ok(rows)
    }

    fn backup(&self, path: &Path) -> Result<()> {
        self.backup.begin(self.file.reader()?, path)
    }

    fn load(&self, history: History) {
        let History { records, mark, answer } = history;
        let work = move |books: &mut Books| {
            history::load(books, &records, mark.as_ref()).map(|()| (records.len() as u64, false))
        };
        self.journal.hand(work, |result| answer(result.map(drop)));
    }

    fn marks(&self) -> Result<Vec<Mark>> {
        marks::all(&self.file.reader()?).map_err(|e| self.file.failed(e))
    }

    fn each_report(&self, take: &mut dyn FnMut(&Record) -> Result<()>) -> Result<()> {
        let mut taken = Ok(());
        let take = |record| {
            taken = take(&record);
            taken.is_ok()
        };
        history::each(&self.file.reader()?, take).map_err(|e| self.file.failed(e))?;
        taken
    }

    fn status(&self) -> Result<Status> {
        let (rows, oldest) = raw::extent(&self.file.reader()?).map_err(|e| self.file.failed(e))?;
        let (queue, lag) = (self.desk.waiting(), self.desk.lag());
        Ok(Status { rows, oldest, bytes: self.file.bytes(), queue, lag })
    }

    fn change_aside(&self, work: Aside) -> Result<()> {
        self.journal.aside(work)
    }

    fn read_aside(&self) -> Result<Connection> {
        self.file.reader()
    }

    fn close(&self) {
        self.backup.end();
        self.journal.close();
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
