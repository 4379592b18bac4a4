use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::device::Devices;
use crate::error::Result;
use crate::geoip::Databases;
use crate::stats::Stats;
use crate::store::query::{Dimension, ReportQuery, Whose};
use crate::store::trial::{Folder, LIMITS, RETENTION};
use crate::store::{Egress, Enrich, FileStore, Store};

/// A folder with a store, and files to read.
struct Bench(Folder);

impl Bench {
    fn new(name: &str) -> Bench {
        Bench(Folder::new(&format!("transfer-{name}")))
    }

    fn open(&self, name: &str) -> FileStore {
        FileStore::open(&self.0.join(name), LIMITS, RETENTION, Arc::new(Stats::new())).unwrap()
    }

    fn import(&self, store: &FileStore, text: impl AsRef<[u8]>) -> Result<Tally> {
        self.import_until(store, text, false)
    }

    fn import_until(&self, store: &FileStore, text: impl AsRef<[u8]>, stop: bool) -> Result<Tally> {
        self.hear(store, text, stop).0
    }

    fn hear(&self, store: &FileStore, text: impl AsRef<[u8]>, stop: bool) -> (Result<Tally>, String) {
        let path = self.0.join("lines");
        std::fs::write(&path, text).unwrap();
        let egress = Arc::<Egress>::default();
        egress.load(store).unwrap();
        let enrich = Enrich::new(&Databases::default(), None, None, (24, 64), egress.clone()).unwrap();
        let stop = Arc::new(AtomicBool::new(stop));
        let (devices, egress) = (&Devices::default(), &*egress);
        let import = Import { store, enrich: &enrich, egress, devices, stop };
        let (mut input, mut said) = (Input::open(&path).unwrap(), Vec::new());
        let result = import.run(&mut input, &mut said);
        (result, String::from_utf8(said).unwrap().replace(&path.display().to_string(), "lines"))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn line(login: &str, t: f64) -> String {
    format!("{{\"login\": \"{login}\", \"remote\": \"192.0.2.1\", \"success\": true, \"t\": {t}}}\n")
}

fn lines(count: u32) -> String {
    let start = now().floor() - 86_400.0;
    (0..count).map(|n| line(&format!("user{}", n % 50), start + f64::from(n) / 10.0)).collect()
}

fn tally(lines: u64, stored: u64, skipped: u64, bad: u64) -> Tally {
    Tally { lines, stored, skipped, bad }
}

fn exported(bench: &Bench, store: &FileStore) -> String {
    let path = bench.0.join("out");
    let _ = std::fs::remove_file(&path);
    let mut said = Vec::new();
    export(store, &Output::create(&path).unwrap(), &mut said).unwrap();
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_line_is_a_report_or_something_else_or_bad() {
    let (bench, t) = (Bench::new("kinds"), now() - 1000.0);
    let store = bench.open("reports.db");
    let good = [
        line("joe", t),
        include_str!("../../tests/data/wforce-report.json").replace('\n', " ") + "\n",
        format!("{{\"login\": \"\", \"t\": {t}, \"trackalert\": {{}}}}\n"),
    ];
    let others = ["\n", "  \r\n", "{}\n", "{\"index\": {}}\n", "{\"t\": 5, \"login\": null}\n"];
    let bad = [
        "nothing\n".to_owned(),
        "[1]\n".into(),
        "{\"login\": \"joe\"\n".into(),
        "{\"login\": \"joe\"}\n".into(),
        line("joe", 946_684_799.0),
        line("joe", t + 100_000.0),
        line("joe", t).replace("192.0.2.1", "192.0.2.256"),
        format!("{{\"login\": \"joe\", \"t\": {t}, \"trackalert\": {{\"asn\": -1}}}}\n"),
        format!("\"{}\"\n", "x".repeat(2 << 20)),
    ];
    let text = good.concat() + &others.concat() + &bad.concat() + &line("jim", t);
    let stored = if now() > 1_795_490_801.0 { 4 } else { 3 };
    let expected = tally(18, stored, 5, 13 - stored);
    assert_eq!(bench.import(&store, text).unwrap(), expected);
    let profile = store.reader().unwrap().profile("joe").unwrap().unwrap();
    assert!(profile.first <= t as u32, "what counts is the time of the report");
    assert!(store.pending(0, 10).unwrap().is_empty());
}

#[test]
fn the_first_bad_lines_are_complained_of() {
    let (bench, t) = (Bench::new("complaints"), now());
    let store = bench.open("reports.db");
    let text = line("joe", t) + "{\"login\": 5}\nnothing\n" + &line("joe", 5.0).repeat(20);
    let (result, said) = bench.hear(&store, &text, false);
    assert_eq!(result.unwrap(), tally(23, 1, 0, 22));
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(
        said[..3],
        [
            "lines: line 2: login: invalid type: integer `5`, expected a string",
            "lines: line 3: expected ident at column 2",
            "lines: line 4: t: seconds since 1970 expected, from 2000 to now",
        ]
    );
    assert_eq!(
        said[9..],
        [
            "lines: line 11: t: seconds since 1970 expected, from 2000 to now",
            "further bad lines are only counted",
            "23 lines read, 1 reports stored, 0 lines skipped, 22 bad",
        ]
    );
    let (_, said) = bench.hear(&store, text + "[]\n", false);
    let expected = "lines: going on after line 23\n\
        lines: line 24: invalid type: sequence, expected a JSON object\n\
        1 lines read, 0 reports stored, 0 lines skipped, 1 bad\n";
    assert_eq!(said, expected, "lines are counted from the beginning of the file");
}

#[test]
fn invalid_utf8_is_replaced_as_it_is_in_a_report() {
    let bench = Bench::new("utf8");
    let store = bench.open("reports.db");
    let mut text = line("jXe", now()).into_bytes();
    text.iter_mut().filter(|byte| **byte == b'X').for_each(|byte| *byte = 0xff);
    assert_eq!(bench.import(&store, text).unwrap().stored, 1);
    assert!(store.reader().unwrap().profile("j\u{fffd}e").unwrap().is_some());
}

#[test]
fn nothing_is_imported_twice() {
    let (bench, text) = (Bench::new("twice"), lines(12_345));
    let store = bench.open("reports.db");
    // Cut within a line, which is no report yet.
    let cut = text.len() / 2;
    let whole = text[..cut].lines().count() as u64 - 1;
    assert_eq!(bench.import(&store, &text[..cut]).unwrap(), tally(whole + 1, whole, 0, 1));
    assert_eq!(bench.import(&store, &text).unwrap(), tally(12_345 - whole, 12_345 - whole, 0, 0));
    assert_eq!(bench.import(&store, &text).unwrap(), Tally::default());
    drop(store);
    let store = bench.open("reports.db");
    let more = text.clone() + "no report\n" + line("more", now()).trim_end();
    assert_eq!(bench.import(&store, &more).unwrap(), tally(2, 1, 0, 1), "what was added");
    assert_eq!(bench.import(&store, more + "\n").unwrap(), tally(1, 0, 1, 0));
    assert_eq!(store.status().unwrap().rows, 12_346);
    let mut reader = store.reader().unwrap();
    let seen = reader.seen("user7", Dimension::Net, "192.0.2.0/24").unwrap().unwrap();
    assert_eq!(seen.ok, 247);
    assert_eq!(bench.import(&store, lines(10)).unwrap().stored, 10, "another file");
    assert_eq!(store.marks().unwrap().len(), 2);
}

#[test]
fn an_import_that_is_stopped_says_what_to_do() {
    let bench = Bench::new("stopped");
    let store = bench.open("reports.db");
    let error = bench.import_until(&store, lines(10), true).unwrap_err().to_string();
    assert!(
        error.ends_with("lines: interrupted after line 0: the same command goes on from there"),
        "{error}"
    );
    assert_eq!(bench.import(&store, lines(10)).unwrap().stored, 10);
}

#[test]
fn a_store_that_is_closed_ends_an_import() {
    let bench = Bench::new("closed");
    let store = bench.open("reports.db");
    store.close();
    let error = bench.import(&store, lines(12_000)).unwrap_err().to_string();
    assert_eq!(error, "store unavailable: it is closed");
}

#[test]
fn what_is_exported_fills_another_store_with_the_same() {
    let bench = Bench::new("again");
    let (one, other) = (bench.open("one.db"), bench.open("other.db"));
    bench.import(&one, lines(7000)).unwrap();
    let text = exported(&bench, &one);
    assert_eq!(text.lines().count(), 7000);
    assert_eq!(bench.import(&other, &text).unwrap(), tally(7000, 7000, 0, 0));
    assert_eq!(exported(&bench, &other), text);
    let query =
        || ReportQuery { whose: Whose::Login("user3".into()), since: 0.0, success: None, limit: 1000 };
    let ask = |store: &FileStore| store.reader().unwrap().reports(&query()).unwrap();
    assert_eq!(ask(&one), ask(&other));
}

#[test]
fn history_does_not_teach_places_where_many_come_from() {
    let (bench, day) = (Bench::new("egress"), 86_400.0);
    let store = bench.open("reports.db");
    let start = (now() / day).floor() * day - 9.0 * day;
    let crowd = |n: u32| -> String {
        let start = start + f64::from(n) * day;
        (0..60).map(|user| line(&format!("user{user}"), start + f64::from(user))).collect()
    };
    let text: String = (0..8).map(crowd).collect();
    // Stopped on the way, and gone on with later.
    let cut = text.lines().take(60 * 5 + 30).map(|line| line.len() + 1).sum();
    assert_eq!(bench.import(&store, &text[..cut]).unwrap(), tally(330, 330, 0, 0));
    assert_eq!(bench.import(&store, &text).unwrap(), tally(150, 150, 0, 0));
    let mut reader = store.reader().unwrap();
    let profile = reader.profile("user1").unwrap().unwrap();
    assert_eq!((profile.days, profile.places[0].t), (8, start as u32 + 4 * 86_400 + 1));
    assert_eq!(reader.seen("user1", Dimension::Net, "192.0.2.0/24").unwrap().unwrap().days, 5);
    // Another store takes what is said as it is.
    let other = bench.open("other.db");
    let text = exported(&bench, &store);
    bench.import(&other, &text).unwrap();
    assert_eq!(exported(&bench, &other), text);
    assert_eq!(text.lines().filter(|line| line.contains("\"shared\":true")).count(), 3 * 60);
}

#[test]
fn a_file_that_is_there_is_not_overwritten_and_one_that_is_not_whole_goes() {
    let bench = Bench::new("output");
    let path = bench.0.join("there");
    std::fs::write(&path, "mine").unwrap();
    assert!(Output::create(&path).err().unwrap().to_string().ends_with("there: file exists"));
    let path = bench.0.join("half");
    Output::create(&path).unwrap().give_up();
    assert!(!path.exists());
    Output::to("stdout", std::fs::File::open(Path::new("/dev/null")).unwrap()).give_up();
}
