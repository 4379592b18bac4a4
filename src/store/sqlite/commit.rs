//! One transaction: the reports that came in together, and the counts that have waited longest.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use rusqlite::Connection;

use crate::error::Result;
use crate::net::crypto::HashKey;
use crate::store::aggregate::memory::{Memory, Snapshot};
use crate::store::arrival::Arrival;
use crate::store::journal::ReportId;
use crate::store::journal::file::StoreFile;
use crate::store::journal::writer::Intake;
use crate::store::query::{self, DAY};
use crate::store::record::{Record, seconds};
use crate::store::sqlite::ledger::{Before, Keys, Ledger};
use crate::store::sqlite::raw::{self, Clients};
use crate::store::sqlite::{counts, pending, recovery};

/// Rows of a table whose state on disk may be behind.
const DIRTY: usize = 20_000;

/// Reports by which it may be behind. All of them are counted again after a crash, a thousand in some ten
/// milliseconds.
const BEHIND: ReportId = 50_000;

/// What a transaction works on.
pub struct Books {
    pub file: Connection,
    pub ledger: Arc<Mutex<Ledger>>,
    pub clients: Clients,
    pub key: HashKey,
    /// The latest report.
    pub last: ReportId,
    /// The latest one that every count on disk includes.
    pub applied: ReportId,
}

impl Intake for Books {
    fn file(&self) -> &Connection {
        &self.file
    }

    fn key(&self) -> &HashKey {
        &self.key
    }

    fn take(&mut self, arrival: &Arrival) -> rusqlite::Result<(ReportId, Option<Arc<dyn query::Memory>>)> {
        let (id, memory) = self.add(&arrival.record)?;
        pending::keep(&self.file, id, &arrival.body, &memory)?;
        let login = arrival.record.login.clone();
        Ok((id, Some(Arc::new(Snapshot { login, memory }))))
    }

    fn after_reports(&mut self) -> rusqlite::Result<()> {
        self.write_counts()
    }

    fn committed(&mut self) {
        self.ledger.lock().committed = self.last;
    }

    /// The ledger may have counted what the file has not.
    fn begin_again(&mut self) -> rusqlite::Result<()> {
        self.clients.forget();
        recovery::recount(self)
    }

    /// So that the next start has nothing to count again.
    fn before_end(&mut self) -> rusqlite::Result<()> {
        self.write_counts_but(0)
    }
}

impl Books {
    /// Opens the books of a file, and counts what is not in them.
    pub fn open(file: &StoreFile, is_durable: bool) -> Result<Books> {
        let connection = file.writer(is_durable)?;
        let key = file.key(&connection)?;
        let (ledger, clients) = Default::default();
        let mut books = Books { file: connection, ledger, clients, key, last: 0, applied: 0 };
        recovery::recount(&mut books).map_err(|e| file.failed(e))?;
        Ok(books)
    }

    /// Adds a report and counts it; its number, and what was known of its login before.
    pub fn add(&mut self, record: &Record) -> rusqlite::Result<(ReportId, Arc<Memory>)> {
        let id = self.last + 1;
        let (login, before) = self.count(record, id)?;
        // A report of long ago still needs what its client says when it is counted again.
        let today = record.seconds().max(seconds(SystemTime::now())) / DAY;
        let client = self.clients.number(&self.file, record, today)?;
        raw::insert(&self.file, id, login, record, &before, client)?;
        self.last = id;
        Ok((id, before.memory))
    }

    /// Counts a report, unless a row has counted it already.
    pub fn count(&mut self, record: &Record, id: ReportId) -> rusqlite::Result<(i64, Before)> {
        let known = self.ledger.lock().logins.get(record.login.as_str()).map(|row| row.id);
        let login = match known {
            Some(id) => id,
            None => {
                let (row, applied) = match counts::login(&self.file, &record.login)? {
                    Some(found) => found,
                    None => (counts::add_login(&self.file, &record.login)?, 0),
                };
                let id = row.id;
                self.ledger.lock().logins.put(record.login.clone(), row, applied);
                id
            }
        };
        let keys = Keys::of(record, login);
        counts::fetch(&self.file, &self.ledger, &keys)?;
        let before = self.ledger.lock().apply(record, &keys, id, &self.key);
        Ok((login, before.expect("its row was put there")))
    }

    /// Writes counts until no more than the usual number wait.
    pub fn write_counts(&mut self) -> rusqlite::Result<()> {
        self.write_counts_but(DIRTY)
    }

    /// Writes about so many of each table.
    pub fn write_some_counts(&mut self, rows: usize) -> rusqlite::Result<()> {
        let most = self.ledger.lock().most_dirty();
        self.write_counts_but(most.saturating_sub(rows).min(DIRTY))
    }

    /// Writes counts until no more than `left` of a table wait, and notes what the disk has then.
    pub fn write_counts_but(&mut self, left: usize) -> rusqlite::Result<()> {
        counts::write(&self.file, &self.ledger, left, self.last - BEHIND)?;
        let applied = self.ledger.lock().first_missing().map_or(self.last, |first| first - 1);
        if applied != self.applied {
            let note = "UPDATE meta SET value = ?1 WHERE name = 'applied'";
            self.file.prepare_cached(note)?.execute([applied])?;
            self.applied = applied;
        }
        Ok(())
    }
}
