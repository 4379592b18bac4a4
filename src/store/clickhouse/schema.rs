//! The tables on the server: making them, and giving back the partitions that are no longer kept.

use serde::Deserialize;

use crate::error::Result;
use crate::store::clickhouse::client::{Client, rows};
use crate::store::clickhouse::quote::{Quoted, set};
use crate::store::query::{DAY, LONG_HOURS, SOURCE_HOURS};
use crate::store::record::Seconds;
use crate::store::sqlite::Retention;

/// Statements, each of which ends in an empty line.
const SCHEMA: &str = include_str!("../../../share/clickhouse/schema.sql");

/// Days of a period.
pub const PERIOD: u32 = 30;

/// A table that reports lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Report,
    Visit,
    Memory,
    Failure,
    Platform,
}

impl Table {
    pub const ALL: [Table; 5] = [Table::Report, Table::Visit, Table::Memory, Table::Failure, Table::Platform];

    /// The bit of `arrival.tables` that stands for it.
    pub fn bit(self) -> u8 {
        1 << self as u8
    }

    pub fn name(self) -> &'static str {
        match self {
            Table::Report => "report",
            Table::Visit => "visit",
            Table::Memory => "memory",
            Table::Failure => "failure",
            Table::Platform => "platform",
        }
    }

    /// Days of a partition, whose number counts them.
    fn partition_days(self) -> u32 {
        match self {
            Table::Report | Table::Visit => 1,
            Table::Memory | Table::Failure | Table::Platform => PERIOD,
        }
    }

    /// The partition that a day is in.
    pub fn partition(self, day: u32) -> u32 {
        day / self.partition_days()
    }

    /// The batches that its partitions include of a host.
    pub fn includes(self, host: &str, partitions: &str) -> String {
        let (name, host) = (self.name(), Quoted(host));
        let (partition, last) = match self {
            Table::Report | Table::Visit => ("day", "max(batch)"),
            Table::Memory | Table::Failure | Table::Platform => ("period", "maxMerge(batch)"),
        };
        format!(
            "SELECT {partition} AS part, {last} AS last_batch FROM {name}
            WHERE origin = {host} AND {partition} IN ({partitions}) GROUP BY {partition}"
        )
    }

    fn days(self, retention: Retention) -> u32 {
        match self {
            Table::Report => retention.raw_days,
            Table::Visit => retention.raw_days.max(SOURCE_HOURS / 24),
            Table::Memory => retention.profile_days,
            Table::Failure | Table::Platform => LONG_HOURS / 24,
        }
    }
}

#[derive(Deserialize)]
struct Count {
    tables: usize,
}

/// Makes what is not there. If everything is, the user need not be allowed to make any of it.
pub fn make(client: &Client) -> Result<()> {
    let names: Vec<&str> = statements().filter_map(name).collect();
    let find = format!(
        "SELECT count() AS tables FROM system.tables WHERE database = {} AND name IN {}",
        Quoted(client.database()),
        set(names.iter().copied())
    );
    // Without the database, that is an error.
    let found =
        client.ask(&find).map_or(0, |answer| rows::<Count>(&answer).map_or(0, |found| found[0].tables));
    if found == names.len() {
        return Ok(());
    }
    client.make_database()?;
    Ok(statements().try_for_each(|statement| client.change(statement))?)
}

/// What a statement makes.
fn name(statement: &str) -> Option<&str> {
    statement.split_once("IF NOT EXISTS ")?.1.split(' ').next()
}

fn statements() -> impl Iterator<Item = &'static str> {
    let is_comment = |text: &str| text.lines().all(|line| line.starts_with("--"));
    SCHEMA.split("\n\n").map(str::trim).filter(move |text| !is_comment(text))
}

#[derive(Deserialize)]
struct Partition {
    number: String,
}

/// Drops the partitions of which every day is too long ago.
pub fn forget_old(client: &Client, retention: Retention, now: Seconds) -> Result<()> {
    let today = now / DAY;
    let tables = Table::ALL.map(|table| (table.name(), table.partition_days(), table.days(retention)));
    for (name, length, days) in tables.into_iter().chain([("abandoned", PERIOD, PERIOD)]) {
        let find = format!(
            "SELECT DISTINCT partition AS number FROM system.parts
            WHERE database = {} AND table = '{name}' AND active",
            Quoted(client.database())
        );
        for partition in rows::<Partition>(&client.ask(&find)?)? {
            let number = partition.number.parse::<u32>();
            if let Ok(number) = number
                && (number + 1) * length + days <= today
            {
                client.change(&format!("ALTER TABLE {name} DROP PARTITION {number}"))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_can_be_run_again() {
        let all: Vec<&str> = statements().collect();
        assert_eq!(all.len(), 2 + 2 * Table::ALL.len());
        for statement in all {
            let text: Vec<&str> = statement.lines().filter(|line| !line.starts_with("--")).collect();
            assert!(text[0].starts_with("CREATE ") && text[0].contains("IF NOT EXISTS"), "{statement}");
        }
        let names: Vec<&str> = statements().filter_map(name).collect();
        assert_eq!(names[..4], ["arrival", "abandoned", "report", "to_report"]);
        for table in Table::ALL {
            let view = format!("CREATE MATERIALIZED VIEW IF NOT EXISTS to_{0} TO {0} AS", table.name());
            let start = SCHEMA.find(&view).unwrap();
            let filter = SCHEMA[start..].find("bitAnd(tables, ").unwrap() + start;
            assert!(SCHEMA[filter..].starts_with(&format!("bitAnd(tables, {})", table.bit())));
        }
    }
}
