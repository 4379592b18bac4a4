//! Saving what can be saved of a damaged file into a new one.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Result, Statement, params_from_iter};

use crate::error::Error;
use crate::store::journal::file::StoreFile;
use crate::store::query::HOUR;
use crate::store::sqlite::FORM;

/// Tables whose rows have a number, and those whose rows belong to an hour.
const NUMBERED: [&str; 9] =
    ["login", "client", "raw", "pending", "delivery", "alert", "silence", "outbox", "blocked"];
const HOURLY: [&str; 3] = ["failures", "source", "platform"];

/// Numbers of rows and hours are less.
const END: i64 = 1 << 62;

/// What was saved of a table.
#[derive(Debug, PartialEq, Eq)]
pub struct Saved {
    pub table: &'static str,
    pub rows: u64,
    /// How often something in between could not be read.
    pub gaps: u64,
}

/// Saves what can be saved of the store `damaged` into a new file beside it; what that was, for the operator.
pub fn repair(damaged: &Path) -> crate::error::Result<String> {
    let (path, saved) = save(damaged)?;
    let mut text = String::new();
    for Saved { table, rows, gaps } in saved {
        let gaps = if gaps > 0 { format!(", {gaps} gaps") } else { String::new() };
        text += &format!("{table}: {rows} rows{gaps}\n");
    }
    Ok(text + &format!("saved in {}: put it in the place of {}\n", path.display(), damaged.display()))
}

/// Saves into a new file, whose name is returned.
pub fn save(damaged: &Path) -> crate::error::Result<(PathBuf, Vec<Saved>)> {
    fs::metadata(damaged).map_err(Error::io(damaged))?;
    let mut name = damaged.as_os_str().to_owned();
    name.push(".repaired");
    let path = PathBuf::from(name);
    if path.exists() {
        return Err(Error::Refused(format!("{}: is there already", path.display())));
    }
    // Nothing else may write to it meanwhile, and what is in its write-ahead log counts.
    let _lock = StoreFile::lock(damaged)?;
    let old = Connection::open_with_flags(damaged, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .map_err(|e| Error::Store(format!("{}: {e}", damaged.display())))?;
    let file = StoreFile::open(&path, &FORM)?;
    let mut new = file.writer(false)?;
    let mut copy = || {
        let step = new.transaction()?;
        let mut saved =
            vec![whole(&old, &step, "meta")?, whole(&old, &step, "egress")?, whole(&old, &step, "episode")?];
        for table in NUMBERED {
            saved.push(table_of(&old, &step, table, "id", 1)?);
        }
        for table in HOURLY {
            saved.push(table_of(&old, &step, table, "hour", HOUR.into())?);
        }
        numbers(&old, &step)?;
        step.commit()?;
        Ok(saved)
    };
    let saved = copy().map_err(|e| file.failed(e))?;
    Ok((path, saved))
}

/// Copies a small table whole or not at all. Without the key in "meta", counts of before and after can't be
/// told apart; what is counted from the reports is counted again then.
fn whole(old: &Connection, new: &Connection, table: &'static str) -> Result<Saved> {
    let read = || -> Result<Vec<Vec<Value>>> {
        let mut find = old.prepare(&format!("SELECT * FROM {table}"))?;
        let columns = find.column_count();
        find.query_map([], |row| (0..columns).map(|column| row.get(column)).collect())?.collect()
    };
    let (rows, gaps) = match read() {
        Ok(rows) => (rows, 0),
        Err(e) => (Vec::new(), u64::from(!is_missing(&e))),
    };
    for row in &rows {
        let places = vec!["?"; row.len()].join(", ");
        new.execute(
            &format!("INSERT OR REPLACE INTO {table} VALUES ({places})"),
            params_from_iter(row.iter().cloned()),
        )?;
    }
    Ok(Saved { table, rows: rows.len() as u64, gaps })
}

/// Whether a table is not there: an older version had none.
fn is_missing(e: &rusqlite::Error) -> bool {
    e.to_string().contains("no such table")
}

/// No row gets the number of one that is gone, as far as the old file can tell.
fn numbers(old: &Connection, new: &Connection) -> Result<()> {
    let read = || -> Result<Vec<(String, i64)>> {
        let mut find = old.prepare("SELECT name, seq FROM sqlite_sequence")?;
        find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    for (name, last) in read().unwrap_or_default() {
        let raise = "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1";
        if new.execute(raise, (&name, last))? == 0 {
            new.execute("INSERT INTO sqlite_sequence VALUES (?1, ?2)", (&name, last))?;
        }
    }
    Ok(())
}

/// Copies the rows of a table in the order of a column, whose values are multiples of `step`.
fn table_of(
    old: &Connection,
    new: &Connection,
    table: &'static str,
    column: &str,
    step: i64,
) -> Result<Saved> {
    let mut saved = Saved { table, rows: 0, gaps: 0 };
    let find = format!("SELECT * FROM {table} WHERE {column} >= ?1 ORDER BY {column}");
    let mut find = match old.prepare(&find) {
        Ok(find) => find,
        Err(e) if is_missing(&e) => return Ok(saved),
        Err(_) => return Ok(Saved { gaps: 1, ..saved }),
    };
    let at = find.column_index(column)?;
    let places = vec!["?"; find.column_count()].join(", ");
    // A row of an hour that was begun before comes again.
    let mut insert = new.prepare(&format!("INSERT OR REPLACE INTO {table} VALUES ({places})"))?;
    let mut next = Some(0);
    while let Some(first) = next {
        next = match rows_from(&mut find, &mut insert, first, at, &mut saved)? {
            None => None,
            Some(reached) => {
                saved.gaps += 1;
                after_gap(&mut find, reached, step)
            }
        };
    }
    let count = format!("SELECT count(*) FROM {table}");
    saved.rows = new.query_row(&count, [], |row| row.get::<_, i64>(0))? as u64;
    Ok(saved)
}

/// Copies rows until the last one, or until one can't be read: where that was.
fn rows_from(
    find: &mut Statement,
    insert: &mut Statement,
    first: i64,
    at: usize,
    saved: &mut Saved,
) -> Result<Option<i64>> {
    let (columns, mut reached) = (find.column_count(), first);
    let Ok(mut rows) = find.query([first]) else { return Ok(Some(reached)) };
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(None),
            Err(_) => return Ok(Some(reached)),
        };
        let values: Result<Vec<Value>> = (0..columns).map(|column| row.get(column)).collect();
        let Ok(values) = values else { return Ok(Some(reached)) };
        if let Value::Integer(number) = values[at] {
            reached = number;
        }
        // What breaks the rules of the table is damaged, too.
        if insert.execute(params_from_iter(values)).is_err() {
            saved.gaps += 1;
        }
    }
}

/// The first value after `reached` from which on something can be read again.
fn after_gap(find: &mut Statement, reached: i64, step: i64) -> Option<i64> {
    let mut can_read = |first: i64| find.query([first]).is_ok_and(|mut rows| rows.next().is_ok());
    let mut distance = step;
    while !can_read(reached + distance) {
        distance *= 2;
        if distance >= END {
            return None;
        }
    }
    let (mut bad, mut good) = (distance / 2, distance);
    while good - bad > step {
        let middle = bad + (good - bad) / 2 / step * step;
        if middle == bad {
            break;
        }
        if can_read(reached + middle) { good = middle } else { bad = middle }
    }
    Some(reached + good)
}
