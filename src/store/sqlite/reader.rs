//! Questions to the embedded store, from one thread: what is in memory counts, and for the rest the file
//! is asked. A report that was accepted before a question is in the one or the other.

use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::error::{Error, Result};
use crate::store::aggregate::failures::Failures;
use crate::store::aggregate::memory::Memory;
use crate::store::aggregate::platform::Traffic;
use crate::store::aggregate::source::Activity;
use crate::store::aggregate::window::Counts;
use crate::store::journal::ReportId;
use crate::store::journal::file::StoreFile;
use crate::store::query::{
    Dimension, HOUR, LoginFailures, Part, PlatformCounts, Profile, Reader, ReportQuery, Source, SourceCounts,
    TopQuery, TopRow, Value, Whose, Window,
};
use crate::store::record::{Record, Seconds};
use crate::store::sqlite::counts;
use crate::store::sqlite::ledger::{Ledger, SourceKey};
use crate::store::sqlite::raw;
use crate::store::usual::Past;

/// Reports that a question may lead to, however few of them it is about.
const STEPS: usize = 200_000;

/// Asks the embedded store.
pub struct FileReader {
    pub file: Arc<StoreFile>,
    pub connection: Connection,
    pub ledger: Arc<Mutex<Ledger>>,
}

impl FileReader {
    fn memory(&self, login: &str) -> Result<Option<Arc<Memory>>> {
        let known = self.ledger.lock().logins.peek(login).map(|row| row.memory.clone());
        if known.is_some() {
            return Ok(known);
        }
        let found = counts::login(&self.connection, login).map_err(|e| self.file.failed(e))?;
        Ok(found.map(|(row, _)| row.memory))
    }

    /// The number of a login, its latest report, and the latest time of all of them.
    fn login(&self, name: &str) -> Result<Option<(i64, ReportId, f64)>> {
        {
            let ledger = self.ledger.lock();
            if let Some(row) = ledger.logins.peek(name) {
                let (head, latest) = row.last_of(ledger.committed);
                return Ok(Some((row.id, head, latest)));
            }
        }
        let found = counts::login(&self.connection, name).map_err(|e| self.file.failed(e))?;
        Ok(found.map(|(row, _)| (row.id, row.head, row.latest)))
    }

    /// Adds what an hour of a source holds.
    fn add_source(&self, sum: &mut Activity, key: &SourceKey, window: Window) -> Result<()> {
        if let Some(row) = self.ledger.lock().sources.peek(key) {
            row.counts.add_to(sum, key.0, window);
            return Ok(());
        }
        if let Some((row, _)) = counts::source(&self.connection, key).map_err(|e| self.file.failed(e))? {
            row.counts.add_to(sum, key.0, window);
        }
        Ok(())
    }

    fn reports_of_login(&self, name: &str, query: &ReportQuery) -> Result<Vec<Record>> {
        let Some((_, mut next, mut latest)) = self.login(name)? else { return Ok(Vec::new()) };
        let mut found = Latest::new(query);
        for _ in 0..STEPS {
            if !found.can_take(latest) {
                return Ok(found.reports());
            }
            let Some(stored) = raw::find(&self.connection, next).map_err(|e| self.file.failed(e))? else {
                return Ok(found.reports());
            };
            (next, latest) = (stored.login_before, stored.latest);
            stored.record.into_iter().for_each(|record| found.take(record));
        }
        Err(too_many())
    }

    /// The rows of an address lead to its reports, an hour after the other. Hours of which nobody has
    /// anything are left out: there are many where a clock was wrong for a while.
    fn reports_of_ip(&self, ip: IpAddr, query: &ReportQuery) -> Result<Vec<Record>> {
        let failed = |e| self.file.failed(e);
        let mut found = Latest::new(query);
        let mut steps = 0;
        let mut end = Seconds::MAX;
        loop {
            let known = self.ledger.lock().hours.range(..end).next_back().copied();
            let last = known.max(counts::hour_before(&self.connection, end).map_err(failed)?);
            let Some(hour) = last.filter(|hour| found.can_take(f64::from(*hour) + f64::from(HOUR))) else {
                return Ok(found.reports());
            };
            end = hour;
            let key = (hour, Source::Ip(ip));
            let head = {
                let ledger = self.ledger.lock();
                ledger.sources.peek(&key).map(|row| row.last_of(ledger.committed))
            };
            let mut next = match head {
                Some(head) => head,
                None => {
                    counts::source(&self.connection, &key).map_err(failed)?.map_or(0, |(row, _)| row.head)
                }
            };
            while let Some(stored) = raw::find(&self.connection, next).map_err(failed)? {
                steps += 1;
                if steps > STEPS {
                    return Err(too_many());
                }
                next = stored.ip_before;
                stored.record.into_iter().for_each(|record| found.take(record));
            }
        }
    }
}

fn too_many() -> Error {
    Error::Refused(format!("since: it leads to more than {STEPS} reports"))
}

/// The latest reports of those that it is given.
struct Latest<'q> {
    query: &'q ReportQuery,
    /// The latest first.
    reports: Vec<Record>,
}

impl<'q> Latest<'q> {
    fn new(query: &'q ReportQuery) -> Latest<'q> {
        Latest { query, reports: Vec::new() }
    }

    /// Whether a report of this time would be among them.
    fn can_take(&self, t: f64) -> bool {
        let least = match self.reports.last() {
            Some(last) if self.reports.len() >= self.query.limit => last.t,
            _ => self.query.since,
        };
        t >= least && self.query.limit > 0
    }

    fn take(&mut self, record: Record) {
        let is_asked = self.query.success.is_none_or(|success| success == record.success);
        if is_asked && record.t >= self.query.since && self.can_take(record.t) {
            let at = self.reports.partition_point(|report| report.t >= record.t);
            self.reports.insert(at, record);
            self.reports.truncate(self.query.limit);
        }
    }

    fn reports(self) -> Vec<Record> {
        self.reports
    }
}

impl Reader for FileReader {
    fn profile(&mut self, login: &str) -> Result<Option<Profile>> {
        Ok(self.memory(login)?.and_then(|memory| memory.profile()))
    }

    fn seen(&mut self, login: &str, dimension: Dimension, value: &str) -> Result<Option<Value>> {
        Ok(self.memory(login)?.and_then(|memory| memory.seen(dimension, value)))
    }

    fn values(&mut self, login: &str, dimension: Dimension) -> Result<Vec<Value>> {
        Ok(self.memory(login)?.map_or_else(Vec::new, |memory| memory.values(dimension)))
    }

    fn login_failures(&mut self, login: &str, window: Window) -> Result<LoginFailures> {
        let mut sum = Failures::default();
        if let Some((id, ..)) = self.login(login)? {
            for hour in window.hours() {
                if let Some(row) = self.ledger.lock().failures.peek(&(hour, id)) {
                    row.add_to(&mut sum, hour, window);
                    continue;
                }
                let row = counts::failures(&self.connection, (hour, id)).map_err(|e| self.file.failed(e))?;
                row.into_iter().for_each(|(row, _)| row.add_to(&mut sum, hour, window));
            }
        }
        Ok(sum.answer())
    }

    fn source(&mut self, source: Source, window: Window) -> Result<SourceCounts> {
        let mut sum = Activity::default();
        for hour in window.hours() {
            self.add_source(&mut sum, &(hour, source), window)?;
        }
        Ok(sum.answer())
    }

    fn usual(&mut self, source: Source, past: Past) -> Result<u64> {
        let mut counts = Vec::new();
        for window in past.windows() {
            counts.push(self.source(source, window)?.logins);
        }
        Ok(past.usual(counts))
    }

    fn reports(&mut self, query: &ReportQuery) -> Result<Vec<Record>> {
        match &query.whose {
            Whose::Login(login) => self.reports_of_login(login, query),
            Whose::Ip(ip) => self.reports_of_ip(*ip, query),
        }
    }

    fn top(&mut self, query: &TopQuery) -> Result<Vec<TopRow>> {
        super::top::top(self, query)
    }

    fn platform(&mut self, part: Part, value: &str, window: Window) -> Result<PlatformCounts> {
        let mut sum = Traffic::default();
        for hour in window.in_hours().hours() {
            let key = (hour, part, CompactString::from(value));
            if let Some(counts) = self.ledger.lock().platform.peek(&key) {
                sum.merge(counts);
                continue;
            }
            let row = counts::platform(&self.connection, &key).map_err(|e| self.file.failed(e))?;
            row.into_iter().for_each(|(counts, _)| sum.merge(&counts));
        }
        Ok(sum.answer())
    }
}
