use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, SystemTime};

use super::repair::save;
use super::thinning::Thinning;
use super::*;
use crate::error::Result;
use crate::geoip::Databases;
use crate::login::LoginTuple;
use crate::store::arrival::{Answer, Fate};
use crate::store::examination::{self, Random};
use crate::store::journal::writer::{Chores, Intake};
use crate::store::model::Model;
use crate::store::query::{DAY, ReportQuery, SOURCE_HOURS, Source, Whose, Window};
use crate::store::record::{Record, Seconds};
use crate::store::{Enrich, line};

/// A store in a folder of its own.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("trackalert-store-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        Place(folder)
    }

    fn open(&self) -> FileStore {
        let limits = Limits { wait: Duration::from_millis(10), rows: 2000, is_durable: false };
        let retention = Retention { raw_days: 30, profile_days: 180 };
        FileStore::open(&self.0.join("reports.db"), limits, retention, Arc::new(Stats::new())).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn now() -> Seconds {
    seconds(SystemTime::now())
}

fn push(store: &FileStore, record: Record, delivery: Option<&str>) -> Receiver<Result<Fate>> {
    let (send, answers) = mpsc::channel();
    store.push(Arrival {
        record,
        login: Arc::default(),
        body: b"{}".to_vec(),
        delivery: delivery.map(|delivery| delivery.as_bytes().into()),
        answer: Answer::new(move |fate| drop(send.send(fate))),
    });
    answers
}

/// Pushes reports and waits until the last one is in.
fn fill(store: &FileStore, records: &[Record]) {
    let answers: Vec<_> = records.iter().map(|record| push(store, record.clone(), None)).collect();
    for answer in answers {
        assert!(matches!(answer.recv().unwrap().unwrap(), Fate::Stored(_)));
    }
}

#[test]
fn it_answers_as_a_plain_list_would() {
    let (place, end, mut random) = (Place::new("model"), now(), Random(7));
    let records: Vec<Record> = (0..10_000).map(|_| examination::report(&mut random, end, 14)).collect();
    let store = place.open();
    fill(&store, &records);
    let mut model = Model(records);
    examination::examine(&mut *store.reader().unwrap(), &mut model, end);
    drop(store);
    // Now nothing is in memory.
    examination::examine(&mut *place.open().reader().unwrap(), &mut model, end);
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
fn what_is_old_is_given_back() {
    let (place, end, mut random) = (Place::new("old"), now(), Random(13));
    let file = Arc::new(StoreFile::open(&place.0.join("reports.db"), &FORM).unwrap());
    let mut books = Books::open(&file, false).unwrap();
    let retention = Retention { raw_days: 30, profile_days: 180 };
    let desk = Arc::new(Desk::new(Arc::new(Stats::new())));
    let mut upkeep = Upkeep::new(file.clone(), &books, desk, retention).unwrap();
    let old = (0..3000).map(|_| examination::report(&mut random, end - 200 * DAY, 14)).collect::<Vec<_>>();
    let new = (0..300).map(|_| examination::report(&mut random, end, 14)).collect::<Vec<_>>();
    for records in [&old, &new] {
        books.transaction(|books| records.iter().try_for_each(|record| books.add(record).map(drop))).unwrap();
    }
    books.transaction(|books| books.write_counts_but(0)).unwrap();
    books.file.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let largest = file.bytes();
    for _ in 0..40 {
        books.transaction(|books| upkeep.step(books)).unwrap();
    }
    books.transaction(|books| books.write_counts_but(0)).unwrap();
    let count = |table: &str, span: &str| -> (i64, f64) {
        let find = format!("SELECT count(*), coalesce(min({span}), 0) FROM {table}");
        books.file.query_row(&find, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    assert_eq!(count("raw", "t").0, 300);
    for (table, days) in [("failures", 15), ("source", 15), ("platform", 15)] {
        let (rows, first) = count(table, "CAST(hour AS REAL)");
        assert!(rows > 0 && first > f64::from(end - days * DAY), "{table}: {rows} from {first}");
    }
    books.file.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert!(file.bytes() < largest / 3, "{} of {largest}", file.bytes());
    let mut reader = FileReader { connection: file.reader().unwrap(), file, ledger: books.ledger.clone() };
    let source = Source::Ip([192, 0, 2, 1].into());
    for (records, hours) in [(&new, 24), (&new, 336)] {
        let window = Window::new(f64::from(end), f64::from(hours), SOURCE_HOURS).unwrap();
        let expected = Model(records.clone()).source(source, window).unwrap();
        assert_eq!(reader.source(source, window).unwrap(), expected, "{hours}");
    }
    let profile = reader.profile("user1@example.com").unwrap().unwrap();
    assert!(profile.places.iter().all(|visit| visit.t > end - 15 * DAY));
    assert!(profile.first < end - 100 * DAY, "how long it is known is remembered");
}

#[test]
fn counts_of_two_days_ago_are_by_the_hour() {
    let (place, end) = (Place::new("thin"), now());
    let file = Arc::new(StoreFile::open(&place.0.join("reports.db"), &FORM).unwrap());
    let mut books = Books::open(&file, false).unwrap();
    let start = f64::from(end - 3 * DAY - end % 3600);
    let ip = "192.0.2.1".parse().unwrap();
    let record = |n: u32| Record {
        t: start + f64::from(n * 30),
        login: format!("user{}", n % 10).into(),
        ip: Some(ip),
        ..Record::default()
    };
    let fill = |books: &mut Books| {
        (0..120).try_for_each(|n| books.add(&record(n)).map(drop))?;
        books.write_counts_but(0)
    };
    books.transaction(fill).unwrap();
    let answer = || {
        let (connection, ledger) = (file.reader().unwrap(), Arc::default());
        let mut reader = FileReader { connection, file: file.clone(), ledger };
        let window = Window::new(f64::from(end), 100.0, SOURCE_HOURS).unwrap();
        reader.source(Source::Ip(ip), window).unwrap()
    };
    let length = |books: &Books| -> u32 {
        books.file.query_row("SELECT length(counts) FROM source", [], |row| row.get(0)).unwrap()
    };
    let (before, fine) = (answer(), length(&books));
    assert_eq!((before.attempts, before.logins, before.spread), (120, 10, [0, 0, 0, 0, 10]));
    let mut thinning = Thinning::new(&books.file).unwrap();
    for _ in 0..2 {
        books.transaction(|books| thinning.step(&books.file, end)).unwrap();
    }
    assert_eq!(answer(), before);
    assert!(length(&books) < fine / 5, "{} of {fine}", length(&books));
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
    assert!(store.backup(&copy.0.join("reports.db")).is_err(), "nothing is overwritten");
    examination::examine(&mut *copy.open().reader().unwrap(), &mut Model(records), end);
}

fn load(store: &FileStore, records: Vec<Record>, mark: Option<Mark>) -> Result<()> {
    let (send, answers) = mpsc::channel();
    store.load(History { records, mark, answer: Box::new(move |result| drop(send.send(result))) });
    answers.recv().unwrap()
}

#[test]
fn what_was_read_from_a_store_fills_another_one() {
    let (place, end, mut random) = (Place::new("from"), now(), Random(29));
    let records: Vec<Record> = (0..5000).map(|_| examination::report(&mut random, end, 14)).collect();
    let store = place.open();
    fill(&store, &records);
    let (mut lines, mut times) = (Vec::new(), Vec::new());
    let take = &mut |record: &Record| {
        times.push(record.t);
        line::write(record, &mut lines).map_err(Error::io("lines"))
    };
    store.each_report(take).unwrap();
    assert!(times.is_sorted() && times.len() == records.len());
    let enrich = Enrich::new(&Databases::default(), None, None, (24, 64)).unwrap();
    let read = |line: &[u8]| {
        let login = LoginTuple::from_history(line).unwrap();
        line::Kept::of(line).unwrap().unwrap().record(&login, &enrich)
    };
    let copies: Vec<Record> = lines.trim_ascii_end().split(|byte| *byte == b'\n').map(read).collect();
    let other = Place::new("to");
    let store = other.open();
    for copies in copies.chunks(700) {
        load(&store, copies.to_vec(), None).unwrap();
    }
    examination::examine(&mut *store.reader().unwrap(), &mut Model(records), end);
    assert!(store.pending(0, 10).unwrap().is_empty());
    drop(store);
    assert!(other.open().pending(0, 10).unwrap().is_empty(), "nothing of it is to run");
}

#[test]
fn reading_a_store_ends_where_it_fails() {
    let place = Place::new("fails");
    let store = place.open();
    fill(
        &store,
        &[1, 2, 3].map(|t| Record { t: f64::from(now() - t), login: "joe".into(), ..Record::default() }),
    );
    let mut count = 0;
    let take = &mut |_: &Record| {
        count += 1;
        if count == 2 { Err(Error::Refused("enough".into())) } else { Ok(()) }
    };
    assert_eq!(store.each_report(take).unwrap_err().to_string(), "enough");
    assert_eq!(count, 2);
}

#[test]
fn how_far_a_file_was_read_is_known_with_its_reports() {
    let place = Place::new("marks");
    let mark = |file, bytes| Mark { file, bytes, lines: bytes / 10, hash: format!("{file}-{bytes}") };
    let record = || vec![Record { t: f64::from(now()), login: "joe".into(), ..Record::default() }];
    let store = place.open();
    assert!(store.marks().unwrap().is_empty());
    load(&store, record(), Some(mark(1, 100))).unwrap();
    load(&store, record(), Some(mark(2, 50))).unwrap();
    load(&store, record(), Some(mark(1, 200))).unwrap();
    store.close();
    assert!(load(&store, record(), Some(mark(1, 300))).is_err());
    drop(store);
    let store = place.open();
    assert_eq!(store.marks().unwrap(), [mark(1, 200), mark(2, 50)]);
    assert_eq!(store.status().unwrap().rows, 3);
}

#[test]
fn reports_of_long_ago_are_counted_again_after_a_crash() {
    let (place, end, mut random) = (Place::new("ago"), now(), Random(31));
    let old: Vec<Record> = (0..500).map(|_| examination::report(&mut random, end - 60 * DAY, 14)).collect();
    let file = Arc::new(StoreFile::open(&place.0.join("reports.db"), &FORM).unwrap());
    let mut books = Books::open(&file, false).unwrap();
    let desk = Arc::new(Desk::new(Arc::new(Stats::new())));
    let retention = Retention { raw_days: 30, profile_days: 180 };
    let mut upkeep = Upkeep::new(file.clone(), &books, desk, retention).unwrap();
    books.transaction(|books| history::load(books, &old, None)).unwrap();
    for _ in 0..10 {
        upkeep.after_commit();
        books.transaction(|books| upkeep.step(books)).unwrap();
    }
    // What is in memory is lost.
    drop((books, upkeep, file));
    let store = place.open();
    let mut reader = store.reader().unwrap();
    for user in ["user0@example.com", "user1@example.com"] {
        assert_eq!(reader.profile(user).unwrap(), Model(old.clone()).profile(user).unwrap(), "{user}");
    }
}

#[test]
fn a_file_that_is_no_store_is_left_alone() {
    let place = Place::new("other");
    let path = place.0.join("reports.db");
    let open = || {
        let limits = Limits { wait: Duration::from_millis(10), rows: 2000, is_durable: false };
        let retention = Retention { raw_days: 30, profile_days: 180 };
        FileStore::open(&path, limits, retention, Arc::new(Stats::new())).err().map(|e| e.to_string())
    };
    std::fs::write(&path, "something else, longer than the header of a database: ".repeat(10)).unwrap();
    assert!(open().unwrap().contains("damaged"));
    std::fs::remove_file(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    assert_eq!(open().unwrap(), format!("{}: not a report store", path.display()));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(open(), None);
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(open().unwrap().contains("made by a later version"));
    let store = Place::new("held");
    let _holder = store.open();
    let second = StoreFile::open(&store.0.join("reports.db"), &FORM).err().unwrap().to_string();
    assert!(second.ends_with("reports.db: another process has it"), "{second}");
}

#[test]
fn what_can_be_read_of_a_damaged_file_is_saved() {
    let (place, end, mut random) = (Place::new("damaged"), now(), Random(23));
    let records: Vec<Record> = (0..4000).map(|_| examination::report(&mut random, end, 14)).collect();
    let store = place.open();
    fill(&store, &records);
    drop(store);
    let path = place.0.join("reports.db");
    let (whole, saved) = save(&path).unwrap();
    assert!(saved.iter().all(|saved| saved.gaps == 0), "{saved:?}");
    assert_eq!(save(&path).unwrap_err().to_string(), format!("{}: is there already", whole.display()));
    std::fs::rename(&whole, &path).unwrap();
    examination::examine(&mut *place.open().reader().unwrap(), &mut Model(records), end);
    let mut bytes = std::fs::read(&path).unwrap();
    // Every tenth page but the first ones, which say what tables there are.
    for page in (40..bytes.len() / 4096).step_by(10) {
        bytes[page * 4096..(page + 1) * 4096].fill(0xa5);
    }
    std::fs::write(&path, bytes).unwrap();
    let (repaired, saved) = save(&path).unwrap();
    let of = |table: &str| saved.iter().find(|saved| saved.table == table).unwrap();
    assert!(of("raw").gaps > 0 && of("raw").rows > 2000 && of("raw").rows < 4000, "{saved:?}");
    std::fs::rename(&repaired, &path).unwrap();
    let store = place.open();
    assert_eq!(store.status().unwrap().queue, 0);
    let mut reader = store.reader().unwrap();
    let whose = Whose::Login("user0@example.com".into());
    reader.reports(&ReportQuery { whose, since: 0.0, success: None, limit: 10_000 }).unwrap();
    fill(&store, &[examination::report(&mut random, end, 14)]);
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
fn a_report_of_long_ago_is_found_by_its_address() {
    let (place, t) = (Place::new("imported"), f64::from(now()));
    let (mut books, mut reader) = books(&place);
    add(&mut books, &[failure(t, "joe")]);
    books.transaction(|books| books.write_counts_but(0)).unwrap();
    // From when a clock was wrong, and from long ago.
    add(&mut books, &[failure(4_294_960_000.0, "joe"), failure(1_000_000_000.0, "joe")]);
    let found = reader.reports(&all_of(Whose::Ip([192, 0, 2, 1].into()))).unwrap();
    let times: Vec<f64> = found.iter().map(|report| report.t).collect();
    assert_eq!(times, [4_294_960_000.0, t, 1_000_000_000.0]);
}

#[test]
fn reports_that_are_being_committed_hide_none_before_them() {
    let (place, t) = (Place::new("between"), f64::from(now()));
    let (mut books, mut reader) = books(&place);
    add(&mut books, &[failure(t, "joe"), failure(t, "joe")]);
    let mut count = |expected| {
        for whose in [Whose::Login("joe".into()), Whose::Ip([192, 0, 2, 1].into())] {
            assert_eq!(reader.reports(&all_of(whose)).unwrap().len(), expected);
        }
    };
    let failed = books.transaction(|books| {
        (0..2).try_for_each(|_| books.add(&failure(t, "joe")).map(drop))?;
        count(2);
        Err::<(), _>(rusqlite::Error::InvalidQuery)
    });
    assert!(failed.is_err());
    count(2);
    recovery::recount(&mut books).unwrap();
    add(&mut books, &[failure(t, "joe")]);
    count(3);
}

#[test]
fn a_crash_leaves_a_bounded_number_of_reports_to_count_again() {
    let (place, t) = (Place::new("behind"), f64::from(now()));
    let (mut books, _) = books(&place);
    // The same rows again and again, of which there are never many.
    for _ in 0..61 {
        let records = vec![failure(t, "joe"); 1000];
        books
            .transaction(|books| {
                records.iter().try_for_each(|record| books.add(record).map(drop))?;
                books.write_counts()
            })
            .unwrap();
    }
    assert!((10_000..61_000).contains(&books.applied), "{}", books.applied);
    let counted = |books: &Books| books.ledger.lock().logins.peek("joe").unwrap().head;
    recovery::recount(&mut books).unwrap();
    assert_eq!(counted(&books), 61_000);
}

#[test]
fn what_is_too_old_goes_when_it_is_counted_and_has_run() {
    let (place, t) = (Place::new("too-old"), f64::from(now() - 200 * DAY));
    let (mut books, reader) = books(&place);
    let retention = Retention { raw_days: 30, profile_days: 3650 };
    let desk = Arc::new(Desk::new(Arc::new(Stats::new())));
    let mut upkeep = Upkeep::new(reader.file.clone(), &books, desk, retention).unwrap();
    books
        .transaction(|books| {
            let (id, before) = books.add(&failure(t, "joe"))?;
            pending::keep(&books.file, id, b"{}", &before)?;
            (0..10).try_for_each(|_| books.add(&failure(t, "joe")).map(drop))
        })
        .unwrap();
    let step = |books: &mut Books, upkeep: &mut Upkeep| {
        upkeep.after_commit();
        books.transaction(|books| upkeep.step(books)).unwrap();
        raw::extent(&books.file).unwrap().0
    };
    assert_eq!(step(&mut books, &mut upkeep), 11, "not counted on disk");
    recovery::recount(&mut books).unwrap();
    assert_eq!(books.ledger.lock().logins.peek("joe").unwrap().head, 11);
    books.transaction(|books| books.write_counts_but(0)).unwrap();
    assert_eq!(step(&mut books, &mut upkeep), 1, "that one has not run");
    assert_eq!(pending::between(&books.file, 0, 11, 10).unwrap().len(), 1);
    kept::let_go(&books.file, &mut [1]).unwrap();
    assert_eq!(step(&mut books, &mut upkeep), 0);
    recovery::recount(&mut books).unwrap();
    add(&mut books, &[failure(t, "joe")]);
    assert_eq!(books.last, 12, "no number comes again");
}

#[test]
fn a_new_login_has_nothing_of_one_that_is_gone() {
    let (place, t) = (Place::new("number"), f64::from(now()));
    let (mut books, mut reader) = books(&place);
    add(&mut books, &[failure(t, "joe")]);
    books.transaction(|books| books.write_counts_but(0)).unwrap();
    // As the upkeep does when a login was not used for longer than it is kept.
    books.file.execute("DELETE FROM login", []).unwrap();
    recovery::recount(&mut books).unwrap();
    add(&mut books, &[Record { success: true, ..failure(t, "ann") }]);
    let window = crate::store::query::Window::new(t, 1.0, 2).unwrap();
    assert_eq!(reader.login_failures("ann", window).unwrap().attempts, 0);
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
