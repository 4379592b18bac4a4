//! A regexes.yaml read and used in the plainest way: every pattern compiled whole and tried in turn,
//! as uap-core's specification says. What the program does faster must come out the same.

use std::collections::BTreeMap;

use regex::bytes::{Captures, Regex, RegexBuilder};
use yaml_rust::{Yaml, YamlLoader};

/// The lists of the file: of each, the names of three facts, what a rule calls their text, and what
/// that is otherwise.
const LISTS: [(&str, [[&str; 3]; 3]); 3] = [
    (
        "user_agent_parsers",
        [
            ["browser.family", "family_replacement", "$1"],
            ["browser.major", "v1_replacement", "$2"],
            ["browser.minor", "v2_replacement", "$3"],
        ],
    ),
    (
        "os_parsers",
        [
            ["os.family", "os_replacement", "$1"],
            ["os.major", "os_v1_replacement", "$2"],
            ["os.minor", "os_v2_replacement", "$3"],
        ],
    ),
    (
        "device_parsers",
        [
            ["device.family", "device_replacement", "$1"],
            ["device.brand", "brand_replacement", ""],
            ["device.model", "model_replacement", "$1"],
        ],
    ),
];

/// The rules of a file.
pub struct Rules(Vec<Vec<(Regex, Yaml)>>);

impl Rules {
    /// Reads a file that is known to be one. Nothing if a pattern is too large to be compiled whole.
    pub fn new(text: &str) -> Option<Rules> {
        let file = YamlLoader::load_from_str(text.trim_start_matches('\u{feff}')).unwrap().remove(0);
        let list = |name: &str| {
            let mut rules = Vec::new();
            for entry in file[name].as_vec().unwrap() {
                match compile(entry) {
                    Ok(regex) => rules.push((regex, entry.clone())),
                    Err(regex::Error::CompiledTooBig(_)) => return None,
                    Err(_) => {}
                }
            }
            Some(rules)
        };
        LISTS.iter().map(|(name, _)| list(name)).collect::<Option<_>>().map(Rules)
    }

    /// What is known of a User-Agent.
    pub fn parse(&self, agent: &str) -> BTreeMap<String, String> {
        let mut attrs = BTreeMap::new();
        for (rules, (_, facts)) in self.0.iter().zip(&LISTS) {
            let found =
                rules.iter().find_map(|(regex, entry)| Some((regex.captures(agent.as_bytes())?, entry)));
            for (place, [name, replacement, default]) in facts.iter().enumerate() {
                let text = match &found {
                    Some((groups, entry)) => fill(&template(entry, replacement, default), groups),
                    None if place == 0 => "Other".to_owned(),
                    None => String::new(),
                };
                attrs.insert((*name).to_owned(), text);
            }
        }
        attrs
    }
}

fn compile(entry: &Yaml) -> Result<Regex, regex::Error> {
    let text = entry["regex"].as_str().unwrap();
    let any_case = entry["regex_flag"].as_str() == Some("i");
    RegexBuilder::new(text).unicode(!text.is_ascii()).case_insensitive(any_case).build()
}

fn template(entry: &Yaml, name: &str, default: &str) -> String {
    let text = match &entry[name] {
        Yaml::String(text) | Yaml::Real(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        _ => String::new(),
    };
    if text.is_empty() { default.to_owned() } else { text }
}

fn fill(template: &str, groups: &Captures) -> String {
    let mut text = Vec::new();
    let mut bytes = template.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match bytes.peek() {
            Some(digit @ b'1'..=b'9') if byte == b'$' => {
                let group = groups.get(usize::from(digit - b'0'));
                text.extend(group.map_or(&b""[..], |group| group.as_bytes()));
                bytes.next();
            }
            _ => text.push(byte),
        }
    }
    String::from_utf8_lossy(text.trim_ascii()).into_owned()
}
