//! The tables of alerts in the store's file: what is written there, and what is read again.

use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Result, Row as SqlRow, params, params_from_iter};

use crate::alert::silence::Silence;
use crate::alert::slot::State;
use crate::alert::{message, outbox};
use crate::config::Severity;

/// An alert as the file has it: with the last that was sent of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub id: i64,
    pub rule: String,
    pub key: String,
    pub severity: Severity,
    pub login: Option<String>,
    pub ip: Option<String>,
    pub summary: String,
    /// An object in JSON.
    pub data: String,
    pub count: u64,
    pub first: f64,
    pub last: f64,
    pub state: State,
    pub sent: Option<f64>,
    pub pause: f64,
}

/// Something that the file has to hear of.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An alert is new or is sent again, to the sinks with these names. It takes the place of one that is
    /// over.
    Put(Box<Row>, Vec<Arc<str>>),
    /// One was repeated.
    Count {
        id: i64,
        count: u64,
        last: f64,
        state: State,
    },
    State {
        id: i64,
        state: State,
    },
    /// These sinks are to take back what they did because of an alert.
    TakeBack {
        id: i64,
        sinks: Vec<Arc<str>>,
    },
    Silence(Silence),
    Unsilence {
        rule: String,
        key: String,
    },
}

/// Writes what was decided at the second `at`.
pub fn write(file: &Connection, changes: &[Change], at: f64) -> Result<()> {
    for change in changes {
        match change {
            Change::Put(row, sinks) => put(file, row, sinks, at)?,
            Change::Count { id, count, last, state } => {
                let count = *count as i64;
                file.prepare_cached("UPDATE alert SET count = ?2, last = ?3, state = ?4 WHERE id = ?1")?
                    .execute(params![id, count, last, state.name()])?;
            }
            Change::State { id, state } => {
                file.prepare_cached("UPDATE alert SET state = ?2 WHERE id = ?1")?
                    .execute(params![id, state.name()])?;
            }
            Change::TakeBack { id, sinks } => outbox::take_back(file, *id, sinks, at)?,
            Change::Silence(silence) => {
                file.prepare_cached("INSERT OR REPLACE INTO silence (rule, key, until) VALUES (?1, ?2, ?3)")?
                    .execute(params![silence.rule, silence.key, silence.until])?;
            }
            Change::Unsilence { rule, key } => {
                file.prepare_cached("DELETE FROM silence WHERE rule = ?1 AND key = ?2")?
                    .execute([rule, key])?;
            }
        }
    }
    Ok(())
}

fn put(file: &Connection, row: &Row, sinks: &[Arc<str>], at: f64) -> Result<()> {
    let mut put = file.prepare_cached(
        "INSERT OR REPLACE INTO alert
        (id, rule, key, severity, login, ip, summary, data, count, first, last, state, sent, pause)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    put.execute(params![
        row.id,
        row.rule,
        row.key,
        row.severity.name(),
        row.login,
        row.ip,
        row.summary,
        row.data,
        row.count as i64,
        row.first,
        row.last,
        row.state.name(),
        row.sent,
        row.pause,
    ])?;
    if sinks.is_empty() {
        return Ok(());
    }
    let body = message::json(row).to_string();
    let mut send =
        file.prepare_cached("INSERT INTO outbox (sink, login, at, body) VALUES (?1, ?2, ?3, ?4)")?;
    for sink in sinks {
        send.execute(params![&**sink, row.login, at, body])?;
    }
    Ok(())
}

const COLUMNS: &str =
    "id, rule, key, severity, login, ip, summary, data, count, first, last, state, sent, pause";

fn read(row: &SqlRow) -> Result<Row> {
    let text = |at: usize| row.get::<_, String>(at);
    Ok(Row {
        id: row.get(0)?,
        rule: text(1)?,
        key: text(2)?,
        // What nobody writes is nothing to worry about.
        severity: text(3)?.parse().unwrap_or(Severity::Info),
        login: row.get(4)?,
        ip: row.get(5)?,
        summary: text(6)?,
        data: text(7)?,
        count: row.get::<_, i64>(8)? as u64,
        first: row.get(9)?,
        last: row.get(10)?,
        state: State::of(&text(11)?),
        sent: row.get(12)?,
        pause: row.get(13)?,
    })
}

/// Which alerts are asked for, the latest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Those that were repeated after this.
    pub since: Option<f64>,
    pub rule: Option<String>,
    pub login: Option<String>,
    pub limit: u32,
}

/// The alerts that are asked for.
pub fn list(file: &Connection, filter: &Filter) -> Result<Vec<Row>> {
    let conditions = [
        ("last > ?", filter.since.map(Value::Real)),
        ("rule = ?", filter.rule.clone().map(Value::Text)),
        ("login = ?", filter.login.clone().map(Value::Text)),
    ];
    let (mut find, mut values) = (format!("SELECT {COLUMNS} FROM alert WHERE true"), Vec::new());
    for (condition, value) in conditions {
        if let Some(value) = value {
            find += &format!(" AND {condition}");
            values.push(value);
        }
    }
    find += " ORDER BY last DESC, id DESC LIMIT ?";
    values.push(Value::Integer(filter.limit.into()));
    file.prepare_cached(&find)?.query_map(params_from_iter(values), read)?.collect()
}

/// The alert with a number.
pub fn find(file: &Connection, id: i64) -> Result<Option<Row>> {
    let find = format!("SELECT {COLUMNS} FROM alert WHERE id = ?1");
    file.prepare_cached(&find)?.query_row([id], read).optional()
}

/// Gives each alert that is not closed, those first that were not repeated for longest.
pub fn each_open(file: &Connection, mut take: impl FnMut(Row)) -> Result<()> {
    let find = format!("SELECT {COLUMNS} FROM alert WHERE state != 'closed' ORDER BY last, id");
    let mut find = file.prepare(&find)?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        take(read(row)?);
    }
    Ok(())
}

/// The number of the last alert that ever was.
pub fn last_id(file: &Connection) -> Result<i64> {
    let find = "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'alert'), 0),
        coalesce((SELECT max(id) FROM alert), 0))";
    file.query_row(find, [], |row| row.get(0))
}

pub fn silences(file: &Connection) -> Result<Vec<Silence>> {
    let mut find = file.prepare("SELECT rule, key, until FROM silence")?;
    let rows =
        find.query_map([], |row| Ok(Silence { rule: row.get(0)?, key: row.get(1)?, until: row.get(2)? }))?;
    rows.collect()
}

/// Closes the alerts that are over by `now`.
pub fn close_over(file: &Connection, now: f64) -> Result<()> {
    let close = "UPDATE alert SET state = 'closed' WHERE state != 'closed' AND last + max(pause, 86400) < ?1";
    file.execute(close, [now]).map(drop)
}

/// How long an alert is kept after its last repetition, in seconds.
const KEPT: f64 = 90.0 * 86_400.0;

/// Alerts that are kept at most, and that are removed at a time.
const MOST: i64 = 1_000_000;
const STEP: i64 = 1000;

/// Removes alerts that nobody has to know any more, some at a time.
pub fn thin(file: &Connection, now: f64) -> Result<()> {
    let remove = "DELETE FROM alert WHERE id IN
        (SELECT id FROM alert WHERE last < ?1 ORDER BY last LIMIT ?2)";
    file.execute(remove, params![now - KEPT, STEP])?;
    let many: i64 = file.query_row("SELECT count(*) FROM alert", [], |row| row.get(0))?;
    let surplus = (many - MOST).clamp(0, STEP);
    if surplus > 0 {
        file.execute(
            "DELETE FROM alert WHERE id IN (SELECT id FROM alert ORDER BY last LIMIT ?1)",
            [surplus],
        )?;
    }
    Ok(())
}

/// The rules and keys of the alerts of a login.
pub fn keys_of(file: &Connection, login: &str) -> Result<Vec<(String, String)>> {
    let mut find = file.prepare("SELECT rule, key FROM alert WHERE login = ?1")?;
    find.query_map([login], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Removes every trace of a login, so that it can't be found in the file either.
pub fn forget(file: &Connection, login: &str) -> Result<()> {
    file.pragma_update(None, "secure_delete", "ON")?;
    file.execute("DELETE FROM alert WHERE login = ?1", [login])?;
    file.execute("DELETE FROM outbox WHERE login = ?1", [login])?;
    file.pragma_update(None, "secure_delete", "FAST")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    fn row(id: i64, rule: &str, key: &str, last: f64) -> Row {
        Row {
            id,
            rule: rule.into(),
            key: key.into(),
            severity: Severity::High,
            login: Some(key.into()),
            ip: None,
            summary: "too much".into(),
            data: r#"{"n":1}"#.into(),
            count: 2,
            first: 1.5,
            last,
            state: State::Open,
            sent: Some(1.5),
            pause: 3600.0,
        }
    }

    fn ids(file: &Connection, filter: &Filter) -> Vec<i64> {
        list(file, filter).unwrap().iter().map(|row| row.id).collect()
    }

    #[test]
    fn what_was_written_is_read_again() {
        let file = store::memory_aside().unwrap();
        let put = |row: &Row, sinks: &[&str]| {
            Change::Put(Box::new(row.clone()), sinks.iter().map(|name| Arc::from(*name)).collect())
        };
        let (joe, ann) = (row(1, "spray", "joe", 10.0), row(2, "travel", "ann", 20.0));
        write(&file, &[put(&joe, &["a", "b"]), put(&ann, &[])], 5.0).unwrap();
        assert_eq!(find(&file, 1).unwrap(), Some(joe.clone()));
        let all = Filter { limit: 10, ..Filter::default() };
        for (filter, expected) in [
            (all.clone(), vec![2, 1]),
            (Filter { limit: 1, ..Filter::default() }, vec![2]),
            (Filter { since: Some(10.0), ..all.clone() }, vec![2]),
            (Filter { rule: Some("spray".into()), ..all.clone() }, vec![1]),
            (Filter { login: Some("ann".into()), rule: Some("spray".into()), ..all.clone() }, vec![]),
        ] {
            assert_eq!(ids(&file, &filter), expected, "{filter:?}");
        }
        let count = Change::Count { id: 1, count: 7, last: 30.0, state: State::Silenced };
        write(&file, &[count, Change::State { id: 2, state: State::Closed }], 6.0).unwrap();
        let mut open = Vec::new();
        each_open(&file, |row| open.push(row)).unwrap();
        assert_eq!(open, [Row { count: 7, last: 30.0, state: State::Silenced, ..joe.clone() }]);
        // What begins anew takes the place of what is over, with another number.
        write(&file, &[put(&Row { id: 3, ..ann }, &[])], 7.0).unwrap();
        assert_eq!((ids(&file, &all), last_id(&file).unwrap()), (vec![1, 3], 3));
        assert_eq!(keys_of(&file, "joe").unwrap(), [("spray".to_owned(), "joe".to_owned())]);
        forget(&file, "joe").unwrap();
        let left: i64 = file.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).unwrap();
        assert_eq!((ids(&file, &all), left), (vec![3], 0));
    }

    #[test]
    fn what_is_over_is_closed_and_what_is_old_removed() {
        let file = store::memory_aside().unwrap();
        let long = Row { pause: 10.0 * 86_400.0, ..row(2, "x", "b", 0.0) };
        for row in [row(1, "x", "a", 0.0), long, row(3, "x", "c", 86_400.0)] {
            write(&file, &[Change::Put(Box::new(row), Vec::new())], 0.0).unwrap();
        }
        close_over(&file, 86_401.0).unwrap();
        let state = |id| find(&file, id).unwrap().unwrap().state;
        assert_eq!([1, 2, 3].map(state), [State::Closed, State::Open, State::Open]);
        thin(&file, KEPT + 1.0).unwrap();
        assert_eq!(ids(&file, &Filter { limit: 10, ..Filter::default() }), [3]);
        thin(&file, 2.0 * KEPT).unwrap();
        assert_eq!(last_id(&file).unwrap(), 3, "no number comes again");
    }

    #[test]
    fn a_silence_takes_the_place_of_another() {
        let file = store::memory_aside().unwrap();
        let silence = |until| Silence { rule: "x".into(), key: "*".into(), until };
        write(&file, &[Change::Silence(silence(1.0)), Change::Silence(silence(2.0))], 0.0).unwrap();
        assert_eq!(silences(&file).unwrap(), [silence(2.0)]);
        write(&file, &[Change::Unsilence { rule: "x".into(), key: "*".into() }], 0.0).unwrap();
        assert_eq!(silences(&file).unwrap(), []);
    }
}
