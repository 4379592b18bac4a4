//! Random reports, and every question about them, put to a store and to the model.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::store::habit::ABSENCE;
use crate::store::model::Model;
use crate::store::query::{
    By, DAY, Dimension, LONG_HOURS, Part, Reader, ReportQuery, SOURCE_HOURS, Source, TopQuery, Whose, Window,
};
use crate::store::record::{Place, Record, net};
use crate::store::usual::Past;

/// Numbers that look random and are the same in every run (xorshift).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}

const LOGINS: u64 = 40;

/// So many random reports of the two weeks before `end`, or as many as STORE_REPORTS says.
pub fn reports(random: &mut Random, end: u32, usual: usize) -> Vec<Record> {
    let count = std::env::var("STORE_REPORTS").map_or(usual, |count| count.parse().unwrap());
    (0..count).map(|_| report(random, end, 14)).collect()
}

/// A random report from the days before `end`.
pub fn report(random: &mut Random, end: u32, days: u32) -> Record {
    let t = f64::from(end) - random.below(u64::from(days * DAY) * 1000) as f64 / 1000.0;
    let user = random.below(LOGINS);
    // Half of the reports are of one user or from one address, so that some counts are large.
    let login = if random.below(4) == 0 { 0 } else { user };
    let ip = match random.below(4) {
        0 => Ipv4Addr::new(192, 0, 2, 1),
        _ => Ipv4Addr::new(10, 0, random.below(12) as u8, random.below(4) as u8),
    };
    let ip = (random.below(50) > 0).then_some(IpAddr::from(ip));
    let is_known = ip.is_some() && random.below(10) > 0;
    let asn = if is_known { 64_500 + random.below(3) as u32 } else { 0 };
    let place = Place {
        country: if is_known { random.of(&["DE", "FR", "IT"]) } else { "" }.into(),
        region: if is_known { "BE" } else { "" }.into(),
        coordinates: is_known.then(|| (52.5 + random.below(100) as f64 / 100.0, -13.4123)),
        radius: if is_known { 20 } else { 0 },
        asn,
    };
    Record {
        t,
        login: format!("user{login}@example.com").into(),
        ip,
        success: random.below(3) > 0,
        policy_reject: random.below(20) == 0,
        tls: random.below(2) == 0,
        protocol: random.of(&["imap", "http", ""]).into(),
        pwhash: format!("{:x}", random.below(5)).into(),
        session_id: random.of(&["", "s1"]).into(),
        fail_type: random.of(&["", "", "password", "account", "internal"]).into(),
        device_id: random.of(&["", "\"name\" \"Mail\"", "Mozilla/5.0"]).into(),
        device: random.of(&["", "imap//Mail", "web/Windows/Firefox"]).into(),
        place,
        net: ip.and_then(|ip| net(ip, (24, 64))),
        is_shared: ip.is_some() && random.below(5) == 0,
    }
}

/// A week before `end` of networks that many logins come from, and of those that only look like it; and the
/// ones that are to be taken for shared, that with most successes first.
pub fn crowds(end: u32) -> (Vec<Record>, Vec<IpNet>) {
    let mut records = Vec::new();
    for (number, logins, days, failures) in [
        (1, 70, &[0, 1, 2, 3, 4, 5, 6][..], 0),
        (2, 50, &[0, 1, 2, 3, 6], 0),
        (3, 60, &[1, 2, 4, 5, 6], 299),
        // Too few logins, too few days, too many failures, and too long ago.
        (4, 49, &[0, 1, 2, 3, 4, 5, 6], 0),
        (5, 90, &[0, 1, 2, 3], 0),
        (6, 60, &[0, 2, 3, 4, 5], 300),
        (7, 60, &[0, 1, 2, 7, 8], 0),
    ] {
        let ip = Ipv4Addr::new(10, 1, number, 1).into();
        let report = |day, user: u32, success| Record {
            t: f64::from(end - day * DAY - 60 * user),
            login: format!("user{user}@example.com").into(),
            ip: Some(ip),
            success,
            net: net(ip, (24, 64)),
            ..Record::default()
        };
        records.extend(days.iter().flat_map(|day| (0..logins).map(|user| report(*day, user, true))));
        records.extend((0..failures).map(|n| report(0, n % logins, false)));
    }
    let shared = ["10.1.1.0/24", "10.1.3.0/24", "10.1.2.0/24"];
    (records, shared.map(|net| net.parse().unwrap()).to_vec())
}

/// Successes of half a year before `end`, in order: of logins that were away for long, for nearly as long, or
/// not at all.
pub fn lives(random: &mut Random, end: u32) -> Vec<Record> {
    let mut records = Vec::new();
    for user in 0..LOGINS {
        let mut t = end - 170 * DAY + random.below(u64::from(30 * DAY)) as u32;
        while t < end {
            let ip = Ipv4Addr::new(10, 0, random.below(4) as u8, 1).into();
            records.push(Record {
                t: t.into(),
                login: format!("user{user}@example.com").into(),
                ip: Some(ip),
                success: true,
                net: net(ip, (24, 64)),
                ..Record::default()
            });
            t += match random.below(10) {
                0 => ABSENCE + random.below(2) as u32 * DAY,
                1 => ABSENCE - 1,
                _ => random.below(u64::from(3 * DAY)) as u32,
            };
        }
    }
    records.sort_by(|a, b| a.t.total_cmp(&b.t));
    records
}

/// Asks the store and the model for the profiles of those lives, of which some begin anew.
pub fn examine_lives(store: &mut dyn Reader, model: &mut Model) {
    let mut anew = 0;
    for user in 0..LOGINS {
        let login = &format!("user{user}@example.com");
        let profile = store.profile(login).unwrap();
        assert_eq!(profile, model.profile(login).unwrap(), "{login}");
        anew += usize::from(profile.is_some_and(|profile| profile.since > profile.first));
    }
    assert!((5..LOGINS as usize - 5).contains(&anew), "{anew}");
}

/// Puts every question to the store and to the model. There are few enough of everything to be counted.
pub fn examine(store: &mut dyn Reader, model: &mut Model, end: u32) {
    let at = f64::from(end);
    let sources = [
        Source::Ip(Ipv4Addr::new(192, 0, 2, 1).into()),
        Source::Ip(Ipv4Addr::new(10, 0, 3, 2).into()),
        Source::Ip(Ipv4Addr::new(203, 0, 113, 1).into()),
        Source::Net("192.0.2.0/24".parse().unwrap()),
        Source::Net("10.0.3.0/24".parse().unwrap()),
    ];
    for user in (0..LOGINS).step_by(3).chain([LOGINS]) {
        let login = &format!("user{user}@example.com");
        assert_eq!(store.profile(login).unwrap(), model.profile(login).unwrap(), "{login}");
        for dimension in Dimension::ALL {
            let values = model.values(login, dimension).unwrap();
            assert_eq!(store.values(login, dimension).unwrap(), values, "{login} {dimension:?}");
            for value in values.iter().map(|value| value.value.as_str()).chain(["none"]) {
                let found = store.seen(login, dimension, value).unwrap();
                assert_eq!(found, model.seen(login, dimension, value).unwrap(), "{login} {value}");
            }
        }
        for hours in [0.25, 1.0, 24.0, 47.9, 100.0, f64::from(LONG_HOURS)] {
            let window = Window::new(at, hours, LONG_HOURS).unwrap();
            let found = store.login_failures(login, window).unwrap();
            assert_eq!(found, model.login_failures(login, window).unwrap(), "{login} {hours}");
        }
        let whose = Whose::Login(login.clone());
        rows(store, model, whose, at);
    }
    for source in sources {
        for hours in [0.25, 1.0, 24.0, 100.0, f64::from(SOURCE_HOURS)] {
            let window = Window::new(at, hours, SOURCE_HOURS).unwrap();
            let found = store.source(source, window).unwrap();
            assert_eq!(found, model.source(source, window).unwrap(), "{source} {hours}");
        }
        for hours in [1, 3, 24, 100, 168] {
            let past = Past::new(at, hours);
            let found = store.usual(source, past).unwrap();
            assert_eq!(found, model.usual(source, past).unwrap(), "{source} {hours}");
        }
        if let Source::Ip(ip) = source {
            rows(store, model, Whose::Ip(ip), at);
        }
    }
    for part in Part::ALL {
        for value in ["DE", "64501", "imap", "imap//Mail", "none"] {
            for hours in [1.0, 24.0, f64::from(LONG_HOURS)] {
                let window = Window::new(at, hours, LONG_HOURS).unwrap();
                let value = if part == Part::All { "" } else { value };
                let found = store.platform(part, value, window).unwrap();
                assert_eq!(found, model.platform(part, value, window).unwrap(), "{part:?} {value} {hours}");
            }
        }
    }
    top(store, model, at);
}

fn rows(store: &mut dyn Reader, model: &mut Model, whose: Whose, at: f64) {
    for (days, success, limit) in
        [(1, None, 10), (30, Some(true), 3), (30, Some(false), 50), (7, None, 10_000)]
    {
        let since = at - f64::from(days * DAY);
        let query = ReportQuery { whose: whose.clone(), since, success, limit };
        assert_eq!(store.reports(&query).unwrap(), model.reports(&query).unwrap(), "{query:?}");
    }
}

fn top(store: &mut dyn Reader, model: &mut Model, at: f64) {
    for by in By::ALL {
        for (hours, success, min_logins, limit) in
            [(1, Some(false), 0, 5), (168, Some(false), 3, 100), (168, Some(true), 0, 3), (24, None, 2, 100)]
        {
            if by == By::Login && success != Some(false) {
                continue;
            }
            let window = Window::new(at, f64::from(hours), by.most_hours()).unwrap();
            let query = TopQuery { by, window, success, min_logins, limit };
            assert_eq!(store.top(&query).unwrap(), model.top(&query).unwrap(), "{query:?}");
        }
    }
}
