//! The entries on blocklists of others that are there because of alerts: how many were put lately, and
//! which are still to be taken back. A row is there before the entry may be, so that none is forgotten when
//! the process ends in between.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Result, params};

/// The time in which entries are counted, in seconds.
const HOUR: f64 = 3600.0;

/// An entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The number of the parcel it is made of: another attempt is the same entry.
    pub id: i64,
    pub sink: Arc<str>,
    /// The number of the alert.
    pub alert: i64,
    /// An address or a network.
    pub source: String,
    pub at: f64,
    /// When it expires.
    pub until: f64,
}

/// Whether an entry may be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    Yes,
    /// The alert was closed, or is not there any more.
    Closed,
    /// There were as many within the hour as may be.
    TooMany,
}

/// Remembers an entry, of which there may be `most` within an hour. One in the hour to come counts too: it
/// is there when a clock was put back.
pub fn enter(file: &Connection, entry: &Entry, most: u32) -> Result<Entered> {
    let Entry { id, sink, alert, source, at, until } = entry;
    file.prepare_cached("DELETE FROM blocked WHERE until < ?1 AND abs(at - ?1) > ?2")?
        .execute(params![at, HOUR])?;
    let find = "SELECT true FROM alert WHERE id = ?1 AND state != 'closed'";
    if file.prepare_cached(find)?.query_row([alert], |_| Ok(())).optional()?.is_none() {
        return Ok(Entered::Closed);
    }
    let count = "SELECT count(*) FROM blocked WHERE sink = ?1 AND id != ?2 AND abs(at - ?3) < ?4";
    let count: u32 =
        file.prepare_cached(count)?.query_row(params![&**sink, id, at, HOUR], |row| row.get(0))?;
    if count >= most {
        return Ok(Entered::TooMany);
    }
    let put =
        "INSERT OR REPLACE INTO blocked (id, sink, alert, source, at, until) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    file.prepare_cached(put)?.execute(params![id, &**sink, alert, source, at, until])?;
    Ok(Entered::Yes)
}

/// The sinks with entries of an alert that have not expired by `now`.
pub fn sinks(file: &Connection, alert: i64, now: f64) -> Result<Vec<Arc<str>>> {
    let find = "SELECT DISTINCT sink FROM blocked WHERE alert = ?1 AND until > ?2";
    let mut find = file.prepare_cached(find)?;
    find.query_map(params![alert, now], |row| row.get::<_, String>(0).map(Arc::from))?.collect()
}

/// The sources that a sink has of an alert and that have not expired, each with the number of another alert
/// that wants it blocked, if there is one.
pub fn sources(file: &Connection, sink: &str, alert: i64, now: f64) -> Result<Vec<(String, Option<i64>)>> {
    let find = "SELECT DISTINCT source,
            (SELECT other.alert FROM blocked AS other JOIN alert ON alert.id = other.alert
            WHERE other.sink = blocked.sink AND other.source = blocked.source AND other.until > ?3
            AND other.alert != ?2 AND state != 'closed')
        FROM blocked WHERE sink = ?1 AND alert = ?2 AND until > ?3";
    let mut find = file.prepare_cached(find)?;
    find.query_map(params![sink, alert, now], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// A source of an alert is not blocked any more because of it. It counts still for the hour.
pub fn end(file: &Connection, sink: &str, alert: i64, source: &str, now: f64) -> Result<()> {
    let end = "UPDATE blocked SET until = ?4 WHERE sink = ?1 AND alert = ?2 AND source = ?3 AND until > ?4";
    file.prepare_cached(end)?.execute(params![sink, alert, source, now]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    /// A file with alerts of these numbers, of which the last is closed.
    fn file(alerts: i64) -> Connection {
        let file = store::memory_aside().unwrap();
        for id in 1..=alerts {
            let state = if id == alerts { "closed" } else { "open" };
            let put =
                "INSERT INTO alert VALUES (?1, 'spray', ?1, 'high', NULL, NULL, '', '{}', 1, 0, 0, ?2, 0, 0)";
            file.execute(put, params![id, state]).unwrap();
        }
        file
    }

    fn entry(id: i64, alert: i64, at: f64) -> Entry {
        let source = format!("192.0.2.{alert}");
        Entry { id, sink: "wforce:x".into(), alert, source, at, until: at + 2.0 * HOUR }
    }

    #[test]
    fn within_an_hour_there_are_so_many_and_no_more() {
        let file = file(9);
        let enter = |id: i64, at: f64| enter(&file, &entry(id, id, at), 2).unwrap();
        assert_eq!(
            [enter(1, 0.0), enter(2, 100.0), enter(3, 200.0)],
            [Entered::Yes, Entered::Yes, Entered::TooMany]
        );
        assert_eq!(enter(2, 200.0), Entered::Yes, "another attempt is the same entry");
        end(&file, "wforce:x", 2, "192.0.2.2", 300.0).unwrap();
        assert_eq!(enter(3, 3599.0), Entered::TooMany, "what was taken back counts");
        assert_eq!([enter(3, 3600.0), enter(4, 3700.0)], [Entered::Yes, Entered::TooMany]);
        assert_eq!(enter(5, 3801.0), Entered::Yes);
        let other = Entry { sink: "wforce:y".into(), ..entry(6, 6, 3801.0) };
        assert_eq!(super::enter(&file, &other, 2).unwrap(), Entered::Yes, "each list has its own");
        // The clock was put back by a day.
        assert_eq!(enter(7, -86_400.0), Entered::Yes);
        assert_eq!([enter(9, 90_000.0), enter(10, 90_000.0)], [Entered::Closed, Entered::Closed]);
        let left: i64 = file.query_row("SELECT count(*) FROM blocked", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "what has expired is forgotten");
    }

    #[test]
    fn what_is_blocked_is_found_until_it_expires_or_is_taken_back() {
        let file = file(9);
        let also = Entry { sink: "wforce:y".into(), ..entry(2, 1, 0.0) };
        let again = Entry { source: "192.0.2.1".into(), ..entry(3, 2, 0.0) };
        let closed = Entry { source: "192.0.2.1".into(), ..entry(4, 9, 0.0) };
        for entry in [&entry(1, 1, 0.0), &also, &again] {
            assert_eq!(enter(&file, entry, 9).unwrap(), Entered::Yes);
        }
        assert_eq!(enter(&file, &closed, 9).unwrap(), Entered::Closed);
        assert_eq!(sinks(&file, 1, 10.0).unwrap(), ["wforce:x", "wforce:y"].map(Arc::from));
        let found = |sink: &str, alert| sources(&file, sink, alert, 10.0).unwrap();
        let source = || "192.0.2.1".to_owned();
        assert_eq!(found("wforce:x", 1), [(source(), Some(2))]);
        assert_eq!(found("wforce:x", 2), [(source(), Some(1))]);
        assert_eq!(found("wforce:y", 1), [(source(), None)]);
        end(&file, "wforce:x", 2, "192.0.2.1", 10.0).unwrap();
        assert_eq!((found("wforce:x", 1), found("wforce:x", 2)), (vec![(source(), None)], vec![]));
        assert_eq!(sinks(&file, 1, 2.0 * HOUR).unwrap(), []);
    }
}
