//! What Prometheus and Grafana are given: alerting rules and a dashboard. Prometheus itself says whether
//! each expression finds what the daemon shows, so that nothing is renamed past them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regex::Regex;
use serde_json::{Value, json};
use yaml_rust::{Yaml, YamlLoader};

use crate::support::hook::{OK, Sink};
use crate::support::http::Client;
use crate::support::prometheus::{Prometheus, is_installed, promtool};
use crate::support::store::report;
use crate::support::tls::{TlsServer, folder};
use crate::support::wait_for;

const RULES: &str = "share/prometheus/trackalert.rules.yml";
const TESTS: [&str; 2] = ["tests/prometheus/feed.test.yml", "tests/prometheus/rules.test.yml"];
const DASHBOARD: &str = "share/grafana/trackalert.json";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// An alerting rule.
struct Rule {
    name: String,
    expression: String,
    yaml: Yaml,
}

fn rules() -> Vec<Rule> {
    let file = YamlLoader::load_from_str(&read(RULES)).unwrap().remove(0);
    let groups = file["groups"].as_vec().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_vec().unwrap().clone());
    let text = |yaml: &Yaml| yaml.as_str().unwrap().to_owned();
    rules.map(|yaml| Rule { name: text(&yaml["alert"]), expression: text(&yaml["expr"]), yaml }).collect()
}

/// A query of the dashboard.
struct Query {
    panel: String,
    expression: String,
    /// With labels in double braces.
    legend: String,
}

fn dashboard() -> Value {
    serde_json::from_str(&read(DASHBOARD)).unwrap()
}

fn queries() -> Vec<Query> {
    let (dashboard, mut queries) = (dashboard(), Vec::new());
    let mut add = |panel: &Value, query: &Value, legend: &Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        // What Grafana would put in their place. A test has no week.
        let mut expression = text(query);
        for (variable, value) in
            [("$instance", ".+"), ("$__rate_interval", "10s"), ("$__range", "1h"), (" offset 1w", "")]
        {
            expression = expression.replace(variable, value);
        }
        assert!(!expression.contains('$'), "{panel}: {expression}");
        queries.push(Query { panel: text(panel), expression, legend: text(legend) });
    };
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            add(&panel["title"], &target["expr"], &target["legendFormat"]);
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        if annotation["expr"].is_string() {
            add(&annotation["name"], &annotation["expr"], &annotation["titleFormat"]);
        }
    }
    queries
}

/// The words that the first group of a pattern finds.
fn words(text: &str, pattern: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    let found = pattern.captures_iter(text).filter_map(|found| found.get(1));
    found.flat_map(|list| list.as_str().split(',')).map(|word| word.trim().to_owned()).collect()
}

/// The metrics of an expression, each with what its labels must be.
fn selectors(expression: &str) -> BTreeSet<String> {
    let pattern = Regex::new(r"\b(?:(?:trackalert|process)_\w+|up)\b(?:\{[^}]*\})?").unwrap();
    pattern.find_iter(expression).map(|found| found.as_str().to_owned()).collect()
}

#[test]
fn every_alert_fires_when_it_must_and_not_before() {
    if !is_installed() {
        return;
    }
    let check = promtool(&["check", "rules", RULES]);
    assert_eq!(check.status, 0, "{}{}", check.stdout, check.stderr);
    let test = promtool(&[&["test", "rules"], &TESTS[..]].concat());
    assert_eq!(test.status, 0, "{}{}", test.stdout, test.stderr);
}

#[test]
fn every_alert_says_what_to_do_and_is_tested() {
    let tests = TESTS.map(read).concat();
    let well = tests.split("  - name: ").find(|test| test.starts_with("nothing fires while all is well"));
    let rules = rules();
    assert!(rules.len() > 20);
    for Rule { name, expression, yaml } in &rules {
        assert!(yaml["for"].as_str().is_some(), "{name} has no time");
        let severity = yaml["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning")), "{name}: {severity:?}");
        let fired = tests.lines().find(|line| line.contains(&format!("ALERTS{{alertname=\"{name}\"")));
        let fired = fired.unwrap_or_else(|| panic!("no test has {name} fire"));
        for part in ["summary", "description"] {
            let text = yaml["annotations"][part].as_str().unwrap_or_else(|| panic!("{name} has no {part}"));
            for label in words(text, r"\$labels\.(\w+)") {
                assert!(fired.contains(&format!("{label}=\"")), "{name}: its {part} has no {label} to tell");
            }
        }
        for metric in selectors(expression) {
            let metric = metric.split('{').next().unwrap();
            assert!(well.unwrap().contains(&format!("{metric}{{")), "{name}: {metric} is never well");
        }
    }
}

/// Makes every metric appear.
fn config(hook: &Sink) -> String {
    format!(
        "addCustomWebHook('ops', {{ url = '{}' }}) addAlertSink{{ webhook = 'ops', min_severity = 'low' }}
        newReportStore{{ path = 'reports.db' }}
        usePolicies('standard', {{ mode = 'on' }})
        addCustomStat('seen')
        setBackground('nightly', function() end) cronScheduleBackgroundFunc('0 3 * * *', 'nightly')
        setReport(function(lt)
            incCustomStat('seen')
            alert{{ rule = 'seen', severity = 'medium', login = lt.login, summary = 'somebody was seen' }}
        end)",
        hook.url("/")
    )
}

#[test]
fn rules_and_dashboard_find_what_the_daemon_shows() {
    if !is_installed() {
        return;
    }
    let Some((folder, authority)) = folder() else { return };
    let hook = Sink::start(|_| OK);
    let server = TlsServer::start_in(folder, authority, "{}", &config(&hook));
    let daemon = &server.daemon;
    daemon.report(&report("joe"));
    hook.wait_for(1);
    lint(&daemon.get("/metrics").text());

    let prometheus = Prometheus::start(daemon.address, path(RULES).to_str().unwrap());
    let mut client = daemon.client();
    // A mean of nothing is no number: not every policy has something to do with these reports.
    let evaluate = |client: &mut Client, expression: &str| {
        wait_for(expression, || {
            client.post("/command/report", &report("ann"));
            let found = prometheus.evaluate(expression);
            found.iter().any(|(_, value)| !value.is_nan()).then_some(found)
        })
    };
    let mut has = |expression: &str, place: &str| {
        let series: Vec<_> =
            selectors(expression).iter().flat_map(|selector| evaluate(&mut client, selector)).collect();
        for label in words(expression, r"\b(?:by|without|on|ignoring) *\(([^)]*)\)") {
            assert!(series.iter().any(|(labels, _)| labels[&label].is_string()), "{place}: no label {label}");
        }
    };
    for rule in rules() {
        has(&rule.expression, &rule.name);
    }
    for query in queries() {
        has(&query.expression, &query.panel);
    }
    for Query { panel, expression, legend } in queries() {
        for (labels, _) in evaluate(&mut client, &expression) {
            for label in words(&legend, r"\{\{(\w+)\}\}") {
                assert!(labels[&label].is_string(), "{panel}: {labels} has no {label} for the legend");
            }
        }
    }
    wait_for("every rule to be evaluated", || {
        let found = prometheus.rules();
        assert!(found.iter().all(|rule| rule["health"] != "err"), "{}", json!(found));
        (found.len() == rules().len() && found.iter().all(|rule| rule["health"] == "ok")).then_some(())
    });
}

/// What promtool says of metrics.
fn lint(metrics: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn every_panel_is_explained_and_has_a_place_of_its_own() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its number is another's");
        let [x, y, width, height] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + width <= 24, "{title} is beyond the edge");
        for place in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{title} covers another");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title} shows nothing");
        for source in targets.iter().chain([panel]) {
            assert_eq!(source["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    assert!(variables.map(|variable| variable["name"].as_str().unwrap()).eq(["datasource", "instance"]));
    for Query { panel, expression, .. } in queries() {
        for selector in selectors(&expression) {
            assert!(selector.contains("instance=~\".+\""), "{panel}: {selector} is of every instance");
        }
    }
}
