//! Our own patterns, then uap-core's with the cases that it publishes, where it is installed.

use std::io::Write;

use super::*;

/// Where Debian's package puts it.
const UAP_CORE: &str = "/usr/share/uap-core";

fn test_data(name: &str) -> String {
    format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

impl Patterns {
    /// Those of tests/data.
    pub fn example() -> Patterns {
        Patterns::load(Path::new(&test_data("regexes.yaml"))).unwrap()
    }

    fn of(text: &str) -> Patterns {
        Patterns::parse_file(Path::new("x.yaml"), text).unwrap()
    }
}

fn cases(path: &str) -> Vec<Yaml> {
    let text = fs::read_to_string(path).unwrap();
    let mut file = YamlLoader::load_from_str(&text).unwrap();
    file.remove(0)["test_cases"].as_vec().unwrap().clone()
}

/// The text of a value; what is absent is "".
fn text(yaml: &Yaml) -> &str {
    yaml.as_str().unwrap_or("")
}

#[test]
fn the_first_pattern_that_matches_says_what_it_is() {
    let patterns = Patterns::example();
    let cases = cases(&test_data("user_agents.yaml"));
    assert!(cases.len() > 20);
    for case in cases {
        let agent = text(&case["user_agent_string"]);
        let attrs = patterns.parse(agent);
        for (topic, key) in TOPICS.iter().zip(["browser", "os", "device"]) {
            let found = topic.facts.each_ref().map(|fact| attrs[fact.name].as_str());
            let expected: Vec<&str> = case[key].as_vec().unwrap().iter().map(text).collect();
            assert_eq!(found[..], expected, "{key} of {agent}");
        }
    }
}

#[test]
fn a_file_that_is_none_of_uap_core_is_refused() {
    let lists = "user_agent_parsers: []\nos_parsers: []\n";
    for (file, complaint) in [
        ("", "empty"),
        ("text", "no list named user_agent_parsers"),
        (lists, "no list named device_parsers"),
        (&format!("{lists}device_parsers: x"), "no list named device_parsers"),
        (&format!("{lists}device_parsers: [{{regex: a}}, {{}}]"), "device_parsers: entry 2: no regex"),
        (&format!("{lists}device_parsers: [{{regex: 1}}]"), "device_parsers: entry 1: no regex"),
        ("a: [", "while parsing a node, did not find expected node content at line 2 column 1"),
    ] {
        assert_eq!(parse_file(file).err().unwrap(), complaint, "{file}");
    }
}

#[test]
fn a_pattern_that_can_not_be_compiled_is_left_out() {
    let file = "user_agent_parsers: [{regex: '(?!x)y'}, {regex: '(a)'}, {regex: '(b)\\1'}, {regex: '('}]\n\
                os_parsers: [{regex: '(a{1000}){1000}'}, {regex: '(a)'}]\ndevice_parsers: [{regex: '(a)'}]";
    let patterns = Patterns::of(file);
    let mut unusable = Vec::new();
    patterns.rules.iter().for_each(|rules| drop(List::new(rules, &mut unusable)));
    assert_eq!(unusable, ["(?!x)y", "(b)\\1", "(", "(a{1000}){1000}"]);
    let attrs = patterns.parse("a");
    assert_eq!(["browser.family", "os.family", "device.family"].map(|name| attrs[name].as_str()), ["a"; 3]);
}

#[test]
fn a_long_list_of_alternatives_matches_what_the_whole_pattern_does() {
    let others: Vec<String> = (0..LONG).map(|number| format!("Client{number}|")).collect();
    let others = others.concat();
    for (pattern, is_split) in [
        (format!("({others}Fire|FireFox|[Ff]ox|.ox\\b|x$)(?:/(\\d+)|)"), true),
        (format!("({others}Fire|FireFox|^Fox)"), true),
        (format!("(Fox|{others}(?:Fire)?Fox)(/)?"), true),
        (format!("(?:{others}Fire|FireFox)"), false),
        (format!("({others}Fire|FireFox|Fox)(?u:/(\\d+)|)"), false),
        (format!("({others}Fire|(Fire)Fox)"), false),
        (format!("^({others}Fire|Fox)"), false),
        ("(Fire|Fox)".into(), false),
    ] {
        assert_eq!(compile(&pattern, false).unwrap().len() > 1, is_split, "{pattern}");
        let file =
            format!("user_agent_parsers: [{{regex: '{pattern}'}}]\nos_parsers: []\ndevice_parsers: []");
        let patterns = Patterns::of(&file);
        let whole = Regex::new(&pattern).unwrap();
        for text in [
            "FireFox/3",
            "Fox/1 FireFox/2",
            "Fox FireFox",
            "a fox/7",
            "Box/5 Fox",
            "x",
            "Client3/9 Fire",
            "Fire Client12",
            "Client1",
            "Client19/4",
            "FoxFire/8",
            "none",
        ] {
            let groups = whole.captures(text.as_bytes());
            let expected = groups.map(|groups| ["$1", "$2", "$3"].map(|template| fill(template, &groups)));
            assert_eq!(patterns.lists()[0].find(text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}

#[test]
fn a_template_is_filled() {
    let regex = Regex::new("(a)(b)?(.)").unwrap();
    for (text, template, expected) in [
        ("abc", "$1", "a"),
        ("abc", "$3-$2 $1$1", "c-b aa"),
        ("ac", "x$2y", "xy"),
        ("abc", " $9 ", ""),
        ("abc", "$0 $ $$1 $x 5$", "$0 $ $a $x 5$"),
        ("ab ", "[$3]", "[ ]"),
        ("ab ", "$3", ""),
        ("abé", "$3é", "éé"),
        ("abc", "", ""),
    ] {
        let groups = regex.captures(text.as_bytes()).unwrap();
        assert_eq!(fill(template, &groups), expected, "{template}");
    }
    // A group that ends inside a letter.
    let regex = RegexBuilder::new("(.)").unicode(false).build().unwrap();
    assert_eq!(fill("$1", &regex.captures("é".as_bytes()).unwrap()), "\u{fffd}");
}

/// Uap-core's file, if it is installed with its cases.
fn uap_core() -> Option<Patterns> {
    let core = Path::new(UAP_CORE);
    if core.join("tests").exists() {
        return Some(Patterns::load(&core.join("regexes.yaml")).unwrap());
    }
    let _ = writeln!(std::io::stderr(), "skipped: uap-core is not installed");
    None
}

/// A file of cases, and which list of the patterns it is for.
const PUBLISHED: &[(&str, usize)] = &[
    ("tests/test_ua.yaml", 0),
    ("test_resources/firefox_user_agent_strings.yaml", 0),
    ("test_resources/opera_mini_user_agent_strings.yaml", 0),
    ("test_resources/pgts_browser_list.yaml", 0),
    ("test_resources/podcasting_user_agent_strings.yaml", 0),
    ("tests/test_os.yaml", 1),
    ("test_resources/additional_os_tests.yaml", 1),
    ("tests/test_device.yaml", 2),
];

#[test]
fn the_published_cases_of_uap_core_come_out_as_expected() {
    let Some(patterns) = uap_core() else { return };
    for (file, list) in PUBLISHED {
        let topic = &TOPICS[*list];
        let keys = if *list == 2 { ["family", "brand", "model"] } else { ["family", "major", "minor"] };
        let cases = cases(&format!("{UAP_CORE}/{file}"));
        assert!(cases.len() > 20, "{file}");
        for case in cases {
            let agent = text(&case["user_agent_string"]);
            let attrs = patterns.parse(agent);
            let found = topic.facts.each_ref().map(|fact| attrs[fact.name].as_str());
            assert_eq!(found, keys.map(|key| text(&case[key])), "{file}: {agent}");
        }
    }
}

#[test]
fn every_pattern_of_uap_core_is_used() {
    let Some(patterns) = uap_core() else { return };
    let text = fs::read_to_string(format!("{UAP_CORE}/regexes.yaml")).unwrap();
    let file = &YamlLoader::load_from_str(&text).unwrap()[0];
    for (topic, list) in TOPICS.iter().zip(patterns.lists()) {
        assert_eq!(list.says.len(), file[topic.list].as_vec().unwrap().len(), "{}", topic.list);
    }
}

#[test]
fn the_filter_leaves_out_no_pattern_that_matches() {
    let Some(patterns) = uap_core() else { return };
    for case in cases(&format!("{UAP_CORE}/tests/test_device.yaml")).iter().step_by(200) {
        let agent = text(&case["user_agent_string"]).as_bytes();
        for list in patterns.lists() {
            let candidates = list.filter.candidates(agent);
            for (place, branch) in list.branches.iter().enumerate() {
                assert!(candidates.contains(&place) || !branch.regex.is_match(agent), "{}", branch.regex);
            }
        }
    }
}
