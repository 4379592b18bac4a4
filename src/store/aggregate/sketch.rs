//! HyperLogLog as the store uses it: fed with hashes, merged, and kept as its registers.

use std::hash::{BuildHasher, DefaultHasher};

use hyperloglockless::HyperLogLog;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 2^12 registers: the standard error is 1.04/√4096, 1.6 %.
const PRECISION: u8 = 12;

/// A hash of 64 bits has no longer run of zeros.
const MOST: u8 = 65;

/// How many different hashes there were, estimated (Flajolet and others, 2007).
#[derive(Clone, Debug)]
pub struct Sketch(HyperLogLog<Unused>);

/// Whoever inserts brings the hash.
#[derive(Clone, Debug)]
struct Unused;

impl BuildHasher for Unused {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        DefaultHasher::new()
    }
}

impl Sketch {
    pub fn of(hashes: impl IntoIterator<Item = u64>) -> Sketch {
        let mut sketch = Sketch(HyperLogLog::with_hasher(PRECISION, Unused));
        hashes.into_iter().for_each(|hash| sketch.insert(hash));
        sketch
    }

    pub fn insert(&mut self, hash: u64) {
        self.0.insert_hash(hash);
    }

    pub fn merge(&mut self, other: &Sketch) {
        self.0.union(&other.0).expect("all have one precision");
    }

    pub fn len(&self) -> u64 {
        self.0.count() as u64
    }
}

impl Serialize for Sketch {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0.parts().0)
    }
}

impl<'de> Deserialize<'de> for Sketch {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let registers = <&[u8]>::deserialize(from)?;
        if registers.len() != 1 << PRECISION || registers.iter().any(|rank| *rank > MOST) {
            return Err(D::Error::custom("no registers of a sketch"));
        }
        let zeros = registers.iter().filter(|rank| **rank == 0).count();
        let sum = registers.iter().map(|rank| (-f64::from(*rank)).exp2()).sum();
        Ok(Sketch(HyperLogLog::from_parts(registers.into(), Unused, zeros, sum)))
    }
}
