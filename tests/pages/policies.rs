//! The examples of trackalert_policies(7).

use std::fs;

use super::example::{
    alert_is_delivered, daemon, daemon_in, databases, example, examples, here, now, run_these, sh_ok, stop,
};
use super::{project, read};
use crate::support::{Folder, SERVER};

const PAGE: &str = "man/trackalert_policies.7";

#[test]
fn every_example_of_the_policies_works() {
    let mut examples = examples(PAGE);
    // The options and alerts of each policy: src/lua/policy/tests.rs holds the options against the files.
    examples.retain(|example| example.section != "POLICIES");
    run_these(
        PAGE,
        examples,
        &[
            ("newReportStore", uses_the_set),
            ("trackalert --replay", replays),
            ("return {", is_a_policy),
            ("{\"type\":\"trackalert_alert\"", alert_is_delivered),
        ],
    );
}

/// The section POLICIES; stale_client raises nothing.
#[test]
fn the_options_and_the_alert_of_every_policy_are_shown() {
    let found = examples(PAGE);
    let entries: Vec<_> = found.iter().filter(|example| example.section == "POLICIES").collect();
    let options = entries.iter().filter(|example| example.text.starts_with('{')).count();
    assert_eq!(options, fs::read_dir(project("share/policies")).unwrap().count());
    assert_eq!(entries.len(), 2 * options - 1);
}

fn uses_the_set(text: &str) {
    let daemon = daemon(&format!("{SERVER}{}{}", databases(), here(text)));
    for n in 0..15 {
        let body = format!(r#"{{"login":"user{n}","remote":"198.51.100.7","success":false}}"#);
        assert_eq!(daemon.report(&body).status, 200);
    }
    daemon.wait_for_line("dry-run alert: ");
    stop(daemon);
}

fn replays(text: &str) {
    let folder = Folder::new();
    folder.write("trackalert.conf", &format!("{}{}", databases(), here(&example(PAGE, "newReport"))));
    let scenario = project("tests/data/scenarios/slow_spray_hit.jsonl.gz");
    let lines = format!("zcat {} >reports.json\n{text} -C trackalert.conf", scenario.display());
    let table = sh_ok(&folder.path(""), &lines);
    assert!(table.contains("password_spray") && table.contains("success_from_attacker"), "{table}");
}

/// The file of the example, beside a configuration that uses it.
fn is_a_policy(text: &str) {
    let folder = Folder::new();
    fs::create_dir(folder.path("policies")).unwrap();
    folder.write("policies/night.lua", text);
    assert!(read(PAGE).contains(".Pa policies/night.lua\n"));
    let config = "newReportStore{ path = 'reports.db' } usePolicy('policies/night.lua', { mode = 'on' })";
    let daemon = daemon_in(folder, &format!("{SERVER}{config}"));
    let yesterday = now() - now() % 86_400 - 86_400;
    for (login, hour) in [("root@example.com", 12), ("joe@example.com", 3), ("root@example.com", 3)] {
        let t = yesterday + hour * 3600;
        let body = format!(r#"{{"login":"{login}","remote":"192.0.2.1","success":true,"t":{t}}}"#);
        assert_eq!(daemon.report(&body).status, 200);
    }
    let line = daemon.wait_for_line("alert: ");
    assert!(
        line.contains(r#"rule="night""#) && line.contains(r#"summary="root@example.com works late""#),
        "{line}"
    );
    assert_eq!(daemon.count_lines("alert: "), 1);
    stop(daemon);
}
