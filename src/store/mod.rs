//! The long-term report store: what every report left behind, to be asked by policies.

mod aggregate;
mod arrival;
mod bounded;
mod clickhouse;
mod deliveries;
mod egress;
mod enrich;
#[cfg(test)]
mod examination;
mod habit;
mod history;
mod journal;
pub mod line;
#[cfg(test)]
mod model;
pub mod query;
pub mod record;
mod sqlite;
#[cfg(test)]
pub mod trial;
pub mod usual;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use crate::error::{Error, Result};
use crate::store::query::{Memory, Reader};
use crate::store::record::Record;

pub use arrival::{Answer, Arrival, Fate, Known};
pub use bounded::{bounded, kept_login, kept_protocol};
pub use clickhouse::{ClickHouseStore, Room, Settings as ClickHouseSettings};
pub use egress::Egress;
pub use enrich::Enrich;
pub use history::{History, Mark};
pub use journal::writer::Limits;
pub use sqlite::{FileStore, Retention, repair};

/// A store that is open, whatever keeps it.
pub trait Store: Send + Sync {
    /// Has a report written, and its `answer` called, by another thread.
    fn push(&self, arrival: Arrival);
    /// A report has run: it need not be kept for that any more.
    fn has_run(&self, report: i64);
    /// Reports after the one with this number that had not run when the store was opened, in the order of
    /// arrival.
    fn pending(&self, after: i64, limit: u32) -> Result<Vec<Pending>>;
    /// Why nothing can be written, if that is so.
    fn trouble(&self) -> Option<String>;
    /// What one thread asks questions with.
    fn reader(&self) -> Result<Box<dyn Reader>>;
    /// Removes every trace of a login, and says how many rows that were.
    fn forget(&self, login: &str) -> Result<u64>;
    /// Has what the store holds at the moment written to a file that is not there yet, by another thread; the
    /// log says what came of it.
    fn backup(&self, path: &Path) -> Result<()>;
    /// Has reports of the past written, and their `answer` called, by another thread.
    fn load(&self, history: History);
    /// How far files were read whose reports are here.
    fn marks(&self) -> Result<Vec<Mark>>;
    /// Gives every report to `take`, the earliest first, until all were given or it fails.
    fn each_report(&self, take: &mut dyn FnMut(&Record) -> Result<()>) -> Result<()>;
    fn status(&self) -> Result<Status>;
    /// Waits until questions see everything that was accepted, at most so long. Whether they do.
    fn settle(&self, _patience: Duration) -> bool {
        true
    }
    /// Changes the tables beside the reports in a transaction of its own, and waits for it.
    fn change_aside(&self, work: Aside) -> Result<()>;
    /// What the tables beside the reports are read with, from one thread.
    fn read_aside(&self) -> Result<Connection>;
    /// Writes what has come in, and lets go of everything.
    fn close(&self);
}

/// Changes tables that are kept beside the reports: what the daemon must not forget, whoever keeps the
/// reports themselves.
pub type Aside = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;

/// The same tables without a store: in memory, until the end of the process.
pub fn memory_aside() -> Result<Connection> {
    let make = || {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(journal::ASIDE).map(|()| connection)
    };
    make().map_err(|e| Error::Store(e.to_string()))
}

/// The version of SQLite.
pub fn version() -> &'static str {
    rusqlite::version()
}

/// A report that was accepted and has not run.
pub struct Pending {
    pub id: i64,
    /// As it came.
    pub body: Vec<u8>,
    /// What was known of its login before, if the store can tell.
    pub before: Option<Arc<dyn Memory>>,
}

/// How a store is, for its operator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Reports that it holds.
    pub rows: u64,
    /// What it takes on disk.
    pub bytes: u64,
    /// The time of the earliest report, in seconds since the epoch; nothing if there is none.
    pub oldest: Option<f64>,
    /// Reports that wait to be committed.
    pub queue: usize,
    /// How long nothing was committed although reports wait.
    pub lag: Duration,
}
