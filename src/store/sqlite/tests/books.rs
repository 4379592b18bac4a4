//! What is counted, written, thinned and given back, a transaction at a time.

use super::*;

#[test]
fn what_is_old_is_given_back() {
    let (place, end, mut random) = (Place::new("old"), now(), Random(13));
    let file = Arc::new(StoreFile::open(&place.0.join("reports.db"), &FORM).unwrap());
    let mut books = Books::open(&file, false).unwrap();
    let mut upkeep = Upkeep::new(&books, RETENTION).unwrap();
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
    let (mut books, _) = books(&place);
    let retention = Retention { raw_days: 30, profile_days: 3650 };
    let mut upkeep = Upkeep::new(&books, retention).unwrap();
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
fn old_reports_go_faster_than_new_ones_may_come() {
    let (place, t) = (Place::new("fast"), f64::from(now() - 200 * DAY));
    let (mut books, _) = books(&place);
    let mut upkeep = Upkeep::new(&books, RETENTION).unwrap();
    add(&mut books, &vec![failure(t, "joe"); 3000]);
    for _ in 0..4 {
        // Of a tenth of a second, after which there is a step.
        add(&mut books, &vec![failure(t, "joe"); 1000]);
        books.transaction(|books| books.write_counts_but(0)).unwrap();
        upkeep.after_commit();
        books.transaction(|books| upkeep.step(books)).unwrap();
    }
    assert_eq!(raw::extent(&books.file).unwrap().0, 0);
}

#[test]
fn a_step_with_nothing_to_do_writes_nothing() {
    let (place, end, mut random) = (Place::new("idle"), now(), Random(23));
    let (mut books, _) = books(&place);
    let mut upkeep = Upkeep::new(&books, RETENTION).unwrap();
    add(&mut books, &(0..1000).map(|_| examination::report(&mut random, end, 14)).collect::<Vec<_>>());
    let mut steps = |count: u32| {
        (0..count).for_each(|_| books.transaction(|books| upkeep.step(books)).unwrap());
        let log = std::fs::metadata(place.0.join("reports.db-wal")).unwrap().len();
        books.file.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        log
    };
    assert!(steps(100) > 0, "what was in memory, and counts of days ago");
    assert_eq!(steps(20), 0);
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
