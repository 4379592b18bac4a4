//! One file of tests: each case of it is a file of reports that the program replays.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use rlua::{Lua, Table};
use serde_json::{Value, json};

use crate::support::{Folder, PROGRAM};

/// Runs every case of a file, and says which of them fail.
pub fn rehearse(policy: &str, file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let lua = Lua::new();
    lua.load(include_str!("rehearsal.lua")).set_name("=rehearsal").exec().unwrap();
    lua.load(text).set_name(format!("@{}", file.display())).exec().unwrap();
    let cases: Vec<Table> = lua.globals().get("cases").unwrap();
    assert!(cases.len() >= 2, "{policy}: a policy has something to raise and something not to");
    cases.iter().filter_map(|case| fault(policy, case)).collect()
}

fn fault(policy: &str, case: &Table) -> Option<String> {
    let folder = Folder::new();
    let text = |name: &str| case.get::<_, String>(name).unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let config = format!(
        "newGeoIP2DB('City', '{data}/scenario-city.mmdb')\nnewGeoIP2DB('ASN', '{data}/scenario-asn.mmdb')\n\
         newReportStore{{ path = '/nonexistent/x.db', geo = 'City', asn = 'ASN' }}\n{}\
         usePolicy('{policy}', {})\n",
        text("config"),
        text("options"),
        data = data.display(),
    );
    fs::write(folder.path("replay.conf"), config).unwrap();
    fs::write(folder.path("reports.json"), reports(case)).unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg("-C").arg(folder.path("replay.conf")).arg("--replay").arg(folder.path("reports.json"));
    let output = command.arg("--json").output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let found = raised(&output.stdout);
    let expected: Vec<String> = case.get("expected").unwrap();
    if found == expected && output.status.success() && !errors.contains("exception") {
        return None;
    }
    let name = text("name");
    Some(format!("{policy}: {name}:\n  expected {expected:?}\n  found    {found:?}\n  {errors}"))
}

/// The reports of a case, the last of which is a minute old, an hour after midnight or so: days begin where
/// a test does.
fn reports(case: &Table) -> String {
    let rows: Vec<Table> = case.get("reports").unwrap();
    let end = case.get::<_, f64>("t").unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let start = ((now - end) / 86_400.0).floor() * 86_400.0 - 86_400.0 + 3600.0;
    let mut text = String::new();
    for row in rows {
        let mut object = json!({});
        for pair in row.pairs::<String, rlua::Value>() {
            let (key, value) = pair.unwrap();
            object[key] = match value {
                rlua::Value::Boolean(value) => value.into(),
                rlua::Value::String(value) => value.to_str().unwrap().into(),
                rlua::Value::Integer(t) => (start + t as f64).into(),
                value => (start + value.as_f64().unwrap()).into(),
            };
        }
        writeln!(text, "{object}").unwrap();
    }
    text
}

/// A line for each alert: its rule, its severity, and the login or the address that it is about.
fn raised(output: &[u8]) -> Vec<String> {
    let lines = String::from_utf8(output.to_vec()).unwrap();
    let alerts = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = |alert: Value| {
        let text = |name: &str| alert[name].as_str().map(str::to_owned);
        let who = text("login").or_else(|| text("ip")).or_else(|| text("key")).unwrap_or_default();
        format!("{} {} {who}", text("rule").unwrap(), text("severity").unwrap())
    };
    alerts.map(line).collect()
}
