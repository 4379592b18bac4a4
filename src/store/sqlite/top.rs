//! Who has most. That reads every row of the time in question, so it is for background functions.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use parking_lot::Mutex;
use rusqlite::{Row, params};

use crate::error::Result;
use crate::store::aggregate::failures::Failures;
use crate::store::aggregate::platform::Traffic;
use crate::store::aggregate::source::Activity;
use crate::store::aggregate::window::{Counts, Hour};
use crate::store::query::{By, Part, Source, TopQuery, TopRow, Window};
use crate::store::record::Seconds;
use crate::store::sqlite::ledger::{Ledger, SourceKey, source_of};
use crate::store::sqlite::packed::Packed;
use crate::store::sqlite::reader::FileReader;

/// Rows in memory that are added at a time.
const ROUND: usize = 200;

/// Those that have most, the first of them first.
pub fn top(reader: &FileReader, query: &TopQuery) -> Result<Vec<TopRow>> {
    query.check()?;
    let failed = |e| reader.file.failed(e);
    let part = match query.by {
        By::Ip | By::Net => return Ok(rank(sources(reader, query).map_err(failed)?, query)),
        By::Login => return Ok(rank(logins(reader, query.window).map_err(failed)?, query)),
        By::Asn => Part::Asn,
        By::Country => Part::Country,
        By::Device => Part::Device,
    };
    Ok(rank(parts(reader, part, query.window).map_err(failed)?, query))
}

fn rank(mut rows: Vec<TopRow>, query: &TopQuery) -> Vec<TopRow> {
    let count = |row: &TopRow| match query.success {
        Some(true) => row.ok,
        Some(false) => row.attempts,
        None => row.attempts + row.ok,
    };
    rows.retain(|row| count(row) > 0 && row.logins >= query.min_logins);
    rows.sort_by(|a, b| (Reverse(count(a)), &a.value).cmp(&(Reverse(count(b)), &b.value)));
    rows.truncate(query.limit);
    rows
}

fn sources(reader: &FileReader, query: &TopQuery) -> rusqlite::Result<Vec<TopRow>> {
    let is_asked = |source: &Source| matches!(source, Source::Ip(_)) == (query.by == By::Ip);
    let mut sums = Sums::new(query.window);
    let in_memory: Vec<SourceKey> = reader.ledger.lock().sources.iter().map(|(key, _)| *key).collect();
    let keys = in_memory.into_iter().filter(|(_, source)| is_asked(source)).collect();
    sums.hold(&reader.ledger, keys, |ledger, key| ledger.sources.peek(key).map(|row| &row.counts));
    let find = "SELECT hour, source, counts FROM source WHERE hour >= ?1 AND hour < ?2";
    sums.read(reader, find, |row| Ok(source_of(row.get_ref(1)?.as_blob()?).filter(is_asked)))?;
    let rows = sums.sums.into_iter().map(|(source, sum): (_, Activity)| {
        let counts = sum.answer();
        let logins = if query.success == Some(true) { counts.ok_logins } else { counts.logins };
        TopRow { value: source.to_string(), attempts: counts.attempts, ok: counts.ok, logins }
    });
    Ok(rows.collect())
}

fn logins(reader: &FileReader, window: Window) -> rusqlite::Result<Vec<TopRow>> {
    let mut sums = Sums::new(window);
    let keys = reader.ledger.lock().failures.iter().map(|(key, _)| *key).collect();
    sums.hold(&reader.ledger, keys, |ledger, key| ledger.failures.peek(key));
    let find = "SELECT hour, login, counts FROM failures WHERE hour >= ?1 AND hour < ?2";
    sums.read(reader, find, |row| row.get(1).map(Some))?;
    let mut find = reader.connection.prepare_cached("SELECT name FROM login WHERE id = ?1")?;
    let mut rows = Vec::new();
    for (login, sum) in sums.sums {
        let (login, sum): (i64, Failures) = (login, sum);
        // It may have been forgotten a moment ago.
        if let Ok(value) = find.query_row([login], |row| row.get(0)) {
            rows.push(TopRow { value, attempts: sum.answer().attempts, ok: 0, logins: 1 });
        }
    }
    Ok(rows)
}

fn parts(reader: &FileReader, part: Part, window: Window) -> rusqlite::Result<Vec<TopRow>> {
    let (window, mut sums) = (window.in_hours(), HashMap::<String, Traffic>::new());
    let mut held = HashSet::new();
    for ((hour, of, value), counts) in reader.ledger.lock().platform.iter() {
        if *of == part && window.has_hour(*hour) {
            sums.entry(value.to_string()).or_default().merge(counts);
            held.insert((*hour, value.to_string()));
        }
    }
    let find = "SELECT hour, value, counts FROM platform WHERE hour >= ?1 AND hour < ?2 AND part = ?3";
    let mut find = reader.connection.prepare_cached(find)?;
    let mut rows = find.query(params![window.start, window.end, part as u8])?;
    while let Some(row) = rows.next()? {
        let (hour, value): (Seconds, String) = (row.get(0)?, row.get(1)?);
        if !held.contains(&(hour, value.clone())) {
            sums.entry(value).or_default().merge(&row.get::<_, Packed<Traffic>>(2)?.0);
        }
    }
    let rows = sums.into_iter().map(|(value, sum)| {
        let counts = sum.answer();
        TopRow { value, attempts: counts.fail, ok: counts.ok, logins: counts.logins }
    });
    Ok(rows.collect())
}

/// What hours add up to, for each of many.
struct Sums<K, T> {
    window: Window,
    sums: HashMap<K, T>,
    /// What was in memory, and may be older on disk.
    held: HashSet<(Seconds, K)>,
}

impl<K: Hash + Eq + Copy, T: Counts + serde::de::DeserializeOwned> Sums<K, T> {
    fn new(window: Window) -> Sums<K, T> {
        Sums { window, sums: HashMap::new(), held: HashSet::new() }
    }

    fn add(&mut self, hour: Seconds, key: K, row: &Hour<T>) {
        row.add_to(self.sums.entry(key).or_default(), hour, self.window);
    }

    /// Adds rows that are in memory. The writer need not wait until that is done with all of them; one that
    /// has gone to the disk meanwhile is read there.
    fn hold(
        &mut self,
        ledger: &Mutex<Ledger>,
        keys: Vec<(Seconds, K)>,
        find: impl for<'l> Fn(&'l Ledger, &(Seconds, K)) -> Option<&'l Hour<T>>,
    ) {
        for keys in keys.chunks(ROUND) {
            let ledger = ledger.lock();
            for (hour, key) in keys.iter().filter(|(hour, _)| self.window.has_hour(*hour)) {
                if let Some(row) = find(&ledger, &(*hour, *key)) {
                    row.add_to(self.sums.entry(*key).or_default(), *hour, self.window);
                    self.held.insert((*hour, *key));
                }
            }
        }
    }

    /// Adds the rows that a statement finds: an hour, a key that `key` reads, and counts.
    fn read(
        &mut self,
        reader: &FileReader,
        find: &str,
        key: impl Fn(&Row) -> rusqlite::Result<Option<K>>,
    ) -> rusqlite::Result<()> {
        let window = self.window.in_hours();
        let mut find = reader.connection.prepare_cached(find)?;
        let mut rows = find.query([window.start, window.end])?;
        while let Some(row) = rows.next()? {
            let hour = row.get(0)?;
            if let Some(key) = key(row)?.filter(|key| !self.held.contains(&(hour, *key))) {
                self.add(hour, key, &row.get::<_, Packed<Hour<T>>>(2)?.0);
            }
        }
        Ok(())
    }
}
