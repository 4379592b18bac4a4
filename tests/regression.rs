//! What fuzzing found, and the corpora that it works with: every input is tried again.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::properties;

/// The inputs of a fuzz target in a folder of `tests/fuzz`.
fn inputs(folder: &str, target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(folder).join(target);
    // Not every target has found something.
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect()
}

#[test]
fn every_input_of_the_fuzz_targets_passes() {
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").exists() {
        let _ = writeln!(std::io::stderr(), "skipped: a package has no fuzz targets");
        return;
    }
    for (target, property) in properties::ALL {
        let corpus = inputs("corpus", target);
        assert!(!corpus.is_empty(), "{target}");
        for (path, input) in inputs("findings", target).into_iter().chain(corpus) {
            let result = std::panic::catch_unwind(|| property(&input));
            assert!(result.is_ok(), "{path}");
        }
    }
}
