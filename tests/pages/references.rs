//! What pages and sections refer to is there.

use std::collections::BTreeSet;

use super::{pages, read};

/// What stands behind a macro in the lines of a page, up to the next macro or punctuation.
fn arguments<'a>(page: &'a str, name: &str) -> Vec<Vec<&'a str>> {
    let mut found = Vec::new();
    for line in page.lines().filter_map(|line| line.strip_prefix('.')) {
        let words: Vec<_> = line.split_whitespace().collect();
        for (at, _) in words.iter().enumerate().filter(|(_, word)| **word == name) {
            let rest = words[at + 1..].iter();
            let is_more = |word: &&&str| !matches!(**word, "," | "." | ";" | ":" | "(" | ")" | "Ns");
            found.push(rest.take_while(is_more).copied().collect());
        }
    }
    found
}

/// The pages that a text refers to, as `trackalert.conf.5`.
fn references(page: &str) -> BTreeSet<String> {
    arguments(page, "Xr").iter().map(|words| words.join(".")).collect()
}

#[test]
fn the_pages_that_are_referred_to_exist() {
    let pages = pages();
    for page in &pages {
        let text = read(&format!("man/{page}"));
        let own: Vec<_> =
            references(&text).into_iter().filter(|name| name.starts_with("trackalert")).collect();
        assert!(!own.is_empty(), "{page} refers to no other");
        for name in own {
            assert!(pages.contains(&name), "{page}: there is no {name}");
            assert_ne!(&name, page, "{page} refers to itself");
        }
    }
}

#[test]
fn the_page_of_the_program_leads_to_every_other() {
    let text = read("man/trackalert.1");
    let (_, rest) = text.split_once("\n.Sh SEE ALSO\n").unwrap();
    let named = references(rest.split("\n.Sh ").next().unwrap());
    let others: BTreeSet<_> = pages().into_iter().filter(|page| page != "trackalert.1").collect();
    let missing: Vec<_> = others.difference(&named).collect();
    assert!(missing.is_empty(), "not in SEE ALSO: {missing:?}");
}

#[test]
fn the_sections_that_are_referred_to_exist() {
    let mut count = 0;
    for page in pages() {
        let text = read(&format!("man/{page}"));
        let headings: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix(".Sh ").or_else(|| line.strip_prefix(".Ss ")))
            .collect();
        for section in arguments(&text, "Sx") {
            let section = section.join(" ");
            assert!(headings.contains(section.as_str()), "{page}: there is no section {section}");
            count += 1;
        }
    }
    assert!(count > 5, "only {count} references were found");
}
