//! What one Lua state asks the store with: a reader of its own, opened with the first question and kept,
//! and what comes with the report that it runs at the moment.

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use crate::clock::Clock;
use crate::error::Result;
use crate::store::Store;
use crate::store::query::{Memory, Reader, Source};
use crate::store::usual::Past;

/// Sources of which it is remembered what is usual.
const SOURCES: NonZeroUsize = NonZeroUsize::new(1000).expect("not zero");

/// What one Lua state asks the store with.
pub struct Session {
    clock: Arc<Clock>,
    reader: RefCell<Option<Box<dyn Reader>>>,
    /// The time of the report that runs.
    time: Cell<Option<f64>>,
    /// What was known of its login before it.
    before: RefCell<Option<Arc<dyn Memory>>>,
    usual: RefCell<Usual>,
}

/// What is usual for sources. It changes with the hour, when it is about another past.
struct Usual(LruCache<(Source, Past), u64>);

impl Default for Usual {
    fn default() -> Self {
        Usual(LruCache::new(SOURCES))
    }
}

impl Session {
    pub fn new(clock: Arc<Clock>) -> Session {
        let (reader, time, before, usual) = Default::default();
        Session { clock, reader, time, before, usual }
    }

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
        self.time.get().unwrap_or_else(|| self.clock.now())
    }

    /// What was known of a login, if the report that runs is one of it.
    pub fn memory(&self, login: &str) -> Option<Arc<dyn Memory>> {
        self.before.borrow().as_ref().filter(|memory| memory.login() == login).cloned()
    }

    /// What is usual for a source. The store is asked once an hour: a network of many people, of which it
    /// matters most, has most to be counted.
    pub fn usual(&self, store: &dyn Store, source: Source, past: Past) -> Result<u64> {
        if let Some(known) = self.usual.borrow_mut().0.get(&(source, past)) {
            return Ok(*known);
        }
        let usual = self.ask(store, |reader| reader.usual(source, past))?;
        self.usual.borrow_mut().0.put((source, past), usual);
        Ok(usual)
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
