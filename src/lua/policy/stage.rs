//! The policy that runs in a state at the moment: whose alerts these are, and which attacks it has noticed.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::alert::Outcome;
use crate::episode::Episode;
use crate::stats::PolicyCounter;

/// The policy that runs in a state, if one does.
#[derive(Default)]
pub struct Stage {
    running: RefCell<Option<Running>>,
    opened: RefCell<Vec<Episode>>,
}

/// The policy that runs.
#[derive(Clone)]
pub struct Running {
    pub name: Arc<str>,
    /// Whether nobody is to hear of its alerts.
    pub is_dry: bool,
    pub counter: Arc<PolicyCounter>,
}

impl Running {
    /// Counts an alert that it has raised.
    pub fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Sent | Outcome::DryRun => &self.counter.hits,
            Outcome::Suppressed | Outcome::Silenced => &self.counter.suppressed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Stage {
    /// A policy begins to look at something.
    pub fn enter(&self, policy: Running) {
        self.running.replace(Some(policy));
    }

    /// It has done so.
    pub fn leave(&self) {
        self.running.take();
    }

    /// The policy that runs, if one does.
    pub fn running(&self) -> Option<Running> {
        self.running.borrow().clone()
    }

    /// The policy that runs has opened an episode, of which the others are to hear.
    pub fn opened(&self, episode: Episode) {
        self.opened.borrow_mut().push(episode);
    }

    /// The episodes that were opened since the last time.
    pub fn take_opened(&self) -> Vec<Episode> {
        self.opened.take()
    }
}
