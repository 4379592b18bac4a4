//! What sinks are still to get: rows of the file, taken in their order and removed when they are delivered.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Result, params};
use serde_json::{Value, json};

use crate::net::crypto;

/// What the body of a parcel has as its type if it says that an alert, whose number it has as "id", is not
/// to be answered to any more.
pub const TAKE_BACK: &str = "take_back";

/// An alert on its way to a sink.
#[derive(Clone, Debug, PartialEq)]
pub struct Parcel {
    pub id: i64,
    /// The second it was put in the outbox.
    pub at: f64,
    /// An object in JSON.
    pub body: String,
}

impl Parcel {
    /// What a receiver knows it by: the same at every attempt, and never that of another.
    pub fn name(&self, sink: &str) -> String {
        crypto::hash(format!("{sink} {} {} {}", self.id, self.at, self.body).as_bytes())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// The first for a sink after the one with a number.
pub fn after(file: &Connection, sink: &str, after: i64) -> Result<Option<Parcel>> {
    let find = "SELECT id, at, body FROM outbox WHERE sink = ?1 AND id > ?2 ORDER BY id LIMIT 1";
    file.prepare_cached(find)?.query_row(params![sink, after], parcel).optional()
}

/// The one with a number.
pub fn with_id(file: &Connection, id: i64) -> Result<Option<Parcel>> {
    let find = "SELECT id, at, body FROM outbox WHERE id = ?1";
    file.prepare_cached(find)?.query_row([id], parcel).optional()
}

fn parcel(row: &rusqlite::Row) -> Result<Parcel> {
    Ok(Parcel { id: row.get(0)?, at: row.get(1)?, body: row.get(2)? })
}

/// Has sinks take back what they have done because of an alert.
pub fn take_back(file: &Connection, alert: i64, sinks: &[Arc<str>], at: f64) -> Result<()> {
    let body = json!({ "type": TAKE_BACK, "id": alert }).to_string();
    let mut put = file.prepare_cached("INSERT INTO outbox (sink, at, body) VALUES (?1, ?2, ?3)")?;
    sinks.iter().try_for_each(|sink| put.execute(params![&**sink, at, body]).map(drop))
}

/// How many there are for a sink.
pub fn count(file: &Connection, sink: &str) -> Result<u64> {
    let count = "SELECT count(*) FROM outbox WHERE sink = ?1";
    file.prepare_cached(count)?.query_row([sink], |row| row.get::<_, i64>(0)).map(|count| count as u64)
}

/// Removes those that are delivered.
pub fn remove(file: &Connection, ids: &[i64]) -> Result<()> {
    let mut remove = file.prepare_cached("DELETE FROM outbox WHERE id = ?1")?;
    ids.iter().try_for_each(|id| remove.execute([id]).map(drop))
}

/// Removes those for a sink that were put there before a second.
pub fn remove_before(file: &Connection, sink: &str, at: f64) -> Result<usize> {
    file.prepare_cached("DELETE FROM outbox WHERE sink = ?1 AND at < ?2")?.execute(params![sink, at])
}

/// Removes the first ones for a sink.
pub fn remove_first(file: &Connection, sink: &str, many: u64) -> Result<usize> {
    let remove =
        "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE sink = ?1 ORDER BY id LIMIT ?2)";
    file.prepare_cached(remove)?.execute(params![sink, many as i64])
}

/// Removes those for sinks that are not among these, and were put there before a second.
pub fn remove_others(file: &Connection, sinks: &[Arc<str>], at: f64) -> Result<usize> {
    let names = serde_json::to_string(&sinks.iter().map(|name| &**name).collect::<Vec<_>>());
    let remove = "DELETE FROM outbox WHERE at < ?1 AND sink NOT IN (SELECT value FROM json_each(?2))";
    file.execute(remove, params![at, names.unwrap_or_default()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    #[test]
    fn rows_are_taken_in_their_order_and_removed() {
        let file = store::memory_aside().unwrap();
        for (sink, at) in [("a", 1.0), ("b", 2.0), ("a", 3.0), ("a", 4.0), ("c", 5.0)] {
            file.execute("INSERT INTO outbox (sink, at, body) VALUES (?1, ?2, '{}')", params![sink, at])
                .unwrap();
        }
        let next = |last: i64| after(&file, "a", last).unwrap().map(|parcel| parcel.id);
        assert_eq!([next(0), next(1), next(3), next(4)], [Some(1), Some(3), Some(4), None]);
        let parcel = with_id(&file, 3).unwrap().unwrap();
        assert_eq!((parcel.at, parcel.name("a") == parcel.name("b")), (3.0, false));
        assert_eq!(parcel.name("a"), with_id(&file, 3).unwrap().unwrap().name("a"));
        assert_eq!((count(&file, "a").unwrap(), remove_before(&file, "a", 2.0).unwrap()), (3, 1));
        assert_eq!(remove_first(&file, "a", 1).unwrap(), 1);
        remove(&file, &[4, 99]).unwrap();
        assert_eq!(count(&file, "a").unwrap(), 0);
        assert_eq!(remove_others(&file, &[Arc::from("b")], 5.0).unwrap(), 0);
        assert_eq!(remove_others(&file, &[Arc::from("b")], 5.5).unwrap(), 1);
        assert_eq!((count(&file, "b").unwrap(), count(&file, "c").unwrap()), (1, 0));
    }
}
