use super::*;
use crate::alert::book::Book;
use crate::alert::pen::Pen;
use crate::alert::{Alert, Severity};
use crate::stats::Stats;
use std::cell::{Cell, RefCell};

/// A file with alerts for two sinks, and who delivers them.
struct Site {
    archive: Arc<Archive>,
    stats: Stats,
    start: Instant,
}

const HOUR: f64 = 3600.0;

impl Site {
    fn new(alerts: u32) -> Site {
        let archive = Arc::new(Archive::new(None).unwrap());
        let (pen, book) = (Pen::default(), Mutex::new(Book::default()));
        pen.open(archive.clone());
        let sinks = ["a", "b"].map(Arc::from);
        let listeners = [(&sinks[0], Severity::Info), (&sinks[1], Severity::Info)];
        for number in 0..alerts {
            let rule = format!("rule{}", number / 200);
            let alert = Alert { t: f64::from(number), ..Alert::of(&rule, &format!("user{number}")) };
            assert!(book.lock().raise(&alert, &listeners).sent.is_some());
            pen.write(&book, f64::from(number)).unwrap();
        }
        Site { archive, stats: Stats::new(), start: Instant::now() }
    }

    fn round(&self, sink: &str) -> Round {
        let office = Office {
            archive: self.archive.clone(),
            complaints: Arc::default(),
            deliveries: self.stats.metrics.alert_deliveries.clone(),
        };
        let waiting = self.stats.metrics.alert_outbox.with_label_values(&[sink]);
        waiting.set(self.left(sink) as i64);
        Round::new(sink.into(), office, waiting)
    }

    fn left(&self, sink: &str) -> u64 {
        self.archive.read(|file| outbox::count(file, sink)).unwrap()
    }

    fn count(&self, status: &str) -> u64 {
        self.stats.metrics.alert_deliveries.with_label_values(&["a", status]).get()
    }

    /// Lets a courier work by a clock of its own, from a second to another; its times are those of the
    /// alerts. When it has nothing to do the clock goes on to when it has.
    fn run(
        &self,
        round: &mut Round,
        from: f64,
        to: f64,
        deliver: &dyn Fn(f64, &Parcel) -> std::result::Result<(), Failure>,
    ) {
        let mut now = from;
        while now < to {
            let instant = self.start + Duration::from_secs_f64(now);
            match round.step(instant, now, &|parcel| deliver(now, parcel)) {
                Step::More => {}
                Step::Wait(Some(until)) => now = (until - self.start).as_secs_f64().max(now),
                Step::Wait(None) => return,
            }
        }
    }
}

fn login(parcel: &Parcel) -> String {
    parcel.json()["login"].as_str().unwrap().to_owned()
}

#[test]
fn an_hour_without_a_receiver_and_two_deaths_lose_nothing() {
    let site = Site::new(1000);
    let (got, attempts) = (RefCell::new(Vec::new()), Cell::new(0));
    let deliver = |now: f64, parcel: &Parcel| {
        attempts.set(attempts.get() + 1);
        if now < HOUR {
            return Err(Failure::Receiver("451 not now".into()));
        }
        got.borrow_mut().push(login(parcel));
        if got.borrow().len() % 333 == 0 {
            // The process ends between the delivery and what it writes of that.
            return Err(Failure::Receiver("killed".into()));
        }
        Ok(())
    };
    site.run(&mut site.round("a"), 0.0, 2000.0, &deliver);
    // Each life has plans of its own.
    site.run(&mut site.round("a"), 2000.0, 5.0 * HOUR, &deliver);
    assert_eq!((site.left("a"), site.left("b")), (0, 1000), "the other sink has its own");
    let got = got.into_inner();
    let mut once = got.clone();
    once.dedup();
    assert_eq!(once, (0..1000).map(|number| format!("user{number}")).collect::<Vec<_>>(), "in their order");
    assert!(got.len() - once.len() <= 10, "{} came twice", got.len() - once.len());
    let failures = attempts.get() - 1000;
    assert!(failures < 40, "{failures} attempts in vain within an hour");
    assert_eq!(site.stats.metrics.alert_outbox.with_label_values(&["a"]).get(), 0);
}

#[test]
fn a_message_that_is_refused_does_not_hold_up_the_others() {
    let site = Site::new(3);
    let got = RefCell::new(Vec::new());
    let deliver = |now: f64, parcel: &Parcel| {
        got.borrow_mut().push((now as u64, login(parcel)));
        if login(parcel) == "user0" && now < 150.0 { Err(Failure::Message("550".into())) } else { Ok(()) }
    };
    site.run(&mut site.round("a"), 0.0, HOUR, &deliver);
    let expected = [(0, "user0"), (0, "user1"), (0, "user2"), (60, "user0"), (180, "user0")];
    assert_eq!(got.into_inner(), expected.map(|(at, login)| (at, login.to_owned())));
    assert_eq!((site.left("a"), site.count("ok"), site.count("error")), (0, 3, 2));
}

#[test]
fn what_can_not_be_delivered_for_two_days_is_given_up() {
    let site = Site::new(1000);
    let deliver = |_: f64, _: &Parcel| Err(Failure::Receiver("connection refused".into()));
    site.run(&mut site.round("a"), 1000.0, PATIENCE - 600.0, &deliver);
    assert_eq!((site.left("a"), site.count("given-up")), (1000, 0));
    site.run(&mut site.round("a"), PATIENCE - 600.0, PATIENCE + 2000.0, &deliver);
    assert_eq!((site.left("a"), site.count("given-up")), (0, 1000));
    // A message that nobody takes ends as well.
    let site = Site::new(2);
    let deliver = |_: f64, parcel: &Parcel| match login(parcel).as_str() {
        "user0" => Err(Failure::Message("550".into())),
        _ => Ok(()),
    };
    site.run(&mut site.round("a"), 1.0, PATIENCE + 3.0 * HOUR, &deliver);
    assert_eq!((site.left("a"), site.count("ok"), site.count("given-up")), (0, 1, 1));
    assert!(site.count("error") < 40, "{}", site.count("error"));
}

#[test]
fn a_sink_that_panics_is_tried_again() {
    let site = Site::new(1);
    let calls = Cell::new(0);
    let deliver = |_: f64, _: &Parcel| {
        calls.set(calls.get() + 1);
        assert!(calls.get() > 1, "on purpose");
        Ok(())
    };
    site.run(&mut site.round("a"), 0.0, HOUR, &deliver);
    assert_eq!((site.left("a"), calls.get()), (0, 2));
}
