//! The examples of trackalert_api(7).

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::example::{daemon, has, request, run_all, sh_ok, stop, wforce_reports};
use crate::support::{Folder, PROGRAM, SERVER, Trackalert};

#[test]
fn every_example_of_the_api_works() {
    run_all(
        "man/trackalert_api.7",
        &[
            ("{\"reason\":\"Not found\"", |text| shows(text, &daemon(SERVER).get("/nonsense").json())),
            ("{\"reason\":\"remote", |text| {
                shows(text, &daemon(SERVER).report(r#"{"login":"joe","remote":"somewhere"}"#).json());
            }),
            ("{\"r_attrs\"", |text| shows(text, &custom("{}"))),
            ("{\"reason\":\"words\"", |text| {
                let mut answer = custom("[");
                assert!(answer["reason"].is_string());
                answer["reason"] = "words".into();
                shows(text, &answer);
            }),
            ("{\"ip\":\"192.0.2.1\"", refuses),
            ("curl -u any:secret", reports),
            ("curl -f", |text| {
                if has("curl") {
                    request(&secret(), text);
                }
            }),
            ("addWebHook", |text| wforce_reports(&secret(), text)),
            ("rule_files:", configures_prometheus),
        ],
    );
}

/// Asserts that the JSON of an example is what was answered.
fn shows(text: &str, answer: &Value) {
    assert_eq!(&serde_json::from_str::<Value>(text).unwrap(), answer);
}

/// What an endpoint answers.
fn custom(body: &str) -> Value {
    let daemon = daemon(&format!(
        "{SERVER}setCustomEndpoint('custom', function() return true, {{ name = 'value' }} end)"
    ));
    daemon.client().post("/command/custom", body).json()
}

/// Asserts that Prometheus takes the configuration, with the rules that are shipped.
fn configures_prometheus(text: &str) {
    if !has("promtool") {
        return;
    }
    let folder = Folder::new();
    let share = Path::new(env!("CARGO_MANIFEST_DIR")).join("share").display().to_string();
    let config = text.replace("/usr/share/trackalert", &share);
    assert_ne!(config, text);
    folder.write("prometheus.yml", &config);
    sh_ok(&folder.path(""), "promtool check config prometheus.yml");
}

fn refuses(text: &str) {
    let config = "addListener('127.0.0.1:0', false) setACL({ '192.0.2.0/24' }) setWebserverPassword('super')";
    let daemon = Trackalert::start_with(Folder::new(), config, Command::new(PROGRAM));
    let reply = daemon.report("{}");
    let mut answer = reply.json();
    assert_eq!((reply.status, &answer["ip"]), (401, &json!("127.0.0.1")));
    answer["ip"] = "192.0.2.1".into();
    shows(text, &answer);
}

/// A daemon with the password of the examples.
fn secret() -> Trackalert {
    daemon(&format!(
        "{}setReport(function(lt)
            infoLog('seen', {{ login = lt.login, why = lt.fail_type, brand = lt.attrs.brand,
                group = (lt.attrs_mv.groups or {{}})[2] }})
        end)",
        SERVER.replace("super", "secret")
    ))
}

fn reports(text: &str) {
    if !has("curl") {
        return;
    }
    let daemon = secret();
    assert_eq!(request(&daemon, text), r#"{"status":"ok"}"#);
    let line = daemon.wait_for_line("seen: ");
    assert_eq!(
        line.trim_end(),
        r#"seen: brand="example" group="vpn" login="joe@example.com" why="password""#
    );
    stop(daemon);
}
