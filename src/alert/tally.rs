//! Alerts that are counted for the metrics, by rule: of rules there may be many, if a policy makes them up.

use std::collections::HashSet;

use parking_lot::RwLock;
use prometheus::IntCounterVec;

use crate::alert::{Alert, Outcome};

/// Rules that have counters of their own, and the name of the rest.
const RULES: usize = 200;
const OTHERS: &str = "other";

/// The counters.
pub struct Tally {
    counters: IntCounterVec,
    rules: RwLock<HashSet<String>>,
}

impl Tally {
    pub fn new(counters: IntCounterVec) -> Tally {
        Tally { counters, rules: RwLock::default() }
    }

    /// Counts an alert.
    pub fn count(&self, alert: &Alert, outcome: Outcome) {
        let rule = if self.has(&alert.rule) { &alert.rule } else { OTHERS };
        self.counters.with_label_values(&[rule, alert.severity.name(), outcome.name()]).inc();
    }

    /// Whether a rule has counters of its own; it gets them if there is room.
    fn has(&self, rule: &str) -> bool {
        if self.rules.read().contains(rule) {
            return true;
        }
        let mut rules = self.rules.write();
        rules.len() < RULES && rules.insert(rule.to_owned()) || rules.contains(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Stats;

    #[test]
    fn rules_beyond_some_are_counted_together() {
        let stats = Stats::new();
        let tally = Tally::new(stats.metrics.alerts.clone());
        for number in 0..RULES + 5 {
            let mut alert = Alert::of(&format!("rule{number}"), "joe");
            tally.count(&alert, Outcome::Sent);
            alert.is_dry = true;
            tally.count(&alert, Outcome::DryRun);
        }
        let count =
            |rule: &str, outcome| stats.metrics.alerts.with_label_values(&[rule, "medium", outcome]).get();
        assert_eq!(
            (count("rule199", "sent"), count("rule199", "dry-run"), count("other", "sent")),
            (1, 1, 5)
        );
    }
}
