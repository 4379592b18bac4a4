//! Rows that are in memory and are written later: what changes often is written once in a while, and
//! what was used a moment ago is not read again. A row that has changed stays until it was written; of
//! the others, those that were not used longest go when there are too many.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::hash::Hash;

use lru::LruCache;

use crate::store::journal::ReportId;

/// Rows of one table, by key.
pub struct Shelf<K, V> {
    rows: LruCache<K, Row<V>>,
    /// Rows to be written, by the first report that is not on disk.
    dirty: VecDeque<(ReportId, K)>,
    /// Rows that may be here without reason.
    limit: usize,
}

struct Row<V> {
    value: V,
    /// The latest report that it includes.
    applied: ReportId,
    is_dirty: bool,
}

impl<K: Hash + Eq + Clone, V> Shelf<K, V> {
    pub fn new(limit: usize) -> Shelf<K, V> {
        Shelf { rows: LruCache::unbounded(), dirty: VecDeque::new(), limit }
    }

    /// A row, if it is here. Where it is not, the disk has its latest state.
    pub fn peek<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.rows.peek(key).map(|row| &row.value)
    }

    /// The same, which counts as use.
    pub fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.rows.get(key).map(|row| &row.value)
    }

    /// Puts a row here that the disk has, or that nothing was counted in yet.
    pub fn put(&mut self, key: K, value: V, applied: ReportId) {
        self.rows.put(key, Row { value, applied, is_dirty: false });
        while self.rows.len() > self.limit {
            match self.rows.peek_lru() {
                Some((_, row)) if !row.is_dirty => drop(self.rows.pop_lru()),
                // What is dirty is written soon.
                _ => return,
            }
        }
    }

    /// Lets a report change a row that is here, unless the row includes it already.
    pub fn change(&mut self, key: &K, report: ReportId, change: impl FnOnce(&mut V)) {
        let Some(row) = self.rows.get_mut(key) else { return };
        if row.applied >= report {
            return;
        }
        row.applied = report;
        change(&mut row.value);
        if !row.is_dirty {
            row.is_dirty = true;
            self.dirty.push_back((report, key.clone()));
        }
    }

    /// Changes a row that is here for another reason than a report. `next` is the number that the next
    /// report will have.
    pub fn edit<Q: Hash + Eq + ?Sized>(&mut self, key: &Q, next: ReportId, change: impl FnOnce(&mut V))
    where
        K: Borrow<Q>,
    {
        let Some((key, _)) = self.rows.get_key_value(key) else { return };
        let key = key.clone();
        let Some(row) = self.rows.peek_mut(key.borrow()) else { return };
        change(&mut row.value);
        if !row.is_dirty {
            row.is_dirty = true;
            self.dirty.push_back((next, key));
        }
    }

    /// Forgets the rows that are not to be kept.
    pub fn retain(&mut self, is_kept: impl Fn(&K) -> bool) {
        let old: Vec<K> = self.rows.iter().map(|(key, _)| key).filter(|key| !is_kept(key)).cloned().collect();
        old.iter().for_each(|key| drop(self.rows.pop(key)));
        self.dirty.retain(|(_, key)| is_kept(key));
    }

    /// Forgets a row, wherever it stands.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.rows.pop(key);
        self.dirty.retain(|(_, dirty)| dirty.borrow() != key);
    }

    /// The row that waits longest to be written, which counts as written now.
    pub fn take_dirty(&mut self) -> Option<(K, &V, ReportId)> {
        let (_, key) = self.dirty.pop_front()?;
        let row = self.rows.peek_mut(&key)?;
        row.is_dirty = false;
        Some((key, &row.value, row.applied))
    }

    /// The rows to be written.
    pub fn dirty(&self) -> usize {
        self.dirty.len()
    }

    /// The first report that a row on disk lacks.
    pub fn first_missing(&self) -> Option<ReportId> {
        self.dirty.front().map(|(report, _)| *report)
    }

    /// Every row that is here.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter().map(|(key, row)| (key, &row.value))
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.rows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(keys: &[&str], limit: usize) -> Shelf<String, u32> {
        let mut shelf = Shelf::new(limit);
        keys.iter().for_each(|key| shelf.put((*key).to_owned(), 0, 0));
        shelf
    }

    fn add(shelf: &mut Shelf<String, u32>, key: &str, report: ReportId) {
        shelf.change(&key.to_owned(), report, |value| *value += 1);
    }

    #[test]
    fn a_row_waits_from_its_first_change_on() {
        let mut shelf = shelf(&["a", "b"], 10);
        for (key, report) in [("a", 1), ("b", 2), ("a", 3), ("a", 3), ("a", 2)] {
            add(&mut shelf, key, report);
        }
        assert_eq!((shelf.dirty(), shelf.first_missing()), (2, Some(1)));
        assert_eq!(shelf.take_dirty(), Some(("a".into(), &2, 3)), "no report counts twice");
        assert_eq!(shelf.first_missing(), Some(2));
        add(&mut shelf, "a", 4);
        assert_eq!(shelf.take_dirty(), Some(("b".into(), &1, 2)));
        assert_eq!(shelf.take_dirty(), Some(("a".into(), &3, 4)));
        assert!(shelf.take_dirty().is_none() && shelf.first_missing().is_none());
    }

    #[test]
    fn what_was_not_used_longest_goes_unless_it_must_be_written() {
        let mut shelf = shelf(&["a", "b", "c"], 3);
        shelf.get("a");
        shelf.put("d".into(), 0, 0);
        assert!(shelf.peek("b").is_none() && shelf.peek("a").is_some());
        add(&mut shelf, "c", 1);
        ["e", "f", "g"].iter().for_each(|key| shelf.put((*key).to_owned(), 0, 0));
        assert!(shelf.peek("c").is_some());
        shelf.take_dirty();
        ["h", "i", "j"].iter().for_each(|key| shelf.put((*key).to_owned(), 0, 0));
        assert!(shelf.peek("c").is_none());
        assert_eq!(shelf.len(), 3);
    }

    #[test]
    fn a_removed_row_is_not_written() {
        let mut shelf = shelf(&["a", "b"], 10);
        add(&mut shelf, "a", 1);
        add(&mut shelf, "b", 2);
        shelf.remove("a");
        assert_eq!((shelf.first_missing(), shelf.dirty()), (Some(2), 1));
        assert_eq!(shelf.take_dirty().map(|(key, ..)| key), Some("b".into()));
    }
}
