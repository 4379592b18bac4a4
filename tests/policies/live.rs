//! The scenarios as they happen to a daemon: weeks of history are imported, then the last day comes in as
//! reports, and the alerts are asked for.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::scenarios::{faults, scenarios};
use crate::support::clickhouse::Server;
use crate::support::{Folder, PROGRAM, SERVER, Trackalert, output, wait_for};

/// The last day, and some hours before it.
const TODAY: f64 = 1.5 * 86_400.0;

/// Whether the last report of a login is known. A success is when the profile says so, of which policies get
/// the same answer for some seconds; a failure when it is found by a question that nobody has asked before.
const ASK: &str = "local store = reportStore()
setCustomEndpoint('stored', function(args)
    local login, t = args.attrs.login, tonumber(args.attrs.t)
    local is_known
    if args.attrs.success == 'true' then
        is_known = (store:profile(login) or { last = 0 }).last >= math.floor(t)
    else
        is_known = #(store:reports({ login = login, since = t, limit = math.random(10000) }) or {}) > 0
    end
    return true, { known = tostring(is_known) }
end)
";

/// Plays a scenario with this store. `is_late` says that reports can be asked for a second later: it waits
/// for that before those of logins that alerts are expected of, as real ones would be further apart.
fn play(scenario: &str, store: &str, is_late: bool) -> Vec<Value> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let config = format!(
        "{SERVER}newGeoIP2DB('City', '{data}/scenario-city.mmdb')\nnewGeoIP2DB('ASN', '{data}/scenario-asn.mmdb')\n\
         newReportStore{{ {store}, geo = 'City', asn = 'ASN', durable = false }}\n\
         setReportAck('done')\nusePolicies('standard', {{ mode = 'on' }})\n{ASK}",
        data = data.display(),
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let rows = scenario.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
    let rows: Vec<Value> = rows
        .map(|mut row| {
            row["t"] = (now + row["t"].as_f64().unwrap()).into();
            row
        })
        .collect();
    let (past, today) = rows.split_at(rows.partition_point(|row| row["t"].as_f64().unwrap() < now - TODAY));
    assert!(past.len() > 1000 && !today.is_empty());
    let folder = Folder::new();
    let history = folder.path("history.json");
    fs::write(&history, past.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
    let path = folder.write("import.conf", &config);
    let import = output(Command::new(PROGRAM).arg("-C").arg(path).arg("--import").arg(history));
    assert_eq!(import.status, 0, "{}", import.stderr);
    let daemon = Trackalert::start_with(Folder::new(), &config, Command::new(PROGRAM));
    let mut client = daemon.client();
    // Those names are in its first line.
    let wanted = scenario.lines().next().unwrap();
    let mut recent: Vec<&Value> = Vec::new();
    for row in today {
        let is_needed = recent.len() >= 50 || wanted.contains(&row["login"].to_string());
        if let Some(last) = recent.last().filter(|_| is_late && is_needed) {
            let (login, t, success) = (&last["login"], last["t"].to_string(), last["success"].to_string());
            let question = json!({ "attrs": { "login": login, "t": t, "success": success } }).to_string();
            wait_for("the store to have every report", || {
                let answer = client.post("/command/stored", &question).json();
                (answer["r_attrs"]["known"] == "true").then_some(())
            });
            recent.clear();
        }
        assert_eq!(client.post("/command/report", &row.to_string()).status, 200);
        recent.push(row);
    }
    let alerts = daemon.get("/command/alerts?limit=10000").json();
    assert_eq!(daemon.count_lines("exception"), 0, "{}", daemon.tail());
    alerts["alerts"].as_array().unwrap().clone()
}

#[test]
fn the_last_day_of_a_scenario_raises_what_it_expects() {
    let faults: Vec<String> = scenarios()
        .iter()
        .flat_map(|(name, text)| {
            let folder = Folder::new();
            let store = format!("path = '{}'", folder.path("reports.db").display());
            faults(name, text, &play(text, &store, false))
        })
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn so_it_does_with_clickhouse() {
    let Some(server) = Server::start() else { return };
    let mut found = Vec::new();
    for (name, text) in scenarios().iter().filter(|(name, _)| ["stuffing", "travel"].contains(&name.as_str()))
    {
        let (folder, database) = (Folder::new(), format!("scenario_{name}"));
        let url = server.url().replace("/trackalert", &format!("/{database}"));
        let store = format!("clickhouse = \"{url}\", spool = '{}'", folder.path("spool.db").display());
        found.extend(faults(name, text, &play(text, &store, true)));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
