//! A clock that is put forward and back, and a process that stands still.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use crate::support::http::request;
use crate::support::{Folder, PROGRAM, SERVER, Trackalert, skipped, wait_for};

/// The library of libfaketime that sets the clock of programs with threads, if it is installed.
fn faketime() -> Option<PathBuf> {
    let arch = std::env::consts::ARCH;
    let places = [format!("/usr/lib/{arch}-linux-gnu/faketime"), "/usr/lib64/faketime".into()];
    let found =
        places.iter().map(|place| Path::new(place).join("libfaketimeMT.so.1")).find(|path| path.exists());
    if found.is_none() {
        skipped("libfaketime is not installed");
    }
    found
}

/// The daemon with a clock that [`set`] sets. Its monotonic clock goes on as it is.
fn start(config: &str) -> Option<Trackalert> {
    let library = faketime()?;
    let folder = Folder::new();
    let mut command = Command::new(PROGRAM);
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", folder.write("clock", "+0d"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("TZ", "UTC");
    Some(Trackalert::start_with(folder, &format!("{SERVER}{config}"), command))
}

/// Puts the daemon's clock ahead of ours, or behind.
fn set(daemon: &Trackalert, offset: &str) {
    // Never half a file.
    let path = daemon.folder.write("clock.new", offset);
    std::fs::rename(path, daemon.folder.path("clock")).unwrap();
}

impl Trackalert {
    /// Whether it stands still.
    fn is_stopped(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        status.lines().any(|line| line.starts_with("State:\tT"))
    }
}

#[test]
fn deadlines_and_counts_do_not_follow_the_clock() {
    let Some(daemon) = start(
        "setHTTPLimits{ idle_timeout = 30, head_timeout = 30 } setLuaTimeout(30) addCustomStat('ran')
        setReport(function(lt) incCustomStat('ran') infoLog('ran', { year = os.date('%Y', lt.t) }) end)",
    ) else {
        return;
    };
    let mut kept = daemon.client();
    let mut begun = daemon.client();
    let whole = request("GET", "/livez", "");
    let (first, rest) = whole.split_at(10);
    begun.send(first);
    let year = |date: &str| date.split(' ').nth(3).unwrap().parse::<u32>().unwrap();
    let mut years = Vec::new();
    for offset in ["+0d", "+1000d", "-1000d", "+0d"] {
        set(&daemon, offset);
        let reply = kept.get("/livez");
        assert_eq!(reply.status, 200, "{offset}");
        // The date of answers is made anew every second.
        let before = years.last().copied();
        years.push(wait_for("the date", || {
            let now = year(kept.get("/livez").header("Date").unwrap());
            (Some(now) != before).then_some(now)
        }));
        // A report without a time has that of its arrival.
        assert_eq!(kept.post("/command/report", "{}").status, 200);
        daemon.wait_for_line(&format!("ran: year=\"{}\"", years.last().unwrap()));
    }
    assert!(years[1] > years[0] && years[2] < years[0] && years[3] == years[0], "{years:?}");
    begun.send(rest);
    assert_eq!(begun.reply().status, 200, "its deadline is 30 seconds on, whatever the clock says");
    let stats = kept.get("/command/stats").json();
    assert_eq!(stats["customstats"]["ran"], 4, "the last five minutes, whatever the clock says: {stats}");
    assert!(stats["uptime"].as_u64().unwrap() < 1000, "{stats}");
    daemon.stop();
}

#[test]
fn a_schedule_goes_by_the_clock_as_it_is() {
    // Half a day away: the test itself does not come to that hour.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let hour = (now.as_secs() / 3600 + 12) % 24;
    let Some(daemon) = start(&format!(
        "setBackground('daily', function() infoLog('daily') end)
        cronScheduleBackgroundFunc('0 {hour} * * *', 'daily')
        setBackground('often', function() infoLog('often') end)
        intervalScheduleBackgroundFunc('0:00:01', 'often')",
    )) else {
        return;
    };
    // Due once for all the days that were left out, and not again when the clock is put back.
    set(&daemon, "+10d");
    daemon.wait_for_line("daily: ");
    set(&daemon, "-10d");
    let runs = daemon.count_lines("often: ");
    wait_for("the interval", || (daemon.count_lines("often: ") > runs + 1).then_some(()));
    assert_eq!(daemon.count_lines("daily: "), 1);
    set(&daemon, "-8d");
    wait_for("the next", || (daemon.count_lines("daily: ") == 2).then_some(()));
    daemon.stop();
}

#[test]
fn a_process_that_stood_still_goes_on() {
    // Long enough for what is served afterwards, on a machine that has other work too.
    const DEADLINE: Duration = Duration::from_secs(3);
    let daemon = Trackalert::start(
        "setHTTPLimits{ head_timeout = 3, body_timeout = 3, idle_timeout = 3 } setLuaTimeout(3)
        setReport(function(lt) infoLog('ran', { login = lt.login }) end)",
    );
    let mut waiting = daemon.client();
    waiting.send(&request("GET", "/livez", "")[..10]);
    // Its deadline runs once it was accepted; the other connection is the one that asks.
    let connections = || daemon.metric("trackalert_active_http_connections");
    wait_for("the connection", || (connections() == 2).then_some(()));
    daemon.signal(Signal::SIGSTOP);
    wait_for("the stop", || daemon.is_stopped().then_some(()));
    let stopped = Instant::now();
    let mut clients: Vec<_> = (0..50).map(|_| daemon.client()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send(request("POST", "/command/report", r#"{"login":"still"}"#)));
    // The fault itself: that every deadline passes meanwhile.
    wait_for("the deadline to pass", || (stopped.elapsed() > DEADLINE).then_some(()));
    daemon.signal(Signal::SIGCONT);
    for client in &mut clients {
        assert_eq!(client.reply().status, 200, "what came meanwhile is served");
    }
    wait_for("every report", || (daemon.count_lines("ran: login=\"still\"") == 50).then_some(()));
    assert_eq!(waiting.try_reply().map(|reply| reply.status), Some(408));
    assert_eq!(daemon.get("/readyz").status, 200);
    daemon.stop();
}
