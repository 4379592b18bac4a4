//! The policies that are shipped: what a test in Lua writes down as logins is replayed by the program, and
//! what is raised is held against what the test expects.

mod live;
mod rehearsal;
mod scenarios;

use std::path::Path;

use rehearsal::rehearse;

/// Every policy has a file of tests, and every file of tests passes.
#[test]
fn each_policy_raises_what_it_should_and_nothing_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = std::fs::read_dir(root.join("share/policies"))
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let run = |name: &str| rehearse(name, &root.join(format!("tests/policies/{name}.lua")));
        let halves = names.chunks(names.len().div_ceil(4));
        let threads: Vec<_> = halves
            .map(|names| scope.spawn(move || names.iter().flat_map(|name| run(name)).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
