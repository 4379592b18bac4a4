//! Counts of an hour by steps of five minutes, of which those are added up that a question is about.

use serde::{Deserialize, Serialize};

use crate::store::query::{HOUR, STEP, Window};
use crate::store::record::Seconds;

/// What can be counted by steps.
pub trait Counts: Default {
    /// Adds other counts.
    fn merge(&mut self, other: &Self);
}

/// The counts of one hour.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hour<T> {
    /// By the number of the step in the hour.
    steps: Vec<(u8, T)>,
}

impl<T> Default for Hour<T> {
    fn default() -> Self {
        Hour { steps: Vec::new() }
    }
}

impl<T: Counts> Hour<T> {
    /// The counts of the step that `t` is in.
    pub fn at(&mut self, t: Seconds) -> &mut T {
        let step = (t % HOUR / STEP) as u8;
        let at = self.steps.iter().position(|(number, _)| *number == step).unwrap_or_else(|| {
            self.steps.push((step, T::default()));
            self.steps.len() - 1
        });
        &mut self.steps[at].1
    }

    /// Adds what happened in a window to `sum`, where `hour` is when this one began.
    pub fn add_to(&self, sum: &mut T, hour: Seconds, window: Window) {
        for (step, counts) in &self.steps {
            let t = hour + Seconds::from(*step) * STEP;
            if t >= window.start && t < window.end {
                sum.merge(counts);
            }
        }
    }

    /// Gives up the steps: everything counts as if it were of the first one. Whether there were several.
    pub fn flatten(&mut self) -> bool {
        let mut sum = T::default();
        self.steps.iter().for_each(|(_, counts)| sum.merge(counts));
        let had_steps = self.steps.len() > 1;
        self.steps = vec![(0, sum)];
        had_steps
    }
}
