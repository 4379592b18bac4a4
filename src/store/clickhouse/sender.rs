//! The thread that brings reports from the spool to the server, in the order of arrival, batch by batch.
//!
//! Each report must count once, in every table, although a connection can break after the server has
//! taken a batch in, a server can crash when some tables have it and others not, and this program at any
//! time. So a batch comes with seals, rows that say which batch of which host it is, one for each day; a
//! part of a table is written whole or not at all, seals included. When an attempt has failed, the batch
//! is on its way still, after a restart too, and before it is sent again
//! 1. the attempt is declared abandoned, after which no table takes it in, however late it arrives;
//! 2. there is no more work on it at the server;
//! 3. the seals say which partitions of which tables have the batch, and it is sent to the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rusqlite::Connection;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::stats::Stats;
use crate::store::clickhouse::backlog::Backlog;
use crate::store::clickhouse::client::{Client, rows};
use crate::store::clickhouse::quote::Quoted;
use crate::store::clickhouse::schema::{self, Table};
use crate::store::clickhouse::spool::{self, ROWS, Spool, Waiting};
use crate::store::journal::ReportId;
use crate::store::journal::thread::Journal;
use crate::store::query::{DAY, HOUR};
use crate::store::record::seconds;
use crate::store::sqlite::Retention;

/// How long a report waits for others.
const WAIT: Duration = Duration::from_secs(1);

/// After a failure, how long until it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// How often the same failure is logged.
const COMPLAINT: Duration = Duration::from_secs(60);

/// How often old partitions are looked for.
const UPKEEP: Duration = Duration::from_secs(HOUR as u64);

/// Every table.
const ALL: u8 = (1 << Table::ALL.len()) - 1;

/// The thread's own.
pub struct Sender {
    pub client: Arc<Client>,
    pub file: Connection,
    pub host: String,
    pub journal: Arc<Journal<Spool>>,
    pub backlog: Arc<Backlog>,
    pub retention: Retention,
    pub stats: Arc<Stats>,
    /// Held while a batch is on its way.
    pub sending: Arc<Mutex<()>>,
    /// When the tables were looked after.
    pub kept: Option<Instant>,
    pub complained: Option<Instant>,
}

impl Sender {
    /// Works until the backlog says that it is over.
    pub fn run(mut self) {
        while self.backlog.wait(ROWS.into(), WAIT) {
            match self.round() {
                Ok(()) => {
                    if self.complained.take().is_some() {
                        log::warn!("the store's server can be reached again");
                    }
                }
                Err(e) => {
                    self.complain(&e);
                    if !self.backlog.pause(PAUSE) {
                        break;
                    }
                }
            }
        }
    }

    fn complain(&mut self, e: &Error) {
        self.stats.metrics.store_errors.inc();
        if self.complained.is_none_or(|when| when.elapsed() >= COMPLAINT) {
            log::error!("{} reports wait to be sent: {e}", self.backlog.rows());
            self.complained = Some(Instant::now());
        }
    }

    /// Sends a batch, or what the server lacks of the one that is on its way.
    fn round(&mut self) -> Result<()> {
        let now = seconds(SystemTime::now());
        if self.kept.is_none() {
            schema::make(&self.client)?;
        }
        if self.kept.is_none_or(|when| when.elapsed() >= UPKEEP) {
            schema::forget_old(&self.client, self.retention, now)?;
            self.kept = Some(Instant::now());
        }
        let sending = self.sending.clone();
        let _sending = sending.lock();
        let failed = |e: rusqlite::Error| Error::Store(format!("the spool: {e}"));
        let (on_its_way, attempt) = spool::progress(&self.file).map_err(failed)?;
        let batch = spool::batch(&self.file, on_its_way).map_err(failed)?;
        let Some(last) = on_its_way.or_else(|| batch.last().map(|waiting| waiting.id)) else { return Ok(()) };
        let lacking = match on_its_way {
            Some(last) => self.lacking(last, attempt, &batch, now / DAY)?,
            None => Lacking::default(),
        };
        self.journal.order(move |spool| spool.begin_attempt(last, attempt + 1).map(|()| (0, false)))?;
        if let Some(statement) =
            statement(&self.host, last, attempt + 1, &batch, |waiting: &Waiting| lacking.tables(waiting.day))
        {
            self.client.insert(statement.as_bytes(), &name(&self.host, attempt + 1))?;
        }
        self.journal.order(move |spool| spool.end_batch(last).map(|()| (0, false))).map(drop)
    }

    /// What has a batch already, of which an attempt was made.
    fn lacking(&self, last: ReportId, attempt: u64, batch: &[Waiting], today: u32) -> Result<Lacking> {
        let host = Quoted(&self.host);
        self.client.change(&format!("INSERT INTO abandoned VALUES ({host}, {attempt}, {today})"))?;
        #[derive(Deserialize)]
        struct Work {
            attempts: u64,
        }
        let name = name(&self.host, attempt);
        let find =
            format!("SELECT count() AS attempts FROM system.processes WHERE query_id = {}", Quoted(&name));
        if rows::<Work>(&self.client.ask(&find)?)?.iter().any(|work| work.attempts > 0) {
            return Err(Error::Store(format!("{}: it works on the last attempt still", self.client.name())));
        }
        #[derive(Deserialize)]
        struct Included {
            part: u32,
            last_batch: ReportId,
        }
        let mut lacking = Lacking::default();
        for table in Table::ALL {
            let partitions: BTreeSet<u32> =
                batch.iter().map(|waiting| table.partition(waiting.day)).collect();
            let partitions: Vec<String> = partitions.iter().map(u32::to_string).collect();
            if partitions.is_empty() {
                continue;
            }
            let find = table.includes(&self.host, &partitions.join(", "));
            for included in rows::<Included>(&self.client.ask(&find)?)? {
                if included.last_batch >= last {
                    lacking.has.insert((table.bit(), included.part));
                }
            }
        }
        Ok(lacking)
    }
}

/// What an attempt is called at the server.
fn name(host: &str, attempt: u64) -> String {
    format!("trackalert-{host}-{attempt}")
}

/// Which partitions, by the bit of their table, have a batch already.
#[derive(Default)]
struct Lacking {
    has: BTreeSet<(u8, u32)>,
}

impl Lacking {
    /// The tables that lack the reports of a day.
    fn tables(&self, day: u32) -> u8 {
        let has = |table: &&Table| self.has.contains(&(table.bit(), table.partition(day)));
        Table::ALL.iter().filter(has).fold(ALL, |tables, table| tables & !table.bit())
    }
}

/// What sends a batch with its seals to the tables that lack it, which are the same for all reports of a
/// day; nothing if there is nothing to be sent. The seals come last.
pub fn statement(
    host: &str,
    last: ReportId,
    attempt: u64,
    batch: &[Waiting],
    lacking: impl Fn(&Waiting) -> u8,
) -> Option<String> {
    let mut days = BTreeMap::new();
    let mut text = String::from("INSERT INTO arrival FORMAT JSONEachRow\n");
    let start =
        |tables| format!("{{\"host\":\"{host}\",\"batch\":{last},\"attempt\":{attempt},\"tables\":{tables},");
    for waiting in batch {
        let tables = *days.entry(waiting.day).or_insert_with(|| lacking(waiting));
        if tables != 0 {
            text += &start(tables);
            text += &format!("\"number\":{},", waiting.id);
            text += waiting.row.trim_start_matches('{');
            text.push('\n');
        }
    }
    for (day, tables) in days.iter().filter(|(_, tables)| **tables != 0) {
        text += &start(*tables);
        text += &format!("\"origin\":\"{host}\",\"second\":{},\"day\":{day}}}\n", day * DAY);
    }
    days.values().any(|tables| *tables != 0).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_goes_where_it_is_lacking_and_its_seals_too() {
        let waiting = |id, day| Waiting { id, day, row: format!("{{\"t\":{id}}}") };
        let batch = [waiting(7, 60), waiting(8, 61), waiting(9, 90)];
        let whole = statement("h", 9, 3, &batch, |_| ALL).unwrap();
        assert_eq!(whole.lines().count(), 1 + 3 + 3);
        assert!(whole.contains(r#"{"host":"h","batch":9,"attempt":3,"tables":31,"number":8,"t":8}"#));
        assert!(whole.ends_with("\"origin\":\"h\",\"second\":7776000,\"day\":90}\n"));
        let has = |has: &[(Table, u32)]| Lacking {
            has: has.iter().map(|(table, partition)| (table.bit(), *partition)).collect(),
        };
        let some = has(&[(Table::Report, 60), (Table::Memory, 2)]);
        let rest = statement("h", 9, 4, &batch, |waiting| some.tables(waiting.day)).unwrap();
        for (number, tables) in [(7, 31 - 1 - 4), (8, 31 - 4), (9, 31)] {
            assert!(rest.contains(&format!("\"tables\":{tables},\"number\":{number},")), "{rest}");
        }
        let everything: Vec<(Table, u32)> = Table::ALL
            .iter()
            .flat_map(|table| [60, 61, 90].map(|day| (*table, table.partition(day))))
            .collect();
        assert!(statement("h", 9, 5, &batch, |waiting| has(&everything).tables(waiting.day)).is_none());
    }
}
