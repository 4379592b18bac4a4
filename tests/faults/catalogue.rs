//! The manual page names every test of this folder, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The tests of this folder as `faults::module::name`, read from its files.
fn tests() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        // What stands between `fn` and the parenthesis behind `#[test]`, whatever attributes come between.
        for part in text.split("#[test]\n").skip(1) {
            let (_, rest) = part.split_once("fn ").unwrap();
            names.insert(format!("faults::{module}::{}", rest.split('(').next().unwrap()));
        }
    }
    names.retain(|name| !name.starts_with("faults::catalogue::"));
    names
}

/// The tests that the section of the page names.
fn named() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/trackalert.1");
    let page = fs::read_to_string(path).unwrap();
    let (_, section) = page.split_once("\n.Sh WHAT IT SURVIVES\n").unwrap();
    let section = section.split("\n.Sh ").next().unwrap();
    let names = section.lines().filter_map(|line| line.strip_prefix(".Pa ")?.split(' ').next());
    names.filter(|name| name.starts_with("faults::")).map(str::to_owned).collect()
}

#[test]
fn the_manual_has_every_test_and_no_other() {
    let (tests, named) = (tests(), named());
    let missing: Vec<_> = tests.difference(&named).collect();
    let stale: Vec<_> = named.difference(&tests).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "not in the page: {missing:#?}\nnot in the tests: {stale:#?}"
    );
    assert!(tests.len() > 20, "{tests:?}");
}
