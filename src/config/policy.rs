//! How a policy is used.

use std::str::FromStr;

use crate::error::{Error, Result};

/// What comes of what a policy notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyMode {
    /// It does not run.
    Off,
    /// A line in the log.
    DryRun,
    /// An alert.
    On,
}

impl PolicyMode {
    pub fn name(self) -> &'static str {
        match self {
            PolicyMode::Off => "off",
            PolicyMode::DryRun => "dry-run",
            PolicyMode::On => "on",
        }
    }
}

impl FromStr for PolicyMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [PolicyMode::Off, PolicyMode::DryRun, PolicyMode::On];
        let found = all.into_iter().find(|mode| mode.name() == text);
        found.ok_or_else(|| Error::Bad { what: "off, dry-run or on", value: text.into() })
    }
}
