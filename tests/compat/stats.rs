//! Statistics: as JSON, as metrics, in the log.

use nix::sys::signal::Signal;

use crate::support::{Trackalert, wait_for};

#[test]
fn stats_count_from_the_start() {
    let daemon = Trackalert::start("addCustomStat('seen') setReport(function() incCustomStat('seen') end)");
    for _ in 0..3 {
        assert_eq!(daemon.report("{}").status, 200);
    }
    daemon.get("/livez");
    wait_for("three reports", || {
        (daemon.metric("trackalert_worker_response_duration_seconds_count") == 3).then_some(())
    });
    let stats = daemon.get("/command/stats").json();
    assert_eq!(stats["customstats"]["seen"], 3);
    assert_eq!(stats["reports"], 3);
    assert_eq!((&stats["commandstats"]["report"], &stats["commandstats"]["livez"]), (&3.into(), &1.into()));
    assert!(stats["uptime"].is_u64() && stats["user-msec"].is_u64() && stats["sys-msec"].is_u64(), "{stats}");
    let perf = stats["perfstats"].as_object().unwrap();
    assert_eq!(perf.len(), 10);
    let total = |prefix: &str| -> u64 {
        perf.iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(_, count)| count.as_u64().unwrap())
            .sum()
    };
    assert_eq!((total("WTW_"), total("WTR_")), (3, 3));
}

#[test]
fn head_is_get_without_the_body() {
    let daemon = Trackalert::start("");
    let mut client = daemon.client();
    for path in ["/command/stats", "/metrics", "/livez"] {
        client.send(crate::support::http::request("HEAD", path, ""));
        let reply = client.reply_without_body();
        assert_eq!(reply.status, 200, "{path}");
        let length: usize = reply.header("Content-Length").unwrap().parse().unwrap();
        assert_eq!(length > 0, path != "/livez", "{path}");
    }
}

/// Every line of the text format: a comment, or a name with labels and a number.
fn check_metrics(text: &str) {
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = name.split('{').next().unwrap();
        assert!(name.starts_with("trackalert_") || name.starts_with("process_"), "{line}");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
    }
    assert!(text.ends_with('\n'));
}

#[test]
fn metrics_tell_what_goes_on() {
    let daemon = Trackalert::start("addCustomStat('seen') setReport(function() incCustomStat('seen') end)");
    daemon.report("{}");
    wait_for("the report", || {
        (daemon.metric("trackalert_worker_response_duration_seconds_count") == 1).then_some(())
    });
    // The daemon hears of the end of an earlier connection when it comes to it.
    wait_for("one connection, this one", || {
        (daemon.metric("trackalert_active_http_connections") == 1).then_some(())
    });
    let reply = daemon.get("/metrics");
    assert_eq!(reply.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    check_metrics(&reply.text());
    let version = env!("CARGO_PKG_VERSION");
    for (name, expected) in [
        ("trackalert_commands_total{cmd=\"report\"}", 1),
        ("trackalert_custom_stats_total{metric=\"seen\"}", 1),
        ("trackalert_report_queue_size", 0),
        ("trackalert_web_queue_size", 0),
        ("trackalert_worker_queue_duration_seconds_count", 1),
        (&format!("trackalert_build_info{{version=\"{version}\"}}"), 1),
    ] {
        assert_eq!(daemon.metric(name), expected, "{name}");
    }
    assert!(daemon.metric("process_resident_memory_bytes") > 0);
}

#[test]
fn a_signal_has_the_statistics_logged() {
    let daemon = Trackalert::start("addCustomStat('seen')");
    daemon.report("{}");
    daemon.signal(Signal::SIGUSR1);
    daemon.wait_for_line("perf stats last 300 secs: WTW_0_1=");
    let line = daemon.wait_for_line("command stats last 300 secs: ");
    assert!(line.contains("report=1 "), "{line}");
    assert_eq!(daemon.wait_for_line("custom stats last"), "custom stats last 300 secs: seen=0 ");
}

#[test]
fn an_undeclared_counter_is_noticed_once() {
    let daemon = Trackalert::start("setReport(function() incCustomStat('nosuch') end)");
    for _ in 0..10 {
        daemon.report("{}");
    }
    daemon.wait_for_line("no addCustomStat(\"nosuch\") in the configuration");
    wait_for("all reports", || {
        (daemon.metric("trackalert_worker_response_duration_seconds_count") == 10).then_some(())
    });
    assert_eq!(daemon.count_lines("nosuch"), 1);
}
