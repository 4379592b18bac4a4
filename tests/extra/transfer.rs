//! History into a store and out of it, by the real program.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;

use crate::support::{Folder, Output, PROGRAM, Running, SERVER, Trackalert, run, wait_for};

const STORE: &str = "newReportStore{ path = \"reports.db\" }\nprint(\"from the configuration\")\n";

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Reports of the last day, from the addresses of documentation.
fn lines(count: u32) -> String {
    let start = now().floor() - 86_400.0;
    let line = |n: u32| {
        let (user, ip, t) = (n % 500, n % 200, start + f64::from(n) / 2.0);
        format!(
            r#"{{"login":"user{user}@example.com","remote":"192.0.2.{ip}","success":true,"t":{t},
                "protocol":"imap","device_id":"\"name\" \"iPhone Mail\" \"os\" \"iOS\"","attrs":{{"a":"b"}}}}"#
        )
        .replace('\n', "")
    };
    (0..count).map(|n| line(n) + "\n").collect()
}

/// A folder with a configuration.
struct Host {
    folder: Folder,
    config: String,
}

impl Host {
    fn new() -> Host {
        let folder = Folder::new();
        let config = folder.write("store.conf", STORE).display().to_string();
        Host { folder, config }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path(name).display().to_string()
    }

    fn run(&self, option: &str, file: &str, input: &str) -> Output {
        run(&[option, file, "-C", &self.config], input)
    }

    fn export(&self) -> String {
        let output = self.run("--export", "-", "");
        assert_eq!(output.status, 0, "{}", output.stderr);
        output.stdout
    }
}

fn last(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

#[test]
fn what_a_daemon_has_seen_another_one_knows() {
    let config = format!("{SERVER}{STORE}setReport(function(lt) end)\n");
    let mut first = Trackalert::start_with(Folder::new(), &config, Command::new(PROGRAM));
    for line in lines(50).lines() {
        assert_eq!(first.report(line).status, 200);
    }
    let conf = first.folder.path("trackalert.conf").display().to_string();
    for option in ["--import", "--export"] {
        let refused = run(&[option, "-", "-C", &conf], "");
        assert_eq!(refused.status, 1);
        assert!(refused.stderr.contains("reports.db: another process has it\n"), "{}", refused.stderr);
    }
    first.signal(Signal::SIGTERM);
    assert!(first.wait().success());
    let exported = run(&["--export", "-", "-C", &conf], "");
    assert_eq!((exported.status, exported.stdout.lines().count()), (0, 50), "{}", exported.stderr);

    let second = Folder::new();
    let policy = r#"
        setReport(function(lt)
            local seen = reportStore():seen(lt.login, "net", "192.0.2.0/24")
            local reports = reportStore():reports{ login = lt.login, since = lt.t - 90000, limit = 10 }
            infoLog("known", { ok = seen.ok, reports = #reports, device = reports[2].device })
        end)
    "#;
    let config = format!("{SERVER}newReportStore{{ path = \"reports.db\" }}{policy}");
    let conf = second.write("trackalert.conf", &config).display().to_string();
    let imported = run(&["--import", "-", "-C", &conf], &exported.stdout);
    assert_eq!(imported.status, 0, "{}", imported.stderr);
    assert_eq!(last(&imported.stderr), "50 lines read, 50 reports stored, 0 lines skipped, 0 bad");
    let second = Trackalert::start_with(second, &config, Command::new(PROGRAM));
    let report = format!(r#"{{"login":"user7@example.com","remote":"198.51.100.1","t":{}}}"#, now());
    assert_eq!(second.report(&report).status, 200);
    let line = second.wait_for_line("known");
    assert!(line.contains(r#"device="imap/iOS/"#) && line.contains(r#"ok="1" reports="2""#), "{line}");
    assert_eq!(second.count_lines("known"), 1, "no policy is run for what was imported");
}

#[test]
fn an_import_that_is_killed_goes_on_and_counts_nothing_twice() {
    let (host, text) = (Host::new(), lines(60_000));
    host.folder.write("in.json", &text);
    let start = || {
        let mut command = Command::new(PROGRAM);
        command.args(["--import", "in.json", "-C", "store.conf"]).current_dir(host.folder.path(""));
        Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
    };
    // The files grow when reports are committed.
    let size = || -> u64 {
        let size = |name| fs::metadata(host.folder.path(name)).map_or(0, |about| about.len());
        size("reports.db") + size("reports.db-wal")
    };
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL] {
        let (mut import, before) = (start(), size());
        wait_for("a commit", || (size() > before + (512 << 10) || import.ended().is_some()).then_some(()));
        import.signal(signal);
        import.wait();
    }
    let rest = host.run("--import", &host.path("in.json"), "");
    assert_eq!(rest.status, 0, "{}", rest.stderr);
    assert!(rest.stderr.contains("in.json: going on after line "), "{}", rest.stderr);
    let logins = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split('"').find(|part| part.starts_with("user")).unwrap().into())
            .collect()
    };
    assert!(logins(&host.export()) == logins(&text), "each report is there once, in the same order");
    let again = host.run("--import", &host.path("in.json"), "");
    assert_eq!(last(&again.stderr), "0 lines read, 0 reports stored, 0 lines skipped, 0 bad");
}

#[test]
fn bad_lines_are_left_out_and_make_it_fail() {
    let host = Host::new();
    let text = format!("{}{{\"index\":{{}}}}\nno json\n{}", lines(3), r#"{"login":"joe","t":"today"}"#);
    let output = host.run("--import", "-", &text);
    assert_eq!(output.status, 1);
    let expected = "stdin: line 5: expected ident at column 2\n\
        stdin: line 6: not finished: t: invalid type: string \"today\", expected f64\n\
        6 lines read, 3 reports stored, 1 lines skipped, 2 bad\n\
        trackalert: stdin: 2 bad lines\n";
    assert_eq!(output.stderr, expected);
    assert_eq!(host.export().lines().count(), 3);
}

#[test]
fn an_export_makes_a_file_that_is_not_there_yet() {
    use std::os::unix::fs::PermissionsExt;
    let host = Host::new();
    assert_eq!(host.run("--import", "-", &lines(10)).status, 0);
    let file = host.path("out.json");
    let output = host.run("--export", &file, "");
    assert_eq!((output.status, output.stdout.as_str()), (0, ""), "{}", output.stderr);
    assert!(output.stderr.contains("10 reports written\n"), "{}", output.stderr);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&file).unwrap(), host.export());
    let output = host.run("--export", &file, "");
    assert_eq!((output.status, fs::read_to_string(&file).unwrap().lines().count()), (1, 10));
    assert!(output.stderr.contains("out.json: file exists"), "{}", output.stderr);
}

#[test]
fn without_a_store_there_is_nothing_to_move() {
    let folder = Folder::new();
    let conf = folder.write("empty.conf", SERVER).display().to_string();
    for (option, file) in [("--import", "-".into()), ("--export", folder.path("out").display().to_string())] {
        let output = run(&[option, &file, "-C", &conf], "");
        assert_eq!(output.status, 78, "{}", output.stderr);
        assert_eq!(last(&output.stderr), "trackalert: no newReportStore() in the configuration");
    }
    assert!(!folder.path("out").exists());
    let output = run(&["--import", &folder.path("none").display().to_string(), "-C", &conf], "");
    assert!(output.stderr.ends_with("none: no such file or directory\n"), "{}", output.stderr);
}
