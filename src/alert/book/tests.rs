use super::*;
use crate::alert::silence::Silence;
use std::time::Duration;

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;

/// A book, and an alert that is raised in it again and again.
struct Site {
    book: Book,
    alert: Alert,
}

impl Site {
    fn new() -> Site {
        let alert = Alert { realert: Duration::from_secs(3600), ..Alert::of("spray", "joe") };
        Site { book: Book::default(), alert }
    }

    fn raise(&mut self, t: f64) -> Verdict {
        self.alert.t = t;
        let (ops, all) = (Arc::from("ops"), Arc::from("all"));
        self.book.raise(&self.alert, &[(&ops, Severity::High), (&all, Severity::Info)])
    }

    /// Whether it is sent at `t`.
    fn sends(&mut self, t: f64) -> bool {
        self.raise(t).sent.is_some()
    }

    fn row(&mut self) -> Row {
        let changes = self.book.take_changes();
        let rows = changes.into_iter().filter_map(|change| match change {
            Change::Put(row, _) => Some(*row),
            _ => None,
        });
        rows.last().unwrap()
    }
}

#[test]
fn a_repetition_is_counted_and_sent_after_pauses_that_double() {
    let mut site = Site::new();
    let sent: Vec<u32> =
        (0..40 * 60).step_by(10).filter(|minute| site.sends(60.0 * f64::from(*minute))).collect();
    assert_eq!(sent, [0, 60, 180, 420, 900, 1860], "minutes");
    let row = site.row();
    assert_eq!((row.id, row.first, row.sent, row.pause), (1, 0.0, Some(1860.0 * 60.0), 32.0 * HOUR));
    let verdict = site.raise(40.0 * HOUR);
    assert_eq!(verdict, Verdict { outcome: Outcome::Suppressed, sent: None, is_storm: false });
    let count = Change::Count { id: 1, count: 241, last: 40.0 * HOUR, state: State::Open };
    assert_eq!(site.book.take_changes(), [count]);
    assert_eq!(site.book.take_changes(), []);
}

#[test]
fn what_the_file_hears_is_in_the_order_of_the_decisions() {
    let mut site = Site::new();
    site.raise(0.0);
    site.raise(1.0);
    site.alert.severity = Severity::Critical;
    site.raise(HOUR);
    let changes = site.book.take_changes();
    let sinks: Vec<usize> = changes
        .iter()
        .map(|change| match change {
            Change::Put(_, sinks) => sinks.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sinks, [1, 2], "only what is bad enough for them");
    // What could not be written comes again before what is new.
    site.book.put_back(changes.clone());
    site.raise(HOUR + 1.0);
    let again = site.book.take_changes();
    assert_eq!((&again[..2], again.len()), (&changes[..], 3));
}

#[test]
fn it_is_over_after_a_quiet_time_and_begins_anew() {
    let mut site = Site::new();
    assert!(site.sends(0.0) && site.sends(HOUR) && !site.sends(2.0 * HOUR));
    assert_eq!(site.raise(2.0 * HOUR + DAY + 1.0).sent, Some((2, 1)));
    let row = site.row();
    assert_eq!((row.first, row.pause), (2.0 * HOUR + DAY + 1.0, HOUR));
    // A long pause keeps it open for longer.
    site.alert.realert = Duration::from_secs(30 * 86_400);
    site.alert.key = "ann".into();
    assert!(site.sends(0.0) && !site.sends(30.0 * DAY - 1.0) && site.sends(30.0 * DAY));
    assert!(!site.sends(59.0 * DAY));
}

#[test]
fn one_that_somebody_knows_of_is_counted_until_it_is_closed() {
    let mut site = Site::new();
    site.raise(0.0);
    let row = site.row();
    site.book.set_state(&row, State::Acknowledged);
    assert_eq!(site.raise(10.0 * HOUR).outcome, Outcome::Suppressed);
    let count = Change::Count { id: 1, count: 2, last: 10.0 * HOUR, state: State::Acknowledged };
    assert_eq!(site.book.take_changes(), [Change::State { id: 1, state: State::Acknowledged }, count]);
    site.book.set_state(&row, State::Closed);
    assert_eq!(site.raise(11.0 * HOUR).sent, Some((2, 1)));
    // A number of the past changes nothing of what is open now.
    site.book.set_state(&row, State::Acknowledged);
    assert!(site.sends(12.0 * HOUR));
    // One that was forgotten meanwhile is remembered again.
    let mut other = Site::new();
    other.book.set_state(&row, State::Acknowledged);
    assert!(!other.sends(2.0 * HOUR));
}

#[test]
fn a_silence_counts_and_what_comes_after_it_is_sent() {
    let mut site = Site::new();
    for key in ["joe", "*"] {
        site.book.silences.set(Silence { rule: "spray".into(), key: key.into(), until: 100.0 });
        site.book.silences.remove("spray", if key == "*" { "joe" } else { "" });
        site.alert.key = key.replace('*', "ann");
        assert_eq!(site.raise(1.0).outcome, Outcome::Silenced);
        assert_eq!(site.raise(99.0).outcome, Outcome::Silenced);
        let row = site.row();
        assert_eq!((row.state, row.sent), (State::Silenced, None));
        let verdict = site.raise(100.0);
        assert_eq!((verdict.outcome, verdict.sent.unwrap().1), (Outcome::Sent, 3));
        let row = site.row();
        assert_eq!((row.state, row.pause), (State::Open, HOUR));
    }
}

#[test]
fn a_dry_run_is_as_seldom_and_stands_in_nobodys_way() {
    let mut site = Site::new();
    site.alert.is_dry = true;
    assert_eq!(site.raise(0.0), Verdict { outcome: Outcome::DryRun, sent: Some((0, 1)), is_storm: false });
    assert_eq!(site.raise(1.0), Verdict { outcome: Outcome::DryRun, sent: None, is_storm: false });
    assert_eq!(site.book.take_changes(), []);
    site.alert.is_dry = false;
    assert!(site.sends(2.0) && !site.sends(3.0));
    site.alert.is_dry = true;
    assert!(!site.sends(4.0));
}

#[test]
fn a_storm_is_counted_until_it_is_over() {
    let mut site = Site::new();
    let mut raise = |key: u32, t: f64| {
        site.alert.key = key.to_string();
        site.raise(t)
    };
    for key in 0..200 {
        assert_eq!(raise(key, f64::from(key)).outcome, Outcome::Sent);
    }
    let held = Verdict { outcome: Outcome::Suppressed, sent: None, is_storm: true };
    assert_eq!(raise(200, 200.0), held);
    // A repetition of one that was sent is no part of the storm until it is due.
    assert_eq!(raise(0, 300.0), Verdict { is_storm: false, ..held });
    assert_eq!(raise(199, 3599.0), Verdict { is_storm: false, ..held });
    assert_eq!(raise(201, 3599.0), held);
    assert_eq!(raise(201, 3600.0).outcome, Outcome::Sent, "the first is an hour old");
    assert_eq!(raise(202, 3600.0), held);
    let rows = site.book.take_changes().len();
    assert_eq!(rows, 200 + 1 + 2, "what was held back has no row");
    let storm = Alert::of(STORM, "spray");
    (0..300).for_each(|key| {
        let alert = Alert { key: key.to_string(), ..storm.clone() };
        assert!(site.book.raise(&alert, &[]).sent.is_some());
    });
}

#[test]
fn what_the_file_has_goes_on() {
    let mut site = Site::new();
    site.raise(0.0);
    site.raise(HOUR);
    let row = site.row();
    let mut later = Site::new();
    later.book.begin_after(7);
    later.book.remember(&row);
    assert!(!later.sends(2.0 * HOUR) && later.sends(3.0 * HOUR));
    later.alert.key = "other".into();
    assert_eq!(later.raise(3.0 * HOUR).sent, Some((8, 1)));
    // So does a storm.
    let mut stormy = Site::new();
    for key in 0..200 {
        stormy.book.remember(&Row { key: key.to_string(), sent: Some(f64::from(key)), ..row.clone() });
    }
    assert!(stormy.raise(200.0).is_storm);
}

#[test]
fn what_waits_for_the_file_has_an_end() {
    let mut site = Site::new();
    for number in 0..MOST as i64 + 3 {
        site.book.push(Change::State { id: number, state: State::Closed });
    }
    let changes = site.book.take_changes();
    assert_eq!(
        (changes[0].clone(), site.book.take_lost()),
        (Change::State { id: 3, state: State::Closed }, 3)
    );
    site.book.push(Change::State { id: -1, state: State::Closed });
    site.book.put_back(changes);
    assert_eq!((site.book.take_lost(), site.book.take_changes().len()), (1, MOST));
}
