//! The tables of counts, read and written a row at a time.

use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::store::aggregate::failures::Failures;
use crate::store::aggregate::memory::Memory;
use crate::store::aggregate::platform::Traffic;
use crate::store::aggregate::window::Hour;
use crate::store::journal::ReportId;
use crate::store::record::Seconds;
use crate::store::sqlite::ledger::{
    FailuresKey, Keys, Ledger, LoginRow, PlatformKey, SourceKey, SourceRow, source_bytes,
};
use crate::store::sqlite::packed::Packed;
use crate::store::sqlite::shelf::Shelf;

/// A row with the latest report that it includes.
type Found<T> = Option<(T, ReportId)>;

pub fn login(file: &Connection, name: &str) -> Result<Found<LoginRow>> {
    let mut find =
        file.prepare_cached("SELECT id, memory, head, latest, applied FROM login WHERE name = ?1")?;
    let row = find.query_row([name], |row| {
        let Packed(memory) = row.get::<_, Packed<Memory>>(1)?;
        let (id, head, latest) = (row.get(0)?, row.get(2)?, row.get(3)?);
        let settled = (head, latest);
        Ok((LoginRow { id, memory: Arc::new(memory), head, latest, settled }, row.get(4)?))
    });
    row.optional()
}

/// Makes the row of a login that was never seen.
pub fn add_login(file: &Connection, name: &str) -> Result<LoginRow> {
    let row = LoginRow { id: 0, memory: Arc::default(), head: 0, latest: 0.0, settled: (0, 0.0) };
    let add = "INSERT INTO login (name, memory, applied, head, latest) VALUES (?1, ?2, 0, 0, 0)";
    file.prepare_cached(add)?.execute(params![name, Packed(&*row.memory)])?;
    Ok(LoginRow { id: file.last_insert_rowid(), ..row })
}

pub fn failures(file: &Connection, key: FailuresKey) -> Result<Found<Hour<Failures>>> {
    let mut find =
        file.prepare_cached("SELECT counts, applied FROM failures WHERE hour = ?1 AND login = ?2")?;
    find.query_row([key.0.into(), key.1], |row| Ok((row.get::<_, Packed<_>>(0)?.0, row.get(1)?))).optional()
}

pub fn source(file: &Connection, key: &SourceKey) -> Result<Found<SourceRow>> {
    let find = "SELECT counts, head, applied FROM source WHERE hour = ?1 AND source = ?2";
    let row = file.prepare_cached(find)?.query_row(params![key.0, source_bytes(&key.1)], |row| {
        let (head, settled) = (row.get(1)?, row.get(1)?);
        Ok((SourceRow { counts: row.get::<_, Packed<_>>(0)?.0, head, settled }, row.get(2)?))
    });
    row.optional()
}

pub fn platform(file: &Connection, key: &PlatformKey) -> Result<Found<Traffic>> {
    let find = "SELECT counts, applied FROM platform WHERE hour = ?1 AND part = ?2 AND value = ?3";
    let key = params![key.0, key.1 as u8, key.2.as_str()];
    let row = |row: &rusqlite::Row| Ok((row.get::<_, Packed<_>>(0)?.0, row.get(1)?));
    file.prepare_cached(find)?.query_row(key, row).optional()
}

/// The last hour before of which any source has something.
pub fn hour_before(file: &Connection, hour: Seconds) -> Result<Option<Seconds>> {
    let mut find = file.prepare_cached("SELECT max(hour) FROM source WHERE hour < ?1")?;
    find.query_row([hour], |row| row.get(0))
}

/// Brings the rows that a report changes into the ledger, but that of its login. The ledger is not held
/// while the file is read: nobody else puts rows there.
pub fn fetch(file: &Connection, ledger: &Mutex<Ledger>, keys: &Keys) -> Result<()> {
    let (no_failures, no_sources, no_platform) = {
        let ledger = &mut ledger.lock();
        let no_failures = keys.failures.filter(|key| ledger.failures.get(key).is_none());
        let sources = keys.sources.iter().filter(|key| ledger.sources.get(*key).is_none());
        let no_sources: Vec<SourceKey> = sources.copied().collect();
        let platform = keys.platform.iter().filter(|key| ledger.platform.get(*key).is_none());
        (no_failures, no_sources, platform.cloned().collect::<Vec<_>>())
    };
    if let Some(key) = no_failures {
        let (row, applied) = failures(file, key)?.unwrap_or_default();
        ledger.lock().failures.put(key, row, applied);
    }
    for key in no_sources {
        let (row, applied) = source(file, &key)?.unwrap_or_default();
        ledger.lock().sources.put(key, row, applied);
    }
    for key in no_platform {
        let (row, applied) = platform(file, &key)?.unwrap_or_default();
        ledger.lock().platform.put(key, row, applied);
    }
    Ok(())
}

/// Rows that are taken from the ledger at a time, which is not held while they are written.
const ROUND: usize = 64;

/// Writes rows that have changed, those first that wait longest, until no more than `left` of a table do and
/// none since the report `before`. A few rows that change all the time would wait for ever.
pub fn write(file: &Connection, ledger: &Mutex<Ledger>, left: usize, before: ReportId) -> Result<()> {
    let left = (left, before);
    let change = "UPDATE login SET memory = ?2, applied = ?3, head = ?4, latest = ?5 WHERE id = ?1";
    each(
        left,
        |rows| take(&mut ledger.lock().logins, rows),
        |_, row: LoginRow, applied| {
            let memory = Packed(&*row.memory);
            file.prepare_cached(change)?.execute(params![row.id, memory, applied, row.head, row.latest])
        },
    )?;
    let put = "INSERT OR REPLACE INTO failures VALUES (?1, ?2, ?3, ?4)";
    each(
        left,
        |rows| take(&mut ledger.lock().failures, rows),
        |(hour, login), counts, applied| {
            file.prepare_cached(put)?.execute(params![hour, login, Packed(&counts), applied])
        },
    )?;
    let put = "INSERT OR REPLACE INTO source VALUES (?1, ?2, ?3, ?4, ?5)";
    each(
        left,
        |rows| take(&mut ledger.lock().sources, rows),
        |(hour, source), row: SourceRow, applied| {
            let (source, counts) = (source_bytes(&source), Packed(&row.counts));
            file.prepare_cached(put)?.execute(params![hour, source, counts, applied, row.head])
        },
    )?;
    let put = "INSERT OR REPLACE INTO platform VALUES (?1, ?2, ?3, ?4, ?5)";
    each(
        left,
        |rows| take(&mut ledger.lock().platform, rows),
        |(hour, part, value), counts, applied| {
            let value = value.as_str();
            file.prepare_cached(put)?.execute(params![hour, part as u8, value, Packed(&counts), applied])
        },
    )
}

/// A row to be written, with its key and the latest report that it includes.
type Change<K, V> = (K, V, ReportId);

/// What may wait: so many rows, of which none has since this report.
type Left = (usize, ReportId);

/// Rows of one table that wait to be written, beyond `left`.
fn take<K: Hash + Eq + Clone, V: Clone>(shelf: &mut Shelf<K, V>, (left, before): Left) -> Vec<Change<K, V>> {
    let mut rows = Vec::new();
    while rows.len() < ROUND
        && (shelf.dirty() > left || shelf.first_missing().is_some_and(|first| first <= before))
        && let Some((key, row, applied)) = shelf.take_dirty()
    {
        rows.push((key, row.clone(), applied));
    }
    rows
}

/// Writes what `take` gives as long as there is something.
fn each<K, V>(
    left: Left,
    take: impl Fn(Left) -> Vec<Change<K, V>>,
    write: impl Fn(K, V, ReportId) -> Result<usize>,
) -> Result<()> {
    loop {
        let rows = take(left);
        if rows.is_empty() {
            return Ok(());
        }
        for (key, row, applied) in rows {
            write(key, row, applied)?;
        }
    }
}
