//! Reports under every kind of trouble: none is lost, and none runs twice.

use std::process::{Command, Stdio};

use crate::support::{PROGRAM, output, skipped};

/// How many reports are sent; `make chaos` sends a million.
const REPORTS: &str = "20000";

#[test]
fn what_is_accepted_runs_exactly_once() {
    let is_there = Command::new("python3").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !is_there {
        return skipped("there is no python3");
    }
    let chaos = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/soak/chaos");
    let mut command = Command::new("python3");
    command.args([chaos, "--reports", REPORTS, "--pause", "0.05", "--limit", "300", "--program", PROGRAM]);
    let output = output(&mut command);
    assert_eq!(output.status, 0, "{}{}", output.stdout, output.stderr);
    assert_eq!(output.stdout.matches("twice 0").count(), 4, "{}", output.stdout);
}
