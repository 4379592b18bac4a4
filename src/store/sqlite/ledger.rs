//! The counts that are in memory, of which the disk may have an earlier state. The writer alone changes
//! them; readers look here first and ask the file for what is not here.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use compact_str::{CompactString, ToCompactString};
use ipnet::IpNet;

use crate::net::crypto::HashKey;
use crate::store::aggregate::failures::{Failures, Origin};
use crate::store::aggregate::memory::Memory;
use crate::store::aggregate::platform::Traffic;
use crate::store::aggregate::source::Activity;
use crate::store::aggregate::window::Hour;
use crate::store::journal::ReportId;
use crate::store::query::{HOUR, Part, Source};
use crate::store::record::{Outcome, Record, Seconds};
use crate::store::sqlite::shelf::Shelf;

/// What is known of a login.
#[derive(Clone)]
pub struct LoginRow {
    pub id: i64,
    pub memory: Arc<Memory>,
    /// Its latest report, and the latest time of all of them.
    pub head: ReportId,
    pub latest: f64,
    /// The same before those that are not committed yet.
    pub settled: (ReportId, f64),
}

/// What a source did in an hour.
#[derive(Clone, Default)]
pub struct SourceRow {
    pub counts: Hour<Activity>,
    /// Its latest report, and the latest one before those that are not committed yet.
    pub head: ReportId,
    pub settled: ReportId,
}

pub type FailuresKey = (Seconds, i64);
pub type SourceKey = (Seconds, Source);
pub type PlatformKey = (Seconds, Part, CompactString);

/// Rows that a shelf may hold without reason. With everything that belongs to them they are some 100 MiB
/// at most, but for sketches.
const LOGINS: usize = 30_000;
const FAILURES: usize = 30_000;
const SOURCES: usize = 60_000;
const PLATFORM: usize = 20_000;

/// The counts that are in memory.
pub struct Ledger {
    pub logins: Shelf<CompactString, LoginRow>,
    pub failures: Shelf<FailuresKey, Hour<Failures>>,
    pub sources: Shelf<SourceKey, SourceRow>,
    pub platform: Shelf<PlatformKey, Traffic>,
    /// The hours of the reports that were counted.
    pub hours: BTreeSet<Seconds>,
    /// The latest report that readers find in the file.
    pub committed: ReportId,
}

/// The rows that a report changes.
pub struct Keys {
    pub login: CompactString,
    pub failures: Option<FailuresKey>,
    pub sources: Vec<SourceKey>,
    pub platform: Vec<PlatformKey>,
}

/// What a report found: the reports before it, and what its login was known by.
pub struct Before {
    pub login: ReportId,
    pub latest: f64,
    pub ip: ReportId,
    pub memory: Arc<Memory>,
}

/// What of a report is counted as distinct, as hashes.
struct Hashes {
    login: u64,
    ip: Option<u64>,
    origin: Origin,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger {
            logins: Shelf::new(LOGINS),
            failures: Shelf::new(FAILURES),
            sources: Shelf::new(SOURCES),
            platform: Shelf::new(PLATFORM),
            hours: BTreeSet::new(),
            committed: 0,
        }
    }
}

impl Keys {
    /// The rows that a report of the login with this number changes.
    pub fn of(record: &Record, login: i64) -> Keys {
        let (t, outcome) = (record.seconds(), record.outcome());
        let hour = t - t % HOUR;
        let ip = record.ip.map(Source::Ip);
        let net = record.net.map(Source::Net);
        let mut platform = Vec::new();
        if outcome != Outcome::Neither {
            for part in Part::ALL {
                let value = part_of(record, part);
                if part == Part::All || !value.is_empty() {
                    platform.push((hour, part, value));
                }
            }
        }
        Keys {
            login: record.login.clone(),
            failures: matches!(outcome, Outcome::Fail { .. }).then_some((hour, login)),
            // An address has its reports here even where they count as nothing.
            sources: ip.into_iter().chain(net).map(|source| (hour, source)).collect(),
            platform,
        }
    }
}

impl Ledger {
    /// Counts a report whose rows are here.
    pub fn apply(&mut self, record: &Record, keys: &Keys, report: ReportId, key: &HashKey) -> Option<Before> {
        let (t, outcome, hashes) = (record.seconds(), record.outcome(), Hashes::of(record, key));
        self.hours.insert(t - t % HOUR);
        let login = self.logins.get(&keys.login)?;
        let ip = keys.sources.first().and_then(|ip| self.sources.get(ip)).map_or(0, |row| row.head);
        let before = Before { login: login.head, latest: login.latest, ip, memory: login.memory.clone() };
        let committed = self.committed;
        self.logins.change(&keys.login, report, |row| {
            Arc::make_mut(&mut row.memory).apply(record);
            row.settled = row.last_of(committed);
            (row.head, row.latest) = (report, row.latest.max(record.t));
        });
        if let Some(failures) = &keys.failures {
            self.failures.change(failures, report, |hour| hour.at(t).apply(&hashes.origin));
        }
        for source in &keys.sources {
            self.sources.change(source, report, |row| {
                row.counts.at(t).apply(outcome, hashes.login);
                (row.settled, row.head) = (row.last_of(committed), report);
            });
        }
        for part in &keys.platform {
            self.platform.change(part, report, |counts| counts.apply(outcome, hashes.login, hashes.ip));
        }
        Some(before)
    }

    /// Forgets the hours before: of sources, and of everything else.
    pub fn forget_before(&mut self, sources: Seconds, others: Seconds) {
        self.sources.retain(|(hour, _)| *hour >= sources);
        self.hours = self.hours.split_off(&sources);
        self.failures.retain(|(hour, _)| *hour >= others);
        self.platform.retain(|(hour, ..)| *hour >= others);
    }

    /// The first report that some row on disk lacks.
    pub fn first_missing(&self) -> Option<ReportId> {
        [
            self.logins.first_missing(),
            self.failures.first_missing(),
            self.sources.first_missing(),
            self.platform.first_missing(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Rows to be written of the table that has most of them.
    pub fn most_dirty(&self) -> usize {
        let rows = [self.logins.dirty(), self.failures.dirty(), self.sources.dirty(), self.platform.dirty()];
        rows.into_iter().max().unwrap_or_default()
    }
}

impl LoginRow {
    /// Its latest report, and the latest time, of those up to the one that was committed last.
    pub fn last_of(&self, committed: ReportId) -> (ReportId, f64) {
        if self.head <= committed { (self.head, self.latest) } else { self.settled }
    }
}

impl SourceRow {
    /// Its latest report of those up to the one that was committed last.
    pub fn last_of(&self, committed: ReportId) -> ReportId {
        if self.head <= committed { self.head } else { self.settled }
    }
}

impl Hashes {
    fn of(record: &Record, key: &HashKey) -> Hashes {
        let hash = |text: &str| (!text.is_empty()).then(|| key.hash(text.as_bytes()));
        let asn = record.place.asn;
        Hashes {
            login: key.hash(record.login.as_bytes()),
            ip: record.ip.map(|ip| key.hash(&source_bytes(&Source::Ip(ip)))),
            origin: Origin {
                net: record.net.map(|net| key.hash(&source_bytes(&Source::Net(net)))),
                asn: (asn > 0).then(|| key.hash(&asn.to_le_bytes())),
                country: hash(&record.place.country),
                pwhash: hash(&record.pwhash),
            },
        }
    }
}

/// What part of the platform a report belongs to.
fn part_of(record: &Record, part: Part) -> CompactString {
    match part {
        Part::All => CompactString::default(),
        Part::Country => record.place.country.clone(),
        Part::Asn if record.place.asn == 0 => CompactString::default(),
        Part::Asn => record.place.asn.to_compact_string(),
        Part::Protocol => record.protocol.clone(),
        Part::Device => record.device.clone(),
    }
}

/// A source as the file has it: the bytes of an address, or the same after the length of a prefix.
pub fn source_bytes(source: &Source) -> Vec<u8> {
    let (prefix, ip) = match source {
        Source::Ip(ip) => (None, *ip),
        Source::Net(net) => (Some(net.prefix_len()), net.network()),
    };
    let mut bytes: Vec<u8> = prefix.into_iter().collect();
    bytes.extend(ip_bytes(ip));
    bytes
}

/// The source that has these bytes.
pub fn source_of(bytes: &[u8]) -> Option<Source> {
    if let Some(ip) = address(bytes) {
        return Some(Source::Ip(ip));
    }
    let (prefix, rest) = bytes.split_first()?;
    IpNet::new(address(rest)?, *prefix).ok().map(Source::Net)
}

/// The bytes of an address.
pub fn ip_bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// An address of 4 or 16 bytes.
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = |_| <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4().or_else(v6).ok()
}
