//! The manual pages and the README as their readers use them: references lead somewhere, and every
//! example does what the page says.

use std::fs;
use std::path::{Path, PathBuf};

/// The examples of trackalert_api(7).
mod api;
/// The examples of trackalert.conf(5).
mod conf;
/// What an example is, and what it needs around it to be run.
mod example;
/// The pages for a browser.
mod html;
/// The examples of trackalert_policies(7).
mod policies;
/// The examples of trackalert(1).
mod program;
/// The examples of the README.
mod readme;
/// What pages and sections refer to.
mod references;
/// The examples of trackalert_store(7).
mod store;
/// The examples of trackalert_webhook(5).
mod webhook;

fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    let path = project(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The pages of `man`, as `trackalert.conf.5`.
fn pages() -> Vec<String> {
    let entries = fs::read_dir(project("man")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_page = |name: &String| name.rsplit('.').next().unwrap().parse::<u8>().is_ok();
    let mut pages: Vec<_> = names.filter(is_page).collect();
    pages.sort();
    assert!(pages.contains(&"trackalert.1".into()), "{pages:?}");
    pages
}
