//! How far files were read whose reports are here: facts about this file, each named for the number of the
//! file that was read.

use rusqlite::types::Type;
use rusqlite::{Connection, Error, Result, params};

use crate::store::history::Mark;

/// What their names begin with.
const NAME: &str = "import ";

/// Remembers how far a file was read, in the place of what was remembered of it before.
pub fn put(file: &Connection, mark: &Mark) -> Result<()> {
    let text = serde_json::to_string(mark).map_err(|e| Error::ToSqlConversionFailure(Box::new(e)))?;
    let mut put = file.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
    put.execute(params![format!("{NAME}{}", mark.file), text]).map(drop)
}

/// All of them.
pub fn all(file: &Connection) -> Result<Vec<Mark>> {
    let mut find = file.prepare("SELECT value FROM meta WHERE name GLOB ?1")?;
    let rows = find.query_map([format!("{NAME}*")], |row| {
        let text: String = row.get(0)?;
        serde_json::from_str(&text).map_err(|e| Error::FromSqlConversionFailure(0, Type::Text, Box::new(e)))
    })?;
    rows.collect()
}
