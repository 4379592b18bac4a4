//! A file of SQLite that one thread writes, with everything that has come in since the last commit in one
//! transaction. What its tables are, and what is counted, is up to the store that has it.

pub mod desk;
pub mod file;
pub mod kept;
pub mod marks;
pub mod thread;
pub mod unfinished;
pub mod writer;

/// What makes the tables that the files of both stores have beside the reports: alerts, networks that many
/// logins share, attacks, and what was blocked.
pub const ASIDE: &str = concat!(
    include_str!("alert.sql"),
    include_str!("egress.sql"),
    include_str!("episode.sql"),
    include_str!("blocked.sql"),
);

/// The number of a report, in the order of arrival.
pub type ReportId = i64;
