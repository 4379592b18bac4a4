//! Reports, from the socket to the fields that a policy sees.

use crate::support::{Trackalert, file};

/// Logs every field of a report.
const SHOW: &str = r#"
local function join(map)
    local list = {}
    for key, value in pairs(map) do
        list[#list + 1] = key .. "=" .. (type(value) == "table" and table.concat(value, "|") or value)
    end
    table.sort(list)
    return table.concat(list, ",")
end
setReport(function(lt)
    infoLog("seen", {
        t = string.format("%.6f", lt.t), remote = lt.remote:tostring(), login = lt.login, pwhash = lt.pwhash,
        success = tostring(lt.success), policy_reject = tostring(lt.policy_reject), tls = tostring(lt.tls),
        protocol = lt.protocol, device_id = lt.device_id, session_id = lt.session_id, fail_type = lt.fail_type,
        attrs = join(lt.attrs), attrs_mv = join(lt.attrs_mv), device_attrs = join(lt.device_attrs),
        nosuch = type(lt.nosuch),
    })
end)
"#;

#[test]
fn every_field_reaches_the_policy() {
    let daemon = Trackalert::start(SHOW);
    let body = r#"{"login":"joe@example.com","remote":"198.51.100.7:99","pwhash":"ab12","success":true,
        "policy_reject":true,"fail_type":"policy","protocol":"imap","tls":true,"device_id":"\"name\" \"Mail\"",
        "device_attrs":{"os.family":"X"},"session_id":"s-1","t":1700000000.25,"type":"wforce_report",
        "attrs":{"z":"1","list":["x","y"],"num":5}}"#;
    let reply = daemon.report(body);
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"status":"ok"}"#));
    assert_eq!(reply.header("Content-Type"), Some("application/json"));
    assert_eq!(
        daemon.wait_for_line("seen"),
        "seen: attrs=\"z=1\" attrs_mv=\"list=x|y\" device_attrs=\"os.family=X\" device_id=\"\\\"name\\\" \\\"Mail\\\"\" \
         fail_type=\"policy\" login=\"joe@example.com\" nosuch=\"nil\" policy_reject=\"true\" protocol=\"imap\" \
         pwhash=\"ab12\" remote=\"198.51.100.7\" session_id=\"s-1\" success=\"true\" t=\"1700000000.250000\" tls=\"true\" "
    );
}

#[test]
fn what_is_absent_is_empty_and_the_time_is_that_of_arrival() {
    let daemon = Trackalert::start(SHOW);
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert_eq!(daemon.report("{}").status, 200);
    let line = daemon.wait_for_line("seen");
    let (_, rest) = line.split_once(" t=\"").unwrap();
    let t: f64 = rest.split('"').next().unwrap().parse().unwrap();
    assert!((before - 0.001..before + 60.0).contains(&t), "{line}");
    assert!(
        line.contains("remote=\"0.0.0.0\"") && line.contains("login=\"\"") && line.contains("attrs=\"\""),
        "{line}"
    );
}

#[test]
fn what_wforce_sends_is_understood() {
    let daemon = Trackalert::start(SHOW);
    assert_eq!(daemon.report(&file("data/wforce-report.json")).status, 200);
    let line = daemon.wait_for_line("seen");
    for part in [
        "t=\"1795490801.892085\"",
        "attrs=\"a=1\"",
        "attrs_mv=\"m=x|y\"",
        "login=\"joe\"",
        "browser.family=Chrome",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn a_bad_report_is_refused_with_the_field_and_runs_nothing() {
    let daemon = Trackalert::start(SHOW);
    for (body, reason) in [
        (r#"{"login":1}"#, "login: invalid type: integer `1`, expected a string"),
        (r#"{"remote":"foo"}"#, "remote: not an IP address"),
        (r#"{"remote":"192.0.2.1:70000"}"#, "remote: not an IP address"),
        (r#"{"login":"x"#, "login: EOF while parsing a string"),
        (r#"{"login":"x""#, "EOF while parsing an object at line 1 column 12"),
        (r#"[1]"#, "invalid type: sequence, expected a JSON object"),
    ] {
        let reply = daemon.report(body);
        assert_eq!((reply.status, reply.json()["status"].as_str()), (400, Some("failure")), "{body}");
        assert_eq!(reply.json()["reason"], reason, "{body}");
    }
    assert_eq!(daemon.metric("trackalert_commands_total{cmd=\"report\"}"), 6);
    assert_eq!(daemon.get("/command/stats").json()["reports"], 0);
    let lines = daemon.stop();
    assert!(!lines.iter().any(|line| line.starts_with("seen")), "{lines:?}");
}

#[test]
fn an_error_of_the_policy_does_not_change_the_answer() {
    let daemon =
        Trackalert::start("setReport(function(lt) error('line1\\nline2 \"' .. lt.login .. '\"') end)");
    assert_eq!(daemon.report(r#"{"login":"a\nb","remote":"192.0.2.1"}"#).status, 200);
    let line = daemon.wait_for_line("Lua function [report] exception");
    assert!(line.contains("trackalert.conf:5: line1\\nline2 \"a\\nb\""), "{line}");
    assert!(line.contains("login=\"a\\nb\"") && line.contains("remote=\"192.0.2.1\""), "{line}");
    assert_eq!(daemon.metric("trackalert_lua_errors_total{kind=\"report\"}"), 1);
}

#[test]
fn bodies_that_killed_the_original_are_accepted() {
    let mut daemon = Trackalert::start("setReport(function(lt) infoLog('length', {n = #lt.login}) end)");
    let mut client = daemon.client();
    for size in [69_632, 77_824, 131_072, 262_144, 524_288, 1_048_576] {
        let login = "x".repeat(size - r#"{"login":""}"#.len());
        let body = format!(r#"{{"login":"{login}"}}"#);
        assert_eq!(body.len(), size);
        assert_eq!(client.post("/command/report", &body).status, 200, "{size}");
        daemon.wait_for_line(&format!("n=\"{}\"", login.len()));
    }
    assert_eq!(daemon.client().post("/command/report", &"x".repeat(1_048_577)).status, 413);
    assert!(daemon.is_running());
}
