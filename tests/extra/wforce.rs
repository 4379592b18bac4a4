//! Reports of the real wforce, if the original is installed beside the project's specification.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use serde_json::json;

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
    fn start(trackalert: SocketAddr) -> Option<Wforce> {
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
                addWebHook({{"report"}}, {{
                    url = "http://{trackalert}/?command=report", secret = "12345", ["basic-auth"] = "wforce:super",
                }})
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
    let Some(wforce) = Wforce::start(daemon.address) else {
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
