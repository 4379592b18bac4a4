//! No threads left.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::hook::{OK, Sink};
use crate::support::shell::shell;
use crate::support::{Folder, SERVER, Trackalert, output, run, wait_for};

/// Leaves the daemon this many KiB of address space.
fn limit(daemon: &Trackalert, kib: u64) {
    let most = (daemon.status("VmSize") + kib) * 1024;
    let (pid, most) = (daemon.pid().to_string(), format!("--as={most}:{most}"));
    let limited = output(Command::new("prlimit").args(["--pid", &pid, &most]));
    assert_eq!(limited.status, 0, "{}", limited.stderr);
}

#[test]
fn a_start_that_needs_more_threads_says_which() {
    let folder = Folder::new();
    let config = folder.write("x.conf", &format!("{SERVER}setNumReportThreads(1000)"));
    let output = output(shell("ulimit -v 1000000").args(["-s", "-C", config.to_str().unwrap()]));
    assert_eq!(output.status, 1, "{}", output.stderr);
    assert!(
        output.stderr.contains("1000 report threads: resource temporarily unavailable"),
        "{}",
        output.stderr
    );
    let good = run(&["-t", "-C", config.to_str().unwrap()], "");
    assert_eq!(good.status, 0, "the configuration itself is good");
}

#[test]
fn a_reload_that_finds_none_changes_nothing() {
    let config = format!("{SERVER}setReport(function() infoLog('old') end)");
    let daemon = Trackalert::start_with(Folder::new(), &config, shell(""));
    // Enough to read all files anew, and not for the stacks.
    limit(&daemon, 150 << 10);
    let threads = daemon.status("Threads");
    daemon.folder.write("trackalert.conf", &format!("{config}setNumReportThreads(1000)"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_line("not reloaded, everything stays as it was: 1000 report threads: ");
    assert_eq!(daemon.report("{}").status, 200);
    daemon.wait_for_line("old: ");
    wait_for("no more threads than before", || (daemon.status("Threads") <= threads).then_some(()));
    daemon.stop();
}

#[test]
fn a_stuck_thread_that_can_not_be_replaced_is_logged_and_the_rest_works() {
    let sink = Sink::start(|_| OK);
    // That pattern takes years in C. A loop would have to be compiled, for which there is no memory.
    let daemon = Trackalert::start(&format!(
        "setNumReportThreads(2) setLuaTimeout(0.3) setShutdownTimeout(0.2)
        addCustomWebHook('hook', {{ url = '{}', retries = 9 }})
        setReport(function(lt)
            if lt.login == 'stuck' then string.find(('a'):rep(40), ('a?'):rep(40) .. ('a'):rep(40)) end
            runCustomWebHook('hook', '{{}}')
            infoLog('ran', {{ login = lt.login }})
        end)",
        sink.url("/")
    ));
    // Too little for the stack of a further thread.
    limit(&daemon, 20 << 10);
    daemon.report(r#"{"login":"stuck"}"#);
    daemon.wait_for_line("has not returned and can't be interrupted");
    daemon.wait_for_line("a further report thread can't be started");
    for _ in 0..10 {
        assert_eq!(daemon.report(r#"{"login":"after"}"#).status, 200);
    }
    wait_for("the others", || (daemon.count_lines("ran: login=\"after\"") == 10).then_some(()));
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_line("1 jobs were not finished");
}
