use super::*;
use crate::store::FileStore;
use crate::store::trial::{Folder, LIMITS, RETENTION};

#[test]
fn whoever_observes_hears_what_would_be_sent_and_nobody_else() {
    let heard = Arc::<Mutex<Vec<Alert>>>::default();
    let hear = heard.clone();
    let alerts = Alerts::observe(move |alert| hear.lock().push(alert.clone()));
    for number in 0..300 {
        for is_dry in [false, true] {
            let alert =
                Alert { t: f64::from(number), is_dry, ..Alert::of("spray", &format!("user{number}")) };
            alerts.raise(alert.clone());
            alerts.raise(alert);
        }
    }
    let heard = heard.lock();
    let of = |rule: &str, is_dry| {
        heard.iter().filter(|alert| alert.rule == rule && alert.is_dry == is_dry).count()
    };
    assert_eq!([false, true].map(|is_dry| of("spray", is_dry)), [200, 200]);
    assert_eq!([false, true].map(|is_dry| of(STORM, is_dry)), [1, 1]);
    assert_eq!(heard.iter().find(|alert| alert.rule == STORM).unwrap().key, "spray");
    assert_eq!(alerts.book.lock().take_changes(), []);
}

fn open(store: Option<Arc<dyn Store>>) -> Arc<Alerts> {
    let alerts = Arc::new(Alerts::new(&Stats::new()));
    alerts.open(store).unwrap();
    alerts
}

fn store(folder: &Folder) -> Arc<dyn Store> {
    let stats = Arc::new(Stats::new());
    Arc::new(FileStore::open(&folder.join("reports.db"), LIMITS, RETENTION, stats).unwrap())
}

fn all() -> Filter {
    Filter { limit: 10_000, ..Filter::default() }
}

#[test]
fn operators_look_at_them_and_say_what_they_know() {
    let alerts = open(None);
    let alert = Alert { t: courier::clock(), ..Alert::of("spray", "joe") };
    assert_eq!(alerts.raise(alert.clone()), Outcome::Sent);
    assert_eq!(alerts.raise(alert.clone()), Outcome::Suppressed);
    let rows = alerts.list(&all()).unwrap();
    assert_eq!((rows.len(), rows[0].count, rows[0].state.name()), (1, 2, "open"));
    alerts.acknowledge(rows[0].id).unwrap();
    assert_eq!(alerts.list(&all()).unwrap()[0].state.name(), "acknowledged");
    alerts.close_one(1).unwrap();
    for (id, error) in [(1, "alert 1 is closed"), (9, "no alert named \"9\"")] {
        assert_eq!(alerts.acknowledge(id).unwrap_err().to_string(), error);
        assert_eq!(alerts.close_one(id).unwrap_err().to_string(), error);
    }
    assert_eq!(alerts.raise(alert.clone()), Outcome::Sent, "another one");
    let silence = Silence { rule: "spray".into(), key: "*".into(), until: alert.t + 100.0 };
    alerts.silence(silence.clone()).unwrap();
    assert_eq!(alerts.raise(alert.clone()), Outcome::Silenced);
    assert_eq!(alerts.silences(), [silence]);
    alerts.unsilence("spray", "*").unwrap();
    let error = alerts.unsilence("spray", "*").unwrap_err().to_string();
    assert_eq!(error, "there is no silence of rule \"spray\" and key \"*\"");
    assert_eq!(alerts.raise(alert.clone()), Outcome::Suppressed);
    alerts.forget("joe").unwrap();
    assert_eq!(alerts.list(&all()).unwrap(), []);
    assert_eq!(alerts.raise(alert), Outcome::Sent, "nothing is known of it any more");
    alerts.close();
}

#[test]
fn a_store_keeps_them_over_restarts() {
    let place = Folder::new("alerts");
    let t = courier::clock();
    let alert = Alert { t, ..Alert::of("spray", "joe") };
    let first = open(Some(store(&place)));
    assert_eq!(first.raise(alert.clone()), Outcome::Sent);
    first.raise(alert.clone());
    first.silence(Silence { rule: "travel".into(), key: "*".into(), until: t + 1000.0 }).unwrap();
    first.close();
    drop(first);
    let second = open(Some(store(&place)));
    assert_eq!(second.raise(alert.clone()), Outcome::Suppressed);
    assert_eq!(second.raise(Alert { t, ..Alert::of("travel", "joe") }), Outcome::Silenced);
    let rows = second.list(&all()).unwrap();
    assert_eq!(rows.iter().map(|row| (row.id, row.count)).collect::<Vec<_>>(), [(2, 1), (1, 3)]);
    second.close();
}

#[test]
fn ten_thousand_repetitions_are_decided_in_memory() {
    let alerts = open(None);
    let alert = Alert { t: courier::clock(), ..Alert::of("spray", "joe") };
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (alerts, alert) = (alerts.clone(), alert.clone());
            std::thread::spawn(move || {
                (0..2500).filter(|_| alerts.raise(alert.clone()) == Outcome::Sent).count()
            })
        })
        .collect();
    assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 1);
    assert_eq!(alerts.list(&all()).unwrap()[0].count, 10_000);
    alerts.close();
}

#[test]
fn what_was_blocked_can_be_taken_back_after_the_alert_has_closed_by_itself() {
    let alerts = open(None);
    let alert = Alert { t: courier::clock(), ..Alert::of("spray", "joe") };
    assert_eq!(alerts.raise(alert), Outcome::Sent);
    let file = alerts.pen.file().unwrap();
    let waiting = || file.read(|file| outbox::count(file, "wforce:x")).unwrap();
    let (sink, at) = (Arc::<str>::from("wforce:x"), courier::clock());
    let entry = blocked::Entry { id: 1, sink, alert: 1, source: "192.0.2.1".into(), at, until: at + 3600.0 };
    file.change(move |file| blocked::enter(file, &entry, 9).map(drop)).unwrap();
    file.change(|file| rows::close_over(file, 1e12)).unwrap();
    alerts.close_one(1).unwrap();
    assert_eq!(waiting(), 1);
    let parcel = file.read(|file| outbox::after(file, "wforce:x", 0)).unwrap().unwrap();
    assert_eq!(parcel.json(), json!({ "type": outbox::TAKE_BACK, "id": 1 }));
    file.change(move |file| blocked::end(file, "wforce:x", 1, "192.0.2.1", at)).unwrap();
    assert_eq!(alerts.close_one(1).unwrap_err().to_string(), "alert 1 is closed");
    assert_eq!(waiting(), 1);
    alerts.close();
}
