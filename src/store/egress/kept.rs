//! What was learned, in a table beside the reports, so that a restart need not learn it anew.

use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::store::record::Seconds;

/// The networks, and when they were learned; nothing if that never happened.
pub fn read(file: &Connection) -> Result<Option<(Vec<IpNet>, Seconds)>> {
    let note = "SELECT value FROM meta WHERE name = 'egress'";
    let Some(at) = file.query_row(note, [], |row| row.get(0)).optional()? else { return Ok(None) };
    let mut find = file.prepare("SELECT net FROM egress")?;
    let nets = find.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>>>()?;
    // What is none is in a file that is damaged, and is learned again.
    Ok(Some((nets.iter().filter_map(|net| net.parse().ok()).collect(), at)))
}

/// Keeps these in the place of those before.
pub fn write(file: &Connection, nets: &[IpNet], at: Seconds) -> Result<()> {
    file.execute("DELETE FROM egress", [])?;
    let mut add = file.prepare_cached("INSERT OR IGNORE INTO egress VALUES (?1)")?;
    nets.iter().try_for_each(|net| add.execute([net.to_string()]).map(drop))?;
    file.execute("INSERT OR REPLACE INTO meta VALUES ('egress', ?1)", params![at]).map(drop)
}
