//! Background functions: by interval and by the clock, in the foreground and in the background.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Folder, SERVER, Trackalert, run, wait_for, wait_within};

/// Writes a line to the file `NAME.runs` at each run of the background function `NAME`.
const COUNTED: &str = r#"
local function counted(name)
    setBackground(name, function()
        local file = io.open(name .. ".runs", "a")
        file:write("run\n")
        file:close()
    end)
end
"#;

fn runs(folder: &Folder, name: &str) -> usize {
    fs::read_to_string(folder.path(&format!("{name}.runs"))).map_or(0, |text| text.lines().count())
}

#[test]
fn an_interval_runs_again_and_again_whatever_fails() {
    let daemon = Trackalert::start(&format!(
        "{COUNTED} counted('tick') intervalScheduleBackgroundFunc('00:00:01', 'tick')
        setBackground('bad', function() error('boom') end) intervalScheduleBackgroundFunc('0:00:01', 'bad')
        setBackground('tick', function() error('the first of a name counts') end)"
    ));
    wait_for("three runs", || (runs(&daemon.folder, "tick") >= 3).then_some(()));
    let line = daemon.wait_for_line("Lua background function [bad] exception: trackalert.conf:");
    assert!(line.contains("boom"), "{line}");
    wait_for("two failures", || (daemon.count_lines("[bad] exception") >= 2).then_some(()));
    assert!(daemon.metric("trackalert_lua_errors_total{kind=\"background\"}") >= 2);
    assert_eq!(daemon.count_lines("the first of a name counts"), 0);
    daemon.stop();
}

#[test]
fn the_clock_runs_a_function_within_a_minute() {
    let daemon = Trackalert::start(&format!(
        "{COUNTED} counted('minute') cronScheduleBackgroundFunc('* * * * *', 'minute')
        counted('other') cronScheduleBackgroundFunc('*/1 0-23 * jan-dec 0-7', 'other')"
    ));
    assert_eq!(daemon.get("/readyz").status, 200);
    wait_within(Duration::from_secs(90), "a run of each", || {
        (runs(&daemon.folder, "minute") > 0 && runs(&daemon.folder, "other") > 0).then_some(())
    });
}

#[test]
fn functions_run_in_the_background_too() {
    let folder = Folder::new();
    let config = format!(
        "{SERVER}{COUNTED} counted('tick') intervalScheduleBackgroundFunc('00:00:01', 'tick')
        assert(not io.open('tick.runs'), 'it has run before the start')"
    );
    let path = folder.write("x.conf", &config);
    let pid_file = folder.path("x.pid");
    let output = run(&["-d", "-C", path.to_str().unwrap(), "-p", pid_file.to_str().unwrap()], "");
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    let pid = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    wait_for("two runs", || (runs(&folder, "tick") >= 2).then_some(()));
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    wait_for("its end", || (!pid_file.exists()).then_some(()));
}

#[test]
fn a_function_does_not_run_before_its_last_run_has_ended() {
    let daemon = Trackalert::start(
        "setBackground('slow', function()
            assert(not io.open('running'), 'stacked')
            io.open('running', 'w'):close()
            os.execute('sleep 1.5')
            os.remove('running')
            infoLog('slow done')
        end)
        intervalScheduleBackgroundFunc('00:00:01', 'slow')",
    );
    wait_for("two runs", || (daemon.count_lines("slow done") >= 2).then_some(()));
    let log = daemon.stop();
    assert!(!log.iter().any(|line| line.contains("stacked")), "{log:?}");
}

#[test]
fn a_bad_schedule_starts_nothing() {
    let folder = Folder::new();
    for (config, problem) in [
        (
            "setBackground('x', print)\ncronScheduleBackgroundFunc('61 * * * *', 'x')",
            "x.conf:2: cronScheduleBackgroundFunc(cron, name): cron: \"61 * * * *\" is not a cron expression",
        ),
        (
            "setBackground('x', print)\ncronScheduleBackgroundFunc('0 0 30 2 *', 'x')",
            "x.conf:2: cronScheduleBackgroundFunc(cron, name): cron: \"0 0 30 2 *\" is never due",
        ),
        (
            "cronScheduleBackgroundFunc('* * * * *', 'x')",
            "x.conf:1: cronScheduleBackgroundFunc(cron, name): no setBackground(\"x\", …)",
        ),
        (
            "intervalScheduleBackgroundFunc('soon', 'x')",
            "x.conf:1: intervalScheduleBackgroundFunc(duration, name): \"soon\" is not a duration",
        ),
        (
            "intervalScheduleBackgroundFunc('0', 'x')",
            "x.conf:1: intervalScheduleBackgroundFunc(duration, name): duration: it must be more than 0",
        ),
    ] {
        let path = folder.write("x.conf", config);
        for mode in ["-t", "-s"] {
            let output = run(&[mode, "-C", path.to_str().unwrap()], "");
            assert_eq!(output.status, 78, "{config}");
            assert!(output.stderr.contains(problem), "{config}: {}", output.stderr);
        }
    }
}
