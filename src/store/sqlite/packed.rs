//! Counts as a column of the file has them: postcard.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Value, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is kept in a column of its own.
pub struct Packed<T>(pub T);

impl<T: Serialize> ToSql for Packed<&T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let bytes = postcard::to_allocvec(self.0);
        let bytes = bytes.map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
        Ok(ToSqlOutput::Owned(Value::Blob(bytes)))
    }
}

impl<T: DeserializeOwned> FromSql for Packed<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let value = postcard::from_bytes(value.as_blob()?);
        value.map(Packed).map_err(|e| FromSqlError::Other(Box::new(e)))
    }
}
