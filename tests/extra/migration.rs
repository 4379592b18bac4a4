//! A configuration as users of weakforced's trackalert have it, unchanged, and a day in its life.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::hook::{OK, Sink};
use crate::support::http::Client;
use crate::support::{Folder, Trackalert, data, make_key, run, skipped, wait_for, wait_within};

/// What the file says; `{…}` are put in by the test.
const CONFIG: &str = r#"
webserver("127.0.0.1:0", "super")
setKey("{key}")
controlSocket("127.0.0.1:0")
addACL("127.0.0.0/8")
addACL("192.168.0.0/16")

newGeoIP2DB("City", "{city}")
newGeoIP2DB("Country", "{country}")

addCustomStat("reports_seen")
setNumWebHookThreads(2)
addCustomWebHook("mycustomhook", { url = "{sink}/webhook/regression", secret = "verysecretcode" })

local log_file = io.open("login.log", "a")
log_file:setvbuf("line")

function report(lt)
    incCustomStat("reports_seen")
    local city = getGeoIP2DB("City"):lookupCity(lt.remote)
    log_file:write(lt.login .. " " .. lt.remote:tostring() .. " " .. city.city .. " " .. city.country_code .. " "
        .. getGeoIP2DB("City"):lookupStringValue(lt.remote, { "city", "names", "de" }) .. "\n")
    for k, v in pairs(lt.attrs) do
        infoLog("attr", { name = k, value = v })
    end
    for k, v in pairs(lt.attrs_mv) do
        for i, vi in ipairs(v) do
            infoLog("attr_mv", { name = k, value = vi })
        end
    end
    runCustomWebHook("mycustomhook", "{ \"foo\":\"bar\" }")
end
setReport(report)

function background1()
    local file = io.open("one.runs", "a")
    file:write("run\n")
    file:close()
end

function background2()
    local file = io.open("two.runs", "a")
    file:write("run\n")
    file:close()
end

setBackground("background1", background1)
setBackground("background2", background2)
cronScheduleBackgroundFunc("* * * * *", "background1")
cronScheduleBackgroundFunc("* * * * *", "background2")

function custom(args)
    local attrs = {}
    for k, v in pairs(args.attrs) do
        attrs[k] = v
    end
    return true, attrs
end
setCustomEndpoint("custom", custom)
"#;

fn start(sink: &Sink) -> Trackalert {
    let key = make_key();
    let config = CONFIG
        .replace("setKey(\"{key}\")", key.trim())
        .replace("{city}", &data("city.mmdb"))
        .replace("{country}", &data("country.mmdb"))
        .replace("{sink}", &sink.url(""));
    Trackalert::start_with(Folder::new(), &config, Command::new(crate::support::PROGRAM))
}

#[test]
fn an_existing_configuration_goes_on_working() {
    let sink = Sink::start(|_| OK);
    let daemon = start(&sink);
    daemon.wait_for_line("webserver() is deprecated");

    assert_eq!(daemon.client().get("/?command=stats").status, 200);
    let mut stranger = Client::connect(daemon.address);
    stranger.send("GET /?command=stats HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(stranger.reply().status, 401);

    let report = r#"{"login":"joe@example.com","remote":"81.2.69.160","pwhash":"1","success":true,
        "attrs":{"accountStatus":"blocked","countryCode":["US","GB"]}}"#;
    assert_eq!(daemon.client().post("/?command=report", report).text(), r#"{"status":"ok"}"#);
    let log = daemon.folder.path("login.log");
    let line = wait_for("the policy's own log", || {
        fs::read_to_string(&log).ok().filter(|text| text.ends_with('\n'))
    });
    assert_eq!(line, "joe@example.com 81.2.69.160 London GB London\n");
    daemon.wait_for_line("attr: name=\"accountStatus\" value=\"blocked\"");
    daemon.wait_for_line("attr_mv: name=\"countryCode\" value=\"GB\"");

    let hook = &sink.wait_for(1)[0];
    assert_eq!((hook.target(), hook.body.as_slice()), ("/webhook/regression", &b"{ \"foo\":\"bar\" }"[..]));
    assert!(hook.header("x-wforce-signature").is_some());
    let client = daemon.folder.path("trackalert.conf");
    let address = daemon.wait_for_line("Accepting control connections on ");
    let address = address.rsplit(' ').next().unwrap();
    let config = fs::read_to_string(client).unwrap();
    let config = config.replace("controlSocket(\"127.0.0.1:0\")", &format!("controlSocket(\"{address}\")"));
    let client = daemon.folder.write("client.conf", &config);
    let execute = |command| run(&["-c", client.to_str().unwrap(), "-e", command], "").stdout;
    let rows = wait_for("the hook's success", || {
        Some(execute("showCustomWebHooks()")).filter(|text| text.contains(" 1         0 "))
    });
    assert_eq!(
        rows,
        format!(
            "ID        Name                 Successes Failures  URL\n1         mycustomhook         1         0         {}\n",
            sink.url("/webhook/regression")
        )
    );
    assert_eq!(execute("stats()"), "1 reports\n");

    let reply = daemon.client().post("/?command=custom", r#"{"attrs":{"login":"joe","other":"x"}}"#);
    assert_eq!(reply.json()["r_attrs"], serde_json::json!({"login": "joe", "other": "x"}));

    for name in ["one.runs", "two.runs"] {
        let path = daemon.folder.path(name);
        wait_within(Duration::from_secs(90), name, || fs::read_to_string(&path).ok());
    }
    daemon.stop();
}

#[test]
fn the_client_library_of_prometheus_reads_the_metrics() {
    let sink = Sink::start(|_| OK);
    let daemon = start(&sink);
    for _ in 0..3 {
        assert_eq!(daemon.client().post("/command/custom", "{}").status, 200);
    }
    let text = daemon.get("/metrics").text();
    let script = "import sys
from prometheus_client.parser import text_string_to_metric_families as parse
for family in parse(sys.stdin.read()):
    for sample in family.samples:
        print(sample.name, sorted(sample.labels.items()), sample.value)";
    // The system's Python has the library where Debian's package installs it.
    let samples = ["python3", "/usr/bin/python3"].iter().find_map(|python| {
        let mut command = Command::new(python);
        command.arg("-c").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        // One without the library has ended.
        let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
        let output = child.wait_with_output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    });
    let Some(samples) = samples else { return skipped("there is no prometheus_client for python3") };
    assert!(samples.contains("trackalert_commands_total [('cmd', 'custom')] 3.0\n"), "{samples}");
    assert!(samples.contains("trackalert_worker_response_duration_seconds_count [] 3.0\n"), "{samples}");
}
