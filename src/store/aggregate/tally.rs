//! How often each of many did something, of which only the spread is asked: exactly up to a number of
//! them, for a sample beyond. The sample are those with the least hashes, so that the samples of two
//! spans hold the same ones and can be added.

use serde::{Deserialize, Serialize};

use crate::store::aggregate::distinct::EXACT;
use crate::store::aggregate::sketch::Sketch;

/// Counts by hash.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// By hash, the least first.
    sample: Vec<(u64, u32)>,
    /// All of them, once the sample has not.
    all: Option<Sketch>,
}

/// The least number of each class of [`Tally::spread`].
const CLASSES: [u32; 5] = [1, 2, 3, 5, 9];

impl Tally {
    /// Adds to the count of one.
    pub fn add(&mut self, hash: u64, count: u32) {
        if let Some(all) = &mut self.all {
            all.insert(hash);
        }
        match self.sample.binary_search_by_key(&hash, |(hash, _)| *hash) {
            Ok(at) => self.sample[at].1 = self.sample[at].1.saturating_add(count),
            Err(at) if at < EXACT => self.sample.insert(at, (hash, count)),
            Err(_) => self.note(hash),
        }
        if self.sample.len() > EXACT
            && let Some((last, _)) = self.sample.pop()
        {
            self.note(last);
        }
    }

    /// One is not in the sample.
    fn note(&mut self, hash: u64) {
        let sample = &self.sample;
        let all = self.all.get_or_insert_with(|| Sketch::of(sample.iter().map(|(hash, _)| *hash)));
        all.insert(hash);
    }

    /// Adds what another one has.
    pub fn merge(&mut self, other: &Tally) {
        if let Some(theirs) = &other.all {
            match &mut self.all {
                Some(ours) => ours.merge(theirs),
                None => {
                    let mut all = theirs.clone();
                    self.sample.iter().for_each(|(hash, _)| all.insert(*hash));
                    self.all = Some(all);
                }
            }
        }
        for (hash, count) in &other.sample {
            self.add(*hash, *count);
        }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.all.as_ref().map_or(self.sample.len() as u64, Sketch::len)
    }

    /// How many did it once, twice, 3 or 4 times, 5 to 8 times, and more often.
    pub fn spread(&self) -> [u64; 5] {
        let mut spread = [0; 5];
        for (_, count) in &self.sample {
            let class = CLASSES.iter().rposition(|least| count >= least).unwrap_or_default();
            spread[class] += 1;
        }
        let (all, sample) = (self.len(), self.sample.len().max(1) as u64);
        if self.all.is_some() { spread.map(|count| (count * all + sample / 2) / sample) } else { spread }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::aggregate::hash;

    /// Each number did it as often as its class says.
    fn of(numbers: impl IntoIterator<Item = u64>) -> Tally {
        let mut tally = Tally::default();
        for number in numbers {
            (0..CLASSES[number as usize % 5]).for_each(|_| tally.add(hash(number), 1));
        }
        tally
    }

    #[test]
    fn a_few_are_told_apart() {
        assert_eq!(Tally::default().spread(), [0; 5]);
        assert_eq!((of(0..12).len(), of(0..12).spread()), (12, [3, 3, 2, 2, 2]));
        assert_eq!((of(0..64).len(), of(0..64).spread()), (64, [13, 13, 13, 13, 12]));
    }

    #[test]
    fn of_many_a_sample_is() {
        let tally = of(0..10_000);
        let (len, spread) = (tally.len(), tally.spread());
        assert!((9_500..10_500).contains(&len), "{len}");
        assert!(spread.iter().all(|count| (800..3500).contains(count)), "{spread:?}");
        assert!(spread.iter().sum::<u64>().abs_diff(len) < 5);
    }

    #[test]
    fn two_spans_are_one() {
        for (left, right) in [(0..20, 10..40), (0..50, 40..64), (0..50, 30..2000), (0..3000, 2000..2010)] {
            let both = left.start..left.end.max(right.end);
            let mut merged = of(left);
            merged.merge(&of(right));
            let whole = of(both.clone());
            assert_eq!(merged.len(), whole.len(), "{both:?}");
            let hashes = |tally: &Tally| tally.sample.iter().map(|(hash, _)| *hash).collect::<Vec<_>>();
            assert_eq!(hashes(&merged), hashes(&whole), "{both:?}");
            let bytes = postcard::to_allocvec(&whole).unwrap();
            assert_eq!(postcard::from_bytes::<Tally>(&bytes).unwrap().spread(), whole.spread());
        }
    }

    #[test]
    fn counts_of_two_spans_are_added() {
        let (mut left, right) = (of([1, 2]), of([2, 3]));
        left.merge(&right);
        // 1 twice, 2 three times and three times, 3 five times.
        assert_eq!(left.spread(), [0, 1, 0, 2, 0]);
    }
}
