//! How many different things there were: exactly up to a number, estimated beyond. What is counted
//! comes as a hash under a key that nobody outside knows, so that nobody can choose names that count
//! as one.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::store::aggregate::sketch::Sketch;

/// Up to so many things are counted exactly.
pub const EXACT: usize = 64;

/// A set of which only the size can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Distinct {
    Few(Hashes),
    Many(Sketch),
}

/// Sorted hashes, kept as 8 bytes each: a shorter number is rare among them.
#[derive(Clone, Debug, Default)]
pub struct Hashes(Vec<u64>);

impl Default for Distinct {
    fn default() -> Self {
        Distinct::Few(Hashes::default())
    }
}

impl Distinct {
    pub fn insert(&mut self, hash: u64) {
        match self {
            Distinct::Few(Hashes(hashes)) => {
                let Err(at) = hashes.binary_search(&hash) else { return };
                hashes.insert(at, hash);
                if hashes.len() > EXACT {
                    *self = Distinct::Many(Sketch::of(hashes.iter().copied()));
                }
            }
            Distinct::Many(sketch) => sketch.insert(hash),
        }
    }

    /// Adds what another one has.
    pub fn merge(&mut self, other: &Distinct) {
        match (&mut *self, other) {
            (_, Distinct::Few(Hashes(hashes))) => hashes.iter().for_each(|hash| self.insert(*hash)),
            (Distinct::Few(Hashes(hashes)), Distinct::Many(theirs)) => {
                let mut sketch = theirs.clone();
                hashes.iter().for_each(|hash| sketch.insert(*hash));
                *self = Distinct::Many(sketch);
            }
            (Distinct::Many(ours), Distinct::Many(theirs)) => ours.merge(theirs),
        }
    }

    pub fn len(&self) -> u64 {
        match self {
            Distinct::Few(Hashes(hashes)) => hashes.len() as u64,
            Distinct::Many(sketch) => sketch.len(),
        }
    }
}

impl Serialize for Hashes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        to.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for Hashes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (hashes, rest) = <&[u8]>::deserialize(from)?.as_chunks::<8>();
        let hashes: Vec<u64> = hashes.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        if rest.is_empty() && hashes.is_sorted() {
            return Ok(Hashes(hashes));
        }
        Err(D::Error::custom("no sorted hashes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::aggregate::hash;

    fn of(numbers: impl IntoIterator<Item = u64>) -> Distinct {
        let mut distinct = Distinct::default();
        numbers.into_iter().for_each(|number| distinct.insert(hash(number)));
        distinct
    }

    fn assert_near(found: u64, expected: u64) {
        let error = (found as f64 / expected as f64 - 1.0).abs();
        // Three times the standard error.
        assert!(
            if expected <= EXACT as u64 { found == expected } else { error < 0.05 },
            "{found} of {expected}"
        );
    }

    #[test]
    fn few_are_counted_and_many_estimated() {
        for number in [0, 1, 2, 63, 64, 65, 100, 1000, 100_000] {
            assert_near(of((0..number).chain(0..number)).len(), number);
        }
    }

    #[test]
    fn what_is_in_both_counts_once() {
        for (left, right, expected) in
            [(0..40, 20..64, 64), (0..40, 20..100, 100), (0..1000, 10..20, 1000), (0..1000, 500..5000, 5000)]
        {
            for (left, right) in [(left.clone(), right.clone()), (right, left)] {
                let mut both = of(left);
                both.merge(&of(right));
                assert_near(both.len(), expected);
            }
        }
    }

    #[test]
    fn a_set_is_kept_as_it_is() {
        for number in [0, 1, 64, 65, 10_000] {
            let (set, bytes) = (of(0..number), postcard::to_allocvec(&of(0..number)).unwrap());
            let again: Distinct = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(again.len(), set.len());
            assert_eq!(postcard::to_allocvec(&again).unwrap(), bytes);
        }
        for bad in [&[0, 7][..], &[0, 3, 1, 2, 3], &[1, 1, 5], &[2]] {
            assert!(postcard::from_bytes::<Distinct>(bad).is_err());
        }
        let mut registers = postcard::to_allocvec(&of(0..100)).unwrap();
        registers[100] = 66;
        assert!(postcard::from_bytes::<Distinct>(&registers).is_err());
    }
}
