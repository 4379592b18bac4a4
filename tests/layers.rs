//! A module uses modules of lower rows alone, so that no two can need each other.

use std::fs;
use std::path::Path;

/// Bottom first. A module may use those of the rows above its own in this list.
const ROWS: &[&[&str]] = &[
    &["error", "manual"],
    &["net", "clock", "cron", "cli", "logger", "reply", "unix"],
    &["outbound"],
    &["login", "device", "config", "geoip", "stats"],
    &["store", "webhook"],
    &["alert", "episode"],
    &["shared"],
    &["lua"],
    &["worker"],
    &["http", "schedule", "console", "transfer"],
    &["daemon"],
    &["probe"],
    &["lib", "main"],
];

fn row(module: &str) -> usize {
    ROWS.iter()
        .position(|row| row.contains(&module))
        .unwrap_or_else(|| panic!("module {module} has no row: add it to tests/layers.rs"))
}

/// The top-level modules that a source text names, as in `use crate::webhook::Queue`.
fn used(source: &str) -> impl Iterator<Item = &str> {
    source.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// Every arrow of a file or folder that does not point to a lower row.
fn wrong_arrows(module: &str, path: &Path) -> Vec<String> {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        return entries.flat_map(|entry| wrong_arrows(module, &entry.unwrap().path())).collect();
    }
    let source = fs::read_to_string(path).unwrap();
    used(&source)
        .filter(|other| *other != module && row(other) >= row(module))
        .map(|other| format!("{} uses crate::{other}, which is not below {module}", path.display()))
        .collect()
}

#[test]
fn modules_use_lower_rows_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for entry in fs::read_dir(src).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert_eq!(wrong_arrows(&module, &path), Vec::<String>::new());
        seen += 1;
    }
    assert!(seen >= ROWS.iter().flat_map(|row| *row).count(), "modules without a file");
}

#[test]
fn an_arrow_upwards_is_found() {
    let path = std::env::temp_dir().join(format!("trackalert-layers-{}.rs", std::process::id()));
    fs::write(&path, "use crate::daemon::Daemon;\nuse crate::error::Error;\n").unwrap();
    let found = wrong_arrows("http", &path);
    fs::remove_file(&path).unwrap();
    assert_eq!(found, [format!("{} uses crate::daemon, which is not below http", path.display())]);
}
