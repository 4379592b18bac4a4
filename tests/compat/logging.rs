//! Log lines of policies and of the program.

use std::process::Command;

use crate::support::{Folder, PROGRAM, SERVER, Trackalert};

#[test]
fn a_policy_logs_named_values() {
    let daemon = Trackalert::start(
        r#"
        setReport(function()
            infoLog("kinds", { zeta = "z", alpha = 2, flt = 1/3, big = 1e15, yes = true })
            infoLog("forged", { a = 'x" b="y', c = "d\ntrackalert[1]: forged", e = "\\" })
            warnLog("alone")
            errorLog("percent %s %d", {})
            debugLog("not said", {})
            vinfoLog("not said", {})
        end)
        "#,
    );
    daemon.report("{}");
    for line in [
        "kinds: alpha=\"2\" big=\"1e+15\" flt=\"0.33333333333333\" yes=\"true\" zeta=\"z\" ",
        "forged: a=\"x\\\" b=\\\"y\" c=\"d\\ntrackalert[1]: forged\" e=\"\\\\\" ",
        "alone: ",
        "percent %s %d: ",
    ] {
        assert_eq!(daemon.wait_for_line(line.split(' ').next().unwrap()), line);
    }
    assert_eq!(daemon.count_lines("not said"), 0);
}

#[test]
fn a_verbose_daemon_says_more_and_logs_every_report() {
    let config =
        format!("{SERVER}setReport(function() debugLog('said', {{}}) vinfoLog('said too', {{}}) end)");
    for (option, extra) in [("-v", ""), ("-s", "setVerboseAll()")] {
        let mut command = Command::new(PROGRAM);
        command.arg(option);
        let daemon = Trackalert::start_with(Folder::new(), &format!("{config}{extra}"), command);
        daemon.report(r#"{"login":"joe"}"#);
        daemon.wait_for_line("said: ");
        daemon.wait_for_line("said too: ");
        let line = daemon.wait_for_line("report: ");
        assert!(line.contains("login=\"joe\""), "{line}");
    }
}

#[test]
fn the_level_of_stdout_can_be_chosen() {
    let config = format!("{SERVER}setReport(function() infoLog('info', {{}}) errorLog('error', {{}}) end)");
    let mut command = Command::new(PROGRAM);
    command.args(["-l", "5"]);
    let daemon = Trackalert::start_with(Folder::new(), &config, command);
    daemon.report("{}");
    daemon.wait_for_line("error: ");
    assert_eq!(daemon.count_lines("info: "), 0);
}

#[test]
fn for_docker_each_line_begins_with_the_time() {
    let mut command = Command::new(PROGRAM);
    command.arg("-D");
    let daemon = Trackalert::start_with(Folder::new(), SERVER, command);
    let line = daemon.wait_for_line("listening on ");
    let (time, rest) = line.split_at("[2026-11-24 03:04:47,970] ".len());
    assert!(rest.starts_with("listening on "), "{line}");
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "[9999-99-99 99:99:99,999] ");
}
