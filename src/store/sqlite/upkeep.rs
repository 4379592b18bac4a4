//! Giving back what is no longer kept, in steps that are too small to be felt.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{Connection, Result, Row, params};

use crate::store::aggregate::memory::Memory;
use crate::store::journal::ReportId;
use crate::store::journal::file::give_back;
use crate::store::journal::writer::Chores;
use crate::store::query::{DAY, HOUR, LONG_HOURS, SOURCE_HOURS};
use crate::store::record::{Seconds, seconds};
use crate::store::sqlite::commit::Books;
use crate::store::sqlite::packed::Packed;
use crate::store::sqlite::thinning::Thinning;

/// Days that reports and what is known of a login are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub raw_days: u32,
    pub profile_days: u32,
}

/// Rows of each table that a step looks at.
const ROWS: u32 = 200;

/// Reports that a step removes at most, and pages that it gives back: twice as many as come in, in a store
/// that takes 10 000 reports a second.
const REPORTS: u32 = 2000;
const PAGES: u32 = 128;

/// Steps from one look at what is in memory to the next.
const LOOK: u32 = 600;

/// What is to be done, and how far it is.
pub struct Upkeep {
    retention: Retention,
    thinning: Thinning,
    /// Before what every login was looked at last, and the last one that was looked at since.
    looked: Seconds,
    login: i64,
    steps: u32,
    /// Whether there was no report since the last step.
    is_quiet: bool,
}

impl Upkeep {
    pub fn new(books: &Books, retention: Retention) -> Result<Upkeep> {
        let thinning = Thinning::new(&books.file)?;
        Ok(Upkeep { retention, thinning, looked: 0, login: 0, steps: 0, is_quiet: true })
    }
}

impl Chores<Books> for Upkeep {
    fn after_commit(&mut self) {
        self.is_quiet = false;
    }

    fn step(&mut self, books: &mut Books) -> Result<()> {
        let now = seconds(SystemTime::now());
        let before = |hours: u32| now.saturating_sub(hours * HOUR);
        let raw = before(self.retention.raw_days * 24);
        // An address leads to its reports.
        let (sources, others) = (raw.min(before(SOURCE_HOURS)), before(LONG_HOURS));
        delete_reports(&books.file, raw, books.applied)?;
        for (table, key, since) in [
            ("failures", "hour, login", others),
            ("source", "hour, source", sources),
            ("platform", "hour, part, value", others),
        ] {
            let first = format!("SELECT {key} FROM {table} ORDER BY {key} LIMIT ?2");
            let delete = format!("DELETE FROM {table} WHERE ({key}) IN ({first}) AND hour < ?1");
            books.file.prepare_cached(&delete)?.execute(params![since, ROWS])?;
        }
        let forget = "DELETE FROM client WHERE id IN (SELECT id FROM client WHERE day < ?1 LIMIT ?2)";
        books.file.prepare_cached(forget)?.execute(params![raw / DAY, ROWS])?;
        self.thinning.step(&books.file, now)?;
        self.look_after_logins(books, before(self.retention.profile_days * 24))?;
        give_back(&books.file, PAGES)?;
        if self.is_quiet {
            books.write_some_counts(ROWS as usize)?;
        }
        self.is_quiet = true;
        if self.steps.is_multiple_of(LOOK) {
            books.ledger.lock().forget_before(sources, others);
        }
        self.steps = self.steps.wrapping_add(1);
        Ok(())
    }
}

impl Upkeep {
    /// Forgets what is known of logins and was not used since, once a day.
    fn look_after_logins(&mut self, books: &Books, since: Seconds) -> Result<()> {
        if since / DAY == self.looked {
            return Ok(());
        }
        let rows = logins_after(&books.file, self.login)?;
        let first: ReportId =
            books.file.query_row("SELECT coalesce(min(id), 0) FROM raw", [], |row| row.get(0))?;
        for login in &rows {
            self.login = login.id;
            let mut ledger = books.ledger.lock();
            if ledger.logins.peek(login.name.as_str()).is_some() {
                // It was used lately, so that something of it stays.
                ledger.logins.edit(login.name.as_str(), books.last + 1, |row| {
                    Arc::make_mut(&mut row.memory).forget_before(since);
                });
                continue;
            }
            drop(ledger);
            let mut memory = login.memory.clone();
            if !memory.forget_before(since) && login.head < first {
                books.file.prepare_cached("DELETE FROM login WHERE id = ?1")?.execute([login.id])?;
            } else if memory != login.memory {
                let change = "UPDATE login SET memory = ?2 WHERE id = ?1";
                books.file.prepare_cached(change)?.execute(params![login.id, Packed(&memory)])?;
            }
        }
        if rows.is_empty() {
            (self.looked, self.login) = (since / DAY, 0);
        }
        Ok(())
    }
}

/// Deletes reports of before a time, in the order of arrival: one that was imported, of long ago, goes with
/// its neighbours. Those that are needed to count again after a crash, which are after `applied`, stay, and
/// so do those that are to be run.
fn delete_reports(file: &Connection, since: Seconds, applied: ReportId) -> Result<()> {
    let find = "SELECT id, t FROM raw WHERE id <= ?1 ORDER BY id LIMIT ?2";
    let mut find = file.prepare_cached(find)?;
    let read = |row: &Row| Ok((row.get::<_, ReportId>(0)?, row.get::<_, f64>(1)?));
    let rows = find.query_map(params![applied, REPORTS], read)?;
    let rows = rows.collect::<Result<Vec<_>>>()?;
    if let Some((last, _)) = rows.iter().take_while(|(_, t)| *t < f64::from(since)).last() {
        let delete = "DELETE FROM raw WHERE id <= ?1 AND id NOT IN (SELECT id FROM pending WHERE id <= ?1)";
        file.prepare_cached(delete)?.execute([last])?;
    }
    Ok(())
}

/// A row of a login, as far as it matters here.
struct Login {
    id: i64,
    name: String,
    memory: Memory,
    head: ReportId,
}

fn logins_after(file: &Connection, id: i64) -> Result<Vec<Login>> {
    let find = "SELECT id, name, memory, head FROM login WHERE id > ?1 ORDER BY id LIMIT ?2";
    let mut find = file.prepare_cached(find)?;
    let rows = find.query_map(params![id, ROWS], |row| {
        let Packed(memory) = row.get(2)?;
        Ok(Login { id: row.get(0)?, name: row.get(1)?, memory, head: row.get(3)? })
    })?;
    rows.collect()
}
