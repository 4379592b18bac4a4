//! Reports of the past into the store and out of it.

use super::*;
use crate::error::Error;

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
    let enrich = Enrich::new(&Databases::default(), None, None, (24, 64), Arc::default()).unwrap();
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
    let mut upkeep = Upkeep::new(&books, RETENTION).unwrap();
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
