//! A store that writes down what it is asked, and has one answer to each question.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;

use crate::error::{Error, Result};
use crate::store::query::{
    Dimension, LoginFailures, Memory, Part, PlatformCounts, Profile, Pwhash, Reader, ReportQuery, Source,
    SourceCounts, TopQuery, TopRow, Value, Visit, Window,
};
use crate::store::record::{Place, Record};
use crate::store::usual::Past;
use crate::store::{Arrival, Aside, History, Mark, Pending, Status, Store};

/// What a store was asked, and why it can't answer.
#[derive(Default)]
pub struct Log {
    pub asked: Vec<String>,
    pub closed: Option<&'static str>,
    pub broken: Option<fn() -> Error>,
}

#[derive(Clone, Default)]
pub struct Fake(pub Arc<Mutex<Log>>);

impl Fake {
    fn answer<T>(&self, question: String, answer: T) -> Result<T> {
        let mut log = self.0.lock();
        log.asked.push(question);
        log.broken.map_or(Ok(answer), |error| Err(error()))
    }

    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().asked)
    }
}

/// Nothing comes in.
impl Store for Fake {
    fn push(&self, _: Arrival) {}

    fn has_run(&self, _: i64) {}

    fn pending(&self, _: i64, _: u32) -> Result<Vec<Pending>> {
        Ok(Vec::new())
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    fn close(&self) {}

    fn change_aside(&self, _: Aside) -> Result<()> {
        Ok(())
    }

    fn read_aside(&self) -> Result<Connection> {
        Err(Error::Store("it has nothing aside".into()))
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        let mut log = self.0.lock();
        log.asked.push("open".into());
        match log.closed {
            Some(cause) => Err(Error::Store(cause.into())),
            None => Ok(Box::new(self.clone())),
        }
    }

    fn forget(&self, login: &str) -> Result<u64> {
        self.answer(format!("forget {login}"), 3)
    }

    fn backup(&self, path: &Path) -> Result<()> {
        self.answer(format!("backup {}", path.display()), ())
    }

    fn load(&self, _: History) {}

    fn marks(&self) -> Result<Vec<Mark>> {
        Ok(Vec::new())
    }

    fn each_report(&self, _: &mut dyn FnMut(&Record) -> Result<()>) -> Result<()> {
        Ok(())
    }

    fn status(&self) -> Result<Status> {
        let status =
            Status { rows: 5, bytes: 4096, oldest: Some(1e9), queue: 2, lag: Duration::from_millis(12) };
        self.answer("status".into(), status)
    }
}

fn profile() -> Profile {
    let place = Visit {
        t: 2,
        net: "192.0.2.0/24".parse().ok(),
        coordinates: Some((0.0, 10.5)),
        radius: 20,
        country: "DE".into(),
        asn: 64500,
        device: "imap/Mail".into(),
    };
    let places = vec![place, Visit { t: 1, ..Visit::default() }];
    let pwhashes = vec![Pwhash { pwhash: "ab12".into(), first: 1, last: 2 }];
    Profile { first: 1, last: 2, days: 2, since: 1, since_days: 2, places, pwhashes }
}

fn value(value: &str, last: Option<u32>) -> Value {
    Value { value: value.into(), ok: 1, fail: 2, days: 1, first: last, last }
}

impl Reader for Fake {
    fn profile(&mut self, login: &str) -> Result<Option<Profile>> {
        self.answer(format!("profile {login}"), (login != "stranger").then(profile))
    }

    fn seen(&mut self, login: &str, dimension: Dimension, of: &str) -> Result<Option<Value>> {
        self.answer(format!("seen {login} {dimension:?} {of}"), (of != "XX").then(|| value(of, Some(9))))
    }

    fn values(&mut self, login: &str, dimension: Dimension) -> Result<Vec<Value>> {
        self.answer(format!("values {login} {dimension:?}"), vec![value("FR", Some(9)), value("DE", None)])
    }

    fn login_failures(&mut self, login: &str, window: Window) -> Result<LoginFailures> {
        let counts = LoginFailures { attempts: 5, nets: 4, asns: 3, countries: 2, pwhashes: 1 };
        self.answer(format!("failures {login} {}-{}", window.start, window.end), counts)
    }

    fn source(&mut self, source: Source, window: Window) -> Result<SourceCounts> {
        let counts =
            SourceCounts { attempts: 9, ok: 1, unknown: 2, logins: 3, ok_logins: 1, spread: [2, 0, 0, 1, 0] };
        self.answer(format!("failures {source} {}-{}", window.start, window.end), counts)
    }

    fn usual(&mut self, source: Source, past: Past) -> Result<u64> {
        let Window { start, end } = past.whole();
        self.answer(format!("usual {source} {start}-{end} by {}", past.width()), 7)
    }

    fn reports(&mut self, query: &ReportQuery) -> Result<Vec<Record>> {
        let place = Place {
            country: "DE".into(),
            region: "BE".into(),
            coordinates: Some((52.5, 13.4)),
            radius: 5,
            asn: 7,
        };
        let record = Record {
            t: 1.5,
            login: "joe".into(),
            ip: "192.0.2.1".parse().ok(),
            success: true,
            protocol: "imap".into(),
            device: "imap/Mail".into(),
            place,
            net: "192.0.2.0/24".parse().ok(),
            is_shared: true,
            ..Record::default()
        };
        self.answer(format!("{query:?}"), vec![record, Record::default()])
    }

    fn top(&mut self, query: &TopQuery) -> Result<Vec<TopRow>> {
        self.answer(
            format!("{query:?}"),
            vec![TopRow { value: "192.0.2.1".into(), attempts: 9, ok: 0, logins: 5 }],
        )
    }

    fn platform(&mut self, part: Part, value: &str, window: Window) -> Result<PlatformCounts> {
        let counts = PlatformCounts { ok: 4, fail: 3, logins: 2, ips: 1 };
        self.answer(format!("platform {part:?} {value} {}-{}", window.start, window.end), counts)
    }
}

/// What was known before the report that runs.
pub struct Before;

impl Memory for Before {
    fn login(&self) -> &str {
        "joe"
    }

    fn profile(&self) -> Option<Profile> {
        Some(Profile { days: 7, since_days: 7, last: 999_999_000, ..Profile::default() })
    }

    fn seen(&self, _: Dimension, of: &str) -> Option<Value> {
        (of == "DE").then(|| Value { days: 3, ..value("DE", None) })
    }

    fn values(&self, _: Dimension) -> Vec<Value> {
        vec![value("DE", None)]
    }
}
