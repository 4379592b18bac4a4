//! Weeks of ordinary life with an attack among them, or without one: the first line of each file says what
//! must be raised and which rules must be silent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::PROGRAM;

/// Every scenario, its name and its text.
pub fn scenarios() -> Vec<(String, String)> {
    let folder = root().join("tests/data/scenarios");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "the scenarios are there");
    let read = |path: PathBuf| {
        let output = Command::new("gzip").arg("-dc").arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", path.display());
        let name = path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
        (name, String::from_utf8(output.stdout).unwrap())
    };
    files.into_iter().map(read).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is wrong with the alerts that a scenario has raised.
pub fn faults(name: &str, scenario: &str, alerts: &[Value]) -> Vec<String> {
    let wanted: Value = serde_json::from_str(scenario.lines().next().unwrap()).unwrap();
    let is = |alert: &Value, expected: &Value| {
        expected.as_object().unwrap().iter().all(|(key, value)| alert[key] == *value)
    };
    let missing = wanted["expect"].as_array().unwrap().iter();
    let missing = missing.filter(|expected| !alerts.iter().any(|alert| is(alert, expected)));
    let missing = missing.map(|expected| format!("{name}: not raised: {expected}"));
    let silent = wanted["silent"].as_array().unwrap();
    let forbidden = alerts.iter().filter(|alert| silent.contains(&alert["rule"]));
    missing.chain(forbidden.map(|alert| format!("{name}: raised: {alert}"))).collect()
}

fn replay(scenario: &str) -> Vec<Value> {
    let config = root().join("tests/policies/scenarios.conf");
    let mut program = Command::new(PROGRAM)
        .arg("-C")
        .arg(config)
        .args(["--replay", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = program.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut input, scenario.as_bytes()).unwrap());
        program.wait_with_output().unwrap()
    });
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !errors.contains("exception"), "{errors}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_replay_raises_what_a_scenario_expects() {
    let scenarios = scenarios();
    let (left, right) = scenarios.split_at(scenarios.len() / 2);
    let run = |half: &[(String, String)]| -> Vec<String> {
        half.iter().flat_map(|(name, text)| faults(name, text, &replay(text))).collect()
    };
    let found = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(right));
        [run(left), other.join().unwrap()].concat()
    });
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
