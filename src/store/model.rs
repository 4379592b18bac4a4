//! What a store should answer, in the plainest way: every report in a list, and each question answered
//! by reading all of it. Tests hold the stores against it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::error::Result;
use crate::store::aggregate::memory::value_of;
use crate::store::habit::ABSENCE;
use crate::store::query::{
    By, DAY, Dimension, LoginFailures, Part, PlatformCounts, Profile, Pwhash, Reader, ReportQuery, Source,
    SourceCounts, TopQuery, TopRow, Value, Visit, Whose, Window,
};
use crate::store::record::{Outcome, Record};
use crate::store::usual::Past;

/// Every report, in the order of arrival.
#[derive(Default)]
pub struct Model(pub Vec<Record>);

impl Model {
    fn of<'a>(&'a self, login: &'a str) -> impl Iterator<Item = &'a Record> + 'a {
        self.0.iter().filter(move |record| record.login == login && record.outcome() != Outcome::Neither)
    }

    fn within(&self, window: Window) -> impl Iterator<Item = &Record> {
        let is_in = move |record: &&Record| (window.start..window.end).contains(&record.seconds());
        self.0.iter().filter(is_in).filter(|record| record.outcome() != Outcome::Neither)
    }
}

fn is_fail(record: &Record) -> bool {
    matches!(record.outcome(), Outcome::Fail { .. })
}

fn distinct<T: std::hash::Hash + Eq>(values: impl Iterator<Item = T>) -> u64 {
    values.collect::<HashSet<T>>().len() as u64
}

/// The logins that failed, and those that did not.
fn logins(records: &[&Record]) -> (HashMap<String, u32>, HashSet<String>) {
    let (mut failed, mut passed) = (HashMap::new(), HashSet::new());
    for record in records {
        if is_fail(record) {
            *failed.entry(record.login.to_string()).or_default() += 1;
        } else {
            passed.insert(record.login.to_string());
        }
    }
    (failed, passed)
}

/// A source and its reports.
fn is_from(record: &Record, source: Source) -> bool {
    match source {
        Source::Ip(ip) => record.ip == Some(ip),
        Source::Net(net) => record.net == Some(net),
    }
}

/// The value that a report has in a part of the platform.
fn part_of(record: &Record, part: Part) -> String {
    let dimension = match part {
        Part::All => return String::new(),
        Part::Country => Dimension::Country,
        Part::Asn => Dimension::Asn,
        Part::Protocol => Dimension::Protocol,
        Part::Device => Dimension::Device,
    };
    value_of(record, dimension).to_string()
}

impl Reader for Model {
    fn profile(&mut self, login: &str) -> Result<Option<Profile>> {
        let passed: Vec<&Record> = self.of(login).filter(|record| record.success).collect();
        let times = || passed.iter().map(|record| record.seconds());
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(None) };
        let mut sorted: Vec<u32> = times().collect();
        sorted.sort();
        let after = sorted.windows(2).rposition(|pair| pair[1] - pair[0] >= ABSENCE).map_or(0, |at| at + 1);
        let days = |times: &[u32]| distinct(times.iter().map(|t| t / DAY)) as u32;
        let (days, since, since_days) = (days(&sorted), sorted[after], days(&sorted[after..]));
        let (mut places, mut pwhashes) = (BTreeMap::new(), BTreeMap::new());
        for record in &passed {
            let t = record.seconds();
            if record.net.is_some() && !record.is_shared {
                let place = &record.place;
                let visit = Visit {
                    t,
                    net: record.net,
                    coordinates: place.coordinates,
                    radius: place.radius,
                    country: place.country.clone(),
                    asn: place.asn,
                    device: record.device.clone(),
                };
                let latest: &mut Visit = places.entry(record.net).or_insert_with(|| visit.clone());
                if t >= latest.t {
                    *latest = visit;
                }
            }
            if !record.pwhash.is_empty() {
                let pwhash = record.pwhash.clone();
                let known = pwhashes.entry(pwhash.clone()).or_insert(Pwhash { pwhash, first: t, last: t });
                (known.first, known.last) = (known.first.min(t), known.last.max(t));
            }
        }
        let (mut places, mut pwhashes): (Vec<Visit>, Vec<Pwhash>) =
            (places.into_values().collect(), pwhashes.into_values().collect());
        places.sort_by_key(|visit| Reverse(visit.t));
        places.truncate(4);
        pwhashes.sort_by_key(|known| Reverse(known.last));
        pwhashes.truncate(6);
        Ok(Some(Profile { first, last, days, since, since_days, places, pwhashes }))
    }

    fn seen(&mut self, login: &str, dimension: Dimension, value: &str) -> Result<Option<Value>> {
        Ok(self.values(login, dimension)?.into_iter().find(|found| found.value == value))
    }

    fn values(&mut self, login: &str, dimension: Dimension) -> Result<Vec<Value>> {
        let mut records = BTreeMap::<_, Vec<&Record>>::new();
        for record in self.of(login) {
            let value = value_of(record, dimension);
            let is_place = matches!(dimension, Dimension::Country | Dimension::Asn | Dimension::Net);
            let teaches = !(is_place && record.success && record.is_shared);
            if teaches && !value.is_empty() {
                records.entry(value).or_default().push(record);
            }
        }
        let mut values: Vec<(u32, Value)> = Vec::new();
        for (value, records) in records {
            let passed = || records.iter().filter(|record| record.success).map(|record| record.seconds());
            let used = records.iter().map(|record| record.seconds()).max().unwrap();
            values.push((
                used,
                Value {
                    value,
                    ok: passed().count() as u32,
                    fail: (records.len() - passed().count()) as u32,
                    days: distinct(passed().map(|t| t / DAY)) as u32,
                    first: passed().min(),
                    last: passed().max(),
                },
            ));
        }
        values.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.value.cmp(&b.1.value)));
        Ok(values.into_iter().map(|(_, value)| value).collect())
    }

    fn login_failures(&mut self, login: &str, window: Window) -> Result<LoginFailures> {
        let failed: Vec<&Record> =
            self.within(window).filter(|record| record.login == login && is_fail(record)).collect();
        let count = |dimension| {
            let values = failed.iter().map(|record| value_of(record, dimension));
            distinct(values.filter(|value| !value.is_empty()))
        };
        Ok(LoginFailures {
            attempts: failed.len() as u64,
            nets: count(Dimension::Net),
            asns: count(Dimension::Asn),
            countries: count(Dimension::Country),
            pwhashes: distinct(failed.iter().map(|record| &record.pwhash).filter(|hash| !hash.is_empty())),
        })
    }

    fn source(&mut self, source: Source, window: Window) -> Result<SourceCounts> {
        let records: Vec<&Record> = self.within(window).filter(|record| is_from(record, source)).collect();
        let (failed, passed) = logins(&records);
        let mut spread = [0; 5];
        for count in failed.values() {
            spread[[1, 2, 3, 5, 9].iter().rposition(|least| count >= least).unwrap()] += 1;
        }
        let unknown = Outcome::Fail { is_unknown: true };
        Ok(SourceCounts {
            attempts: records.iter().filter(|record| is_fail(record)).count() as u64,
            ok: records.iter().filter(|record| record.success).count() as u64,
            unknown: records.iter().filter(|record| record.outcome() == unknown).count() as u64,
            logins: failed.len() as u64,
            ok_logins: passed.len() as u64,
            spread,
        })
    }

    fn usual(&mut self, source: Source, past: Past) -> Result<u64> {
        let counts = past.windows().map(|window| self.source(source, window).unwrap().logins).collect();
        Ok(past.usual(counts))
    }

    fn reports(&mut self, query: &ReportQuery) -> Result<Vec<Record>> {
        let is_asked = |record: &&Record| {
            let is_whose = match &query.whose {
                Whose::Login(login) => record.login == login.as_str(),
                Whose::Ip(ip) => record.ip == Some(*ip),
            };
            is_whose
                && record.t >= query.since
                && query.success.is_none_or(|success| success == record.success)
        };
        let mut records: Vec<Record> = self.0.iter().filter(is_asked).cloned().collect();
        records.sort_by(|a, b| b.t.total_cmp(&a.t));
        records.truncate(query.limit);
        Ok(records)
    }

    fn top(&mut self, query: &TopQuery) -> Result<Vec<TopRow>> {
        let (window, part) = match query.by {
            By::Ip | By::Net | By::Login => (query.window, None),
            By::Asn => (query.window.in_hours(), Some(Part::Asn)),
            By::Country => (query.window.in_hours(), Some(Part::Country)),
            By::Device => (query.window.in_hours(), Some(Part::Device)),
        };
        let mut records = BTreeMap::<String, Vec<&Record>>::new();
        for record in self.within(window) {
            let value = match query.by {
                By::Ip => record.ip.map(|ip| ip.to_string()).unwrap_or_default(),
                By::Net => record.net.map(|net| net.to_string()).unwrap_or_default(),
                By::Login if record.success => continue,
                By::Login => record.login.to_string(),
                By::Asn | By::Country | By::Device => part_of(record, part.unwrap()),
            };
            if !value.is_empty() {
                records.entry(value).or_default().push(record);
            }
        }
        let mut rows = Vec::new();
        for (value, records) in records {
            let attempts = records.iter().filter(|record| is_fail(record)).count() as u64;
            let ok = records.len() as u64 - attempts;
            let (failed, passed) = logins(&records);
            let logins = match (part, query.success) {
                (Some(_), _) => distinct(records.iter().map(|record| &record.login)),
                (None, Some(true)) => passed.len() as u64,
                (None, _) => failed.len() as u64,
            };
            let count = match query.success {
                Some(true) => ok,
                Some(false) => attempts,
                None => ok + attempts,
            };
            if count > 0 && logins >= query.min_logins {
                rows.push((Reverse(count), TopRow { value, attempts, ok, logins }));
            }
        }
        rows.sort_by(|a, b| (a.0, &a.1.value).cmp(&(b.0, &b.1.value)));
        rows.truncate(query.limit);
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    fn platform(&mut self, part: Part, value: &str, window: Window) -> Result<PlatformCounts> {
        let records: Vec<&Record> = self
            .within(window.in_hours())
            .filter(|record| part == Part::All || part_of(record, part) == value)
            .collect();
        let fail = records.iter().filter(|record| is_fail(record)).count() as u64;
        Ok(PlatformCounts {
            ok: records.len() as u64 - fail,
            fail,
            logins: distinct(records.iter().map(|record| &record.login)),
            ips: distinct(records.iter().filter_map(|record| record.ip)),
        })
    }
}
