//! Many clients, many reports, and a clean end of both.

use nix::sys::signal::Signal;

use crate::support::http::{Client, request};
use crate::support::{Trackalert, wait_for};

/// Makes each report take 50 ms and counts it.
const SLOW: &str = "addCustomStat('ran')\nlocal ffi = require 'ffi'\nffi.cdef 'int usleep(unsigned);'\n\
                    setReport(function() ffi.C.usleep(50000) incCustomStat('ran') end)\n";

#[test]
fn connections_opened_at_once_are_all_answered_every_time() {
    let daemon = Trackalert::start("setReport(function() end)");
    for round in 0..50 {
        let mut clients: Vec<Client> = (0..200).map(|_| daemon.client()).collect();
        for _ in 0..2 {
            clients.iter_mut().for_each(|client| client.send(request("POST", "/command/report", "{}")));
            for client in &mut clients {
                assert_eq!(client.reply().status, 200, "round {round}");
            }
        }
    }
    assert_eq!(daemon.get("/command/stats").json()["reports"], 50 * 200 * 2);
}

#[test]
fn idle_connections_cost_little() {
    const CLIENTS: usize = 5000;
    let daemon = Trackalert::start("");
    let before = (daemon.status("Threads"), daemon.status("VmRSS"));
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| daemon.client()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/livez").status, 200));
    assert_eq!(daemon.metric("trackalert_active_http_connections"), CLIENTS as u64 + 1);
    assert_eq!(daemon.status("Threads"), before.0);
    assert!(daemon.status("VmRSS") < 60_000, "{} KiB, {} KiB before", daemon.status("VmRSS"), before.1);
}

#[test]
fn a_full_queue_says_so_and_loses_nothing_that_it_took() {
    let daemon = Trackalert::start(&format!("{SLOW}setReportQueueSize(10)\nsetNumReportThreads(1)"));
    let mut client = daemon.client();
    let (mut accepted, mut rejected) = (0, 0);
    for _ in 0..40 {
        let reply = client.post("/command/report", "{}");
        match reply.status {
            200 => accepted += 1,
            503 => {
                assert_eq!(reply.header("Retry-After"), Some("1"));
                assert_eq!(reply.text(), r#"{"reason":"report queue is full","status":"failure"}"#);
                rejected += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(accepted >= 10 && rejected > 0, "{accepted} accepted, {rejected} rejected");
    assert_eq!(daemon.metric("trackalert_reports_rejected_total"), rejected);
    assert_eq!(daemon.get("/command/stats").json()["reports"], accepted);
    wait_for("all that were accepted", || {
        (daemon.metric("trackalert_custom_stats_total{metric=\"ran\"}") == accepted).then_some(())
    });
}

#[test]
fn any_number_of_threads_works() {
    for settings in [
        "setNumWorkerThreads(8)",
        "setNumLuaStates(20) setNumWorkerThreads(16)",
        "setNumWorkerThreads(1) setNumReportThreads(1) setNumEndpointThreads(1) setNumLuaStates(1)",
    ] {
        let daemon = Trackalert::start(&format!("{SLOW}{settings}"));
        let mut clients: Vec<Client> = (0..16).map(|_| daemon.client()).collect();
        clients.iter_mut().for_each(|client| client.send(request("POST", "/command/report", "{}")));
        clients.iter_mut().for_each(|client| assert_eq!(client.reply().status, 200, "{settings}"));
        wait_for(settings, || {
            (daemon.metric("trackalert_custom_stats_total{metric=\"ran\"}") == 16).then_some(())
        });
        let few = daemon.count_lines("setNumLuaStates(1) is ignored");
        assert_eq!(few, usize::from(settings.contains("setNumLuaStates(1)")), "{settings}");
        daemon.stop();
    }
}

#[test]
fn what_is_queued_is_finished_at_the_end() {
    let mut daemon = Trackalert::start(&format!(
        "{SLOW}local log = io.open('ran', 'a')\n\
         setReport(function(lt) ffi.C.usleep(50000) log:write(lt.login, '\\n') log:flush() end)"
    ));
    let mut client = daemon.client();
    for number in 0..200 {
        let body = format!(r#"{{"login":"{number}"}}"#);
        assert_eq!(client.post("/command/report", &body).status, 200);
    }
    daemon.signal(Signal::SIGTERM);
    assert!(client.is_closed(), "an idle connection is let go of");
    assert!(daemon.wait().success());
    daemon.wait_for_line("stopped");
    let ran = std::fs::read_to_string(daemon.folder.path("ran")).unwrap();
    let mut numbers: Vec<usize> = ran.lines().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
}

#[test]
fn who_waits_for_the_run_is_answered_at_the_end_too() {
    let mut daemon = Trackalert::start(&format!("{SLOW}setReportAck('done')\nsetNumReportThreads(1)"));
    let mut clients: Vec<Client> = (0..10).map(|_| daemon.client()).collect();
    clients.iter_mut().for_each(|client| client.send(request("POST", "/command/report", "{}")));
    wait_for("all of them", || (daemon.get("/command/stats").json()["reports"] == 10).then_some(()));
    daemon.signal(Signal::SIGTERM);
    for client in &mut clients {
        assert_eq!(client.reply().status, 200);
        assert!(client.is_closed());
    }
    assert!(daemon.wait().success());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut daemon = Trackalert::start(&format!("{SLOW}setNumReportThreads(1)"));
    let mut client = daemon.client();
    for _ in 0..400 {
        assert_eq!(client.post("/command/report", "{}").status, 200);
    }
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_line("stopping, ");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    let line = daemon.wait_for_line("jobs were not finished");
    let left: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(left > 0 && left <= 400, "{line}");
}
