//! `os.exit`, wherever Lua runs: the daemon stops in good order, with that status.

use nix::sys::signal::Signal;

use crate::support::console::Site;
use crate::support::{Folder, SERVER, Trackalert, run};

/// Ends within the run of a function; a report before it and one behind it are finished.
const POLICY: &str = "setNumReportThreads(1)
    setReport(function(lt)
        if lt.login == 'exit' then os.exit(3) end
        if lt.login == 'caught' then pcall(os.exit, 3) end
        infoLog('ran', { login = lt.login })
    end)
    setCustomEndpoint('exit', function() os.exit(3) end)
    setBackground('exit', function() if io.open('exit') then os.exit(3) end end)
    intervalScheduleBackgroundFunc('0:00:01', 'exit')";

fn expect_end(mut daemon: Trackalert, place: &str) {
    assert_eq!(daemon.wait().code(), Some(3));
    daemon.wait_for_line(&format!("trackalert: {place}os.exit(3) was called"));
    assert!(daemon.lines().iter().any(|line| line.ends_with("stopped")), "{:?}", daemon.lines());
}

#[test]
fn from_a_report_it_finishes_what_was_accepted() {
    for login in ["exit", "caught"] {
        let daemon = Trackalert::start(POLICY);
        let mut client = daemon.client();
        for login in ["before", login, "after"] {
            assert_eq!(client.post("/command/report", &format!(r#"{{"login":"{login}"}}"#)).status, 200);
        }
        daemon.wait_for_line("ran: login=\"after\"");
        assert_eq!(daemon.count_lines("this call ends here"), usize::from(login == "exit"));
        expect_end(daemon, if login == "exit" { "trackalert.conf:7: " } else { "trackalert.conf:8: " });
    }
}

#[test]
fn from_an_endpoint_the_client_is_answered() {
    let daemon = Trackalert::start(POLICY);
    assert_eq!(daemon.client().post("/command/exit", "{}").status, 500);
    expect_end(daemon, "trackalert.conf:11: ");
}

#[test]
fn from_a_background_function_it_is_the_same() {
    let daemon = Trackalert::start(POLICY);
    daemon.folder.write("exit", "");
    expect_end(daemon, "trackalert.conf:12: ");
}

#[test]
fn from_the_console_the_client_is_answered() {
    let console = Site::start(POLICY);
    let answer = console.ask("os.exit(3)");
    assert!(answer.contains("Error: os.exit(3): this call ends here"), "{answer}");
    expect_end(console.daemon, "");
}

#[test]
fn in_the_configuration_it_ends_the_start_but_no_daemon_that_runs() {
    let folder = Folder::new();
    for (call, status) in [("os.exit(5)", 5), ("os.exit()", 0), ("os.exit(false)", 1), ("os.exit(259)", 3)] {
        let config = folder.write("x.conf", &format!("{SERVER}pcall(function() {call} end)"));
        for option in ["-s", "-t"] {
            let output = run(&[option, "-C", config.to_str().unwrap()], "");
            assert_eq!(output.status, status, "{call}");
            assert_eq!(output.stderr, format!("trackalert: x.conf:5: os.exit({status}) was called\n"));
        }
    }
    let daemon = Trackalert::start("");
    daemon.folder.write("trackalert.conf", &format!("{SERVER}os.exit(5)"));
    daemon.signal(Signal::SIGHUP);
    daemon
        .wait_for_line("not reloaded, everything stays as it was: trackalert.conf:5: os.exit(5) was called");
    assert_eq!(daemon.get("/livez").status, 200);
    daemon.stop();
}

#[test]
fn from_a_pipe_it_ends_the_commands() {
    let output = run(&["-C", "/dev/null"], "os.exit(4)\nprint('not run')\n");
    assert_eq!((output.status, output.stdout.as_str()), (4, ""));
}
