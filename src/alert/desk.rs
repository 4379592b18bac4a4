//! What operators do with alerts: look at them, say that they know, close them, silence them.

use crate::alert::book::Book;
use crate::alert::rows::{self, Change, Filter, Row};
use crate::alert::silence::{self, Silence};
use crate::alert::slot::State;
use crate::alert::{Alerts, blocked, courier, outbox};
use crate::error::{Error, Result};

/// Letters of a rule or a key that may be silenced; no alert has longer ones.
const MOST_TEXT: usize = 1024;

impl Alerts {
    /// The alerts that are asked for, the latest first.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Row>> {
        // What can't be written does not keep the rest from being read.
        self.write_soon();
        self.pen.file()?.read(|file| rows::list(file, filter))
    }

    /// Somebody knows of an alert: it is counted, and not sent any more until it is closed.
    pub fn acknowledge(&self, id: i64) -> Result<()> {
        self.set_state(id, State::Acknowledged)
    }

    /// An alert is over: what comes then is another one. What was blocked because of it is so no more, even
    /// if it was closed before.
    pub fn close_one(&self, id: i64) -> Result<()> {
        let closed = self.set_state(id, State::Closed);
        if let Err(Error::Store(_)) = closed {
            return closed;
        }
        // Not before: whatever is about to be blocked sees that the alert is closed, or is found here.
        let sinks = self.pen.file()?.read(|file| blocked::sinks(file, id, courier::clock()))?;
        if sinks.is_empty() {
            return closed;
        }
        self.change_book(|book| book.push(Change::TakeBack { id, sinks }))
    }

    fn set_state(&self, id: i64, state: State) -> Result<()> {
        self.write()?;
        let row = self.pen.file()?.read(|file| rows::find(file, id))?;
        let row = row.ok_or_else(|| Error::Unknown { what: "alert", name: id.to_string() })?;
        if row.state == State::Closed {
            return Err(Error::Refused(format!("alert {id} is closed")));
        }
        self.change_book(|book| book.set_state(&row, state))
    }

    /// Lets nobody hear of a key of a rule, or of every one, until a time.
    pub fn silence(&self, silence: Silence) -> Result<()> {
        self.pen.file()?;
        for (what, text) in [("rule", &silence.rule), ("key", &silence.key)] {
            if text.chars().count() > MOST_TEXT {
                return Err(Error::Refused(format!("{what}: more than {MOST_TEXT} letters")));
            }
        }
        if self.book.lock().silences.len() >= silence::MOST {
            return Err(Error::Refused(format!("there are {} silences already", silence::MOST)));
        }
        self.change_book(|book| {
            book.silences.set(silence.clone());
            book.push(Change::Silence(silence));
        })
    }

    /// Ends a silence.
    pub fn unsilence(&self, rule: &str, key: &str) -> Result<()> {
        if !self.book.lock().silences.remove(rule, key) {
            return Err(Error::Refused(format!("there is no silence of rule \"{rule}\" and key \"{key}\"")));
        }
        let (rule, key) = (rule.to_owned(), key.to_owned());
        self.change_book(|book| book.push(Change::Unsilence { rule, key }))
    }

    /// The silences in force.
    pub fn silences(&self) -> Vec<Silence> {
        self.book.lock().silences.after(courier::clock())
    }

    /// Removes every trace of a login.
    pub fn forget(&self, login: &str) -> Result<()> {
        let Some(archive) = self.pen.archive() else { return Ok(()) };
        self.write()?;
        let keys = archive.read(|file| rows::keys_of(file, login))?;
        let mut book = self.book.lock();
        keys.iter().for_each(|(rule, key)| book.forget(rule, key));
        drop(book);
        let login = login.to_owned();
        self.pen.change(move |file| rows::forget(file, &login))?;
        for (sink, courier) in &*self.couriers.lock() {
            courier.recount(archive.read(|file| outbox::count(file, sink))?);
        }
        Ok(())
    }

    /// Changes the book, and waits until that is in the file.
    fn change_book(&self, change: impl FnOnce(&mut Book)) -> Result<()> {
        change(&mut self.book.lock());
        self.write()
    }
}
