//! Alerts: what policies have noticed and people should hear of, once.

use std::time::Duration;

use serde_json::{Map, Value};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

/// Something that a policy has noticed.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// What was broken: the name of a policy, mostly.
    pub rule: String,
    /// What tells this alert from others of the rule: the same again is the same alert.
    pub key: String,
    pub severity: Severity,
    pub login: Option<String>,
    pub ip: Option<String>,
    /// One sentence for people.
    pub summary: String,
    /// Details for programs.
    pub data: Map<String, Value>,
    /// How long nothing more is sent of it at first; each further time is twice as long.
    pub realert: Duration,
    /// The time of the event, in seconds since the epoch.
    pub t: f64,
    /// Whether nobody is to hear of it but the log.
    pub is_dry: bool,
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Sent,
    /// It was sent before, or there are too many of the rule.
    Suppressed,
    Silenced,
    DryRun,
}
