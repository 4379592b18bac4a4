//! What is remembered of a login: when it succeeded, from where, with which passwords, and how often
//! with each value of each dimension. One record of it is kept for each login.

use std::cmp::Reverse;
use std::sync::Arc;

use compact_str::{CompactString, ToCompactString, format_compact};
use serde::{Deserialize, Serialize};

use crate::store::aggregate::days::Days;
use crate::store::aggregate::stays::Stays;
use crate::store::query::{
    self, DAY, Dimension, HOUR, PLACES, PWHASHES, Profile, Pwhash, VALUES, Value, Visit,
};
use crate::store::record::{Outcome, Record, Seconds};

/// What is remembered of a login.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Of successes; 0 before the first.
    first: Seconds,
    last: Seconds,
    days: Days,
    stays: Stays,
    /// The latest first, one for each network.
    places: Vec<Visit>,
    pwhashes: Vec<Pwhash>,
    values: Vec<Count>,
}

/// How often a login had one value of a dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Count {
    /// Its place in [`Dimension::ALL`].
    dimension: u8,
    value: CompactString,
    ok: u32,
    fail: u32,
    days: Days,
    /// Of successes; 0 before the first.
    first: Seconds,
    last: Seconds,
    /// Of successes and failures.
    used: Seconds,
}

impl Memory {
    /// Remembers a report.
    pub fn apply(&mut self, record: &Record) {
        let (t, is_ok) = (record.seconds(), record.outcome() == Outcome::Ok);
        if record.outcome() == Outcome::Neither {
            return;
        }
        // Many come from there, so that it says nothing of one of them.
        let teaches_place = !(is_ok && record.is_shared);
        for dimension in Dimension::ALL {
            let value = value_of(record, dimension);
            if !value.is_empty() && (teaches_place || !is_place(dimension)) {
                self.count(dimension, value, t, is_ok);
            }
        }
        if is_ok {
            note(&mut self.first, &mut self.last, t);
            self.days.insert(t);
            self.stays.insert(t);
            if teaches_place {
                self.visit(record, t);
            }
            self.pass(&record.pwhash, t);
        }
    }

    fn count(&mut self, dimension: Dimension, value: CompactString, t: Seconds, is_ok: bool) {
        let dimension = dimension as u8;
        let found = self.values.iter().position(|count| count.dimension == dimension && count.value == value);
        let at = found.unwrap_or_else(|| {
            self.make_room(dimension);
            let (days, zero) = (Days::default(), 0);
            let (ok, fail, first, last) = (zero, zero, zero, zero);
            self.values.push(Count { dimension, value, ok, fail, days, first, last, used: 0 });
            self.values.len() - 1
        });
        let count = &mut self.values[at];
        count.used = count.used.max(t);
        if is_ok {
            count.ok = count.ok.saturating_add(1);
            count.days.insert(t);
            note(&mut count.first, &mut count.last, t);
        } else {
            count.fail = count.fail.saturating_add(1);
        }
    }

    /// Forgets the value of a dimension that was unused longest, if there are too many. Those without a
    /// success go first: whoever guesses from many places must not push out the places of the owner.
    fn make_room(&mut self, dimension: u8) {
        let of_it = || self.values.iter().enumerate().filter(|(_, count)| count.dimension == dimension);
        if of_it().count() >= VALUES
            && let Some((at, _)) = of_it().min_by_key(|(_, count)| (count.ok > 0, count.used))
        {
            self.values.swap_remove(at);
        }
    }

    fn visit(&mut self, record: &Record, t: Seconds) {
        let Some(net) = record.net else { return };
        let known = self.places.iter().position(|visit| visit.net == Some(net));
        if known.is_some_and(|at| self.places[at].t > t) {
            return;
        }
        known.into_iter().for_each(|at| drop(self.places.remove(at)));
        let place = &record.place;
        self.places.push(Visit {
            t,
            net: Some(net),
            coordinates: place.coordinates,
            radius: place.radius,
            country: place.country.clone(),
            asn: place.asn,
            device: record.device.clone(),
        });
        self.places.sort_by_key(|visit| Reverse(visit.t));
        self.places.truncate(PLACES);
    }

    fn pass(&mut self, pwhash: &CompactString, t: Seconds) {
        if pwhash.is_empty() {
            return;
        }
        match self.pwhashes.iter_mut().find(|known| known.pwhash == *pwhash) {
            Some(known) => note(&mut known.first, &mut known.last, t),
            None => self.pwhashes.push(Pwhash { pwhash: pwhash.clone(), first: t, last: t }),
        }
        self.pwhashes.sort_by_key(|known| Reverse(known.last));
        self.pwhashes.truncate(PWHASHES);
    }

    /// Forgets what was not used since. Whether anything is left.
    pub fn forget_before(&mut self, t: Seconds) -> bool {
        self.places.retain(|visit| visit.t >= t);
        self.pwhashes.retain(|known| known.last >= t);
        self.values.retain(|count| count.used >= t);
        self.last >= t || !self.values.is_empty()
    }

    pub fn profile(&self) -> Option<Profile> {
        let (since, since_days) = self.stays.latest();
        (self.last > 0).then(|| Profile {
            first: self.first,
            last: self.last,
            days: self.days.count(),
            since,
            since_days,
            places: self.places.clone(),
            pwhashes: self.pwhashes.clone(),
        })
    }

    pub fn seen(&self, dimension: Dimension, value: &str) -> Option<Value> {
        let is_it = |count: &&Count| count.dimension == dimension as u8 && count.value == value;
        self.values.iter().find(is_it).map(Count::value)
    }

    /// The one used last first.
    pub fn values(&self, dimension: Dimension) -> Vec<Value> {
        let mut counts: Vec<&Count> =
            self.values.iter().filter(|count| count.dimension == dimension as u8).collect();
        counts.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.value.cmp(&b.value)));
        counts.into_iter().map(Count::value).collect()
    }
}

impl Count {
    fn value(&self) -> Value {
        let when = |t: Seconds| (self.ok > 0).then_some(t);
        let (days, value) = (self.days.count(), self.value.clone());
        Value { value, ok: self.ok, fail: self.fail, days, first: when(self.first), last: when(self.last) }
    }
}

/// What was remembered of a login when a report came.
pub struct Snapshot {
    pub login: CompactString,
    pub memory: Arc<Memory>,
}

impl query::Memory for Snapshot {
    fn login(&self) -> &str {
        &self.login
    }

    fn profile(&self) -> Option<Profile> {
        self.memory.profile()
    }

    fn seen(&self, dimension: Dimension, value: &str) -> Option<Value> {
        self.memory.seen(dimension, value)
    }

    fn values(&self, dimension: Dimension) -> Vec<Value> {
        self.memory.values(dimension)
    }
}

/// Widens the span from `first` to `last`, which are 0 before there is one.
fn note(first: &mut Seconds, last: &mut Seconds, t: Seconds) {
    *first = if *last == 0 { t } else { t.min(*first) };
    *last = t.max(*last);
}

/// Whether a dimension says where somebody is.
fn is_place(dimension: Dimension) -> bool {
    matches!(dimension, Dimension::Country | Dimension::Asn | Dimension::Net)
}

/// The value that a report has in a dimension; empty when it is not known.
pub fn value_of(record: &Record, dimension: Dimension) -> CompactString {
    match dimension {
        Dimension::Country => record.place.country.clone(),
        Dimension::Asn if record.place.asn == 0 => CompactString::default(),
        Dimension::Asn => record.place.asn.to_compact_string(),
        Dimension::Net => record.net.map_or_else(CompactString::default, |net| net.to_compact_string()),
        Dimension::Device => record.device.clone(),
        Dimension::Protocol => record.protocol.clone(),
        Dimension::Hour => format_compact!("{:02}", record.seconds() % DAY / HOUR / 4 * 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::{Place, net};

    const NOON: f64 = 1_700_006_400.0;

    fn record(t: f64, ip: &str, success: bool, pwhash: &str) -> Record {
        let ip = ip.parse().unwrap();
        let place = Place { country: "DE".into(), asn: 64_500, ..Place::default() };
        Record {
            t,
            success,
            pwhash: pwhash.into(),
            ip: Some(ip),
            net: net(ip, (24, 64)),
            place,
            protocol: "imap".into(),
            ..Record::default()
        }
    }

    fn of(records: &[Record]) -> Memory {
        let mut memory = Memory::default();
        records.iter().for_each(|record| memory.apply(record));
        memory
    }

    #[test]
    fn successes_make_a_profile_and_failures_do_not() {
        let failure = record(NOON, "192.0.2.1", false, "bad");
        assert_eq!(of(std::slice::from_ref(&failure)).profile(), None);
        let day = f64::from(DAY);
        let memory = of(&[
            record(NOON, "192.0.2.1", true, "one"),
            failure,
            record(NOON + day, "198.51.100.1", true, "two"),
            record(NOON + 2.0 * day, "192.0.2.99", true, "one"),
        ]);
        let profile = memory.profile().unwrap();
        assert_eq!((profile.first, profile.last, profile.days), (NOON as u32, NOON as u32 + 2 * DAY, 3));
        let nets: Vec<String> = profile.places.iter().map(|visit| visit.net.unwrap().to_string()).collect();
        assert_eq!(nets, ["192.0.2.0/24", "198.51.100.0/24"]);
        let pwhashes: Vec<&str> = profile.pwhashes.iter().map(|known| known.pwhash.as_str()).collect();
        assert_eq!(pwhashes, ["one", "two"]);
        assert_eq!((profile.pwhashes[0].first, profile.pwhashes[0].last), (profile.first, profile.last));
    }

    #[test]
    fn each_value_has_its_counts() {
        let memory = of(&[
            record(NOON, "192.0.2.1", true, ""),
            record(NOON + 60.0, "192.0.2.2", false, ""),
            record(NOON + f64::from(DAY), "198.51.100.1", false, ""),
        ]);
        let (first, last) = (Some(NOON as u32), Some(NOON as u32));
        let home = Value { value: "192.0.2.0/24".into(), ok: 1, fail: 1, days: 1, first, last };
        let other = Value { value: "198.51.100.0/24".into(), fail: 1, ..Value::default() };
        assert_eq!(memory.seen(Dimension::Net, "192.0.2.0/24"), Some(home.clone()));
        assert_eq!(memory.values(Dimension::Net), [other, home]);
        assert_eq!(memory.seen(Dimension::Asn, "64500").unwrap().fail, 2);
        assert_eq!(memory.seen(Dimension::Hour, "00").unwrap().ok, 1);
        assert_eq!(memory.seen(Dimension::Country, "FR"), None);
        assert_eq!(memory.values(Dimension::Device), []);
    }

    #[test]
    fn a_success_from_where_many_come_from_teaches_no_place() {
        let shared = |t, success| Record { is_shared: true, ..record(t, "192.0.2.1", success, "one") };
        let memory = of(&[
            shared(NOON, true),
            shared(NOON + 60.0, false),
            record(NOON + 120.0, "198.51.100.1", true, "one"),
        ]);
        let profile = memory.profile().unwrap();
        let nets: Vec<String> = profile.places.iter().map(|visit| visit.net.unwrap().to_string()).collect();
        assert_eq!(nets, ["198.51.100.0/24"]);
        assert_eq!((profile.first, profile.pwhashes[0].first), (NOON as u32, NOON as u32));
        let counts = |dimension, value| memory.seen(dimension, value).map(|value| (value.ok, value.fail));
        assert_eq!(counts(Dimension::Net, "192.0.2.0/24"), Some((0, 1)), "a failure counts");
        assert_eq!(counts(Dimension::Country, "DE"), Some((1, 1)));
        assert_eq!(counts(Dimension::Asn, "64500"), Some((1, 1)));
        assert_eq!(counts(Dimension::Protocol, "imap"), Some((2, 1)));
        assert_eq!(counts(Dimension::Hour, "00"), Some((2, 1)));
    }

    #[test]
    fn guesses_from_many_places_do_not_push_out_the_owners() {
        let mut memory = of(&[record(NOON, "192.0.2.1", true, "")]);
        for number in 0..1000 {
            let ip = format!("10.{}.{}.1", number / 250, number % 250);
            memory.apply(&record(NOON + 60.0 + f64::from(number), &ip, false, ""));
        }
        assert_eq!(memory.values(Dimension::Net).len(), VALUES);
        assert_eq!(memory.seen(Dimension::Net, "192.0.2.0/24").unwrap().ok, 1);
        assert!(memory.seen(Dimension::Net, "10.3.249.0/24").is_some(), "the latest");
        assert!(memory.seen(Dimension::Net, "10.0.0.0/24").is_none(), "the earliest");
    }

    #[test]
    fn lists_keep_the_latest_in_any_order() {
        let mut records: Vec<Record> = (0..10)
            .map(|n| record(NOON + f64::from(n), &format!("10.0.{n}.1"), true, &format!("p{n}")))
            .collect();
        let profile = of(&records).profile().unwrap();
        assert_eq!((profile.places.len(), profile.pwhashes.len()), (PLACES, PWHASHES));
        assert_eq!(profile.pwhashes[0].pwhash, "p9");
        records.reverse();
        assert_eq!(of(&records).profile().unwrap().places, profile.places);
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let day = f64::from(DAY);
        let mut memory =
            of(&[record(NOON, "192.0.2.1", true, "old"), record(NOON + day, "198.51.100.1", true, "new")]);
        assert!(memory.forget_before((NOON + day) as u32));
        let profile = memory.profile().unwrap();
        assert_eq!((profile.places.len(), profile.pwhashes.len(), profile.days), (1, 1, 2));
        assert!(memory.seen(Dimension::Net, "192.0.2.0/24").is_none());
        assert!(!memory.forget_before((NOON + day) as u32 + 1), "nothing is left");
    }

    #[test]
    fn an_ordinary_login_is_small() {
        let mut memory = Memory::default();
        for day in 0..100 {
            for (hour, ip) in [(7, "192.0.2.1"), (12, "198.51.100.7"), (20, "192.0.2.1"), (21, "203.0.113.9")]
            {
                let t = NOON + f64::from(DAY * day + HOUR * hour);
                let device = "web/Windows/Firefox".into();
                memory.apply(&Record { device, ..record(t, ip, true, "cc04aa17") });
            }
        }
        let bytes = postcard::to_allocvec(&memory).unwrap();
        assert!(bytes.len() < 700, "{} bytes", bytes.len());
        let again: Memory = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(again.profile(), memory.profile());
    }
}
