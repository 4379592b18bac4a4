//! The examples of trackalert_store(7).

use std::fs;

use super::example::{daemon, has, here, now, report, run_all, sh_ok, stop};
use crate::support::{Folder, SERVER};

#[test]
fn every_example_of_the_store_works() {
    run_all(
        "man/trackalert_store.7",
        &[
            ("local usual", |text| {
                let before = "local source = assert(s:failures({ ip = lt.remote, hours = 1 }))";
                says_failures(before, &format!("{text} infoLog('unusual', {{}}) end"));
            }),
            ("local known", |text| {
                let marked = text.replace("-- never seen there", "infoLog('unusual', {})");
                assert_ne!(marked, text);
                says_failures("local country = 'DE'", &marked);
            }),
            ("trackalert --import", moves),
            ("jq ", strips),
            ("newGeoIP2DB", warns),
        ],
    );
}

/// Runs a part of a report function until it finds something unusual: failures on 20 logins.
fn says_failures(before: &str, part: &str) {
    let daemon = daemon(&format!(
        "{SERVER}newReportStore{{ path = 'reports.db' }}
        setReport(function(lt)\nlocal s = reportStore()\n{before}\n{part}\nend)"
    ));
    for n in 0..20 {
        let body = format!(r#"{{"login":"user{n}","remote":"192.0.2.1","success":false}}"#);
        assert_eq!(daemon.report(&body).status, 200);
    }
    daemon.wait_for_line("unusual");
    stop(daemon);
}

/// The folder of a store and its configuration, and a line that uses it.
fn place() -> (Folder, impl Fn(&str) -> String) {
    let folder = Folder::new();
    folder.write("store.conf", "newReportStore{ path = 'reports.db' }");
    (folder, |line: &str| line.replace("trackalert ", "trackalert -C store.conf "))
}

/// The lines in their order, the export to a file that is not there yet.
fn moves(text: &str) {
    if !has("jq") {
        return;
    }
    let (folder, with_store) = place();
    folder.write("reports.json", &(report("joe", 60) + &report("ann", 50)));
    fs::create_dir(folder.path("old")).unwrap();
    folder.write("old/1.json", &report("joe", 90));
    folder.write("old/2.json", &report("joe", 80));
    sh_ok(&folder.path(""), "gzip old/1.json old/2.json");
    let mut lines = text.lines().map(|line| {
        if line.ends_with("--export reports.json") {
            fs::remove_file(folder.path("reports.json")).unwrap();
        }
        sh_ok(&folder.path(""), &with_store(line))
    });
    let last = lines.by_ref().last().unwrap();
    let counts: Vec<Vec<_>> = last.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(counts, [["1", "ann"], ["3", "joe"]]);
    let exported = fs::read_to_string(folder.path("reports.json")).unwrap();
    assert_eq!(exported.lines().count(), 4, "{exported}");
}

fn strips(text: &str) {
    if !has("jq") {
        return;
    }
    let (folder, with_store) = place();
    let known = report("joe", 60).replace("{\"login", "{\"trackalert\":{\"country\":\"DE\"},\"login");
    folder.write("reports.json", &known);
    sh_ok(&folder.path(""), &with_store(text));
    let exported = sh_ok(&folder.path(""), &with_store("trackalert --export -"));
    assert!(exported.contains(r#""login":"joe""#) && !exported.contains("\"DE\""), "{exported}");
}

/// The policy of the section EXAMPLES: whoever has logged in from one country for a week, and then comes
/// from another one, where 20 others could not log in.
fn warns(text: &str) {
    let daemon = daemon(&format!("{SERVER}{}", here(text)));
    let send = |login: &str, remote: &str, success: bool, days: u64| {
        let t = now() - days * 86_400;
        let body = format!(r#"{{"login":"{login}","remote":"{remote}","success":{success},"t":{t}}}"#);
        assert_eq!(daemon.report(&body).status, 200);
    };
    for days in (1..=9).rev() {
        send("joe", "20.1.1.1", true, days);
    }
    for n in 0..20 {
        send(&format!("user{n}"), "21.1.1.1", false, 0);
    }
    send("joe", "21.1.1.1", true, 0);
    let line = daemon.wait_for_line("first login from a country: ");
    assert!(line.contains(r#"login="joe""#), "{line}");
    let line = daemon.wait_for_line("login from an address that has failed on many accounts: ");
    assert!(line.contains(r#"failed_logins="20" login="joe" remote="21.1.1.1""#), "{line}");
    stop(daemon);
}
