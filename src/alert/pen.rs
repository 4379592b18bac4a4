//! The way of what was decided into the file: all of it in the order of the decisions, together with what
//! others have decided meanwhile. What can't be written is kept and tried again.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::alert::archive::Archive;
use crate::alert::book::Book;
use crate::alert::rows::{self, Change};
use crate::error::{Error, Result};

/// After a failure, how long it is not tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// How often the same failure is logged.
const INTERVAL: Duration = Duration::from_secs(60);

/// Writes.
#[derive(Default)]
pub struct Pen {
    archive: OnceLock<Arc<Archive>>,
    /// Held while the disk works: whatever comes meanwhile is written in one go by the next who has it.
    turn: Mutex<()>,
    trouble: Mutex<Trouble>,
}

#[derive(Default)]
struct Trouble {
    next_try: Option<Instant>,
    complained: Option<Instant>,
}

/// How many rows each outbox has got.
pub type Sent = BTreeMap<Arc<str>, i64>;

impl Pen {
    /// From now on it can write. The first file counts.
    pub fn open(&self, archive: Arc<Archive>) {
        self.archive.get_or_init(|| archive);
    }

    pub fn archive(&self) -> Option<&Arc<Archive>> {
        self.archive.get()
    }

    /// The file, for operators.
    pub fn file(&self) -> Result<&Arc<Archive>> {
        self.archive().ok_or_else(|| Error::Store("it opens when the configuration has run".into()))
    }

    /// Whether the file could not be written just now.
    pub fn rests(&self, now: Instant) -> bool {
        self.trouble.lock().next_try.is_some_and(|next| now < next)
    }

    /// Writes what a book wants to have written, at the second `at`.
    pub fn write(&self, book: &Mutex<Book>, at: f64) -> Result<Sent> {
        let Some(archive) = self.archive() else { return Ok(Sent::new()) };
        let _turn = self.turn.lock();
        let changes = Arc::new(book.lock().take_changes());
        if changes.is_empty() {
            return Ok(Sent::new());
        }
        let theirs = changes.clone();
        match archive.change(move |file| rows::write(file, &theirs, at)) {
            Ok(()) => {
                *self.trouble.lock() = Trouble::default();
                Ok(count(&changes))
            }
            Err(e) => {
                let mut book = book.lock();
                book.put_back(Arc::unwrap_or_clone(changes));
                self.fail(&e, book.take_lost());
                Err(e)
            }
        }
    }

    /// Changes other rows, when nobody writes.
    pub fn change(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<()> {
        let _turn = self.turn.lock();
        self.file()?.change(work)
    }

    fn fail(&self, e: &Error, lost: u64) {
        let mut trouble = self.trouble.lock();
        trouble.next_try = Some(Instant::now() + PAUSE);
        if trouble.complained.is_none_or(|when| when.elapsed() >= INTERVAL) {
            trouble.complained = Some(Instant::now());
            log::error!("alerts can't be written, and wait until they can: {e}");
        }
        if lost > 0 {
            log::error!("{lost} changes of alerts are lost: too many wait to be written");
        }
    }
}

fn count(changes: &[Change]) -> Sent {
    let mut sent = Sent::new();
    for change in changes {
        if let Change::Put(_, sinks) | Change::TakeBack { sinks, .. } = change {
            sinks.iter().for_each(|sink| *sent.entry(sink.clone()).or_default() += 1);
        }
    }
    sent
}
