//! Counts by five minutes become counts by the hour when they are two days old: those of a busy source
//! are large.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Result, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::aggregate::failures::Failures;
use crate::store::aggregate::source::Activity;
use crate::store::aggregate::window::{Counts, Hour};
use crate::store::query::{FINE_HOURS, HOUR};
use crate::store::record::Seconds;
use crate::store::sqlite::packed::Packed;

/// Rows that a step looks at, and bytes of counts up to which one is left as it is.
const ROWS: u32 = 200;
const SMALL: u32 = 256;

/// How far each table is.
pub struct Thinning {
    source: Place,
    failures: Place,
}

/// The last row that was looked at.
struct Place {
    hour: Seconds,
    key: Value,
}

impl Thinning {
    /// Goes on where the last process was.
    pub fn new(file: &Connection) -> Result<Thinning> {
        let find = "SELECT value FROM meta WHERE name = 'thinned'";
        let hour = file.query_row(find, [], |row| row.get(0)).optional()?.unwrap_or_default();
        // Before every row of that hour.
        let place = |key| Place { hour, key };
        Ok(Thinning { source: place(Value::Blob(Vec::new())), failures: place(Value::Integer(0)) })
    }

    pub fn step(&mut self, file: &Connection, now: Seconds) -> Result<()> {
        let before = self.source.hour.min(self.failures.hour);
        let end = (now - now % HOUR).saturating_sub((FINE_HOURS + 1) * HOUR);
        thin::<Activity>(file, "source", "source", &mut self.source, end)?;
        thin::<Failures>(file, "failures", "login", &mut self.failures, end)?;
        let after = self.source.hour.min(self.failures.hour);
        if after != before {
            let note = "INSERT OR REPLACE INTO meta VALUES ('thinned', ?1)";
            file.prepare_cached(note)?.execute([after])?;
        }
        Ok(())
    }
}

/// Looks at the next rows of a table, of hours before `end`.
fn thin<T: Counts + Serialize + DeserializeOwned>(
    file: &Connection,
    table: &str,
    key: &str,
    place: &mut Place,
    end: Seconds,
) -> Result<()> {
    let find = format!(
        "SELECT hour, {key}, length(counts) FROM {table} WHERE (hour, {key}) > (?1, ?2) AND hour < ?3
            ORDER BY hour, {key} LIMIT ?4"
    );
    let mut find = file.prepare_cached(&find)?;
    let rows = find.query_map(params![place.hour, place.key, end, ROWS], |row| {
        Ok((row.get::<_, Seconds>(0)?, row.get::<_, Value>(1)?, row.get::<_, u32>(2)?))
    })?;
    for row in rows.collect::<Result<Vec<_>>>()? {
        let (hour, value, length) = row;
        if length > SMALL {
            let find = format!("SELECT counts FROM {table} WHERE hour = ?1 AND {key} = ?2");
            let counts = file.prepare_cached(&find)?.query_row(params![hour, value], |row| row.get(0));
            let Packed(mut counts): Packed<Hour<T>> = counts?;
            if counts.flatten() {
                let change = format!("UPDATE {table} SET counts = ?3 WHERE hour = ?1 AND {key} = ?2");
                file.prepare_cached(&change)?.execute(params![hour, value, Packed(&counts)])?;
            }
        }
        *place = Place { hour, key: value };
    }
    Ok(())
}
