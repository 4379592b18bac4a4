//! Holds share/openapi.yaml against the table of routes and the manual page, so that neither says more
//! or less than the others. Whether the answers are as described, `make api` finds out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use tiny_http::Method;
use yaml_rust::{Yaml, YamlLoader};

use crate::http::routes::{Access, ROUTES, Route};
use crate::manual;

fn document() -> Yaml {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/share/openapi.yaml");
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    YamlLoader::load_from_str(&text).unwrap().remove(0)
}

fn keys(object: &Yaml) -> BTreeSet<String> {
    object.as_hash().unwrap().keys().map(|key| key.as_str().unwrap().to_owned()).collect()
}

/// What a reference such as `#/components/responses/Busy` points at; anything else is itself.
fn resolve<'a>(document: &'a Yaml, object: &'a Yaml) -> &'a Yaml {
    let Some(reference) = object["$ref"].as_str() else { return object };
    let place = reference.strip_prefix("#/").unwrap_or_else(|| panic!("{reference} is not in here"));
    let found = place.split('/').fold(document, |object, key| &object[key]);
    assert!(!found.is_badvalue(), "{reference} points at nothing");
    found
}

/// Each method and path, with what is said of it.
fn operations(document: &Yaml) -> BTreeMap<String, &Yaml> {
    let mut found = BTreeMap::new();
    for (path, item) in document["paths"].as_hash().unwrap() {
        for (method, operation) in item.as_hash().unwrap() {
            found.insert(format!("{} {}", method.as_str().unwrap(), path.as_str().unwrap()), operation);
        }
    }
    found
}

fn access(operation: &Yaml) -> Access {
    let schemes: Vec<_> = operation["security"].as_vec().unwrap().iter().map(keys).collect();
    let (basic, none) = (BTreeSet::from(["basic".to_owned()]), BTreeSet::new());
    match schemes.as_slice() {
        [] => Access::Open,
        [only] if *only == basic => Access::Password,
        [first, second] if *first == basic && *second == none => Access::Metrics,
        _ => panic!("{schemes:?}"),
    }
}

fn methods(route: &Route) -> &'static [&'static str] {
    if route.method == Method::Get { &["get", "head"] } else { &["post"] }
}

#[test]
fn every_path_is_described_and_no_other() {
    let document = document();
    let mut described: BTreeMap<String, (Access, &str)> = operations(&document)
        .into_iter()
        .map(|(name, operation)| (name, (access(operation), operation["summary"].as_str().unwrap())))
        .collect();
    let mut wrong = Vec::new();
    let mut check = |name: String, access: Access, help: Option<&str>| match described.remove(&name) {
        Some((there, summary)) if there == access && help.is_none_or(|help| help == summary) => {}
        there => wrong.push(format!("{name}: {there:?}, not {access:?}, {help:?}")),
    };
    for route in ROUTES {
        let command = route.is_command.then(|| format!("/command/{}", route.name));
        let short = route.is_short.then(|| format!("/{}", route.name));
        for path in command.into_iter().chain(short) {
            for method in methods(route) {
                check(format!("{method} {path}"), route.access, Some(route.help));
            }
        }
    }
    check("post /command/{endpoint}".into(), Access::Password, None);
    // The query says which command it is, and so whether it needs the password.
    for (method, access) in [("get", Access::Metrics), ("head", Access::Metrics), ("post", Access::Password)]
    {
        check(format!("{method} /"), access, None);
    }
    wrong.extend(described.into_keys().map(|name| format!("{name} is not served")));
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_command_of_a_query_is_described_and_no_other() {
    let document = document();
    let operations = operations(&document);
    for method in ["get", "head"] {
        let parameter = resolve(&document, &operations[&format!("{method} /")]["parameters"][0]);
        let names: Vec<&str> =
            parameter["schema"]["enum"].as_vec().unwrap().iter().flat_map(Yaml::as_str).collect();
        let is_asked = |route: &&Route| route.is_command && route.method == Method::Get;
        let expected: Vec<&str> = ROUTES.iter().filter(is_asked).map(|route| route.name).collect();
        assert_eq!((parameter["name"].as_str(), names), (Some("command"), expected));
    }
    let parameter = resolve(&document, &operations["post /"]["parameters"][0]);
    let is_told = |route: &&Route| route.is_command && route.method == Method::Post;
    let expected: Vec<&str> = ROUTES.iter().filter(is_told).map(|route| route.name).collect();
    assert!(expected.iter().any(|name| parameter["example"].as_str() == Some(name)));
    let text = parameter["description"].as_str().unwrap();
    let named: Vec<&str> = expected.iter().copied().filter(|name| text.contains(name)).collect();
    assert_eq!(named, expected, "{text}");
}

#[test]
fn every_status_is_described_and_no_other() {
    let document = document();
    let manual: BTreeSet<String> = ["2", "4", "5"]
        .iter()
        .flat_map(|first| manual::entries("trackalert_api.7", first).into_keys())
        .collect();
    for (name, operation) in operations(&document) {
        let responses = &operation["responses"];
        assert_eq!(keys(responses), manual, "{name}");
        for (status, field) in [("401", "WWW-Authenticate"), ("405", "Allow"), ("503", "Retry-After")] {
            let fields = &resolve(&document, &responses[status])["headers"];
            assert!(!resolve(&document, &fields[field]).is_badvalue(), "{name}: {status} without {field}");
        }
    }
}

#[test]
fn the_document_has_the_version_of_the_program() {
    assert_eq!(document()["info"]["version"].as_str(), Some(env!("CARGO_PKG_VERSION")));
}
