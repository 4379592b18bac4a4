//! Reports of the past into the file, and every report out of it.

use rusqlite::{Connection, Result};

use crate::store::history::Mark;
use crate::store::journal::{ReportId, marks};
use crate::store::record::Record;
use crate::store::sqlite::commit::Books;
use crate::store::sqlite::raw;

/// Adds reports that are not to run, and the mark that goes with them.
pub fn load(books: &mut Books, records: &[Record], mark: Option<&Mark>) -> Result<()> {
    for record in records {
        books.add(record)?;
    }
    mark.map_or(Ok(()), |mark| marks::put(&books.file, mark))?;
    books.write_counts()
}

/// Gives every report to `take` until that says that it has enough. The earliest comes first, of those of
/// one time the one that arrived first. SQLite sorts their numbers, in a temporary file if they are many.
pub fn each(file: &Connection, mut take: impl FnMut(Record) -> bool) -> Result<()> {
    let mut order = file.prepare("SELECT id FROM raw WHERE login IS NOT NULL ORDER BY t, id")?;
    let mut ids = order.query([])?;
    while let Some(id) = ids.next()? {
        let stored = raw::find(file, id.get::<_, ReportId>(0)?)?;
        if let Some(record) = stored.and_then(|stored| stored.record)
            && !take(record)
        {
            break;
        }
    }
    Ok(())
}
