use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::client::rows;
use super::schema::Table;
use super::server::Server;
use super::spool::Waiting;
use super::*;
use crate::store::Egress;
use crate::store::examination::{self, Random};
use crate::store::model::Model;
use crate::store::query::{DAY, Dimension, ReportQuery, Source, Whose};
use crate::store::record::{Outcome, Record};
use crate::store::trial::{Folder, LIMITS, RETENTION, fill, now, push};

/// A folder for a spool.
struct Place(Folder);

impl Place {
    fn new(name: &str) -> Place {
        Place(Folder::new(&format!("spool-{name}")))
    }

    fn settings(&self, url: &str) -> Settings {
        Settings {
            server: ClickHouse::parse(url).unwrap(),
            tls: Tls::default(),
            spool: self.0.join("spool.db"),
            room: Room { rows: 1_000_000, bytes: 1 << 30 },
            limits: LIMITS,
            retention: RETENTION,
        }
    }

    fn open(&self, url: &str) -> ClickHouseStore {
        ClickHouseStore::open(self.settings(url), Arc::new(Stats::new())).unwrap()
    }
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(120), "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn wait_until_sent(store: &ClickHouseStore) {
    wait_for("everything is sent", || store.backlog.rows() == 0);
}

#[test]
fn it_answers_as_a_plain_list_would() {
    let Some(server) = Server::start() else { return };
    let (place, end, mut random) = (Place::new("model"), now(), Random(7));
    let records = examination::reports(&mut random, end, 50_000);
    let store = place.open(&server.url());
    fill(&store, &records);
    wait_until_sent(&store);
    examination::examine(&mut *store.reader().unwrap(), &mut Model(records), end);
}

#[test]
fn it_knows_since_when_a_login_is_in_use() {
    let Some(server) = Server::start() else { return };
    let (place, mut random) = (Place::new("lives"), Random(3));
    let records = examination::lives(&mut random, now());
    let store = place.open(&server.url());
    fill(&store, &records);
    wait_until_sent(&store);
    examination::examine_lives(&mut *store.reader().unwrap(), &mut Model(records));
}

#[test]
fn it_learns_what_many_logins_share_and_remembers_it() {
    let Some(server) = Server::start() else { return };
    let (place, end) = (Place::new("crowds"), now());
    let (records, shared) = examination::crowds(end);
    let (store, egress) = (place.open(&server.url()), Egress::default());
    fill(&store, &records);
    assert!(store.settle(Duration::from_secs(60)));
    assert_eq!(egress.learn(&store, end).unwrap(), shared.len());
    drop(store);
    let egress = Egress::default();
    egress.load(&place.open(&server.url())).unwrap();
    assert_eq!(egress.learned_at(), Some(end));
    assert!(shared.iter().all(|net| egress.has(Source::Net(*net))));
}

#[test]
fn history_is_sent_as_well_and_is_not_to_run() {
    let Some(server) = Server::start() else { return };
    let (place, end, mut random) = (Place::new("history"), now(), Random(8));
    let records: Vec<Record> = (0..2000).map(|_| examination::report(&mut random, end, 14)).collect();
    let store = place.open(&server.url());
    let mark = Mark { file: 1, bytes: 5, lines: 1, hash: "x".into() };
    let (send, answers) = mpsc::channel();
    let answer = Box::new(move |result| drop(send.send(result)));
    store.load(History { records: records.clone(), mark: Some(mark.clone()), answer });
    answers.recv().unwrap().unwrap();
    assert_eq!(store.marks().unwrap(), [mark]);
    assert!(store.pending(0, 10).unwrap().is_empty());
    wait_until_sent(&store);
    examination::examine(&mut *store.reader().unwrap(), &mut Model(records), end);
}

/// What each table says how many reports there are, failures where it has only those.
fn totals(store: &ClickHouseStore) -> [u64; 5] {
    #[derive(Deserialize)]
    struct Total {
        total: u64,
    }
    [
        "SELECT count() AS total FROM report WHERE origin = ''",
        "SELECT count() AS total FROM visit WHERE origin = ''",
        "SELECT sumMerge(ok) + sumMerge(fail) AS total FROM memory WHERE origin = '' AND kind = 'hour'",
        "SELECT sumMerge(attempts) AS total FROM failure WHERE origin = ''",
        "SELECT sumMerge(ok) + sumMerge(fail) AS total FROM platform WHERE origin = '' AND part = 'all'",
    ]
    .map(|statement| rows::<Total>(&store.library.client.ask(statement).unwrap()).unwrap()[0].total)
}

/// The same of a list.
fn totals_of(records: &[Record]) -> [u64; 5] {
    let count =
        |is_it: &dyn Fn(&Record) -> bool| records.iter().filter(|record| is_it(record)).count() as u64;
    let counted = count(&|record| record.outcome() != Outcome::Neither);
    let failed = count(&|record| matches!(record.outcome(), Outcome::Fail { .. }));
    [records.len() as u64, count(&|record| record.ip.is_some()), counted, failed, counted]
}

#[test]
fn a_server_that_is_killed_again_and_again_has_each_report_once() {
    let Some(mut server) = Server::start() else { return };
    let (place, end, mut random) = (Place::new("killed"), now(), Random(29));
    let records: Vec<Record> = (0..100_000).map(|_| examination::report(&mut random, end, 14)).collect();
    let store = place.open(&server.url());
    let mut chunks = records.chunks(5000);
    for _ in 0..6 {
        fill(&store, &chunks.by_ref().take(3).flatten().cloned().collect::<Vec<_>>());
        // In the middle of an insert as likely as not: it takes about as long as this.
        let before = store.backlog.rows();
        let start = Instant::now();
        wait_for("some are sent", || {
            store.backlog.rows() < before || start.elapsed() > Duration::from_millis(1500)
        });
        server.kill();
        fill(&store, chunks.next().unwrap_or_default());
        let error = store.reader().unwrap().profile("user1@example.com").unwrap_err().to_string();
        assert!(error.starts_with("store unavailable: "), "{error}");
        server.restart();
    }
    wait_until_sent(&store);
    assert_eq!(totals(&store), totals_of(&records));
}

/// Stands between a store and its server, and gives the answers to inserts to nobody as often as it is
/// to: the server has taken them in.
struct Swallower {
    url: String,
    left: Arc<AtomicUsize>,
}

impl Swallower {
    fn start(server: &Server, times: usize) -> Swallower {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let url = server.url();
        let at = url.rfind('@').unwrap() + 1;
        let end = url.rfind('/').unwrap();
        let target = url[at..end].to_owned();
        let url = format!("{}{address}{}", &url[..at], &url[end..]);
        let left = Arc::new(AtomicUsize::new(times));
        let swallowing = left.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (target, left) = (target.clone(), swallowing.clone());
                thread::spawn(move || pass_on(client.unwrap(), &target, &left));
            }
        });
        Swallower { url, left }
    }
}

/// Passes one request on, and its answer back, or not.
fn pass_on(mut client: TcpStream, target: &str, left: &AtomicUsize) {
    let mut request = Vec::new();
    let mut bytes = [0; 1 << 16];
    let (head, length) = loop {
        let read = client.read(&mut bytes).unwrap_or(0);
        if read == 0 {
            return;
        }
        request.extend_from_slice(&bytes[..read]);
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap();
            break (end + 4, length.split("\r\n").next().unwrap().parse::<usize>().unwrap());
        }
    };
    while request.len() < head + length {
        let read = client.read(&mut bytes).unwrap();
        request.extend_from_slice(&bytes[..read]);
    }
    let mut server = TcpStream::connect(target).unwrap();
    let body = request.split_off(head);
    let request = String::from_utf8(request).unwrap().replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(request.as_bytes()).unwrap();
    server.write_all(&body).unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).unwrap();
    let is_insert = body.starts_with(b"INSERT INTO arrival");
    let take_one = |left: usize| left.checked_sub(1);
    if is_insert && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take_one).is_ok() {
        return;
    }
    let _ = client.write_all(&answer);
}

#[test]
fn a_batch_whose_answer_is_lost_counts_once() {
    let Some(server) = Server::start() else { return };
    let (place, end, mut random) = (Place::new("lost"), now(), Random(31));
    let records: Vec<Record> = (0..12_000).map(|_| examination::report(&mut random, end, 40)).collect();
    let swallower = Swallower::start(&server, 2);
    let store = place.open(&swallower.url);
    fill(&store, &records);
    wait_until_sent(&store);
    assert_eq!(swallower.left.load(Ordering::SeqCst), 0);
    assert_eq!(totals(&store), totals_of(&records));
}

/// A store that is closed, with reports on their way in an attempt that has begun and no more.
fn interrupted(place: &Place, server: &Server, records: &[Record]) -> (Client, String, Vec<Waiting>) {
    let store = place.open("http://127.0.0.1:1/trackalert");
    fill(&store, records);
    let (last, attempt) = (records.len() as i64, 1);
    store.journal.order(move |spool| spool.begin_attempt(last, attempt).map(|()| (0, false))).unwrap();
    let file = store.file.reader().unwrap();
    let (host, batch) = (spool::host(&file).unwrap(), spool::batch(&file, Some(last)).unwrap());
    assert_eq!(batch.len(), records.len());
    let client = Client::new(&ClickHouse::parse(&server.url()).unwrap(), &Tls::default()).unwrap();
    schema::make(&client).unwrap();
    (client, host, batch)
}

#[test]
fn what_some_tables_have_of_a_batch_goes_to_the_others() {
    let Some(server) = Server::start() else { return };
    let (place, end, mut random) = (Place::new("some"), now(), Random(37));
    let records: Vec<Record> = (0..3000).map(|_| examination::report(&mut random, end, 40)).collect();
    let (client, host, batch) = interrupted(&place, &server, &records);
    // All of two tables, and of two others what is of one partition.
    let day = batch[0].day;
    let has = |waiting: &Waiting| {
        let is_in = |table: Table| table.partition(waiting.day) == table.partition(day);
        let some = [Table::Visit, Table::Failure].into_iter().filter(|table| is_in(*table));
        some.chain([Table::Report, Table::Memory]).map(Table::bit).sum::<u8>()
    };
    let statement = sender::statement(&host, 3000, 1, &batch, |waiting| has(waiting)).unwrap();
    client.insert(statement.as_bytes(), "once").unwrap();
    let store = place.open(&server.url());
    wait_until_sent(&store);
    assert_eq!(totals(&store), totals_of(&records));
    examination::examine(&mut *store.reader().unwrap(), &mut Model(records), end);
}

#[test]
fn an_attempt_that_was_abandoned_may_come_late() {
    let Some(server) = Server::start() else { return };
    let (place, end, mut random) = (Place::new("late"), now(), Random(41));
    let records: Vec<Record> = (0..1000).map(|_| examination::report(&mut random, end, 14)).collect();
    let (client, host, batch) = interrupted(&place, &server, &records);
    let store = place.open(&server.url());
    wait_until_sent(&store);
    let late = sender::statement(&host, 1000, 1, &batch, |_| 31).unwrap();
    client.insert(late.as_bytes(), "late").unwrap();
    assert_eq!(totals(&store), totals_of(&records));
}

#[test]
fn a_batch_is_one_part_of_each_partition_however_many_logins_it_has() {
    let Some(server) = Server::start() else { return };
    let (place, t) = (Place::new("part"), f64::from(now()));
    // Each leads to nine rows of a table.
    let record = |n: u32| Record {
        t,
        login: format!("user{n}@example.com").into(),
        ip: Some(std::net::Ipv4Addr::from(n).into()),
        net: crate::store::record::net(std::net::Ipv4Addr::from(n).into(), (24, 64)),
        success: true,
        pwhash: format!("{n:x}").into(),
        device: format!("device {n}").into(),
        place: crate::store::record::Place { country: "DE".into(), asn: n + 1, ..Default::default() },
        protocol: "imap".into(),
        ..Record::default()
    };
    let records: Vec<Record> = (0..10_000).map(record).collect();
    let (client, host, batch) = interrupted(&place, &server, &records);
    let statement = sender::statement(&host, 10_000, 2, &batch, |_| 31).unwrap();
    client.insert(statement.as_bytes(), "whole").unwrap();
    #[derive(Deserialize)]
    struct Parts {
        parts: u64,
        blocks: u64,
    }
    let find =
        "SELECT count() AS parts, sum(max_block_number - min_block_number + 1) AS blocks FROM system.parts
        WHERE database = 'trackalert' AND active AND table != 'abandoned'";
    let found: Vec<Parts> = rows(&client.ask(find).unwrap()).unwrap();
    assert_eq!((found[0].parts, found[0].blocks), (5, 5));
}

#[test]
fn the_spool_outlives_a_restart_and_is_sent_in_order() {
    let Some(server) = Server::start() else { return };
    let (place, t) = (Place::new("restart"), f64::from(now()));
    let record =
        |n: u32| Record { t: t + f64::from(n), login: "joe".into(), success: true, ..Record::default() };
    let store = place.open("http://127.0.0.1:1/trackalert");
    fill(&store, &[record(1), record(2), record(3)]);
    store.has_run(2);
    drop(store);
    let store = place.open("http://127.0.0.1:1/trackalert");
    assert_eq!((store.backlog.rows(), store.trouble()), (3, None));
    assert!(store.status().is_err());
    let pending = store.pending(0, 10).unwrap();
    assert_eq!(pending.iter().map(|report| report.id).collect::<Vec<_>>(), [1, 3]);
    assert!(pending[0].body == b"{}" && pending[0].before.is_none());
    drop(store);
    let store = place.open(&server.url());
    fill(&store, &[record(4)]);
    let old: Vec<_> = store.pending(0, 10).unwrap().iter().map(|report| report.id).collect();
    assert_eq!(old, [1, 3], "what has come since runs anyway");
    wait_until_sent(&store);
    let status = store.status().unwrap();
    assert_eq!((status.queue, status.lag, status.oldest), (0, Duration::ZERO, Some(t + 1.0)));
    assert!(status.rows >= 4 && status.bytes > 0);
    let numbers = "SELECT t, number FROM report WHERE origin = '' ORDER BY number";
    #[derive(Deserialize, PartialEq, Debug)]
    struct Number {
        t: i64,
        number: u64,
    }
    let found: Vec<Number> = rows(&store.library.client.ask(numbers).unwrap()).unwrap();
    let expected = |number: u32| Number { t: row::micros(t + f64::from(number)), number: number.into() };
    assert_eq!(found, (1..=4).map(expected).collect::<Vec<_>>());
}

#[test]
fn a_full_spool_refuses_reports() {
    let place = Place::new("full");
    let mut settings = place.settings("http://127.0.0.1:1/trackalert");
    settings.room.rows = 3;
    let store = ClickHouseStore::open(settings, Arc::new(Stats::new())).unwrap();
    fill(&store, &vec![Record::default(); 3]);
    let refused = push(&store, Record::default(), None).recv().unwrap().err().unwrap().to_string();
    let why = "3 reports wait to be sent, which is as many as there may be";
    assert_eq!((refused, store.trouble()), (format!("store unavailable: {why}"), Some(why.to_owned())));
}

#[test]
fn a_login_that_is_forgotten_leaves_no_trace() {
    let Some(server) = Server::start() else { return };
    let (place, end, mut random) = (Place::new("forget"), now(), Random(43));
    let store = place.open(&server.url());
    let mut records: Vec<Record> = (0..2000).map(|_| examination::report(&mut random, end, 14)).collect();
    fill(&store, &records);
    wait_until_sent(&store);
    let own = records.iter().filter(|record| record.login == "user0@example.com").count() as u64;
    assert!(store.forget("user0@example.com").unwrap() > own);
    assert_eq!(store.forget("user0@example.com").unwrap(), 0);
    assert_eq!(store.forget("it's \\nobody").unwrap(), 0);
    records.retain(|record| record.login != "user0@example.com");
    let mut expected = totals_of(&records);
    // The platform has no names.
    expected[4] = totals(&store)[4];
    assert_eq!(totals(&store), expected);
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.profile("user0@example.com").unwrap(), None);
    assert!(reader.profile("user1@example.com").unwrap().is_some());
}

#[test]
fn what_is_old_is_given_back() {
    let Some(server) = Server::start() else { return };
    let (place, end, mut random) = (Place::new("old"), now(), Random(47));
    let store = place.open(&server.url());
    let mut all = Vec::new();
    for days in [0, 20, 50, 120, 300] {
        let at = end - days * DAY;
        all.extend((0..100).map(|_| examination::report(&mut random, at, 1)));
    }
    fill(&store, &all);
    wait_until_sent(&store);
    let retention = Retention { raw_days: 30, profile_days: 180 };
    schema::forget_old(&store.library.client, retention, end).unwrap();
    let left = |ages: usize| totals_of(&all[..ages * 100]);
    let expected = [left(2)[0], left(2)[1], left(4)[2], left(3)[3], left(3)[4]];
    assert_eq!(totals(&store), expected);
}

#[test]
fn a_password_of_a_stranger_is_a_value_like_any_other() {
    let Some(server) = Server::start() else { return };
    let (place, t) = (Place::new("hostile"), f64::from(now()));
    let store = place.open(&server.url());
    let record = |text: &str| Record {
        t,
        login: text.into(),
        success: true,
        pwhash: text.into(),
        device: text.into(),
        device_id: text.into(),
        session_id: text.into(),
        ..Record::default()
    };
    let records: Vec<Record> = quote::HOSTILE.map(record).to_vec();
    fill(&store, &records);
    wait_until_sent(&store);
    let (mut reader, mut model) = (store.reader().unwrap(), Model(records));
    for text in quote::HOSTILE {
        assert_eq!(reader.profile(text).unwrap(), model.profile(text).unwrap());
        for value in quote::HOSTILE {
            let seen = model.seen(text, Dimension::Device, value).unwrap();
            assert_eq!(reader.seen(text, Dimension::Device, value).unwrap(), seen, "{text:?} {value:?}");
        }
        let whose = Whose::Login(text.to_owned());
        let query = ReportQuery { whose, since: 0.0, success: None, limit: 10 };
        assert_eq!(reader.reports(&query).unwrap(), model.reports(&query).unwrap());
    }
}
