//! Policies that fail, never return, or take everything: one report is lost to them at most.

use std::time::{Duration, Instant};

use crate::support::{Trackalert, wait_for};

const LOOPS: &str = r#"
setNumReportThreads(2)
setLuaTimeout(0.3)
setReport(function(lt)
    if lt.login == "loop" then while true do local t = {} for i = 1, 3 do t[i] = tostring(i) end end end
    if lt.login == "caught" then while true do pcall(string.rep, "x", 100) pcall(tostring, {}) end end
    if lt.login == "compiled" then while true do end end
    if lt.login == "deep" then local function r() return 1 + r() end r() end
    if lt.login == "table" then error({ code = 1 }) end
    if lt.login == "none" then error() end
    infoLog("ran", { login = lt.login })
end)
"#;

#[test]
fn an_error_that_is_caught_is_no_way_to_go_on() {
    let daemon = Trackalert::start(
        "jit.off() setLuaTimeout(0.5)
        setReport(function() local function work() for i = 1, 5000 do end end while true do pcall(work) end end)",
    );
    daemon.report("{}");
    daemon.wait_for_line("ran too long");
}

#[test]
fn an_endless_loop_is_interrupted_and_the_others_go_on() {
    let daemon = Trackalert::start(&format!("{LOOPS}\njit.off()"));
    for login in ["loop", "caught", "loop", "caught", "after"] {
        assert_eq!(daemon.report(&format!(r#"{{"login":"{login}"}}"#)).status, 200);
    }
    daemon.wait_for_line("ran: login=\"after\"");
    wait_for("four interruptions", || (daemon.count_lines("ran too long") >= 4).then_some(()));
    assert_eq!(daemon.metric("trackalert_lua_errors_total{kind=\"report\"}"), 4);
    daemon.stop();
}

#[test]
fn a_loop_that_can_not_be_interrupted_is_replaced() {
    let mut daemon = Trackalert::start(&format!("{LOOPS}\nsetShutdownTimeout(0.2)"));
    for login in ["compiled", "compiled", "after"] {
        assert_eq!(daemon.report(&format!(r#"{{"login":"{login}"}}"#)).status, 200);
    }
    let line = daemon.wait_for_line("has not returned and can't be interrupted");
    assert!(line.contains("login=\"compiled\""), "{line}");
    daemon.wait_for_line("ran: login=\"after\"");
    wait_for("both to be counted", || (daemon.metric("trackalert_lua_stuck") == 2).then_some(()));
    assert_eq!(daemon.get("/readyz").status, 200);
    for _ in 0..2 {
        daemon.report(r#"{"login":"compiled"}"#);
    }
    wait_for("no thread left", || (daemon.get("/readyz").status == 503).then_some(()));
    assert_eq!(daemon.get("/livez").status, 200);
    assert_eq!(daemon.get("/readyz").json()["reason"], "every report thread is stuck in Lua");
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.wait().success());
    daemon.wait_for_line("4 jobs were not finished");
}

#[test]
fn whatever_is_raised_is_logged_and_costs_one_report() {
    let daemon = Trackalert::start(LOOPS);
    for login in ["deep", "table", "none", "after"] {
        assert_eq!(daemon.report(&format!(r#"{{"login":"{login}"}}"#)).status, 200);
    }
    daemon.wait_for_line("ran: login=\"after\"");
    wait_for("three errors", || {
        (daemon.metric("trackalert_lua_errors_total{kind=\"report\"}") == 3).then_some(())
    });
    daemon.wait_for_line("stack overflow");
    assert_eq!(daemon.count_lines("Lua function [report] exception"), 3);
}

#[test]
fn a_slow_report_is_never_felt_by_the_api() {
    let daemon = Trackalert::start(
        "setNumReportThreads(1)\nlocal ffi = require 'ffi'\nffi.cdef 'int usleep(unsigned);'\n\
         setReport(function() ffi.C.usleep(300000) end)\n\
         setCustomEndpoint('quick', function() return true, {} end)",
    );
    let mut client = daemon.client();
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!(client.post("/command/report", "{}").status, 200);
        assert_eq!(client.get("/livez").status, 200);
        assert_eq!(client.post("/command/quick", "{}").status, 200);
        assert_eq!(client.get("/metrics").status, 200);
    }
    // The reports take three seconds: whoever waited for one of them would be later than this.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(daemon.metric("trackalert_report_queue_size") > 0);
}

#[test]
fn an_answer_after_the_run_waits_for_the_run() {
    let daemon = Trackalert::start(
        "setReportAck('done')\naddCustomStat('ran')\n\
         setReport(function(lt) incCustomStat('ran') if lt.login == 'bad' then error('x') end end)",
    );
    let mut client = daemon.client();
    for (number, login) in ["good", "bad", "good"].iter().enumerate() {
        let reply = client.post("/command/report", &format!(r#"{{"login":"{login}"}}"#));
        assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"status":"ok"}"#), "{login}");
        assert_eq!(daemon.metric("trackalert_custom_stats_total{metric=\"ran\"}"), number as u64 + 1);
    }
    // Requests in a row are answered in their order, whichever thread makes the answers.
    let report = crate::support::http::request("POST", "/command/report", "{}");
    let stats = crate::support::http::request("GET", "/command/stats", "");
    client.send(format!("{report}{stats}{report}{stats}"));
    for reports in [None, Some(4), None, Some(5)] {
        let reply = client.reply();
        assert_eq!(reply.status, 200);
        assert_eq!(reply.json()["reports"].as_u64(), reports);
    }
}

#[test]
fn configuring_from_a_report_does_nothing_but_a_notice() {
    let daemon = Trackalert::start(
        "setReport(function() addACL('0.0.0.0/0') addACL('foo') setNumWorkerThreads(8) infoLog('ran', {}) end)",
    );
    daemon.report("{}");
    daemon.report("{}");
    wait_for("two runs", || (daemon.count_lines("ran: ") == 2).then_some(()));
    assert_eq!(daemon.count_lines("addACL(netmask) does nothing outside the configuration"), 1);
    assert_eq!(daemon.count_lines("setNumWorkerThreads(number) does nothing"), 1);
}
