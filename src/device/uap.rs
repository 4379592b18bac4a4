//! Browsers, systems and devices by their User-Agent, as uap-core's regexes.yaml describes them: of
//! each of its three lists the first pattern that matches says what it is.

use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use compact_str::CompactString;
use regex::bytes::{Captures, Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Capture, Hir, HirKind};
use yaml_rust::{Yaml, YamlLoader};

use crate::device::Attributes;
use crate::device::filter::{Filter, Pattern};
use crate::error::{Error, Result};

/// Alternatives that are a long list.
const LONG: usize = 20;

/// What no pattern matches.
const OTHER: CompactString = CompactString::const_new("Other");

/// One of the file's lists.
struct Topic {
    list: &'static str,
    facts: [Fact; 3],
}

/// What a list tells.
struct Fact {
    /// The name of the attribute.
    name: &'static str,
    /// What a rule calls the text to use in the place of `default`.
    replacement: &'static str,
    default: &'static str,
}

const fn fact(name: &'static str, replacement: &'static str, default: &'static str) -> Fact {
    Fact { name, replacement, default }
}

static TOPICS: [Topic; 3] = [
    Topic {
        list: "user_agent_parsers",
        facts: [
            fact("browser.family", "family_replacement", "$1"),
            fact("browser.major", "v1_replacement", "$2"),
            fact("browser.minor", "v2_replacement", "$3"),
        ],
    },
    Topic {
        list: "os_parsers",
        facts: [
            fact("os.family", "os_replacement", "$1"),
            fact("os.major", "os_v1_replacement", "$2"),
            fact("os.minor", "os_v2_replacement", "$3"),
        ],
    },
    Topic {
        list: "device_parsers",
        facts: [
            fact("device.family", "device_replacement", "$1"),
            fact("device.brand", "brand_replacement", ""),
            fact("device.model", "model_replacement", "$1"),
        ],
    },
];

/// The patterns of a file. They are compiled when the first User-Agent comes: that takes a sixth of a
/// second and 30 MiB, which a site whose wforce parses User-Agents itself never needs.
pub struct Patterns {
    path: PathBuf,
    /// In the order of [`TOPICS`].
    rules: [Vec<Rule>; 3],
    compiled: OnceLock<[List; 3]>,
}

/// An entry of a list.
struct Rule {
    pattern: String,
    any_case: bool,
    /// What it says when it matches.
    says: [CompactString; 3],
}

/// The rules of one list, compiled.
struct List {
    filter: Filter,
    /// What each rule says when it matches.
    says: Vec<[CompactString; 3]>,
    /// The patterns of the filter, in its order: each a branch of the pattern of one rule.
    branches: Vec<Branch>,
}

/// A pattern that is the whole of a rule's pattern or an alternative of it.
struct Branch {
    rule: usize,
    regex: Regex,
}

impl Patterns {
    /// Reads a regexes.yaml.
    pub fn load(path: &Path) -> Result<Patterns> {
        let read = fs::read_to_string(path).map_err(Error::io(path));
        let text = read.map_err(|e| Error::Config(e.to_string()))?;
        Patterns::parse_file(path, &text)
            .map_err(|complaint| Error::Config(format!("{}: {complaint}", path.display())))
    }

    /// The patterns of a file with this text, or what is wrong with it.
    pub fn parse_file(path: &Path, text: &str) -> std::result::Result<Patterns, String> {
        Ok(Patterns { path: path.to_path_buf(), rules: parse_file(text)?, compiled: OnceLock::new() })
    }

    /// Compiles the patterns, if that was not done. Those that can't be compiled are named in the log
    /// and left out.
    pub fn compile(&self) {
        self.lists();
    }

    fn lists(&self) -> &[List; 3] {
        self.compiled.get_or_init(|| {
            let mut unusable = Vec::new();
            let lists = self.rules.each_ref().map(|rules| List::new(rules, &mut unusable));
            if !unusable.is_empty() {
                let (path, list) = (self.path.display(), unusable.join("' '"));
                log::warn!("{path}: patterns that can't be compiled are left out: '{list}'");
            }
            lists
        })
    }

    /// What is known of a User-Agent.
    pub fn parse(&self, text: &str) -> Attributes {
        let mut attrs = Attributes::new();
        for (topic, list) in TOPICS.iter().zip(self.lists()) {
            let values = list.find(text.as_bytes()).unwrap_or([OTHER, "".into(), "".into()]);
            attrs.extend(topic.facts.iter().map(|fact| CompactString::const_new(fact.name)).zip(values));
        }
        attrs
    }
}

/// The rules of a file, or what is wrong with it.
fn parse_file(text: &str) -> std::result::Result<[Vec<Rule>; 3], String> {
    let documents =
        YamlLoader::load_from_str(text.trim_start_matches('\u{feff}')).map_err(|e| e.to_string())?;
    let file = documents.first().ok_or("empty")?;
    let [browsers, systems, devices] = TOPICS.each_ref().map(|topic| parse_list(topic, &file[topic.list]));
    Ok([browsers?, systems?, devices?])
}

fn parse_list(topic: &Topic, yaml: &Yaml) -> std::result::Result<Vec<Rule>, String> {
    let entries = yaml.as_vec().ok_or_else(|| format!("no list named {}", topic.list))?;
    let rule = |(number, entry): (usize, &Yaml)| {
        let pattern = entry["regex"].as_str();
        let pattern = pattern.ok_or_else(|| format!("{}: entry {}: no regex", topic.list, number + 1))?;
        Ok(Rule {
            pattern: pattern.to_owned(),
            any_case: entry["regex_flag"].as_str() == Some("i"),
            says: topic.facts.each_ref().map(|fact| template(entry, fact)),
        })
    };
    entries.iter().enumerate().map(rule).collect()
}

impl List {
    fn new<'a>(rules: &'a [Rule], unusable: &mut Vec<&'a str>) -> List {
        let (mut patterns, mut says, mut branches) = (Vec::new(), Vec::new(), Vec::new());
        for rule in rules {
            let Some(compiled) = compile(&rule.pattern, rule.any_case) else {
                unusable.push(&rule.pattern);
                continue;
            };
            for (hir, regex) in compiled {
                patterns.push(Pattern { hir, any_case: rule.any_case });
                branches.push(Branch { rule: says.len(), regex });
            }
            says.push(rule.says.clone());
        }
        let filter = Filter::new(&patterns).expect("a file of patterns has less than 2^31 words");
        List { filter, says, branches }
    }

    /// What the first rule that matches says.
    fn find(&self, text: &[u8]) -> Option<[CompactString; 3]> {
        let candidates: Vec<&Branch> =
            self.filter.candidates(text).into_iter().map(|place| &self.branches[place]).collect();
        candidates.chunk_by(|one, next| one.rule == next.rule).find_map(|branches| {
            // Of the alternatives that match, the first of those that do so first in the text.
            let matches = branches.iter().filter_map(|branch| branch.regex.captures(text));
            let groups = matches.min_by_key(|groups| groups.get_match().start())?;
            Some(self.says[branches[0].rule].each_ref().map(|template| fill(template, &groups)))
        })
    }
}

/// The branches of a pattern in both forms that are needed of them, if it is one that this program
/// can match.
fn compile(text: &str, any_case: bool) -> Option<Vec<(Hir, Regex)>> {
    // Bytes instead of letters make patterns several times smaller, and `\d` a digit of ASCII, as it
    // is meant. A pattern that has other letters itself needs them whole.
    let unicode = !text.is_ascii();
    let mut parser = ParserBuilder::new().unicode(unicode).utf8(false).case_insensitive(any_case).build();
    let hir = parser.parse(text).ok()?;
    let build = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        // Without lazy DFAs: each thread would fill 60 MiB with theirs, and most texts need new
        // states, which makes them slower than what does without.
        builder.unicode(unicode).case_insensitive(any_case).dfa_size_limit(0).build().ok()
    };
    let split = split(&hir).and_then(|branches| {
        branches.into_iter().map(|branch| build(&branch.to_string()).map(|regex| (branch, regex))).collect()
    });
    // Printed, a pattern with flags of its own may be one that can't be compiled.
    split.or_else(|| Some(vec![(hir, build(text)?)]))
}

/// The branches of a pattern that begins with a long list of alternatives, `(Bot|Crawler|…)/(\d+)`.
/// To try them all at each place takes half a millisecond; a filter leaves one or two.
fn split(hir: &Hir) -> Option<Vec<Hir>> {
    let (first, rest) = match hir.kind() {
        HirKind::Concat(parts) => parts.split_first()?,
        _ => (hir, &[][..]),
    };
    let HirKind::Capture(capture) = first.kind() else { return None };
    let HirKind::Alternation(alternatives) = capture.sub.kind() else { return None };
    // Groups inside would be counted anew in each branch.
    if alternatives.len() < LONG || capture.sub.properties().explicit_captures_len() > 0 {
        return None;
    }
    let branch = |alternative: &Hir| {
        let first = Hir::capture(Capture { sub: Box::new(alternative.clone()), ..capture.clone() });
        Hir::concat(iter::once(first).chain(rest.iter().cloned()).collect())
    };
    Some(alternatives.iter().map(branch).collect())
}

/// What an entry gives for a fact; an empty text counts as none.
fn template(entry: &Yaml, fact: &Fact) -> CompactString {
    match &entry[fact.replacement] {
        Yaml::String(text) | Yaml::Real(text) if !text.is_empty() => text.into(),
        Yaml::Integer(number) => number.to_string().into(),
        _ => fact.default.into(),
    }
}

/// A template with what the groups matched in the place of `$1` to `$9`.
fn fill(template: &str, groups: &Captures) -> CompactString {
    let mut pieces = template.split('$');
    let mut text = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        match piece.as_bytes() {
            [digit @ b'1'..=b'9', rest @ ..] => {
                let group = groups.get(usize::from(digit - b'0'));
                text.extend(group.map_or(&b""[..], |group| group.as_bytes()));
                text.extend(rest);
            }
            rest => text.extend([b"$", rest].concat()),
        }
    }
    CompactString::from_utf8_lossy(text.trim_ascii())
}

#[cfg(test)]
mod tests;
