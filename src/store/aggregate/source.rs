//! What an address or a network did within an hour.

use serde::{Deserialize, Serialize};

use crate::store::aggregate::distinct::Distinct;
use crate::store::aggregate::tally::Tally;
use crate::store::aggregate::window::Counts;
use crate::store::query::SourceCounts;
use crate::store::record::Outcome;

/// What one source did, by step.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Activity {
    ok: u32,
    fail: u32,
    unknown: u32,
    failed: Tally,
    passed: Distinct,
}

impl Activity {
    /// Counts a report of the login that has this hash.
    pub fn apply(&mut self, outcome: Outcome, login: u64) {
        match outcome {
            Outcome::Ok => {
                self.ok = self.ok.saturating_add(1);
                self.passed.insert(login);
            }
            Outcome::Fail { is_unknown } => {
                self.fail = self.fail.saturating_add(1);
                self.unknown = self.unknown.saturating_add(is_unknown.into());
                self.failed.add(login, 1);
            }
            Outcome::Neither => {}
        }
    }

    pub fn answer(&self) -> SourceCounts {
        SourceCounts {
            attempts: self.fail.into(),
            ok: self.ok.into(),
            unknown: self.unknown.into(),
            logins: self.failed.len(),
            ok_logins: self.passed.len(),
            spread: self.failed.spread(),
        }
    }
}

impl Counts for Activity {
    fn merge(&mut self, other: &Activity) {
        self.ok = self.ok.saturating_add(other.ok);
        self.fail = self.fail.saturating_add(other.fail);
        self.unknown = self.unknown.saturating_add(other.unknown);
        self.failed.merge(&other.failed);
        self.passed.merge(&other.passed);
    }
}
