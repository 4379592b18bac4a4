//! History on its way into a store: reports of the past, none of which is to run, and how far the file was
//! read that they are from.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::store::record::Record;

/// Reports of the past, which are stored together or not at all.
pub struct History {
    pub records: Vec<Record>,
    /// Remembered with them.
    pub mark: Option<Mark>,
    /// Hears what became of it.
    pub answer: Box<dyn FnOnce(Result<()>) + Send>,
}

/// How far a file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its number among the files that were read. A later mark takes the place of the one before.
    pub file: u32,
    pub bytes: u64,
    pub lines: u64,
    /// Of what was read. That tells the file from others: it may have another name, and may have grown.
    pub hash: String,
}
