//! More of something than anybody needs.

use crate::support::http::{Client, basic};
use crate::support::{Trackalert, wait_for};

#[test]
fn ten_thousand_wrong_passwords_are_a_few_lines_and_a_count() {
    const CLIENTS: usize = 10;
    const EACH: usize = 1000;
    let mut daemon = Trackalert::start("setReport(function() end)");
    let wrong = format!("GET /command/stats HTTP/1.1\r\nHost: a\r\n{}\r\n", basic("wforce", "wrong"));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::connect(daemon.address);
                for _ in 0..EACH / 100 {
                    client.send(wrong.repeat(100));
                    for _ in 0..100 {
                        assert_eq!(client.reply().status, 401);
                    }
                }
            });
        }
        let mut other = daemon.client();
        assert_eq!(other.post("/command/report", "{}").status, 200);
    });
    assert_eq!(daemon.metric("trackalert_auth_failures_total"), (CLIENTS * EACH) as u64);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.wait().success());
    daemon.wait_for_line("times since the last line)");
    let lines = daemon.lines();
    let lines: Vec<&String> =
        lines.iter().filter(|line| line.contains("Web Authentication failed")).collect();
    let told: usize = lines
        .iter()
        .map(|line| match line.rsplit_once(" (") {
            Some((_, count)) => count.split(' ').next().unwrap().parse().unwrap(),
            None => 1,
        })
        .sum();
    assert_eq!(told, CLIENTS * EACH, "{lines:#?}");
}

#[test]
fn a_hundred_thousand_counters_are_not_made() {
    let daemon = Trackalert::start(
        "setNumReportThreads(1) addCustomStat('known')
        setReport(function(lt)
            for i = 1, 100000 do incCustomStat('unknown' .. i) addCustomStat('new' .. i) end
            incCustomStat('known')
        end)",
    );
    daemon.report("{}");
    wait_for("its end", || {
        (daemon.metric("trackalert_custom_stats_total{metric=\"known\"}") == 1).then_some(())
    });
    assert_eq!(daemon.count_lines("incCustomStat(name): no addCustomStat(\"unknown1\")"), 1);
    assert_eq!(daemon.count_lines("CustomStat"), 2, "{:?}", daemon.lines());
    assert!(!daemon.get("/metrics").text().contains("new1"));
    assert!(daemon.status("VmRSS") < 100_000, "{} KiB", daemon.status("VmRSS"));
    daemon.stop();
}

#[test]
fn more_declared_counters_than_ten_thousand_are_an_error() {
    let folder = crate::support::Folder::new();
    let config = folder.write("x.conf", "for i = 1, 100000 do addCustomStat('stat' .. i) end");
    let output = crate::support::run(&["-t", "-C", config.to_str().unwrap()], "");
    assert_eq!(output.status, 78);
    assert!(output.stderr.contains("x.conf:1: addCustomStat(name): there are 10000"), "{}", output.stderr);
}
