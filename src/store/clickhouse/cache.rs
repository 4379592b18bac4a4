//! Answers of the last moments: a policy asks the same again for reports that come together.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

/// For how long an answer is good.
const FRESH: Duration = Duration::from_secs(2);

/// Answers that are kept, and bytes of one of them.
const ANSWERS: NonZeroUsize = NonZeroUsize::new(2000).expect("not zero");
const BYTES: usize = 16 << 10;

/// Answers by statement.
pub struct Cache(Mutex<LruCache<String, (Instant, Arc<str>)>>);

impl Default for Cache {
    fn default() -> Self {
        Cache(Mutex::new(LruCache::new(ANSWERS)))
    }
}

impl Cache {
    pub fn find(&self, statement: &str, now: Instant) -> Option<Arc<str>> {
        let mut answers = self.0.lock();
        let (when, answer) = answers.get(statement)?;
        (now.saturating_duration_since(*when) < FRESH).then(|| answer.clone())
    }

    pub fn put(&self, statement: String, answer: Arc<str>, now: Instant) {
        if answer.len() <= BYTES {
            self.0.lock().put(statement, (now, answer));
        }
    }

    /// Something has changed that answers must not hide.
    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_for_a_moment() {
        let (cache, start) = (Cache::default(), Instant::now());
        cache.put("SELECT 1".into(), "1".into(), start);
        assert_eq!(cache.find("SELECT 1", start + FRESH / 2).as_deref(), Some("1"));
        assert_eq!(cache.find("SELECT 1", start + FRESH), None);
        assert_eq!(cache.find("SELECT 2", start), None);
        cache.clear();
        assert_eq!(cache.find("SELECT 1", start), None);
    }

    #[test]
    fn there_are_not_too_many_and_none_that_is_large() {
        let (cache, now) = (Cache::default(), Instant::now());
        for number in 0..=ANSWERS.get() {
            cache.put(number.to_string(), "".into(), now);
        }
        assert!(cache.find("0", now).is_none() && cache.find("1", now).is_some());
        cache.put("large".into(), "x".repeat(BYTES + 1).into(), now);
        assert!(cache.find("large", now).is_none());
    }
}
