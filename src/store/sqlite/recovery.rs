//! Beginning with what the file has: counts that were only in memory when the process ended are counted
//! again from the reports.

use std::mem;

use rusqlite::Result;

use crate::store::journal::ReportId;
use crate::store::sqlite::commit::Books;
use crate::store::sqlite::raw;

/// Reports that are read at a time.
const ROUND: u32 = 1000;

/// Forgets what is in memory, and counts the reports that some row on disk lacks. Until that is done,
/// readers have what was there.
pub fn recount(books: &mut Books) -> Result<()> {
    let shared = mem::take(&mut books.ledger);
    let counted = count(books);
    let ledger = mem::replace(&mut books.ledger, shared);
    counted?;
    *books.ledger.lock() = mem::take(&mut *ledger.lock());
    Ok(())
}

/// The same, into a ledger that is empty.
fn count(books: &mut Books) -> Result<()> {
    let applied: ReportId =
        books.file.query_row("SELECT value FROM meta WHERE name = 'applied'", [], |row| row.get(0))?;
    books.applied = applied;
    books.last = raw::last(&books.file)?.max(applied);
    books.ledger.lock().committed = books.last;
    let mut after = applied;
    loop {
        let reports = raw::after(&books.file, after, ROUND)?;
        let Some(last) = reports.last() else { return Ok(()) };
        after = last.id;
        for report in &reports {
            // A login that was forgotten is not counted either.
            if let Some(record) = &report.record {
                books.count(record, report.id)?;
            }
        }
    }
}
