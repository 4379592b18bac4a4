//! Where the tables of alerts are: in the store's file, or in memory where there is no store.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, Result as SqlResult};

use crate::error::{Error, Result};
use crate::store::{self, Store};

/// Where the tables are.
pub struct Archive {
    place: Place,
    /// What the file is read with: by one thread at a time, since nobody reads much.
    reader: Mutex<Option<Connection>>,
}

enum Place {
    Store(Arc<dyn Store>),
    Memory,
}

impl Archive {
    /// The tables of a store, or new ones without it.
    pub fn new(store: Option<Arc<dyn Store>>) -> Result<Archive> {
        let (place, reader) = match store {
            Some(store) => (Place::Store(store), None),
            None => (Place::Memory, Some(store::memory_aside()?)),
        };
        Ok(Archive { place, reader: Mutex::new(reader) })
    }

    /// Changes rows in a transaction of its own, and waits for it.
    pub fn change(&self, work: impl FnOnce(&Connection) -> SqlResult<()> + Send + 'static) -> Result<()> {
        match &self.place {
            Place::Store(store) => store.change_aside(Box::new(work)),
            Place::Memory => self.read(|memory| {
                let transaction = memory.unchecked_transaction()?;
                work(&transaction).and_then(|()| transaction.commit())
            }),
        }
    }

    /// Reads rows. A connection that fails is opened again with the next question.
    pub fn read<T>(&self, question: impl FnOnce(&Connection) -> SqlResult<T>) -> Result<T> {
        let mut kept = self.reader.lock();
        let reader = match (kept.take(), &self.place) {
            (Some(reader), _) => reader,
            (None, Place::Store(store)) => store.read_aside()?,
            (None, Place::Memory) => store::memory_aside()?,
        };
        let answer = question(&reader).map_err(|e| Error::Store(e.to_string()));
        if answer.is_ok() || matches!(self.place, Place::Memory) {
            *kept = Some(reader);
        }
        answer
    }
}
