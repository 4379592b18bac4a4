//! What is kept beside the reports for a while, in tables that the files of both stores have: reports that
//! have not run ("pending") and the deliveries of the last hour ("delivery").

use rusqlite::{Connection, Result, params};

use crate::store::deliveries::{Deliveries, MEMORY};
use crate::store::journal::ReportId;
use crate::store::record::Seconds;

/// Deliveries that are looked at when some are to be forgotten.
const STEP: u32 = 200;

/// Reports that have run need not be kept. Sorts their numbers.
pub fn let_go(file: &Connection, done: &mut [ReportId]) -> Result<()> {
    done.sort_unstable();
    let mut delete = file.prepare_cached("DELETE FROM pending WHERE id BETWEEN ?1 AND ?2")?;
    for run in done.chunk_by(|a, b| a + 1 == *b) {
        delete.execute([run[0], run[run.len() - 1]])?;
    }
    Ok(())
}

/// How often a report is tried that was not run to its end: what ends the process each time must not keep
/// it from ever starting.
const TRIES: u32 = 10;

/// Notes that those after one and up to another are tried again. Those behind them are not, whatever ends
/// the process before it is their turn.
pub fn try_again(file: &Connection, after: ReportId, last: ReportId) -> Result<usize> {
    file.execute("UPDATE pending SET tries = tries + 1 WHERE id > ?1 AND id <= ?2", [after, last])
}

/// Gives up reports that were tried too often, because the process has ended each time.
pub fn give_up(file: &Connection) -> Result<()> {
    let given_up = file.execute("DELETE FROM pending WHERE tries >= ?1", [TRIES])?;
    if given_up > 0 {
        log::error!("{given_up} reports are not run: the process has ended each time that they were to");
    }
    Ok(())
}

/// Writes something that stays nowhere, to see whether that works.
pub fn try_to_write(file: &Connection) -> Result<()> {
    file.execute("INSERT INTO meta VALUES ('trial', zeroblob(1000))", [])?;
    file.execute("DELETE FROM meta WHERE name = 'trial'", []).map(drop)
}

/// Remembers with which delivery a report came.
pub fn note_delivery(file: &Connection, id: ReportId, hash: u64, now: Seconds) -> Result<()> {
    let mut note = file.prepare_cached("INSERT OR REPLACE INTO delivery VALUES (?1, ?2, ?3)")?;
    note.execute(params![id, hash as i64, now]).map(drop)
}

/// Forgets deliveries of before the last hour, some at a time.
pub fn forget_deliveries(file: &Connection, now: Seconds) -> Result<()> {
    let forget =
        "DELETE FROM delivery WHERE id IN (SELECT id FROM delivery ORDER BY id LIMIT ?2) AND at < ?1";
    file.prepare_cached(forget)?.execute(params![now.saturating_sub(MEMORY), STEP]).map(drop)
}

/// The deliveries of the last hour.
pub fn deliveries(file: &Connection, now: Seconds) -> Result<Deliveries> {
    let mut known = Deliveries::default();
    let mut find = file.prepare("SELECT hash, at FROM delivery WHERE at >= ?1 ORDER BY id")?;
    let mut rows = find.query([now.saturating_sub(MEMORY)])?;
    while let Some(row) = rows.next()? {
        known.insert(row.get::<_, i64>(0)? as u64, row.get(1)?);
    }
    Ok(known)
}
