//! Reports that had not run when the file was opened: they are run again, but not for ever.

use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::{Connection, Result};

use crate::store::Pending;
use crate::store::journal::ReportId;
use crate::store::journal::kept;
use crate::store::journal::thread::Journal;
use crate::store::journal::writer::Intake;

/// Which reports these are.
pub struct Unfinished {
    /// The latest of them.
    last: ReportId,
    /// The latest that was to be run again since then.
    tried: AtomicI64,
}

impl Unfinished {
    /// Those of a file, without those that were tried too often.
    pub fn of(file: &Connection) -> Result<Unfinished> {
        kept::give_up(file)?;
        let last = file.query_row("SELECT coalesce(max(id), 0) FROM pending", [], |row| row.get(0))?;
        Ok(Unfinished { last, tried: AtomicI64::new(0) })
    }

    /// The latest of them.
    pub fn last(&self) -> ReportId {
        self.last
    }

    /// Notes that these are tried.
    pub fn note<I: Intake>(&self, reports: &[Pending], journal: &Journal<I>) {
        let last = reports.last().map_or(0, |report| report.id);
        let tried = self.tried.fetch_max(last, Ordering::Relaxed);
        if last > tried {
            let note = move |intake: &mut I| {
                kept::try_again(intake.file(), tried, last).map(|reports| (reports as u64, false))
            };
            // A disk that is full keeps nothing from being run; the writer has said so.
            let _ = journal.order(note);
        }
    }
}
