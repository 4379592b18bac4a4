//! Files that are none of ours, and damaged ones.

use super::*;

#[test]
fn a_file_that_is_no_store_is_left_alone() {
    let place = Place::new("other");
    let path = place.0.join("reports.db");
    let open =
        || FileStore::open(&path, LIMITS, RETENTION, Arc::new(Stats::new())).err().map(|e| e.to_string());
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

#[test]
fn what_is_beside_the_reports_is_saved_and_its_numbers_go_on() {
    let place = Place::new("aside");
    let store = place.open();
    let fill = |file: &Connection| {
        file.execute_batch(
            "INSERT INTO alert (rule, key, severity, summary, data, count, first, last, state, pause)
            VALUES ('x', 'a', 'low', '', '{}', 1, 0, 0, 'open', 0), ('x', 'b', 'low', '', '{}', 1, 0, 0, 'open', 0);
            DELETE FROM alert WHERE id = 2;
            INSERT INTO silence (rule, key, until) VALUES ('x', '*', 5);
            INSERT INTO outbox (sink, at, body) VALUES ('ops', 0, '{}')",
        )
    };
    store.change_aside(Box::new(fill)).unwrap();
    drop(store);
    let path = place.0.join("reports.db");
    let (repaired, saved) = save(&path).unwrap();
    let rows = |table: &str| saved.iter().find(|saved| saved.table == table).map(|saved| saved.rows);
    assert_eq!(["alert", "silence", "outbox"].map(rows), [Some(1); 3], "{saved:?}");
    let file = Connection::open(repaired).unwrap();
    let last: i64 =
        file.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'alert'", [], |row| row.get(0)).unwrap();
    assert_eq!(last, 2);
}

#[test]
fn a_file_of_before_there_were_alerts_gets_their_tables_or_is_saved_without() {
    const FIRST: Form = Form { migrations: &[include_str!("../schema.sql")], ..FORM };
    let place = Place::new("earlier");
    let path = place.0.join("reports.db");
    drop(StoreFile::open(&path, &FIRST).unwrap());
    let (repaired, saved) = save(&path).unwrap();
    assert!(saved.iter().all(|saved| saved.gaps == 0), "{saved:?}");
    std::fs::remove_file(repaired).unwrap();
    let store = place.open();
    let count =
        |file: &Connection| file.query_row("SELECT count(*) FROM alert", [], |row| row.get::<_, i64>(0));
    assert_eq!(count(&store.read_aside().unwrap()).unwrap(), 0);
}
