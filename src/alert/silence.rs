//! Silences: rules, or single alerts of one, of which nobody is to hear until a time.

use std::collections::HashMap;

/// Stands for every key of a rule.
pub const EVERY_KEY: &str = "*";

/// Silences at most; each is an operator's own doing.
pub const MOST: usize = 10_000;

/// Who is to be silent until when.
#[derive(Default)]
pub struct Silences(HashMap<String, HashMap<String, f64>>);

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    pub rule: String,
    pub key: String,
    /// Seconds since the epoch.
    pub until: f64,
}

impl Silences {
    /// Adds one, in the place of that of the same rule and key.
    pub fn set(&mut self, silence: Silence) {
        self.0.entry(silence.rule).or_default().insert(silence.key, silence.until);
    }

    /// Takes one away; whether it was there.
    pub fn remove(&mut self, rule: &str, key: &str) -> bool {
        let Some(keys) = self.0.get_mut(rule) else { return false };
        let was_there = keys.remove(key).is_some();
        if keys.is_empty() {
            self.0.remove(rule);
        }
        was_there
    }

    /// Whether nobody is to hear of this at `t`.
    pub fn covers(&self, rule: &str, key: &str, t: f64) -> bool {
        let Some(keys) = self.0.get(rule) else { return false };
        [key, EVERY_KEY].iter().any(|key| keys.get(*key).is_some_and(|until| t < *until))
    }

    /// Those that are in force after `t`, by rule and key.
    pub fn after(&self, t: f64) -> Vec<Silence> {
        let all = self.0.iter().flat_map(|(rule, keys)| {
            keys.iter().map(move |(key, until)| Silence {
                rule: rule.clone(),
                key: key.clone(),
                until: *until,
            })
        });
        let mut all: Vec<Silence> = all.filter(|silence| silence.until > t).collect();
        all.sort_by(|a, b| (&a.rule, &a.key).cmp(&(&b.rule, &b.key)));
        all
    }

    /// Those that have ended by `t`.
    pub fn ended(&self, t: f64) -> Vec<Silence> {
        let all = self.after(f64::MIN).into_iter();
        all.filter(|silence| silence.until <= t).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values().map(HashMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_covers_a_key_or_all_until_it_ends() {
        let mut silences = Silences::default();
        let silence = |rule: &str, key: &str, until| Silence { rule: rule.into(), key: key.into(), until };
        silences.set(silence("spray", "a", 50.0));
        silences.set(silence("spray", "a", 100.0));
        silences.set(silence("travel", "*", 10.0));
        for (rule, key, t, expected) in [
            ("spray", "a", 99.0, true),
            ("spray", "a", 100.0, false),
            ("spray", "b", 1.0, false),
            ("travel", "joe", 9.0, true),
            ("travel", "joe", 10.0, false),
            ("other", "a", 0.0, false),
        ] {
            assert_eq!(silences.covers(rule, key, t), expected, "{rule} {key} {t}");
        }
        assert_eq!(silences.after(20.0), [silence("spray", "a", 100.0)]);
        assert_eq!((silences.ended(20.0), silences.len()), (vec![silence("travel", "*", 10.0)], 2));
        assert!(silences.remove("travel", "*") && !silences.remove("travel", "*"));
        assert!(!silences.covers("travel", "joe", 1.0));
    }
}
