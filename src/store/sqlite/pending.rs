//! Reports that have not run: what is kept of them, and until when.

use std::sync::Arc;

use rusqlite::{Connection, Result, params};

use crate::store::Pending;
use crate::store::aggregate::memory::{Memory, Snapshot};
use crate::store::journal::ReportId;
use crate::store::sqlite::packed::Packed;

/// Keeps a report until it has run.
pub fn keep(file: &Connection, id: ReportId, body: &[u8], before: &Memory) -> Result<()> {
    let mut keep = file.prepare_cached("INSERT INTO pending VALUES (?1, ?2, ?3, 0)")?;
    keep.execute(params![id, body, Packed(before)]).map(drop)
}

/// At most `limit` of them after the one with a number, and up to another one.
pub fn between(file: &Connection, after: ReportId, last: ReportId, limit: u32) -> Result<Vec<Pending>> {
    let find = "SELECT pending.id, body, before, name FROM pending JOIN raw ON raw.id = pending.id
        JOIN login ON login.id = raw.login WHERE pending.id > ?1 AND pending.id <= ?2
        ORDER BY pending.id LIMIT ?3";
    let mut find = file.prepare(find)?;
    let rows = find.query_map(params![after, last, limit], |row| {
        let Packed(memory) = row.get::<_, Packed<Memory>>(2)?;
        let login: String = row.get(3)?;
        let before = Arc::new(Snapshot { login: login.into(), memory: Arc::new(memory) });
        Ok(Pending { id: row.get(0)?, body: row.get(1)?, before: Some(before) })
    })?;
    rows.collect()
}
