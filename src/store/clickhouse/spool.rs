//! Where reports are until the server has them: a file of SQLite, committed before a report is
//! acknowledged. It says also how far the sender is.

use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::{Connection, Error, Params, Result, Row as SqlRow, params};

use crate::net::crypto::HashKey;
use crate::store::Pending;
use crate::store::arrival::Arrival;
use crate::store::clickhouse::backlog::Backlog;
use crate::store::clickhouse::row::Row;
use crate::store::history::Mark;
use crate::store::journal::file::{Form, StoreFile, give_back, overwrite};
use crate::store::journal::writer::{Chores, Intake};
use crate::store::journal::{ASIDE, ReportId, marks};
use crate::store::query::Memory;
use crate::store::record::Record;

/// What says that a file is a spool ("TrSp"), and what makes its tables.
pub const FORM: Form = Form {
    application: 0x5472_5370,
    migrations: &[include_str!("spool.sql"), ASIDE],
    what: "spool of a report store in ClickHouse",
};

/// Reports of a batch at most, and bytes: beyond 10 MB the server would take it in pieces.
pub const ROWS: u32 = 10_000;
const BYTES: usize = 8 << 20;

/// Days that a batch is about at most. The server refuses more than a hundred at a time.
const DAYS: usize = 50;

/// Pages that a step gives back.
const PAGES: u32 = 200;

/// Takes reports in.
pub struct Spool {
    file: Connection,
    key: HashKey,
    backlog: Arc<Backlog>,
}

impl Spool {
    pub fn open(file: &StoreFile, is_durable: bool, backlog: Arc<Backlog>) -> crate::error::Result<Spool> {
        let connection = file.writer(is_durable)?;
        let key = file.key(&connection)?;
        let mut spool = Spool { file: connection, key, backlog };
        spool.begin_again().map_err(|e| file.failed(e))?;
        Ok(spool)
    }

    /// Adds a report, which is not kept for any other purpose than to be sent.
    pub fn add(&mut self, record: &Record) -> Result<ReportId> {
        let row = Row::of(record);
        let text = serde_json::to_string(&row).map_err(|e| Error::ToSqlConversionFailure(Box::new(e)))?;
        let mut add = self.file.prepare_cached("INSERT INTO spool (login, day, row) VALUES (?1, ?2, ?3)")?;
        let id = add.insert(params![record.login.as_str(), row.day(), text])?;
        self.backlog.add(text.len());
        Ok(id)
    }

    /// Adds reports that are not to run, and the mark that goes with them.
    pub fn load(&mut self, records: &[Record], mark: Option<&Mark>) -> Result<()> {
        records.iter().try_for_each(|record| self.add(record).map(drop))?;
        mark.map_or(Ok(()), |mark| marks::put(&self.file, mark))
    }

    /// An attempt to send a batch begins.
    pub fn begin_attempt(&mut self, last: ReportId, attempt: u64) -> Result<()> {
        set(&self.file, "batch", last)?;
        set(&self.file, "attempt", attempt as i64)
    }

    /// The server has a batch.
    pub fn end_batch(&mut self, last: ReportId) -> Result<()> {
        let count = "SELECT count(*), coalesce(sum(length(row)), 0) FROM spool WHERE id <= ?1";
        let (rows, bytes) = counts(&self.file, count, [last])?;
        self.file.prepare_cached("DELETE FROM spool WHERE id <= ?1")?.execute([last])?;
        set(&self.file, "batch", 0)?;
        self.backlog.remove(rows, bytes);
        Ok(())
    }

    /// Forgets what is here of a login: how many rows that were.
    pub fn forget(&mut self, login: &str) -> Result<u64> {
        overwrite(&self.file, true)?;
        let rows = self.file.execute("DELETE FROM spool WHERE login = ?1", [login])?;
        self.file.execute("DELETE FROM pending WHERE login = ?1", [login])?;
        overwrite(&self.file, false)?;
        self.begin_again()?;
        Ok(rows as u64)
    }
}

impl Intake for Spool {
    fn file(&self) -> &Connection {
        &self.file
    }

    fn key(&self) -> &HashKey {
        &self.key
    }

    fn refusal(&self) -> Option<String> {
        self.backlog.refusal()
    }

    fn take(&mut self, arrival: &Arrival) -> Result<(ReportId, Option<Arc<dyn Memory>>)> {
        let id = self.add(&arrival.record)?;
        let mut keep = self.file.prepare_cached("INSERT INTO pending VALUES (?1, ?2, ?3, 0)")?;
        keep.execute(params![id, arrival.record.login.as_str(), arrival.body])?;
        Ok((id, None))
    }

    fn after_reports(&mut self) -> Result<()> {
        Ok(())
    }

    fn begin_again(&mut self) -> Result<()> {
        let count = "SELECT count(*), coalesce(sum(length(row)), 0) FROM spool";
        let (rows, bytes) = counts(&self.file, count, [])?;
        self.backlog.set(rows, bytes);
        Ok(())
    }

    fn before_end(&mut self) -> Result<()> {
        Ok(())
    }
}

fn counts(file: &Connection, find: &str, which: impl Params) -> Result<(u64, u64)> {
    let number = |row: &SqlRow, at| row.get::<_, i64>(at).map(|number| number as u64);
    file.query_row(find, which, |row| Ok((number(row, 0)?, number(row, 1)?)))
}

fn set(file: &Connection, name: &str, value: i64) -> Result<()> {
    let mut set = file.prepare_cached("UPDATE meta SET value = ?2 WHERE name = ?1")?;
    set.execute(params![name, value]).map(drop)
}

/// Gives back what the spool does not need any more.
pub struct SpoolChores;

impl Chores<Spool> for SpoolChores {
    fn after_commit(&mut self) {}

    fn step(&mut self, spool: &mut Spool) -> Result<()> {
        give_back(&spool.file, PAGES)
    }
}

/// What the server knows the spool by.
pub fn host(file: &Connection) -> Result<String> {
    file.query_row("SELECT value FROM meta WHERE name = 'host'", [], |row| row.get(0))
}

/// The last report of the batch that is on its way, and the number of the last attempt.
pub fn progress(file: &Connection) -> Result<(Option<ReportId>, u64)> {
    let mut find = file.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let mut number = |name: &str| find.query_row([name], |row| row.get::<_, i64>(0));
    let (batch, attempt) = (number("batch")?, number("attempt")?);
    Ok(((batch > 0).then_some(batch), attempt as u64))
}

/// A report to be sent.
pub struct Waiting {
    pub id: ReportId,
    pub day: u32,
    /// An object in JSON.
    pub row: String,
}

/// The reports of the batch that ends with `last`, or those that the next batch may have.
pub fn batch(file: &Connection, last: Option<ReportId>) -> Result<Vec<Waiting>> {
    let mut find =
        file.prepare_cached("SELECT id, day, row FROM spool WHERE id <= ?1 ORDER BY id LIMIT ?2")?;
    let mut rows = find.query(params![last.unwrap_or(ReportId::MAX), ROWS])?;
    let (mut batch, mut days, mut bytes) = (Vec::new(), BTreeSet::new(), 0);
    while let Some(row) = rows.next()? {
        let waiting = Waiting { id: row.get(0)?, day: row.get(1)?, row: row.get(2)? };
        days.insert(waiting.day);
        bytes += waiting.row.len();
        if last.is_none() && !batch.is_empty() && (days.len() > DAYS || bytes > BYTES) {
            break;
        }
        batch.push(waiting);
    }
    Ok(batch)
}

/// At most `limit` reports that have not run, after the one with a number and up to another one.
pub fn pending(file: &Connection, after: ReportId, last: ReportId, limit: u32) -> Result<Vec<Pending>> {
    let find = "SELECT id, body FROM pending WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3";
    let mut find = file.prepare(find)?;
    let rows = find.query_map(params![after, last, limit], |row| {
        Ok(Pending { id: row.get(0)?, body: row.get(1)?, before: None })
    })?;
    rows.collect()
}
