//! What fuzzing found, and the corpora that it works with: every input is tried again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::properties;
use crate::support::skipped;

/// Where something of the fuzz targets is, which a package has not.
fn place(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    if !folder.exists() {
        skipped("a package has no fuzz targets");
        return None;
    }
    Some(folder.join(name))
}

/// The inputs of a fuzz target in a folder.
fn inputs(folder: &Path, target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    // Not every target has found something.
    let Ok(entries) = fs::read_dir(folder.join(target)) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn every_input_of_the_fuzz_targets_passes() {
    let (Some(corpora), Some(findings)) = (place("corpus"), place("findings")) else { return };
    for (target, property) in properties::ALL {
        let corpus = inputs(&corpora, target);
        assert!(!corpus.is_empty(), "{target}");
        for (path, input) in inputs(&findings, target).into_iter().chain(corpus) {
            let result = std::panic::catch_unwind(|| property(&input));
            assert!(result.is_ok(), "{}", path.display());
        }
    }
}

/// The names of files in a folder, without what follows a dot.
fn names(folder: &Path) -> BTreeSet<String> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_list_of_fuzz_targets_has_them_all() {
    let Some(manifest) = place("Cargo.toml") else { return };
    let folder = manifest.parent().unwrap();
    let files = names(&folder.join("targets"));
    let manifest = fs::read_to_string(&manifest).unwrap();
    let (_, programs) = manifest.split_once("[[bin]]").unwrap();
    let programs = programs.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    assert_eq!(programs.map(str::to_owned).collect::<BTreeSet<_>>(), files, "tests/fuzz/Cargo.toml");
    let makefile = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Makefile")).unwrap();
    let listed = makefile.lines().find_map(|line| line.strip_prefix("FUZZ_TARGETS ?= ")).unwrap();
    assert_eq!(listed.split(' ').map(str::to_owned).collect::<BTreeSet<_>>(), files, "Makefile");
    // Another opinion on the same property has a name that goes on, as `http_tiny`.
    let checked = files.iter().map(|name| name.split('_').next().unwrap().to_owned());
    let properties: BTreeSet<String> = properties::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(checked.collect::<BTreeSet<_>>(), properties, "tests/properties");
    for folder in [folder.join("corpus"), folder.join("dictionaries")] {
        assert_eq!(names(&folder), properties, "{}", folder.display());
    }
    assert!(names(&folder.join("findings")).is_subset(&properties), "findings");
}

#[test]
fn inputs_of_a_corpus_are_named_as_libfuzzer_names_them() {
    let Some(corpora) = place("corpus") else { return };
    for target in names(&corpora) {
        for name in names(&corpora.join(&target)) {
            // SHA-1, of the content.
            let is_hash = name.len() == 40 && name.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
            assert!(is_hash, "{target}/{name}");
        }
    }
}
