//! The pages as `make html` renders them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use regex::Regex;

use super::{pages, project};
use crate::support::{Folder, output, skipped};

#[test]
fn every_link_of_the_rendered_pages_leads_somewhere() {
    if Command::new("mandoc").arg("/dev/null").output().is_err() {
        return skipped("mandoc is not installed");
    }
    let folder = Folder::new();
    let rendered = output(Command::new(project("man/html")).arg(folder.path("html")));
    assert_eq!((rendered.status, rendered.stderr.as_str()), (0, ""), "{}", rendered.stdout);

    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder.path("html")).unwrap() {
        let entry = entry.unwrap();
        files.insert(entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap());
    }
    let expected = pages().into_iter().map(|page| format!("{page}.html"));
    let expected: BTreeSet<_> = expected.chain(["index.html".into(), "style.css".into()]).collect();
    assert_eq!(files.keys().cloned().collect::<BTreeSet<_>>(), expected);

    let (id, link) = (Regex::new(r#"id="([^"]*)""#).unwrap(), Regex::new(r#"href="([^"]*)""#).unwrap());
    let all = |regex: &Regex, text: &str| -> BTreeSet<String> {
        regex.captures_iter(text).map(|found| found[1].to_owned()).collect()
    };
    for (name, text) in files.iter().filter(|(name, _)| name.ends_with(".html")) {
        assert!(text.ends_with("</html>\n"), "{name} is cut");
        for target in all(&link, text).into_iter().filter(|target| !target.starts_with("https://")) {
            let (file, place) = target.split_once('#').unwrap_or((&target, ""));
            let there = files.get(if file.is_empty() { name.as_str() } else { file });
            let there = there.unwrap_or_else(|| panic!("{name}: no {target}"));
            assert!(place.is_empty() || all(&id, there).contains(place), "{name}: no {target}");
        }
    }
    let index = all(&link, &files["index.html"]);
    let unlisted: Vec<_> = expected.iter().filter(|name| !index.contains(*name)).collect();
    assert_eq!(unlisted, ["index.html"]);
    assert!(files["trackalert.1.html"].contains("href=\"https://manpages.debian.org/sudo.8\""));
}
