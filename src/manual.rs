//! Reads the entries of the manual pages, for the tests that hold them against the tables of the
//! program in both directions.

use std::collections::BTreeMap;

fn read(page: &str) -> String {
    let path = format!("{}/man/{page}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The entries of a page of `man/` whose heading is `.It MACRO …`: each heading's words, and the
/// first sentence below it.
pub fn entries(page: &str, macro_name: &str) -> BTreeMap<String, String> {
    let text = read(page);
    let mut lines = text.lines();
    let mut entries = BTreeMap::new();
    while let Some(line) = lines.next() {
        let Some(heading) = line.strip_prefix(".It ").filter(|rest| rest.starts_with(macro_name)) else {
            continue;
        };
        let sentence = lines.next().unwrap_or_default();
        assert!(
            entries.insert(heading.replace("\\&", ""), plain(sentence)).is_none(),
            "{page}: {heading} twice"
        );
    }
    entries
}

/// A line of a page without its escapes.
fn plain(line: &str) -> String {
    line.replace("\\(dq", "\"").replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")
}

/// Fails, naming what is missing, stale or different, unless the page has just these entries.
pub fn check(page: &str, macro_name: &str, table: impl Iterator<Item = (String, String)>) {
    check_but(page, macro_name, table, &[]);
}

/// The same for a page that has other entries, too.
pub fn check_but(
    page: &str,
    macro_name: &str,
    table: impl Iterator<Item = (String, String)>,
    others: &[String],
) {
    let mut found = entries(page, macro_name);
    found.retain(|heading, _| !others.contains(heading));
    let mut wrong = Vec::new();
    for (heading, sentence) in table {
        match found.remove(&heading) {
            Some(there) if there == sentence => {}
            Some(there) => wrong.push(format!(".It {heading}\n  says   {there}\n  not    {sentence}")),
            None => wrong.push(format!(".It {heading}\n{sentence}\n  is missing")),
        }
    }
    wrong.extend(found.into_keys().map(|heading| format!(".It {heading}\n  is of nothing in the program")));
    assert!(wrong.is_empty(), "{page}:\n{}", wrong.join("\n"));
}

/// The first line that is displayed in an entry, if it is a table; or nothing.
pub fn example_after(page: &str, heading: &str) -> String {
    let text = read(page);
    let entry = text.split(".It ").find(|entry| entry.lines().next() == Some(heading)).unwrap_or_default();
    let line = entry.lines().find_map(|line| line.strip_prefix(".Dl ")).unwrap_or_default();
    if line.starts_with('{') { line.to_owned() } else { String::new() }
}

/// The first literal display of a page's section EXAMPLES.
pub fn example(page: &str) -> String {
    let text = read(page);
    let (_, section) = text.split_once(".Sh EXAMPLES").unwrap_or_else(|| panic!("{page} has no examples"));
    let (_, display) = section.split_once(".Bd -literal").unwrap_or_else(|| panic!("{page} has no display"));
    let (lines, _) = display.split_once(".Ed").unwrap_or_else(|| panic!("{page} has an open display"));
    lines.lines().skip(1).map(|line| plain(line) + "\n").collect()
}
