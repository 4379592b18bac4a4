//! Removing every trace of a login. Its reports stay as empty rows: those of its addresses lead through
//! them.

use rusqlite::{OptionalExtension, Result, params};

use crate::store::journal::ReportId;
use crate::store::journal::file::overwrite;
use crate::store::query::{HOUR, LONG_HOURS};
use crate::store::record::Seconds;
use crate::store::sqlite::commit::Books;
use crate::store::sqlite::counts;

/// Reports that are emptied in one transaction.
const ROUND: usize = 1000;

/// Forgets a part of a login: how many rows that were, and whether there are more.
pub fn forget(books: &mut Books, name: &str, now: Seconds) -> Result<(u64, bool)> {
    let known = books.ledger.lock().logins.peek(name).map(|row| (row.id, row.head));
    let known = match known {
        Some(known) => Some(known),
        None => counts::login(&books.file, name)?.map(|(row, _)| (row.id, row.head)),
    };
    let Some((login, mut next)) = known else { return Ok((0, false)) };
    overwrite(&books.file, true)?;
    let mut removed = 0;
    for _ in 0..ROUND {
        let Some(before) = empty(books, next, login)? else {
            let rows = forget_counts(books, name, login, now)?;
            overwrite(&books.file, false)?;
            return Ok((removed + rows, false));
        };
        removed += 1;
        next = before;
    }
    let changed = books.last + 1;
    books.ledger.lock().logins.edit(name, changed, |row| {
        (row.head, row.settled.0) = (next, next);
    });
    books.file.prepare_cached("UPDATE login SET head = ?2 WHERE id = ?1")?.execute([login, next])?;
    Ok((removed, true))
}

/// Empties a report; the number of the one before it, if it was there.
fn empty(books: &Books, report: ReportId, login: i64) -> Result<Option<ReportId>> {
    let mut find = books.file.prepare_cached("SELECT login_before FROM raw WHERE id = ?1 AND login = ?2")?;
    let before = find.query_row([report, login], |row| row.get(0)).optional()?;
    if before.is_some() {
        let empty = "UPDATE raw SET login = NULL, ip = NULL, flags = NULL, protocol = NULL, pwhash = NULL,
            session_id = NULL, fail_type = NULL, client = NULL, country = NULL, region = NULL, latitude = NULL,
            longitude = NULL, radius = NULL, asn = NULL, net_bits = NULL, login_before = 0 WHERE id = ?1";
        books.file.prepare_cached(empty)?.execute([report])?;
        books.file.prepare_cached("DELETE FROM pending WHERE id = ?1")?.execute([report])?;
    }
    Ok(before)
}

/// Forgets what the reports of a login added up to.
fn forget_counts(books: &mut Books, name: &str, login: i64, now: Seconds) -> Result<u64> {
    let mut removed = 0;
    let mut delete = books.file.prepare_cached("DELETE FROM failures WHERE hour = ?1 AND login = ?2")?;
    // A sender's clock may be a day ahead.
    let hours = (now / HOUR).saturating_sub(LONG_HOURS)..=now / HOUR + 24;
    for hour in hours {
        removed += delete.execute(params![hour * HOUR, login])? as u64;
    }
    let mut ledger = books.ledger.lock();
    ledger.failures.retain(|(_, of)| *of != login);
    ledger.logins.remove(name);
    drop(ledger);
    removed += books.file.prepare_cached("DELETE FROM login WHERE id = ?1")?.execute([login])? as u64;
    Ok(removed)
}
