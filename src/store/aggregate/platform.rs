//! What happened on the platform, or a part of it, within an hour.

use serde::{Deserialize, Serialize};

use crate::store::aggregate::distinct::Distinct;
use crate::store::aggregate::window::Counts;
use crate::store::query::PlatformCounts;
use crate::store::record::Outcome;

/// The counts of an hour.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Traffic {
    ok: u64,
    fail: u64,
    logins: Distinct,
    ips: Distinct,
}

impl Traffic {
    /// Counts a report with the hashes of its login and of its address.
    pub fn apply(&mut self, outcome: Outcome, login: u64, ip: Option<u64>) {
        match outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Fail { .. } => self.fail += 1,
            Outcome::Neither => return,
        }
        self.logins.insert(login);
        ip.into_iter().for_each(|ip| self.ips.insert(ip));
    }

    pub fn answer(&self) -> PlatformCounts {
        PlatformCounts { ok: self.ok, fail: self.fail, logins: self.logins.len(), ips: self.ips.len() }
    }
}

impl Counts for Traffic {
    fn merge(&mut self, other: &Traffic) {
        self.ok += other.ok;
        self.fail += other.fail;
        self.logins.merge(&other.logins);
        self.ips.merge(&other.ips);
    }
}
