//! What one Lua state asks the store with: a reader of its own, opened with the first question and kept,
//! and what comes with the report that it runs at the moment.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::Result;
use crate::store::Store;
use crate::store::query::{Memory, Reader};

/// What one Lua state asks the store with.
#[derive(Default)]
pub struct Session {
    reader: RefCell<Option<Box<dyn Reader>>>,
    /// The time of the report that runs.
    time: Cell<Option<f64>>,
    /// What was known of its login before it.
    before: RefCell<Option<Arc<dyn Memory>>>,
}

impl Session {
    /// A report of this time begins, with what was known of its login before.
    pub fn begin(&self, time: f64, before: Option<Arc<dyn Memory>>) {
        self.time.set(Some(time));
        self.before.replace(before);
    }

    /// No report runs any more.
    pub fn end(&self) {
        self.time.set(None);
        self.before.take();
    }

    /// When a window ends that is not told: with the report that runs, or now.
    pub fn now(&self) -> f64 {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.time.get().unwrap_or_else(clock)
    }

    /// What was known of a login, if the report that runs is one of it.
    pub fn memory(&self, login: &str) -> Option<Arc<dyn Memory>> {
        self.before.borrow().as_ref().filter(|memory| memory.login() == login).cloned()
    }

    /// Asks the store. One that could not be opened is tried again with the next question.
    pub fn ask<T>(
        &self,
        store: &dyn Store,
        question: impl FnOnce(&mut dyn Reader) -> Result<T>,
    ) -> Result<T> {
        let mut kept = self.reader.borrow_mut();
        let reader = match kept.take() {
            Some(reader) => reader,
            None => store.reader()?,
        };
        question(&mut **kept.insert(reader))
    }
}
