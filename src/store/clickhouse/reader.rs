//! Questions to the server: what it answered a moment ago is not asked again, and when it does not answer,
//! nothing is asked for a while.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use compact_str::CompactString;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::store::clickhouse::breaker::Breaker;
use crate::store::clickhouse::cache::Cache;
use crate::store::clickhouse::client::{Client, Failure, rows};
use crate::store::clickhouse::question;
use crate::store::clickhouse::row::{Row, degrees};
use crate::store::habit::ABSENCE;
use crate::store::query::{
    Dimension, LoginFailures, PLACES, PWHASHES, Part, PlatformCounts, Profile, Pwhash, Reader, ReportQuery,
    Source, SourceCounts, TopQuery, TopRow, VALUES, Value, Visit, Window,
};
use crate::store::record::{Record, Seconds};
use crate::store::usual::Past;

/// The server, as all who ask have it in common.
pub struct Library {
    pub client: Arc<Client>,
    pub breaker: Breaker,
    pub cache: Cache,
}

impl Library {
    /// The rows that answer a statement.
    pub fn ask<T: DeserializeOwned>(&self, statement: String) -> Result<Vec<T>> {
        let now = Instant::now();
        if let Some(answer) = self.cache.find(&statement, now) {
            return rows(&answer);
        }
        if !self.breaker.admits(now) {
            let name = self.client.name();
            return Err(Error::Store(format!("{name}: it did not answer the last questions")));
        }
        let answer = match self.client.ask(&statement) {
            Ok(answer) => answer,
            Err(failure) => {
                match failure {
                    Failure::Silence(_) => self.breaker.count(Instant::now()),
                    Failure::Complaint(_) => self.breaker.close(),
                }
                return Err(failure.into());
            }
        };
        self.breaker.close();
        let found = rows(&answer);
        self.cache.put(statement, answer.into(), now);
        found
    }

    /// The one row that answers a statement.
    pub fn ask_one<T: DeserializeOwned>(&self, statement: String) -> Result<T> {
        let found = self.ask(statement)?.pop();
        found.ok_or_else(|| Error::Store(format!("{}: an answer without a row", self.client.name())))
    }
}

/// Asks the server.
pub struct ServerReader(pub Arc<Library>);

#[derive(Deserialize)]
struct Known {
    kind: String,
    value: CompactString,
    day_bits: u32,
    first_ok: Seconds,
    last_ok: Seconds,
    at: String,
}

impl Known {
    fn visit(&self) -> Option<Visit> {
        let mut parts = self.at.splitn(7, '\t');
        let mut part = || parts.next();
        let is_located = part()? != "0";
        let (latitude, longitude) = (part()?.parse().ok()?, part()?.parse().ok()?);
        Some(Visit {
            t: self.last_ok,
            net: self.value.parse().ok(),
            coordinates: is_located.then(|| degrees(latitude, longitude)),
            radius: part()?.parse().ok()?,
            asn: part()?.parse().ok()?,
            country: part()?.into(),
            device: part()?.into(),
        })
    }
}

#[derive(Deserialize)]
struct ValueRow {
    value: CompactString,
    ok_sum: u64,
    fail_sum: u64,
    day_bits: Vec<u32>,
    first_sum: Seconds,
    last_sum: Seconds,
    use_sum: Seconds,
}

impl ValueRow {
    fn value(self) -> Value {
        let when = |t| (self.ok_sum > 0).then_some(t);
        let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Value {
            value: self.value,
            ok: count(self.ok_sum),
            fail: count(self.fail_sum),
            days: self.day_bits.iter().map(|bits| bits.count_ones()).sum(),
            first: when(self.first_sum),
            last: when(self.last_sum),
        }
    }
}

#[derive(Deserialize)]
struct FailuresRow {
    fails: u64,
    net_count: u64,
    asn_count: u64,
    country_count: u64,
    pwhash_count: u64,
}

#[derive(Deserialize)]
struct SourceRow {
    fail_sum: u64,
    ok_sum: u64,
    unknown_sum: u64,
    failed: u64,
    passed: u64,
    spread_1: u64,
    spread_2: u64,
    spread_3: u64,
    spread_5: u64,
    spread_9: u64,
}

#[derive(Deserialize)]
struct FailedRow {
    failed: u64,
}

#[derive(Deserialize)]
struct RankRow {
    name: String,
    fails: u64,
    oks: u64,
    login_count: u64,
}

#[derive(Deserialize)]
struct PlatformRow {
    oks: u64,
    fails: u64,
    login_count: u64,
    ip_count: u64,
}

impl Reader for ServerReader {
    fn profile(&mut self, login: &str) -> Result<Option<Profile>> {
        let known: Vec<Known> = self.0.ask(question::profile(login, PLACES, PWHASHES))?;
        let of = |kind: &'static str| known.iter().filter(move |known| known.kind == kind);
        let mut periods: Vec<&Known> = of("login").collect();
        periods.sort_by_key(|known| known.first_ok);
        let (Some(oldest), Some(newest)) = (periods.first(), periods.last()) else { return Ok(None) };
        // Longer than a period, so that it lies between two.
        let is_absence = |pair: &[&Known]| pair[1].first_ok.saturating_sub(pair[0].last_ok) >= ABSENCE;
        let after = periods.windows(2).rposition(is_absence).map_or(0, |at| at + 1);
        let days = |periods: &[&Known]| periods.iter().map(|known| known.day_bits.count_ones()).sum();
        let mut places: Vec<Visit> = of("place").filter_map(Known::visit).collect();
        places.sort_by_key(|visit| (Reverse(visit.t), visit.net));
        let mut pwhashes: Vec<Pwhash> = of("pwhash")
            .map(|known| Pwhash { pwhash: known.value.clone(), first: known.first_ok, last: known.last_ok })
            .collect();
        pwhashes.sort_by(|a, b| (b.last, &a.pwhash).cmp(&(a.last, &b.pwhash)));
        Ok(Some(Profile {
            first: oldest.first_ok,
            last: newest.last_ok,
            days: days(&periods),
            since: periods[after].first_ok,
            since_days: days(&periods[after..]),
            places,
            pwhashes,
        }))
    }

    fn seen(&mut self, login: &str, dimension: Dimension, value: &str) -> Result<Option<Value>> {
        let found: Vec<ValueRow> = self.0.ask(question::values(login, dimension, Some(value), 1))?;
        Ok(found.into_iter().next().map(ValueRow::value))
    }

    fn values(&mut self, login: &str, dimension: Dimension) -> Result<Vec<Value>> {
        let mut found: Vec<ValueRow> = self.0.ask(question::values(login, dimension, None, VALUES))?;
        found.sort_by(|a, b| (b.use_sum, &a.value).cmp(&(a.use_sum, &b.value)));
        Ok(found.into_iter().map(ValueRow::value).collect())
    }

    fn login_failures(&mut self, login: &str, window: Window) -> Result<LoginFailures> {
        let row: FailuresRow = self.0.ask_one(question::login_failures(login, window))?;
        Ok(LoginFailures {
            attempts: row.fails,
            nets: row.net_count,
            asns: row.asn_count,
            countries: row.country_count,
            pwhashes: row.pwhash_count,
        })
    }

    fn source(&mut self, source: Source, window: Window) -> Result<SourceCounts> {
        let row: SourceRow = self.0.ask_one(question::source(source, window))?;
        Ok(SourceCounts {
            attempts: row.fail_sum,
            ok: row.ok_sum,
            unknown: row.unknown_sum,
            logins: row.failed,
            ok_logins: row.passed,
            spread: [row.spread_1, row.spread_2, row.spread_3, row.spread_5, row.spread_9],
        })
    }

    fn usual(&mut self, source: Source, past: Past) -> Result<u64> {
        let found: Vec<FailedRow> = self.0.ask(question::usual(source, past))?;
        Ok(past.usual(found.into_iter().map(|row| row.failed).collect()))
    }

    fn reports(&mut self, query: &ReportQuery) -> Result<Vec<Record>> {
        let found: Vec<Row> = self.0.ask(question::reports(query))?;
        Ok(found.into_iter().map(Row::record).collect())
    }

    fn top(&mut self, query: &TopQuery) -> Result<Vec<TopRow>> {
        query.check()?;
        let found: Vec<RankRow> = self.0.ask(question::top(query))?;
        let row = |row: RankRow| TopRow {
            value: row.name,
            attempts: row.fails,
            ok: row.oks,
            logins: row.login_count,
        };
        Ok(found.into_iter().map(row).collect())
    }

    fn platform(&mut self, part: Part, value: &str, window: Window) -> Result<PlatformCounts> {
        let row: PlatformRow = self.0.ask_one(question::platform(part, value, window))?;
        Ok(PlatformCounts { ok: row.oks, fail: row.fails, logins: row.login_count, ips: row.ip_count })
    }
}
