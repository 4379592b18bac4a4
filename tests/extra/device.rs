//! What clients say of themselves, parsed by protocol.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Folder, PROGRAM, SERVER, Trackalert, file, run};

const AGENT: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                     Version/17.6 Mobile/15E148 Safari/604.1";

/// Logs what the policy sees.
const SHOW: &str = r#"
setReport(function(lt)
    local list = {}
    for name, value in pairs(lt.device_attrs) do list[#list + 1] = name .. "=" .. value end
    table.sort(list)
    infoLog("seen", { login = lt.login, parsed = table.concat(list, ",") })
end)
"#;

/// A folder with patterns beside where the configuration will be.
fn folder_with_patterns() -> Folder {
    let folder = Folder::new();
    folder.write("regexes.yaml", &file("data/regexes.yaml"));
    folder
}

/// Sends a report and gives what the policy saw in `device_attrs`.
fn seen(daemon: &Trackalert, login: &str, mut report: Value) -> String {
    report["login"] = json!(login);
    assert_eq!(daemon.report(&report.to_string()).status, 200);
    let line = daemon.wait_for_line(&format!("seen: login=\"{login}\""));
    let (_, attrs) = line.split_once(" parsed=\"").unwrap();
    attrs.split_once('"').unwrap().0.to_owned()
}

#[test]
fn the_policy_sees_what_the_client_is() {
    let daemon =
        Trackalert::start_with(folder_with_patterns(), &format!("{SERVER}{SHOW}"), Command::new(PROGRAM));
    let browser = "browser.family=Mobile Safari,browser.major=17,browser.minor=6,device.brand=Apple,\
                   device.family=iPhone,device.model=iPhone,os.family=iOS,os.major=17,os.minor=6";
    let unknown = "browser.family=Other,browser.major=,browser.minor=,device.brand=,device.family=Other,\
                   device.model=,os.family=Other,os.major=,os.minor=";
    let id = r#"("name" "iPhone Mail" "version" "21G93" "os" "iOS" "os-version" "17.6.1 (21G93)")"#;
    let client = "imapc.family=iPhone Mail,imapc.major=,imapc.minor=,os.family=iOS,os.major=17,os.minor=6";
    let app = "OpenXchange.iOS.Mail/1.0.3 (OS: 10.0.3; device: iPhone 7 Plus)";
    let mobile = "app.brand=OpenXchange,app.major=1,app.minor=0,app.name=Mail,device.family=iPhone 7 Plus,\
                  os.family=iOS,os.major=10,os.minor=0";
    for (number, (protocol, device_id, expected)) in [
        ("http", AGENT, browser),
        ("HTTPS", AGENT, browser),
        ("https", "no such browser", unknown),
        ("http", "", unknown),
        ("http", "1.2.3", unknown),
        ("imap", id, client),
        ("Imaps", id, client),
        ("mobileapi", app, mobile),
        ("pop3", id, ""),
        ("", AGENT, ""),
    ]
    .into_iter()
    .enumerate()
    {
        let report = json!({ "protocol": protocol, "device_id": device_id });
        assert_eq!(seen(&daemon, &number.to_string(), report), expected, "{protocol} {device_id}");
    }
}

#[test]
fn what_the_sender_has_parsed_is_kept() {
    let daemon =
        Trackalert::start_with(folder_with_patterns(), &format!("{SERVER}{SHOW}"), Command::new(PROGRAM));
    for (login, attrs, expected) in [
        ("given", json!({ "os.family": "Haiku" }), "os.family=Haiku"),
        ("empty", json!({}), ""),
        ("null", Value::Null, "browser.family=Mobile Safari,"),
    ] {
        let report = json!({ "protocol": "http", "device_id": AGENT, "device_attrs": attrs });
        let attrs = seen(&daemon, login, report);
        assert!(attrs.starts_with(expected) && attrs.is_empty() == expected.is_empty(), "{login}: {attrs}");
    }
    let wforce = daemon.report(&file("data/wforce-report.json"));
    assert_eq!(wforce.status, 200);
    assert!(daemon.wait_for_line("seen: login=\"joe\"").contains("browser.family=Chrome,browser.major=120,"));
}

#[test]
fn the_log_line_of_a_report_has_what_was_parsed() {
    let mut command = Command::new(PROGRAM);
    command.arg("-v");
    let daemon = Trackalert::start_with(folder_with_patterns(), &format!("{SERVER}{SHOW}"), command);
    seen(&daemon, "joe", json!({ "protocol": "http", "device_id": AGENT }));
    let line = daemon.wait_for_line("report: ");
    assert!(line.contains("device_attrs.browser.family=\"Mobile Safari\""), "{line}");
}

#[test]
fn the_patterns_may_be_anywhere() {
    let elsewhere = Folder::new();
    let patterns = file("data/regexes.yaml").replace("'Mobile Safari'", "'Elsewhere'");
    elsewhere.write("my.yaml", &patterns);
    // A relative name is relative to where the command was called, not to the configuration.
    for (folder, name) in
        [(".", "./my.yaml"), (".", "my.yaml"), ("/", elsewhere.path("my.yaml").to_str().unwrap())]
    {
        let mut command = Command::new(PROGRAM);
        command.current_dir(elsewhere.path(folder)).args(["-R", name]);
        let daemon = Trackalert::start_with(folder_with_patterns(), &format!("{SERVER}{SHOW}"), command);
        let attrs = seen(&daemon, "joe", json!({ "protocol": "http", "device_id": AGENT }));
        assert!(attrs.starts_with("browser.family=Elsewhere,"), "{name}: {attrs}");
    }
}

#[test]
fn without_patterns_there_is_one_notice() {
    const PACKAGED: [&str; 2] = ["/usr/share/trackalert/regexes.yaml", "/usr/share/uap-core/regexes.yaml"];
    let has_packaged = PACKAGED.iter().any(|path| Path::new(path).exists());
    let daemon = Trackalert::start(SHOW);
    let attrs = seen(&daemon, "joe", json!({ "protocol": "http", "device_id": AGENT }));
    assert_eq!(attrs.contains("os.family=iOS"), has_packaged, "{attrs}");
    assert_eq!(attrs.is_empty(), !has_packaged, "{attrs}");
    assert_eq!(daemon.count_lines("no regexes.yaml"), usize::from(!has_packaged));
}

#[test]
fn bad_patterns_are_fatal_and_say_where() {
    let folder = Folder::new();
    let config = folder.write("x.conf", SERVER);
    folder.write("bad.yaml", "user_agent_parsers: [}");
    folder.write("other.yaml", "user_agent_parsers: []\nos_parsers: []\n");
    let lists = "user_agent_parsers: [{v1_replacement: '1'}]\nos_parsers: []\ndevice_parsers: []\n";
    folder.write("entry.yaml", lists);
    let path = |name: &str| folder.path(name).to_str().unwrap().to_owned();
    for (name, complaint) in [
        ("missing.yaml", "missing.yaml: no such file or directory"),
        ("", ": is a directory"),
        ("bad.yaml", "bad.yaml: while parsing"),
        ("other.yaml", "other.yaml: no list named device_parsers"),
        ("entry.yaml", "entry.yaml: user_agent_parsers: entry 1: no regex"),
    ] {
        for mode in ["-s", "-t"] {
            let output = run(&[mode, "-C", config.to_str().unwrap(), "-R", &path(name)], "");
            assert_eq!(output.status, 78, "{name}: {}", output.stderr);
            assert!(output.stderr.contains(complaint), "{name}: {}", output.stderr);
        }
    }
    // So it is with a default file.
    folder.write("regexes.yaml", "");
    for mode in ["-s", "-t"] {
        let output = run(&[mode, "-C", config.to_str().unwrap()], "");
        assert_eq!((output.status, output.stderr.trim_end()), (78, "trackalert: regexes.yaml: empty"));
    }
}

#[test]
fn patterns_that_can_not_be_compiled_are_named_in_one_line() {
    let folder = Folder::new();
    let patterns = file("data/regexes.yaml");
    let odd =
        patterns.replace("os_parsers:\n", "os_parsers:\n  - regex: '(?!x)Linux'\n  - regex: '(a)\\1'\n");
    folder.write("regexes.yaml", &odd);
    let daemon = Trackalert::start_with(folder, &format!("{SERVER}{SHOW}"), Command::new(PROGRAM));
    let attrs = seen(&daemon, "joe", json!({ "protocol": "http", "device_id": AGENT }));
    assert!(attrs.contains("os.family=iOS"), "{attrs}");
    let line = daemon.wait_for_line("can't be compiled");
    assert!(
        line.ends_with("regexes.yaml: patterns that can't be compiled are left out: '(?!x)Linux' '(a)\\1'"),
        "{line}"
    );
    assert_eq!(daemon.count_lines("can't be compiled"), 1);
    let output = run(&["-t", "-C", daemon.folder.path("trackalert.conf").to_str().unwrap()], "");
    assert_eq!((output.status, output.stdout.matches("can't be compiled").count()), (0, 1));
}
