//! How policies are used and run. What those that are shipped raise is in tests/policies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rlua::Table;

use crate::alert::Alerts;
use crate::config::Config;
use crate::device::Devices;
use crate::error::Result;
use crate::login::LoginTuple;
use crate::lua::policy::shipped::SHIPPED;
use crate::lua::{Failure, Role, Script, State};
use crate::manual;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::store::record::Record;
use crate::store::trial::{Folder, LIMITS, RETENTION};
use crate::store::{FileStore, Known};

/// A state with a store that is empty.
struct Stage {
    state: State,
    _folder: Folder,
}

impl Stage {
    fn new(name: &str, config: &str) -> Stage {
        let folder = Folder::new(name);
        let stats = Arc::new(Stats::new());
        let store = FileStore::open(&folder.join("reports.db"), LIMITS, RETENTION, stats).unwrap();
        let shared = Shared::with_alerts(Devices::default(), Stats::new(), Alerts::observe(|_| {}));
        shared.set_store(Arc::new(store));
        let state = State::new(Arc::new(shared), Role::Worker, Some(&Script::of(config)));
        Stage { state: state.unwrap_or_else(|e| panic!("{}", Failure::new(&e).message)), _folder: folder }
    }

    /// Runs a report of joe.
    fn report(&self, success: bool) {
        let json = format!(r#"{{"login":"joe","remote":"192.0.2.1","success":{success},"t":1800000000}}"#);
        let login = LoginTuple::from_history(json.as_bytes()).unwrap();
        let record = Record { t: login.t, login: "joe".into(), success, ..Record::default() };
        let known = Known { record: Arc::new(record), before: None };
        self.state.report(&login, Some(&known), Instant::now() + Duration::from_secs(60)).unwrap();
    }

    /// What a global is.
    fn get(&self, name: &str) -> String {
        self.state.lua.load(format!("return tostring({name})")).eval().unwrap()
    }
}

fn config(text: &str) -> Result<Config> {
    let text = format!("newReportStore{{ path = '/tmp/x.db' }}\n{text}");
    let state = State::new(Arc::<Shared>::default(), Role::Config, Some(&Script::of(&text)))?;
    Ok(state.config())
}

/// A policy of a file of its own, with what is to be in its table.
fn file(folder: &Folder, fields: &str) -> String {
    let path = folder.join("own.lua");
    std::fs::write(&path, format!("return {{ name = 'own', summary = 'Our own.', {fields} }}")).unwrap();
    path.display().to_string()
}

#[test]
fn a_wrong_use_is_an_error_of_the_configuration() {
    let folder = Folder::new("policy-wrong");
    for (text, error) in [
        ("usePolicies('extra')", "usePolicies(set, options): \"extra\" is not \"standard\""),
        (
            "usePolicies('standard', { colour = 1 })",
            "usePolicies(set, options): options: no policy of the set has one named \"colour\"",
        ),
        (
            "usePolicy('new_country', { day = 1 })",
            "usePolicy(name, options): policy new_country: no option named \"day\": there are days, mode, trusted_nets",
        ),
        (
            "usePolicy('new_country', { days = 'x' })",
            "usePolicy(name, options): policy new_country: days: number expected, got string",
        ),
        (
            "usePolicy('new_country', { mode = 'loud' })",
            "usePolicy(name, options): policy new_country: mode: \"loud\" is not off, dry-run or on",
        ),
        (
            "usePolicies('standard', { trusted_nets = 5 })",
            "usePolicies(set, options): options: trusted_nets: list of strings or NetmaskGroup expected, got number",
        ),
        (
            "usePolicies('standard', { trusted_nets = { 'x' } })",
            "usePolicies(set, options): \"x\" is not a netmask",
        ),
        ("usePolicy('new_country', { 1 })", "usePolicy(name, options): keys must be strings, got a number"),
        ("usePolicy('./none.lua')", "usePolicy(name, options): ./none.lua: no such file or directory"),
    ] {
        let found = Failure::new(&config(text).unwrap_err()).message;
        assert_eq!(found.split_once(": ").unwrap().1, error, "{text}");
    }
    let unknown = Failure::new(&config("usePolicy('none')").unwrap_err()).message;
    assert!(unknown.contains("no policy named \"none\": there are stale_client, new_country,"), "{unknown}");
    for (fields, error) in [
        ("on_reprot = print", ": no field named \"on_reprot\": there are name, summary, defaults,"),
        ("every = '00:05'", "policy own: on_schedule and every need each other"),
        ("every = '0', on_schedule = print", "policy own: every: it must be more than 0"),
        ("on_report = 5", "policy own: on_report must be a function"),
        ("defaults = 5", "defaults must be a table"),
    ] {
        let text = format!("usePolicy('{}')", file(&folder, fields));
        let found = Failure::new(&config(&text).unwrap_err()).message;
        assert!(found.contains(error), "{fields}: {found}");
    }
}

#[test]
fn policies_need_a_store() {
    let text = "usePolicy('new_country')";
    let state = State::new(Arc::<Shared>::default(), Role::Config, Some(&Script::of(text))).unwrap();
    let error = state.config().check().unwrap_err().to_string();
    assert!(error.contains("new_country: no newReportStore() in the configuration"), "{error}");
}

#[test]
fn a_set_is_used_with_its_options_and_one_of_it_is_changed_later() {
    let config = config(
        "usePolicies('standard', { mode = 'on', hours = 12 })
        usePolicy('new_country', { mode = 'off' })
        usePolicy('volume_anomaly')
        usePolicy('feed_loss', { mode = 'off' })",
    )
    .unwrap();
    let standard = SHIPPED.iter().filter(|policy| policy.is_standard).count();
    assert_eq!(config.policies.len(), standard + 1);
    let mode = |name: &str| config.policies[name].name();
    assert_eq!(
        (mode("new_country"), mode("impossible_travel"), mode("volume_anomaly")),
        ("off", "on", "dry-run")
    );
    let scheduled: Vec<&str> = config.scheduled.iter().map(|scheduled| scheduled.name.as_str()).collect();
    assert_eq!(scheduled, ["policy persistent_source", "policy backend_outage", "policy volume_anomaly"]);
}

#[test]
fn a_policy_sees_what_it_asks_for() {
    let folder = Folder::new("policy-sees-file");
    let path = file(
        &folder,
        "defaults = { word = 'x' },
        on_report = function(lt, options) seen = seen .. 'r' .. options.word end,
        on_success = function(lt) seen = seen .. 's' end,
        on_failure = function(lt) seen = seen .. 'f' end",
    );
    let stage = Stage::new("policy-sees", &format!("seen = ''\nusePolicy('{path}', {{ word = 'y' }})"));
    stage.report(true);
    stage.report(false);
    assert_eq!(stage.get("seen"), "rysryf");
}

#[test]
fn a_suppressor_keeps_reports_from_attack_rules_alone() {
    let folder = Folder::new("policy-suppress-file");
    let write = |name: &str, group: &str, body: &str| {
        let path = folder.join(format!("{name}.lua"));
        let text =
            format!("return {{ name = '{name}', summary = 'x', {group} on_report = function() {body} end }}");
        std::fs::write(&path, text).unwrap();
        format!("usePolicy('{}')\n", path.display())
    };
    let config = [
        "seen = ''\n".to_owned(),
        write("attack", "group = 'attack',", "seen = seen .. 'a'"),
        write("other", "", "seen = seen .. 'o'"),
        write("harmless", "group = 'suppressor',", "seen = seen .. 's' return true"),
    ];
    let stage = Stage::new("policy-suppress", &config.concat());
    stage.report(false);
    assert_eq!(stage.get("seen"), "so", "the suppressor is first, though used last");
}

#[test]
fn a_policy_that_fails_costs_neither_the_others_nor_the_report() {
    let folder = Folder::new("policy-fails-file");
    let path = file(&folder, "on_report = function() error('on purpose') end");
    let stage = Stage::new(
        "policy-fails",
        &format!("usePolicy('{path}')\nsetReport(function(lt) seen = lt.login end)"),
    );
    stage.report(true);
    assert_eq!(stage.get("seen"), "joe");
    let stats = &stage.state.context.shared.stats;
    assert_eq!(stats.policies.of("own", &stats.metrics).counts(), [0, 0, 1]);
}

#[test]
fn the_report_function_sees_what_was_raised() {
    let folder = Folder::new("policy-signals-file");
    let path = file(
        &folder,
        "on_success = function(lt) alert({ key = lt.login, severity = 'low', summary = 'x' }) end",
    );
    let stage = Stage::new(
        "policy-signals",
        &format!(
            "usePolicy('{path}')
            setReport(function(lt) seen = lt.signals.own and lt.signals.own.severity or 'nothing' end)"
        ),
    );
    stage.report(true);
    assert_eq!(stage.get("seen"), "low");
    stage.report(false);
    assert_eq!(stage.get("seen"), "nothing", "signals are of one report");
}

#[test]
fn a_policy_is_used_in_the_configuration_alone() {
    let stage =
        Stage::new("policy-late", "setReport(function() ok, seen = pcall(usePolicy, 'new_country') end)");
    stage.report(true);
    assert!(stage.get("seen").ends_with("usePolicy(name, options): only in the configuration"));
}

#[test]
fn the_manual_has_every_policy_with_its_options_and_no_other() {
    let stage = Stage::new("policy-manual", "");
    let mut lines = Vec::new();
    for policy in SHIPPED {
        let table: Table = stage.state.lua.load(policy.text).eval().unwrap();
        let name: String = table.get("name").unwrap();
        assert_eq!(name, policy.name);
        lines.push((format!("Sy {name}"), table.get::<_, String>("summary").unwrap()));
        let defaults: Table = table.get("defaults").unwrap();
        let mut options: Vec<String> = defaults
            .pairs::<String, rlua::Value>()
            .map(|pair| pair.unwrap())
            .map(|(key, value)| format!("{key} = {}", value.to_string().unwrap()))
            .collect();
        options.sort();
        let expected =
            if options.is_empty() { String::new() } else { format!("{{ {} }}", options.join(", ")) };
        assert_eq!(manual::example_after("trackalert_policies.7", &format!("Sy {name}")), expected, "{name}");
    }
    let words = ["established", "familiar", "shared egress", "episode"];
    let words: Vec<String> = words.iter().map(|word| format!("Sy {word}")).collect();
    manual::check_but("trackalert_policies.7", "Sy", lines.into_iter(), &words);
}

#[test]
fn the_example_of_the_manual_is_a_policy() {
    let folder = Folder::new("policy-example-file");
    let path = folder.join("night.lua");
    std::fs::write(&path, manual::example("trackalert_policies.7")).unwrap();
    let config = format!(
        "usePolicy('{}', {{ admins = {{ 'joe' }}, to = 24 }})
        setReport(function(lt) seen = lt.signals.night and lt.signals.night.summary end)",
        path.display()
    );
    let stage = Stage::new("policy-example", &config);
    stage.report(true);
    assert_eq!(stage.get("seen"), "joe works late");
}

#[test]
fn the_console_shows_what_policies_did() {
    let text = "usePolicy('new_country', { mode = 'on' })\nusePolicy('multi_country')";
    let state = State::new(Arc::<Shared>::default(), Role::Config, Some(&Script::of(text))).unwrap();
    state.become_console().unwrap();
    let shown = state.command("showPolicies()", Instant::now() + Duration::from_secs(60)).unwrap();
    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["Policy", "Mode", "Hits", "Suppressed", "Errors", "us/run"]);
    assert_eq!(lines[1], ["multi_country", "dry-run", "0", "0", "0", "0.0"]);
    assert_eq!(lines[2], ["new_country", "on", "0", "0", "0", "0.0"]);
}
