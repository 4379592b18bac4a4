//! The real wforce, which reports and is told whom to refuse, if the original is installed beside the project's specification.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::http::{Client, basic};
use crate::support::{Folder, Running, Trackalert, original, skipped, wait_for};

/// The real wforce, ended when the test ends.
struct Wforce {
    _child: Running,
    address: SocketAddr,
    _folder: Folder,
}

impl Wforce {
    /// Runs it with a webhook that reports to `trackalert`; none if it is not installed.
    fn reporting_to(trackalert: SocketAddr) -> Option<Wforce> {
        Wforce::start(&format!(
            r#"
            addWebHook({{"report"}}, {{
                url = "http://{trackalert}/?command=report", secret = "12345", ["basic-auth"] = "wforce:super",
            }})
            "#
        ))
    }

    /// Runs it with more in its configuration.
    fn start(more: &str) -> Option<Wforce> {
        let script = original()?;
        let folder = Folder::new();
        // It can't be asked for the port that the system chose: one that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = folder.write(
            "wforce.conf",
            &format!(
                r#"
                setACL({{"127.0.0.0/8"}})
                addListener("{address}", false, "", "", {{}})
                setWebserverPassword("super")
                {more}
                "#
            ),
        );
        let mut command = Command::new(script);
        command.args(["wforce", "-s", "-C"]).arg(config);
        let child = Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
        let wforce = Wforce { _child: child, address, _folder: folder };
        wait_for("wforce", || TcpStream::connect(wforce.address).ok());
        Some(wforce)
    }

    /// What it answers to a command.
    fn ask(&self, command: &str, body: &Value) -> Value {
        let (auth, body) = (basic("wforce", "super"), body.to_string());
        let mut client = Client::connect(self.address);
        client.send(format!(
            "POST /?command={command} HTTP/1.1\r\nHost: a\r\n{auth}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        client.reply().json()
    }

    /// Whether it lets somebody log in from an address: the status that it answers, and why.
    fn allow(&self, ip: &str) -> (i64, String) {
        let answer =
            self.ask("allow", &json!({ "login": "ann", "remote": ip, "pwhash": "1234", "attrs": {} }));
        let reason = answer["r_attrs"]["reason"].as_str().unwrap_or_default();
        (answer["status"].as_i64().unwrap(), reason.to_owned())
    }
}

/// Logs every field in one line.
const SHOW: &str = r#"
addCustomStat("seen")
setReport(function(lt)
    incCustomStat("seen")
    infoLog("seen", {
        login = lt.login, remote = lt.remote:tostring(), pwhash = lt.pwhash, success = tostring(lt.success),
        policy_reject = tostring(lt.policy_reject), tls = tostring(lt.tls), protocol = lt.protocol,
        device_id = lt.device_id, session_id = lt.session_id, fail_type = lt.fail_type, a = lt.attrs.a,
        m = table.concat(lt.attrs_mv.m, "|"), family = lt.device_attrs["os.family"], recent = tostring(lt.t > os.time() - 600),
    })
end)
"#;

#[test]
fn every_report_of_wforce_arrives_with_every_field() {
    const REPORTS: usize = 1000;
    let daemon = Trackalert::start(SHOW);
    let Some(wforce) = Wforce::reporting_to(daemon.address) else {
        return skipped("the original is not installed");
    };
    let mut client = Client::connect(wforce.address);
    for number in 0..REPORTS {
        let body = json!({
            "login": format!("user{number}@example.com"), "remote": format!("198.51.100.{}", number % 256),
            "pwhash": format!("{:x}", number % 16), "success": number % 2 == 0, "policy_reject": number % 3 == 0,
            "tls": number % 5 == 0, "protocol": "http", "session_id": format!("s{number}"), "fail_type": "policy",
            "device_id": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/120.0.0.0 Safari/537.36",
            "attrs": { "a": format!("é\"{number}"), "m": ["x", "y"] },
        })
        .to_string();
        let (auth, length) = (basic("wforce", "super"), body.len());
        client.send(format!(
            "POST /?command=report HTTP/1.1\r\nHost: a\r\n{auth}Content-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ));
        assert_eq!(client.reply().status, 200);
    }
    wait_for("every report", || {
        (daemon.metric("trackalert_custom_stats_total{metric=\"seen\"}") == REPORTS as u64).then_some(())
    });
    let lines = daemon.stop();
    let mut seen: Vec<&String> = lines.iter().filter(|line| line.starts_with("seen: ")).collect();
    seen.sort();
    let mut expected: Vec<String> = (0..REPORTS)
        .map(|number| {
            format!(
                "seen: a=\"é\\\"{number}\" device_id=\"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/120.0.0.0 \
                 Safari/537.36\" fail_type=\"policy\" family=\"Windows\" login=\"user{number}@example.com\" m=\"x|y\" \
                 policy_reject=\"{}\" protocol=\"http\" pwhash=\"{:x}\" recent=\"true\" remote=\"198.51.100.{}\" \
                 session_id=\"s{number}\" success=\"{}\" tls=\"{}\" ",
                number % 3 == 0,
                number % 16,
                number % 256,
                number % 2 == 0,
                number % 5 == 0
            )
        })
        .collect();
    expected.sort();
    for (seen, expected) in seen.iter().zip(&expected) {
        assert_eq!(*seen, expected);
    }
    assert_eq!(seen.len(), REPORTS);
}

#[test]
fn what_an_alert_is_about_is_refused_until_the_alert_is_closed() {
    let Some(wforce) = Wforce::start("") else {
        return skipped("the original is not installed");
    };
    let daemon = Trackalert::start(&format!(
        r#"
        addWforceBlocklist{{ url = "http://{}", password = "super", rules = {{ "spray" }}, expire = "720:00" }}
        setReport(function(lt)
            alert{{ rule = "spray", key = lt.login, severity = "low", ip = lt.remote, summary = "s",
                data = {{ source = lt.attrs.source }} }}
        end)
        "#,
        wforce.address
    ));
    let sources = [
        ("192.0.2.1", None, "192.0.2.1", "192.0.2.2"),
        ("198.51.100.7", Some("198.51.100.0/24"), "198.51.100.250", "198.51.101.1"),
        ("2001:db8::1", None, "2001:db8::1", "2001:db8::2"),
        ("2001:db8:1::1", Some("2001:db8:1::/64"), "2001:db8:1::ffff", "2001:db8:1:1::1"),
    ];
    for (id, (remote, source, inside, outside)) in (1..).zip(sources) {
        assert_eq!(wforce.allow(inside), (0, String::new()), "{inside}");
        let body = json!({ "login": remote, "remote": remote, "attrs": { "source": source.unwrap_or("") } });
        assert_eq!(daemon.report(&body.to_string()).status, 200);
        daemon.wait_for_line(&format!("blocklist entry: alert=\"{id}\""));
        assert_eq!(wforce.allow(inside), (-1, format!("trackalert: alert {id}: spray")), "{inside}");
        assert_eq!(wforce.allow(outside).0, 0, "{outside}");
    }
    for (id, (_, _, inside, _)) in (1..).zip(sources) {
        assert_eq!(daemon.client().post("/command/closeAlert", &json!({ "id": id }).to_string()).status, 200);
        daemon.wait_for_line(&format!("blocklist entry removed: alert=\"{id}\""));
        assert_eq!(wforce.allow(inside), (0, String::new()), "{inside}");
    }
}
