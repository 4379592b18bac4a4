//! The store as a whole. Of its parts, the tests are in the folder of this name.

mod books;
mod damage;
mod moving;

use std::sync::Arc;
use std::sync::mpsc;

use super::repair::save;
use super::thinning::Thinning;
use super::*;
use crate::error::Result;
use crate::geoip::Databases;
use crate::login::LoginTuple;
use crate::store::arrival::Fate;
use crate::store::examination::{self, Random};
use crate::store::journal::writer::{Chores, Intake};
use crate::store::model::Model;
use crate::store::query::{DAY, Dimension, ReportQuery, SOURCE_HOURS, Source, Whose, Window};
use crate::store::record::Record;
use crate::store::trial::{Folder, LIMITS, RETENTION, fill, now, push};
use crate::store::{Egress, Enrich, line};

/// A store in a folder of its own.
struct Place(Folder);

impl Place {
    fn new(name: &str) -> Place {
        Place(Folder::new(name))
    }

    fn open(&self) -> FileStore {
        FileStore::open(&self.0.join("reports.db"), LIMITS, RETENTION, Arc::new(Stats::new())).unwrap()
    }
}

#[test]
fn it_answers_as_a_plain_list_would() {
    let (place, end, mut random) = (Place::new("model"), now(), Random(7));
    let records = examination::reports(&mut random, end, 10_000);
    let store = place.open();
    fill(&store, &records);
    let mut model = Model(records);
    examination::examine(&mut *store.reader().unwrap(), &mut model, end);
    drop(store);
    // Now nothing is in memory.
    examination::examine(&mut *place.open().reader().unwrap(), &mut model, end);
}

#[test]
fn it_knows_since_when_a_login_is_in_use() {
    let (place, mut random) = (Place::new("lives"), Random(3));
    let records = examination::lives(&mut random, now());
    let store = place.open();
    fill(&store, &records);
    examination::examine_lives(&mut *store.reader().unwrap(), &mut Model(records));
}

#[test]
fn it_learns_what_many_logins_share_and_remembers_it() {
    let (place, end) = (Place::new("crowds"), now());
    let (records, shared) = examination::crowds(end);
    let (store, egress) = (place.open(), Egress::default());
    egress.load(&store).unwrap();
    assert_eq!(egress.learned_at(), None);
    fill(&store, &records);
    assert_eq!(egress.learn(&store, end).unwrap(), shared.len());
    drop(store);
    let (whole, saved) = save(&place.0.join("reports.db")).unwrap();
    assert!(saved.iter().any(|saved| (saved.table, saved.rows, saved.gaps) == ("egress", 3, 0)), "{saved:?}");
    let file = FileStore::open(&whole, LIMITS, RETENTION, Arc::new(Stats::new())).unwrap();
    for store in [place.open(), file] {
        let egress = Egress::default();
        egress.load(&store).unwrap();
        assert_eq!(egress.learned_at(), Some(end));
        assert!(shared.iter().all(|net| egress.has(Source::Net(*net))));
        assert!(!egress.has(Source::Net("10.1.4.0/24".parse().unwrap())));
        assert_eq!(egress.learn(&store, end + 20 * DAY).unwrap(), 0);
        assert!(!shared.iter().any(|net| egress.has(Source::Net(*net))), "it is learned as a whole");
    }
}

#[test]
fn what_was_only_in_memory_is_counted_again_after_a_crash() {
    let (place, end, mut random) = (Place::new("crash"), now(), Random(11));
    let records: Vec<Record> = (0..2000).map(|_| examination::report(&mut random, end, 14)).collect();
    let store = place.open();
    // What a crash leaves: the files as they are while the store is open.
    let crashed = Place::new("crashed");
    let (first, second) = records.split_at(1000);
    fill(&store, first);
    for name in ["reports.db", "reports.db-wal"] {
        std::fs::copy(place.0.join(name), crashed.0.join(name)).unwrap();
    }
    let store = crashed.open();
    examination::examine(&mut *store.reader().unwrap(), &mut Model(first.to_vec()), end);
    fill(&store, second);
    examination::examine(&mut *store.reader().unwrap(), &mut Model(records), end);
}

#[test]
fn what_was_known_before_comes_with_a_report() {
    let (place, end) = (Place::new("before"), f64::from(now()));
    let store = place.open();
    let record = Record { t: end, login: "joe".into(), success: true, ..Record::default() };
    let mut days = Vec::new();
    for n in 0..3 {
        let record = Record { t: end - f64::from(DAY * (3 - n)), protocol: "imap".into(), ..record.clone() };
        match push(&store, record, None).recv().unwrap().unwrap() {
            Fate::Stored(ticket) => {
                let before = ticket.known.before.unwrap();
                days.push(before.seen(Dimension::Protocol, "imap").map(|value| value.days));
            }
            Fate::Known => panic!("it is new"),
        }
    }
    assert_eq!(days, [None, Some(1), Some(2)]);
    assert_eq!(store.reader().unwrap().profile("joe").unwrap().unwrap().days, 3);
}

#[test]
fn a_delivery_counts_once() {
    let place = Place::new("delivery");
    let record = Record { t: f64::from(now()), login: "joe".into(), success: true, ..Record::default() };
    let mut fates = Vec::new();
    for _ in 0..2 {
        let store = place.open();
        for delivery in [Some("one"), Some("two"), Some("one"), None, None] {
            let fate = push(&store, record.clone(), delivery).recv().unwrap().unwrap();
            fates.push(matches!(fate, Fate::Stored(_)));
        }
    }
    let expected = [true, true, false, true, true, false, false, false, true, true];
    assert_eq!(fates, expected, "over a restart, too");
}

#[test]
fn a_login_that_is_forgotten_leaves_no_trace() {
    let (place, end, mut random) = (Place::new("forget"), now(), Random(17));
    let store = place.open();
    let mut records: Vec<Record> = (0..5000).map(|_| examination::report(&mut random, end, 14)).collect();
    for record in records.iter_mut().filter(|record| record.login == "user0@example.com") {
        record.pwhash = "onlyuser0".into();
    }
    fill(&store, &records);
    let own = records.iter().filter(|record| record.login == "user0@example.com").count() as u64;
    assert!(own > 1000 && store.forget("user0@example.com").unwrap() > own);
    assert_eq!(store.forget("user0@example.com").unwrap(), 0);
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.profile("user0@example.com").unwrap(), None);
    let since = f64::from(end - 14 * DAY);
    let others = ReportQuery { whose: Whose::Ip([192, 0, 2, 1].into()), since, success: None, limit: 10_000 };
    records.retain(|record| record.login != "user0@example.com");
    assert_eq!(reader.reports(&others).unwrap(), Model(records).reports(&others).unwrap());
    for name in ["reports.db", "reports.db-wal"] {
        let bytes = std::fs::read(place.0.join(name)).unwrap();
        for trace in ["user0@example.com", "onlyuser0"] {
            assert!(
                !bytes.windows(trace.len()).any(|window| window == trace.as_bytes()),
                "{trace} in {name}"
            );
        }
    }
}

#[test]
fn a_report_is_kept_until_it_has_run() {
    let (place, t) = (Place::new("pending"), f64::from(now()));
    let record =
        |n: u32| Record { t: t + f64::from(n), login: "joe".into(), success: true, ..Record::default() };
    let store = place.open();
    fill(&store, &[record(1), record(2), record(3)]);
    store.has_run(2);
    drop(store);
    let store = place.open();
    let pending = store.pending(0, 10).unwrap();
    assert_eq!(pending.iter().map(|report| report.id).collect::<Vec<_>>(), [1, 3]);
    let before: Vec<_> = pending.iter().map(|report| report.before.as_ref().unwrap()).collect();
    assert_eq!(before[0].profile(), None);
    assert_eq!(before[1].profile().unwrap().last, t as u32 + 2);
    assert_eq!((before[1].login(), pending[1].body.as_slice()), ("joe", &b"{}"[..]));
    assert_eq!(store.pending(1, 10).unwrap().len(), 1);
    assert_eq!(store.status().unwrap().rows, 3);
}

#[test]
fn a_backup_is_a_store() {
    let (place, end, mut random) = (Place::new("backup"), now(), Random(19));
    let records: Vec<Record> = (0..1000).map(|_| examination::report(&mut random, end, 14)).collect();
    let store = place.open();
    fill(&store, &records);
    let copy = Place::new("copy");
    store.backup(&copy.0.join("reports.db")).unwrap();
    store.backup.wait();
    assert!(store.backup(&copy.0.join("reports.db")).is_err(), "nothing is overwritten");
    examination::examine(&mut *copy.open().reader().unwrap(), &mut Model(records), end);
}

/// Books and a reader of them, whose transactions a test ends itself.
fn books(place: &Place) -> (Books, FileReader) {
    let file = Arc::new(StoreFile::open(&place.0.join("reports.db"), &FORM).unwrap());
    let books = Books::open(&file, false).unwrap();
    let reader = FileReader { connection: file.reader().unwrap(), file, ledger: books.ledger.clone() };
    (books, reader)
}

fn add(books: &mut Books, records: &[Record]) {
    books.transaction(|books| records.iter().try_for_each(|record| books.add(record).map(drop))).unwrap();
}

/// A failure from the address that tests have.
fn failure(t: f64, login: &str) -> Record {
    Record { t, login: login.into(), ip: Some([192, 0, 2, 1].into()), ..Record::default() }
}

fn all_of(whose: Whose) -> ReportQuery {
    ReportQuery { whose, since: 0.0, success: None, limit: 100 }
}

#[test]
fn only_what_is_tried_is_given_up() {
    let place = Place::new("tries");
    let store = place.open();
    fill(&store, &[failure(1e9, "joe"), failure(1e9, "ann"), failure(1e9, "bob")]);
    drop(store);
    for _ in 0..10 {
        let store = place.open();
        assert_eq!(store.pending(0, 2).unwrap().len(), 2);
    }
    let left: Vec<i64> = place.open().pending(0, 10).unwrap().iter().map(|report| report.id).collect();
    assert_eq!(left, [3]);
}
