//! A report on its way into the store, and what becomes of it.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::login::LoginTuple;
use crate::reply::{GivenUp, Reply};
use crate::store::query::Memory;
use crate::store::record::Record;

/// A report that comes in.
pub struct Arrival {
    pub record: Arc<Record>,
    pub login: Arc<LoginTuple>,
    /// As it came, so that it can be run again after a crash.
    pub body: Vec<u8>,
    /// What tells this delivery of it from others, if the sender says so.
    pub delivery: Option<Box<[u8]>>,
    /// Hears what became of it.
    pub answer: Answer,
}

/// Who hears what became of a report.
pub type Answer = Reply<Result<Fate>>;

impl GivenUp for Result<Fate> {
    fn given_up() -> Result<Fate> {
        Err(Error::Store("it was given up".into()))
    }
}

/// What became of a report that was accepted.
pub enum Fate {
    /// It is in the store, and is to be run.
    Stored(Ticket),
    /// It was there already, and has been or will be run.
    Known,
}

/// A report that is in the store, until it has run.
pub struct Ticket {
    pub login: Arc<LoginTuple>,
    pub known: Known,
    /// Its number.
    pub id: i64,
}

/// What is known of a report before the policies see it.
#[derive(Clone)]
pub struct Known {
    pub record: Arc<Record>,
    /// What was known of its login before, if the store knows that without being asked.
    pub before: Option<Arc<dyn Memory>>,
}
