//! What becomes of an alert: sent, or only counted. Decided in memory, by the time of the event; what the
//! file has to hear of that waits here until somebody writes it. Pure: nothing here looks at a clock.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use crate::alert::rows::{Change, Row};
use crate::alert::silence::Silences;
use crate::alert::slot::{Slot, Slots, State};
use crate::alert::storm::Storms;
use crate::alert::{Alert, Outcome};
use crate::config::Severity;

/// The rule of what is sent in the place of a storm.
pub const STORM: &str = "alert_storm";

/// Changes that may wait for the file.
const MOST: usize = 100_000;

/// What was decided of an alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// The number and the count of one that is sent, or would be without a dry run.
    pub sent: Option<(i64, u64)>,
    /// Whether it would have been sent, had not so many others been.
    pub is_storm: bool,
}

/// Who hears of alerts that are at least so bad.
pub type Listeners<'a> = [(&'a Arc<str>, Severity)];

/// Everything that is known of alerts in memory.
#[derive(Default)]
pub struct Book {
    slots: Slots,
    storms: Storms,
    pub silences: Silences,
    last_id: i64,
    /// Alerts that the file has to hear of.
    dirty: Vec<u64>,
    changes: VecDeque<Change>,
    /// Changes that there was no room for.
    lost: u64,
    /// Whether there is no file, nor will be.
    is_blank: bool,
}

impl Book {
    /// One of which nothing is written.
    pub fn blank() -> Book {
        Book { is_blank: true, ..Book::default() }
    }

    /// Numbers after this one are free.
    pub fn begin_after(&mut self, last_id: i64) {
        self.last_id = last_id;
    }

    /// Remembers an alert of the file.
    pub fn remember(&mut self, row: &Row) {
        let Row { id, count, first, last, state, sent, pause, .. } = *row;
        if let Some(sent) = sent {
            self.storms.note(&row.rule, false, sent);
        }
        let hash = self.slots.hash(&row.rule, &row.key, false);
        self.slots.put(hash, Slot { id, count, first, last, state, sent, pause, is_dirty: false });
    }

    /// Decides what becomes of an alert.
    pub fn raise(&mut self, alert: &Alert, listeners: &Listeners) -> Verdict {
        let Alert { rule, key, t, is_dry, .. } = alert;
        let (t, is_dry) = (*t, *is_dry);
        let hash = self.slots.hash(rule, key, is_dry);
        let known = self.slots.get(hash).filter(|slot| !slot.is_over(t)).copied();
        let is_new = known.is_none();
        let mut slot = known.unwrap_or(Slot {
            id: 0,
            count: 0,
            first: t,
            last: t,
            state: State::Open,
            sent: None,
            pause: alert.realert.as_secs_f64(),
            is_dirty: false,
        });
        slot.count += 1;
        (slot.first, slot.last) = (slot.first.min(t), slot.last.max(t));
        let is_known_of = slot.state == State::Acknowledged;
        let is_silent = !is_known_of && self.silences.covers(rule, key, t);
        if !is_known_of {
            slot.state = if is_silent { State::Silenced } else { State::Open };
        }
        let is_wanted = !is_known_of && !is_silent && slot.is_due(t);
        let is_storm = (is_wanted || is_new) && rule != STORM && self.storms.is_one(rule, is_dry, t);
        let is_sent = is_wanted && !is_storm;
        let outcome = match () {
            () if is_dry => Outcome::DryRun,
            () if is_silent => Outcome::Silenced,
            () if is_sent => Outcome::Sent,
            () => Outcome::Suppressed,
        };
        let verdict = Verdict { outcome, sent: None, is_storm: is_storm && is_wanted };
        if is_storm && is_new {
            // Keys without end would fill the file.
            return verdict;
        }
        if is_sent {
            slot.send(t);
        }
        if is_sent || is_new {
            self.storms.note(rule, is_dry, t);
        }
        if is_new && !is_dry {
            self.last_id += 1;
            slot.id = self.last_id;
        }
        self.keep(hash, slot, alert, is_sent.then_some(listeners), is_new);
        Verdict { sent: is_sent.then_some((slot.id, slot.count)), ..verdict }
    }

    /// Remembers an alert, and what the file has to hear of it.
    fn keep(&mut self, hash: u64, mut slot: Slot, alert: &Alert, to: Option<&Listeners>, is_new: bool) {
        if !alert.is_dry && !self.is_blank {
            if to.is_some() || is_new {
                slot.is_dirty = false;
                let meant = to.unwrap_or_default().iter().filter(|(_, least)| alert.severity >= *least);
                let sinks = meant.map(|(name, _)| Arc::clone(name)).collect();
                self.push(Change::Put(Box::new(row(alert, &slot)), sinks));
            } else if !mem::replace(&mut slot.is_dirty, true) {
                self.dirty.push(hash);
            }
        }
        if let Some(forgotten) = self.slots.put(hash, slot)
            && forgotten.is_dirty
        {
            self.push(count(&forgotten));
        }
    }

    /// Changes the state of the alert that has this row.
    pub fn set_state(&mut self, row: &Row, state: State) {
        let hash = self.slots.hash(&row.rule, &row.key, false);
        match self.slots.get(hash) {
            Some(slot) if slot.id == row.id => slot.state = state,
            // It is over, and another one has begun.
            Some(_) => {}
            None => self.remember(&Row { state, ..row.clone() }),
        }
        self.push(Change::State { id: row.id, state });
    }

    /// Forgets an alert.
    pub fn forget(&mut self, rule: &str, key: &str) {
        for is_dry in [false, true] {
            let hash = self.slots.hash(rule, key, is_dry);
            self.slots.remove(hash);
        }
    }

    /// The file has to hear of this. Without room, the oldest is lost.
    pub fn push(&mut self, change: Change) {
        self.changes.push_back(change);
        if self.changes.len() > MOST {
            self.changes.pop_front();
            self.lost += 1;
        }
    }

    /// Everything that the file has to hear of, in the order in which it was decided.
    pub fn take_changes(&mut self) -> Vec<Change> {
        for hash in mem::take(&mut self.dirty) {
            if let Some(slot) = self.slots.settle(hash) {
                self.push(count(&slot));
            }
        }
        mem::take(&mut self.changes).into()
    }

    /// What was taken could not be written.
    pub fn put_back(&mut self, changes: Vec<Change>) {
        for change in changes.into_iter().rev() {
            if self.changes.len() >= MOST {
                self.lost += 1;
            } else {
                self.changes.push_front(change);
            }
        }
    }

    /// How many changes were lost since this was asked last.
    pub fn take_lost(&mut self) -> u64 {
        mem::take(&mut self.lost)
    }
}

fn count(slot: &Slot) -> Change {
    Change::Count { id: slot.id, count: slot.count, last: slot.last, state: slot.state }
}

fn row(alert: &Alert, slot: &Slot) -> Row {
    Row {
        id: slot.id,
        rule: alert.rule.clone(),
        key: alert.key.clone(),
        severity: alert.severity,
        login: alert.login.clone(),
        ip: alert.ip.clone(),
        summary: alert.summary.clone(),
        data: serde_json::to_string(&alert.data).unwrap_or_else(|_| "{}".into()),
        count: slot.count,
        first: slot.first,
        last: slot.last,
        state: slot.state,
        sent: slot.sent,
        pause: slot.pause,
    }
}

#[cfg(test)]
mod tests;
