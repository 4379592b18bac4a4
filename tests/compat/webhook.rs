//! Custom webhooks: what receivers get, and what becomes of deliveries that fail.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;

use crate::support::hook::{Answer, OK, Request, Sink};
use crate::support::{Folder, Nobody, PROGRAM, SERVER, Trackalert, file, run, wait_for};

/// Runs the hook that has the name of the login, as often as `session_id` says, with the attribute
/// `data` or what the recording has.
pub const POLICY: &str = r#"
setReport(function(lt)
    for _ = 1, tonumber(lt.session_id) or 1 do
        runCustomWebHook(lt.login, lt.attrs.data or '{ "foo":"bar" }')
    end
end)
"#;

/// Has a hook run a number of times.
pub fn run_hook(daemon: &Trackalert, name: &str, times: usize) {
    let report = format!(r#"{{"login":"{name}","session_id":"{times}"}}"#);
    assert_eq!(daemon.report(&report).status, 200);
}

/// A line of the configuration.
pub fn hook(name: &str, url: &str, keys: &str) -> String {
    format!("addCustomWebHook('{name}', {{ url = '{url}', {keys} }})\n")
}

/// A counter of deliveries.
fn events(daemon: &Trackalert, id: usize, url: &str, status: &str) -> u64 {
    let labels = format!(r#"{{id="{id}",status="{status}",url="{url}"}}"#);
    daemon.metric(&format!("trackalert_custom_webhook_events_total{labels}"))
}

pub fn wait_for_events(daemon: &Trackalert, id: usize, url: &str, status: &str, count: u64) {
    wait_for(&format!("{count} {status}"), || {
        let found = events(daemon, id, url, status);
        assert!(found <= count, "{found} {status}");
        (found == count).then_some(())
    });
}

/// Today in UTC, by another program.
fn today(format: &str) -> String {
    let output = Command::new("date").args(["-u", format]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The requests of the recording: the hook's name, the request line, the header fields, the body.
fn recorded() -> Vec<(String, String, HashMap<String, String>, String)> {
    let text = file("golden/webhooks.txt").replace("\\r\n", "\n");
    let requests = text.split("##### report hook=").skip(1).map(|part| {
        let (name, rest) = part.split_once('\n').unwrap();
        let (_, rest) = rest.split_once('\n').unwrap();
        let (head, body) = rest.split_once("\n\n").unwrap();
        let (line, fields) = head.split_once('\n').unwrap();
        let fields = fields.lines().map(|line| line.split_once(": ").unwrap());
        let fields = fields.map(|(field, value)| (field.to_lowercase(), value.to_owned())).collect();
        (name.trim().to_owned(), line.to_owned(), fields, body.trim_end().to_owned())
    });
    requests.collect()
}

#[test]
fn receivers_get_what_the_original_sends() {
    let sink = Sink::start(|_| OK);
    let url = |path: &str| sink.url(path);
    let config = [
        hook("plain", &url("/plain"), ""),
        hook("secret", &url("/secret"), "secret = 'verysecretcode'"),
        hook("basic", &url("/basic"), "['basic-auth'] = 'user:pass'"),
        hook("apikey", &url("/apikey"), "['api-key'] = 'my-api-key'"),
        hook("ctype", &url("/ctype"), "['content-type'] = 'text/plain; charset=utf-8'"),
        hook("kafka", &url("/kafka"), "kafka = 'true'"),
        hook("macros", &url("/m/%{YYYY}/%{MM}/%{dd}?d=%{YYYY}-%{MM}-%{dd}&x=%{foo}&yyyy=%{yyyy}"), ""),
        hook(
            "all",
            &url("/all"),
            "secret = 's', ['basic-auth'] = 'u:p', ['api-key'] = 'k', ['content-type'] = 'a/b'",
        ),
        hook("e500", &url("/500"), ""),
        hook("e404", &url("/404"), ""),
        hook("e204", &url("/204"), ""),
    ];
    let daemon = Trackalert::start(&format!("{}{POLICY}", config.concat()));
    let recorded = recorded();
    assert_eq!(recorded.len(), config.len());
    let mut ids = HashSet::new();
    for (count, (name, line, mut fields, mut body)) in recorded.into_iter().enumerate() {
        let before = today("+%Y %m %d");
        run_hook(&daemon, &name, 1);
        let request = sink.wait_for(count + 1).pop().unwrap();
        if name == "kafka" {
            // The original forgets to wrap.
            body = format!(r#"{{"records":[{{"value":{body}}}]}}"#);
            fields.insert("content-length".into(), body.len().to_string());
        }
        let dated = |date: &str| {
            let mut parts = date.split(' ');
            let (year, month, day) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            line.replace("2026/11/24", &format!("{year}/{month}/{day}"))
                .replace("2026-11-24", &format!("{year}-{month}-{day}"))
        };
        let lines = [dated(&before), dated(&today("+%Y %m %d"))];
        assert!(lines.contains(&request.line), "{} is not {lines:?}", request.line);
        fields.insert("host".into(), sink.address.to_string());
        let id = request.header("x-wforce-delivery").unwrap().to_owned();
        assert_eq!(STANDARD.decode(&id).unwrap().len(), 32);
        fields.insert("x-wforce-delivery".into(), id.clone());
        assert!(ids.insert(id), "each delivery has its own");
        assert_eq!(request.headers.len(), fields.len(), "{:?}", request.headers);
        assert_eq!(request.headers.into_iter().collect::<HashMap<_, _>>(), fields, "{name}");
        assert_eq!(String::from_utf8(request.body).unwrap(), body, "{name}");
    }
}

#[test]
fn only_2xx_is_success_and_redirects_are_not_followed() {
    let sink = Sink::start(|request| match request.target() {
        "/301" => Answer::Status(301, "Location: /200\r\n"),
        target => Answer::Status(target[1..].parse().unwrap(), ""),
    });
    let statuses = ["200", "204", "299", "301", "307", "404", "500"];
    let hooks: String =
        statuses.iter().map(|status| hook(status, &sink.url(&format!("/{status}")), "")).collect();
    let daemon = Trackalert::start(&format!("{hooks}{POLICY}"));
    for (id, status) in (1..).zip(statuses) {
        run_hook(&daemon, status, 2);
        let url = sink.url(&format!("/{status}"));
        let (outcome, other) = if status.starts_with('2') { ("ok", "error") } else { ("error", "ok") };
        wait_for_events(&daemon, id, &url, outcome, 2);
        assert_eq!(events(&daemon, id, &url, other), 0, "{status}");
        if outcome == "error" {
            let line = format!(
                "webhook failed: cause=\"status {status}\" id=\"{id}\" name=\"{status}\" url=\"{url}\""
            );
            daemon.wait_for_line(&line);
        }
    }
    assert_eq!(sink.requests().len(), 2 * statuses.len());
}

#[test]
fn a_failed_delivery_is_tried_again_and_holds_nobody_up() {
    let failures = AtomicUsize::new(2);
    let flaky = Sink::start(move |_| {
        let left = failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() { Answer::Status(503, "") } else { OK }
    });
    let healthy = Sink::start(|_| OK);
    let hooks = hook("flaky", &flaky.url("/"), "retries = 3") + &hook("healthy", &healthy.url("/"), "");
    let daemon =
        Trackalert::start(&format!("{hooks}{POLICY}setNumWebHookThreads(1)\nsetNumWebHookConnsPerThread(1)"));
    run_hook(&daemon, "flaky", 1);
    flaky.wait_for(1);
    run_hook(&daemon, "healthy", 5);
    healthy.wait_for(5);
    let requests = flaky.wait_for(3);
    let last = healthy.requests().iter().map(|request| request.time).max().unwrap();
    assert!(last < requests[2].time, "the wait occupies no thread");
    let waits: Vec<f64> =
        requests.windows(2).map(|pair| (pair[1].time - pair[0].time).as_secs_f64()).collect();
    assert!(waits[0] > 0.9 && waits[1] > 1.9, "{waits:?}");
    let ids: HashSet<_> = requests.iter().map(|request| request.header("x-wforce-delivery")).collect();
    assert_eq!(ids.len(), 1, "the receiver can tell that it is the same");
    wait_for_events(&daemon, 1, &flaky.url("/"), "ok", 1);
    assert_eq!(events(&daemon, 1, &flaky.url("/"), "error"), 2);
    daemon.stop();
}

#[test]
fn a_receiver_that_is_silent_or_dead_is_a_failure() {
    let silent = Sink::start(|_| Answer::Never);
    let rude = Sink::start(|_| Answer::Close);
    let nobody = Nobody::new();
    let dead = nobody.url();
    let hooks = hook("silent", &silent.url("/"), "timeout = '0.2'")
        + &hook("dead", &dead, "")
        + &hook("rude", &rude.url("/"), "")
        + &hook("lost", "http://nosuch.invalid/", "timeout = 30")
        + &hook("default", &silent.url("/default"), "");
    let daemon = Trackalert::start(&format!("{hooks}{POLICY}setWebHookTimeoutSecs(0.3)"));
    for (id, name, url, cause) in [
        (1, "silent", silent.url("/"), "no answer within 0.2 s"),
        (2, "dead", dead, "connection refused"),
        (3, "rude", rude.url("/"), "the connection was closed without an answer"),
        (4, "lost", "http://nosuch.invalid/".into(), "failed to lookup address"),
        (5, "default", silent.url("/default"), "no answer within 0.3 s"),
    ] {
        run_hook(&daemon, name, 1);
        wait_for_events(&daemon, id, &url, "error", 1);
        let line = daemon.wait_for_line(&format!("name=\"{name}\""));
        assert!(line.starts_with(&format!("webhook failed: cause=\"{cause}")), "{line}");
    }
    assert_eq!(rude.requests().len(), 1, "a new connection is not tried again");
}

#[test]
fn a_kept_connection_that_has_gone_stale_costs_nothing() {
    // Takes a request on a kept connection and closes it without a byte.
    let sink = Sink::start(|request| if request.number == 2 { Answer::Close } else { OK });
    let daemon = Trackalert::start(&format!("{}{POLICY}", hook("stale", &sink.url("/"), "")));
    for count in 1..=9 {
        run_hook(&daemon, "stale", 1);
        wait_for_events(&daemon, 1, &sink.url("/"), "ok", count);
    }
    let requests = sink.requests();
    let closed: Vec<&Request> = requests.iter().filter(|request| request.number == 2).collect();
    assert!(!closed.is_empty(), "connections are kept");
    assert_eq!(requests.len(), 9 + closed.len());
    for request in closed {
        let id = request.header("x-wforce-delivery");
        let same: Vec<_> = requests.iter().filter(|other| other.header("x-wforce-delivery") == id).collect();
        assert_eq!(same.len(), 2);
        assert_eq!(same[1].number, 0, "on a new connection");
    }
    assert_eq!(events(&daemon, 1, &sink.url("/"), "error"), 0);
}

#[test]
fn a_full_queue_drops_counts_and_says_so_once_a_second() {
    let sink = Sink::start(|_| Answer::Never);
    let daemon = Trackalert::start(&format!(
        "{}{POLICY}setNumWebHookThreads(1)\nsetNumWebHookConnsPerThread(1)\nsetWebHookQueueSize(3)",
        hook("hang", &sink.url("/"), "timeout = 600")
    ));
    run_hook(&daemon, "hang", 1);
    sink.wait_for(1);
    run_hook(&daemon, "hang", 1000);
    wait_for("997 dropped", || (daemon.metric("trackalert_webhook_dropped_total") == 997).then_some(()));
    assert_eq!(daemon.metric("trackalert_webhook_queue_size"), 3);
    daemon.wait_for_line("(996 times since the last line)");
    assert_eq!(daemon.count_lines("webhook dropped, the queue is full: id=\"1\" name=\"hang\""), 2);
}

#[test]
fn a_dead_receiver_does_not_fill_the_log() {
    let nobody = Nobody::new();
    let url = nobody.url();
    let daemon = Trackalert::start(&format!("{}{POLICY}", hook("dead", &url, "")));
    run_hook(&daemon, "dead", 500);
    wait_for_events(&daemon, 1, &url, "error", 500);
    daemon.wait_for_line("times since the last line)");
    let lines = daemon.stop();
    let failures = |line: &String| -> Option<usize> {
        let rest = line.strip_prefix("webhook failed: cause=\"connection refused\"")?;
        let count = rest.rsplit_once('(').and_then(|(_, count)| count.split(' ').next()?.parse().ok());
        Some(count.unwrap_or(1))
    };
    let counts: Vec<usize> = lines.iter().filter_map(failures).collect();
    assert_eq!(counts.iter().sum::<usize>(), 500, "every failure is accounted for");
    assert!(counts.len() < 50, "{counts:?}");
}

#[test]
fn kafka_needs_json() {
    let sink = Sink::start(|_| OK);
    let daemon = Trackalert::start(&format!(
        "{}{POLICY}",
        hook("kafka", &sink.url("/"), "kafka = true, secret = 'verysecretcode', retries = 3")
    ));
    let report = |data: &str| {
        let report = serde_json::json!({ "login": "kafka", "attrs": { "data": data } });
        assert_eq!(daemon.report(&report.to_string()).status, 200);
    };
    report(r#"{"records":[{"value":1}]}"#);
    assert_eq!(sink.wait_for(1)[0].body, br#"{"records":[{"value":1}]}"#);
    report("[true]");
    let request = sink.wait_for(2).pop().unwrap();
    assert_eq!(request.body, br#"{"records":[{"value":[true]}]}"#);
    // What `printf '{"records":[{"value":[true]}]}' | openssl dgst -sha256 -hmac verysecretcode` says.
    let signature = "+N22DpLbKx9y+SCEKluVzgK902KaFkVsccmKw7sJ+Tg=";
    assert_eq!(request.header("x-wforce-signature"), Some(signature), "of what is sent");
    report("no json");
    wait_for_events(&daemon, 1, &sink.url("/"), "error", 1);
    daemon.wait_for_line("webhook failed: cause=\"not JSON, which kafka needs: ");
    assert_eq!(daemon.metric("trackalert_webhook_queue_size"), 0, "another attempt would be no better");
    assert_eq!(sink.requests().len(), 2);
}

#[test]
fn bytes_arrive_as_they_are() {
    let sink = Sink::start(|_| OK);
    let policy = r#"setReport(function(lt)
        if lt.login == "large" then return runCustomWebHook("bytes", string.rep("x", 2 ^ 21)) end
        runCustomWebHook("bytes", "a\0b\255\r\n\195\188")
        runCustomWebHook("bytes", 5)
    end)"#;
    let daemon = Trackalert::start(&format!("{}{policy}", hook("bytes", &sink.url("/"), "")));
    daemon.report("{}");
    let bodies: BTreeSet<Vec<u8>> = sink.wait_for(2).into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, BTreeSet::from([b"5".to_vec(), b"a\0b\xff\r\n\xc3\xbc".to_vec()]));
    daemon.report(r#"{"login":"large"}"#);
    let large = sink.wait_for(3).pop().unwrap();
    assert_eq!(large.body, vec![b'x'; 1 << 21]);
    assert_eq!(large.header("expect"), None);
    assert_eq!(large.header("transfer-encoding"), None);
}

#[test]
fn secrets_stay_out_of_the_log_and_the_metrics() {
    let sink = Sink::start(|_| Answer::Status(401, ""));
    let url = format!("http://me:hunter1@{}/path?token=hunter2", sink.address);
    let public = format!("http://{}/path?...", sink.address);
    let keys = "secret = 'hunter3', ['api-key'] = 'hunter4', hunter_key = 'hunter5'";
    let mut command = Command::new(PROGRAM);
    command.arg("-v");
    let config = format!("{SERVER}{}{POLICY}", hook("secret", &url, keys));
    let daemon = Trackalert::start_with(Folder::new(), &config, command);
    run_hook(&daemon, "secret", 1);
    wait_for_events(&daemon, 1, &public, "error", 1);
    daemon.wait_for_line(&format!("cause=\"status 401\" id=\"1\" name=\"secret\" url=\"{public}\""));
    let request = sink.requests().pop().unwrap();
    assert_eq!(request.target(), "/path?token=hunter2");
    assert_eq!(request.header("host"), Some(sink.address.to_string().as_str()));
    assert_eq!(request.header("authorization"), Some("Basic bWU6aHVudGVyMQ=="));
    let metrics = daemon.get("/metrics").text();
    let log = daemon.stop().join("\n");
    for number in 1..=5 {
        let secret = format!("hunter{number}");
        assert!(!metrics.contains(&secret) && !log.contains(&secret), "{secret} in {log}\n{metrics}");
    }
    assert!(log.contains("webhook \"secret\": no key \"hunter_key\" is known"), "{log}");
}

#[test]
fn a_bad_hook_stops_the_start_and_is_named() {
    let folder = Folder::new();
    let good = "url = 'http://192.0.2.1/'";
    for (call, error) in [
        ("addCustomWebHook('w', {})".to_owned(), "addCustomWebHook(name, keys): keys: url is missing"),
        ("addCustomWebHook('w', { url = 'ftp://192.0.2.1/' })".into(), "url: not an http or https URL"),
        ("addCustomWebHook('w', { url = true })".into(), "url: must be a string"),
        (
            format!("addCustomWebHook('w', {{ {good}, retries = 'x' }})"),
            "retries: not a whole number from 0 to 16",
        ),
        (format!("addCustomWebHook('w', {{ {good}, timeout = -1 }})"), "timeout: not a number of seconds"),
        (format!("addCustomWebHook('w', {{ {good}, ['basic-auth'] = 'x' }})"), "basic-auth: not a user name"),
        (
            format!("addCustomWebHook('w', {{ {good}, ['api-key'] = 'a\\r\\nX: 1' }})"),
            "api-key: holds control characters",
        ),
        (
            format!("addCustomWebHook('w', {{ {good}, ['content-type'] = 'a\\n' }})"),
            "content-type: holds control",
        ),
        (format!("addCustomWebHook('w\\n', {{ {good} }})"), "name: holds control characters"),
        ("setNumWebHookThreads(0)".into(), "setNumWebHookThreads(number): number: 0 is not from 1 to 1024"),
        ("setWebHookTimeoutSecs(1e10)".into(), "setWebHookTimeoutSecs(seconds): seconds: more than 3600"),
        (
            "setCurlCABundleFile('none.pem')".into(),
            "setCurlCABundleFile(file): none.pem: no such file or directory",
        ),
        ("setCurlCABundleFile('bad.conf')".into(), "bad.conf: no certificate in PEM format"),
        (
            "setCurlClientCertAndKey('none.pem', 'none.key')".into(),
            "setCurlClientCertAndKey(certificate, key): none.pem: no such file",
        ),
    ] {
        let path = folder.write("bad.conf", &format!("{SERVER}\n{call}\n"));
        let output = run(&["-t", "-C", path.to_str().unwrap()], "");
        assert_eq!(output.status, 78, "{call}");
        assert!(output.stderr.contains("bad.conf:6: ") && output.stderr.contains(error), "{}", output.stderr);
    }
}

#[test]
fn nothing_is_sent_before_the_start_is_complete() {
    let sink = Sink::start(|_| OK);
    let config =
        format!("{}{POLICY}runCustomWebHook('early', 'too early')\n", hook("early", &sink.url("/"), ""));
    let folder = Folder::new();
    let path = folder.write("trackalert.conf", &format!("{SERVER}{config}"));
    assert_eq!(run(&["-t", "-C", path.to_str().unwrap()], "").status, 0);
    let daemon = Trackalert::start(&config);
    run_hook(&daemon, "early", 1);
    assert_eq!(sink.wait_for(1)[0].body, br#"{ "foo":"bar" }"#);
    daemon.stop();
    assert_eq!(sink.requests().len(), 1);
}

#[test]
fn names_and_keys_that_are_not_right_are_in_the_log() {
    let sink = Sink::start(|_| OK);
    let hooks =
        hook("twice", &sink.url("/first"), "num_conns = '3'") + &hook("twice", &sink.url("/second"), "");
    let daemon = Trackalert::start(&format!("{hooks}{}{POLICY}", hook("third", &sink.url("/third"), "")));
    daemon.wait_for_line("webhook \"twice\": num_conns is ignored");
    daemon.wait_for_line("webhook \"twice\" is there already");
    run_hook(&daemon, "nosuch", 3);
    daemon.wait_for_line("runCustomWebHook(name, data): no such webhook: name=\"nosuch\" ");
    run_hook(&daemon, "twice", 1);
    assert_eq!(sink.wait_for(1)[0].target(), "/first");
    run_hook(&daemon, "third", 1);
    assert_eq!(sink.wait_for(2)[1].header("x-wforce-hookid"), Some("3"), "each call takes a number");
}

#[test]
fn the_console_shows_the_hooks() {
    let folder = Folder::new();
    let hooks = hook("mycustomhook", "http://me:pw@localhost:8080/webhook/regression", "")
        + &hook("a name of more than twenty characters", "https://example.com/%{YYYY}", "");
    let path = folder.write("trackalert.conf", &hooks);
    let output = run(&["-C", path.to_str().unwrap()], "showCustomWebHooks()\nrunCustomWebHook('x', 'y')\n");
    assert_eq!(
        output.stdout,
        "ID        Name                 Successes Failures  URL\n\
         1         mycustomhook         0         0         http://localhost:8080/webhook/regression\n\
         2         a name of more than  0         0         https://example.com/%{YYYY}\n"
    );
    assert!(output.stderr.contains("runCustomWebHook(name, data): not on the console"), "{}", output.stderr);
}

/// How many threads deliver webhooks.
#[cfg(target_os = "linux")]
fn senders(daemon: &Trackalert) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    // One may end between the two.
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with("hook-")).count()
}

#[test]
fn a_hook_that_hangs_does_not_hold_up_another() {
    let hanging = Sink::start(|_| Answer::Never);
    let healthy = Sink::start(|_| OK);
    let hooks = hook("hanging", &hanging.url("/"), "timeout = 600") + &hook("healthy", &healthy.url("/"), "");
    let daemon = Trackalert::start(&format!("{hooks}{POLICY}"));
    run_hook(&daemon, "hanging", 1000);
    hanging.wait_for(25);
    run_hook(&daemon, "healthy", 2500);
    healthy.wait_for(2500);
    wait_for_events(&daemon, 2, &healthy.url("/"), "ok", 2500);
    assert_eq!(hanging.requests().len(), 25, "half of 5 times 10");
    assert_eq!(daemon.metric("trackalert_webhook_queue_size"), 975);
    #[cfg(target_os = "linux")]
    {
        assert!((26..=50).contains(&senders(&daemon)), "{}", senders(&daemon));
        wait_for("the end of idle threads", || (senders(&daemon) == 25).then_some(()));
    }
}

#[test]
fn what_is_queued_is_delivered_at_the_end() {
    let sink = Sink::start(|_| Answer::Late(Duration::from_millis(20)));
    let daemon = Trackalert::start(&format!(
        "{}{POLICY}setNumWebHookThreads(1)\nsetNumWebHookConnsPerThread(1)",
        hook("slow", &sink.url("/"), "")
    ));
    run_hook(&daemon, "slow", 100);
    let lines = daemon.stop();
    assert_eq!(sink.requests().len(), 100);
    assert!(!lines.iter().any(|line| line.contains("not delivered")), "{lines:?}");
}

#[test]
fn what_cannot_be_delivered_at_the_end_is_counted() {
    let nobody = Nobody::new();
    let url = nobody.url();
    let mut daemon = Trackalert::start(&format!("{}{POLICY}", hook("dead", &url, "retries = 16")));
    run_hook(&daemon, "dead", 7);
    // Those that are tried again meanwhile count, too.
    wait_for("7 errors", || (events(&daemon, 1, &url, "error") >= 7).then_some(()));
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_line("stopping, ");
    // It waits for the retries, but not for ever, and not when it is told twice.
    assert!(daemon.is_running());
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    daemon.wait_for_line("7 webhooks were not delivered");
}
