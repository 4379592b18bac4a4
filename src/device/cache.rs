//! User-Agents that were parsed a moment ago. Most logins come from a few thousand of them, and a
//! look-up costs a fiftieth of what the patterns do.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use crate::device::Attributes;

/// User-Agents that are kept.
const MOST: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not 0");

/// Bytes that all of them may take: twice what as many ordinary ones need.
const MOST_BYTES: usize = 16 << 20;

/// Bytes that an entry takes beside its texts, about.
const OVERHEAD: usize = 800;

/// What User-Agents were parsed into, without those that were asked for longest ago.
pub struct Cache(Mutex<Entries>);

struct Entries {
    by_text: LruCache<Box<str>, Arc<Attributes>>,
    bytes: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Cache(Mutex::new(Entries { by_text: LruCache::new(MOST), bytes: 0 }))
    }
}

impl Cache {
    /// What `text` was parsed into; `parse` is called, without a lock, if that is not known.
    pub fn get_or_parse(&self, text: &str, parse: impl FnOnce() -> Attributes) -> Arc<Attributes> {
        if let Some(attrs) = self.0.lock().by_text.get(text) {
            return attrs.clone();
        }
        let attrs = Arc::new(parse());
        self.0.lock().insert(text, attrs.clone());
        attrs
    }
}

impl Entries {
    fn insert(&mut self, text: &str, attrs: Arc<Attributes>) {
        self.bytes += weight(text, &attrs);
        if let Some((text, attrs)) = self.by_text.push(text.into(), attrs) {
            self.bytes -= weight(&text, &attrs);
        }
        while self.bytes > MOST_BYTES
            && let Some((text, attrs)) = self.by_text.pop_lru()
        {
            self.bytes -= weight(&text, &attrs);
        }
    }
}

/// About how many bytes an entry takes.
fn weight(text: &str, attrs: &Attributes) -> usize {
    OVERHEAD + text.len() + attrs.values().map(|value| value.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attrs(value: &str) -> Attributes {
        Attributes::from([("os.family".into(), value.into())])
    }

    fn len(cache: &Cache) -> usize {
        cache.0.lock().by_text.len()
    }

    #[test]
    fn a_text_is_parsed_once() {
        let cache = Cache::default();
        let first = cache.get_or_parse("a", || attrs("1"));
        let again = cache.get_or_parse("a", || panic!("it is known"));
        assert!(Arc::ptr_eq(&first, &again));
    }

    #[test]
    fn what_was_asked_for_longest_ago_goes_first() {
        let cache = Cache::default();
        for number in 0..MOST.get() {
            cache.get_or_parse(&number.to_string(), || attrs("x"));
        }
        cache.get_or_parse("0", || panic!("it is known"));
        cache.get_or_parse("new", || attrs("x"));
        assert_eq!(len(&cache), MOST.get());
        cache.get_or_parse("0", || panic!("it is known"));
        let mut is_gone = false;
        cache.get_or_parse("1", || {
            is_gone = true;
            attrs("x")
        });
        assert!(is_gone);
    }

    #[test]
    fn long_texts_leave_room_for_fewer() {
        let cache = Cache::default();
        for number in 0..1000 {
            cache.get_or_parse(&format!("{number:050000}"), || attrs(&"x".repeat(1000)));
        }
        let entries = cache.0.lock();
        assert!(entries.by_text.len() < 400, "{}", entries.by_text.len());
        let sum: usize = entries.by_text.iter().map(|(text, attrs)| weight(text, attrs)).sum();
        assert_eq!(entries.bytes, sum);
        assert!(sum <= MOST_BYTES);
    }

    #[test]
    fn an_entry_that_is_parsed_twice_counts_once() {
        let cache = Cache::default();
        cache.get_or_parse("a", || {
            cache.get_or_parse("a", || attrs("1"));
            attrs("1")
        });
        assert_eq!(cache.0.lock().bytes, weight("a", &attrs("1")));
    }
}
