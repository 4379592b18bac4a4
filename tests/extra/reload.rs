//! The configuration read again, by SIGHUP, while everything goes on.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::signal::Signal;

use crate::support::hook::{OK, Sink};
use crate::support::http::Client;
use crate::support::{Folder, Nobody, PROGRAM, SERVER, Trackalert, data, make_key, run, wait_for};

/// Two configurations that differ in nearly everything.
fn variants() -> [String; 2] {
    let common = "addCustomStat('runs') setReportQueueSize(1000000)\n";
    let one = "setReport(function() incCustomStat('runs') end)
        setCustomEndpoint('which', function() return true, { which = 'one' } end)
        setNumReportThreads(2)\n";
    let other = "setReport(function(lt) incCustomStat('runs') local name = lt.login end)
        setCustomEndpoint('which', function() return true, { which = 'other' } end)
        setNumReportThreads(5) setNumWorkerThreads(2) addListener('127.0.0.1:0', false)
        setBackground('x', function() end) intervalScheduleBackgroundFunc('0:00:01', 'x')\n";
    [one, other].map(|rest| format!("{SERVER}{common}{rest}"))
}

#[test]
fn a_hundred_reloads_under_load_lose_nothing() {
    let variants = variants();
    let daemon = Trackalert::start_with(Folder::new(), &variants[0], Command::new(PROGRAM));
    let (is_over, accepted) = (AtomicBool::new(false), AtomicU64::new(0));
    let address = daemon.address;
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (is_over, accepted) = (&is_over, &accepted);
            scope.spawn(move || {
                let mut client = Client::connect(address);
                while !is_over.load(Ordering::Relaxed) {
                    if number == 0 {
                        client = Client::connect(address);
                    }
                    let reply = client.post("/command/report", r#"{"login":"joe@example.com"}"#);
                    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"status":"ok"}"#));
                    accepted.fetch_add(1, Ordering::Relaxed);
                    if number == 1 {
                        assert_eq!(client.post("/command/which", "{}").status, 200);
                    }
                }
            });
        }
        // Whatever fails here, the clients end.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut memory = 0;
            for number in 1..=100 {
                if number % 10 == 0 {
                    assert_ne!(daemon.reload_with("setReport(oops)"), "reloaded", "a broken one");
                    continue;
                }
                assert_eq!(daemon.reload_with(&variants[number % 2]), "reloaded", "{:?}", daemon.lines());
                let which = daemon.client().post("/command/which", "{}").json();
                assert_eq!(which["r_attrs"]["which"], ["one", "other"][number % 2]);
                if number == 41 {
                    memory = daemon.status("VmRSS");
                }
            }
            memory
        }));
        is_over.store(true, Ordering::Relaxed);
        let memory = result.unwrap();
        // Under the load it goes up and down by half.
        wait_for("memory to be given back", || (daemon.status("VmRSS") < memory + 8 * 1024).then_some(()));
    });
    let accepted = accepted.into_inner();
    assert!(accepted > 1000, "{accepted}");
    wait_for("every report", || {
        (daemon.metric("trackalert_custom_stats_total{metric=\"runs\"}") == accepted).then_some(())
    });
    assert_eq!(daemon.get("/command/stats").json()["reports"], accepted);
    daemon.stop();
}

#[test]
fn everything_is_read_again() {
    let folder = Folder::new();
    std::fs::copy(data("city.mmdb"), folder.path("x.mmdb")).unwrap();
    let [old_key, new_key] = [make_key(), make_key()];
    let config = |key: &str, rest: &str| {
        format!(
            "{SERVER}controlSocket('127.0.0.1:0')\n{key}newGeoIP2DB('x', 'x.mmdb')
            setReport(function(lt)
                infoLog('{rest}', {{ country = getGeoIP2DB('x'):lookupCountry(newCA('128.243.1.1')) }})
            end)\n"
        )
    };
    let old = config(&old_key, "old");
    let daemon = Trackalert::start_with(folder, &old, Command::new(PROGRAM));
    let report = || assert_eq!(daemon.report("{}").status, 200);
    let stats = |key: &str| {
        let line = daemon.wait_for_line("Accepting control connections on ");
        let address = line.rsplit(' ').next().unwrap().to_owned();
        let client = daemon.folder.write("client.conf", &format!("controlSocket('{address}')\n{key}"));
        run(&["-C", client.to_str().unwrap(), "-e", "stats()"], "").stdout
    };
    report();
    daemon.wait_for_line("old: country=\"\"");
    assert_eq!(stats(&old_key), "1 reports\n");

    // What is broken changes nothing, wherever it is.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    for (rest, problem) in [
        ("error('broken')".into(), "trackalert.conf:11: broken".into()),
        ("x = ".into(), "unexpected symbol".into()),
        ("newGeoIP2DB('y', 'missing.mmdb')".into(), "missing.mmdb: no such file".into()),
        ("cronScheduleBackgroundFunc('* * * * *', 'missing')".into(), "no setBackground(\"missing\"".into()),
        (format!("addListener('{taken}', false)"), format!("listener {taken}: address already in use")),
        (format!("controlSocket('{taken}')"), format!("console {taken}: address already in use")),
        (
            "addCustomStat('junk') setCustomEndpoint('junk', print) error('late')".into(),
            "trackalert.conf:11: late".into(),
        ),
    ] {
        assert_ne!(
            daemon.reload_with(&format!("{}{rest}", config(&new_key, "broken"))),
            "reloaded",
            "{rest}"
        );
        daemon.wait_for_line(&problem);
    }
    assert!(!daemon.get("/metrics").text().contains("junk"));
    report();
    wait_for("the old policy", || (daemon.count_lines("old: ") == 2).then_some(()));
    assert_eq!(stats(&old_key), "2 reports\n");

    std::fs::copy(data("country.mmdb"), daemon.folder.path("new")).unwrap();
    std::fs::rename(daemon.folder.path("new"), daemon.folder.path("x.mmdb")).unwrap();
    let more = format!("{}addListener('127.0.0.1:0', false)\n", config(&new_key, "new"));
    assert_eq!(daemon.reload_with(&more), "reloaded");
    report();
    daemon.wait_for_line("new: country=\"GB\"");
    assert_eq!((stats(&new_key).as_str(), stats(&old_key).as_str()), ("3 reports\n", ""));
    let lines = daemon.lines();
    let further = lines.iter().rev().find_map(|line| line.split_once("listening on ")).unwrap().1;
    let further = further.parse().unwrap();
    assert_ne!(further, daemon.address);
    assert_eq!(Client::connect(further).get("/livez").status, 200);

    assert_eq!(daemon.reload_with(&config(&new_key, "last")), "reloaded");
    wait_for("the listener's end", || std::net::TcpStream::connect(further).is_err().then_some(()));
    report();
    daemon.wait_for_line("last: ");
    assert_eq!(daemon.reload_with(&format!("{SERVER}setWebserverPassword('other')")), "reloaded");
    assert_eq!(daemon.report("{}").status, 401);
    assert_eq!(stats(&new_key), "", "the console is closed");
    daemon.stop();
}

#[test]
fn what_was_accepted_is_run_by_the_policy_that_accepted_it() {
    let policy = |name: &str| {
        format!(
            "{SERVER}setNumReportThreads(1) setReport(function(lt)
                if lt.login == 'slow' then
                    io.open('begun', 'w'):close()
                    while not io.open('go') do end
                end
                infoLog('{name}', {{ login = lt.login }})
            end)"
        )
    };
    let daemon = Trackalert::start_with(Folder::new(), &policy("first"), Command::new(PROGRAM));
    for login in ["slow", "queued"] {
        daemon.report(&format!(r#"{{"login":"{login}"}}"#));
    }
    wait_for("the slow one", || daemon.folder.path("begun").exists().then_some(()));
    assert_eq!(daemon.reload_with(&policy("second")), "reloaded");
    daemon.report(r#"{"login":"new"}"#);
    daemon.wait_for_line("second: login=\"new\"");
    daemon.folder.write("go", "");
    daemon.wait_for_line("first: login=\"slow\"");
    daemon.wait_for_line("first: login=\"queued\"");
    // The threads of the first policy end when their work is done.
    let threads = daemon.status("Threads");
    assert_eq!(daemon.reload_with(&policy("third")), "reloaded");
    wait_for("the end of old threads", || (daemon.status("Threads") <= threads).then_some(()));
    daemon.stop();
}

#[test]
fn requests_to_reload_do_not_pile_up() {
    // Each takes a while.
    let slow = format!("{SERVER}local end_ = os.clock() + 0.05 while os.clock() < end_ do end");
    let mut daemon = Trackalert::start_with(Folder::new(), &slow, Command::new(PROGRAM));
    for _ in 0..1000 {
        daemon.signal(Signal::SIGHUP);
    }
    daemon.wait_for_line("reloaded");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert!(daemon.count_lines("reloading ") < 100, "{}", daemon.count_lines("reloading "));
}

#[test]
fn a_stop_ends_a_configuration_that_never_ends() {
    let mut daemon = Trackalert::start("");
    daemon.folder.write("trackalert.conf", "io.open('begun', 'w'):close() while true do end");
    daemon.signal(Signal::SIGHUP);
    wait_for("the loop", || daemon.folder.path("begun").exists().then_some(()));
    assert_eq!(daemon.report("{}").status, 200, "it serves on");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    daemon.wait_for_line("not reloaded, everything stays as it was: trackalert.conf:1: interrupted");
}

#[test]
fn webhooks_that_wait_are_delivered_by_the_configuration_that_queued_them() {
    let sink = Sink::start(|_| OK);
    let nobody = Nobody::new();
    // The second attempt of each comes after the reload.
    let config = format!(
        "{SERVER}addCustomWebHook('hook', {{ url = 'https://{}/', retries = 2 }})
        setReport(function() runCustomWebHook('hook', '{{}}') end)",
        nobody.address()
    );
    let daemon = Trackalert::start_with(Folder::new(), &config, Command::new(PROGRAM));
    daemon.report("{}");
    daemon.wait_for_line("webhook failed: ");
    let plain = format!("{SERVER}addCustomWebHook('hook', {{ url = '{}' }})", sink.url("/"));
    assert_eq!(daemon.reload_with(&plain), "reloaded");
    wait_for("every attempt", || (daemon.metric("trackalert_webhook_queue_size") == 0).then_some(()));
    let log = daemon.stop();
    let failures: Vec<&String> = log.iter().filter(|line| line.starts_with("webhook failed: ")).collect();
    assert!(failures.iter().all(|line| line.contains("connection refused")), "{failures:?}");
    assert!(failures.len() >= 2 && sink.requests().is_empty(), "{failures:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn web_threads_that_end_leave_nothing_open() {
    let one = format!("{SERVER}setNumWorkerThreads(1)");
    let daemon = Trackalert::start_with(Folder::new(), &one, Command::new(PROGRAM));
    let count = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = count();
    assert_eq!(daemon.reload_with(&format!("{SERVER}setNumWorkerThreads(4)")), "reloaded");
    let mut clients: Vec<Client> = (0..8).map(|_| daemon.client()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/livez").status, 200));
    assert_eq!(daemon.reload_with(&one), "reloaded");
    assert!(count() >= before + 8, "clients are kept");
    drop(clients);
    wait_for("their threads and what these had open", || (count() == before).then_some(()));
}
