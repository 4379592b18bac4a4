//! How a login failed within an hour.

use serde::{Deserialize, Serialize};

use crate::store::aggregate::distinct::Distinct;
use crate::store::aggregate::window::Counts;
use crate::store::query::LoginFailures;

/// Failures of one login, by step.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Failures {
    attempts: u32,
    nets: Distinct,
    asns: Distinct,
    countries: Distinct,
    pwhashes: Distinct,
}

/// What is known of where a failure came from: hashes, where there is something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    pub net: Option<u64>,
    pub asn: Option<u64>,
    pub country: Option<u64>,
    pub pwhash: Option<u64>,
}

impl Failures {
    pub fn apply(&mut self, origin: &Origin) {
        self.attempts = self.attempts.saturating_add(1);
        for (hash, set) in [
            (origin.net, &mut self.nets),
            (origin.asn, &mut self.asns),
            (origin.country, &mut self.countries),
            (origin.pwhash, &mut self.pwhashes),
        ] {
            hash.into_iter().for_each(|hash| set.insert(hash));
        }
    }

    pub fn answer(&self) -> LoginFailures {
        LoginFailures {
            attempts: self.attempts.into(),
            nets: self.nets.len(),
            asns: self.asns.len(),
            countries: self.countries.len(),
            pwhashes: self.pwhashes.len(),
        }
    }
}

impl Counts for Failures {
    fn merge(&mut self, other: &Failures) {
        self.attempts = self.attempts.saturating_add(other.attempts);
        self.nets.merge(&other.nets);
        self.asns.merge(&other.asns);
        self.countries.merge(&other.countries);
        self.pwhashes.merge(&other.pwhashes);
    }
}
