//! Removing every trace of a login from the server. It does so in its own time, by writing the parts that
//! have it anew; whoever asked waits until that is done.

use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::store::clickhouse::client::{Client, rows};
use crate::store::clickhouse::quote::{Quoted, set};
use crate::store::clickhouse::schema::Table;

/// The tables that know logins by name.
const TABLES: [Table; 4] = [Table::Report, Table::Visit, Table::Memory, Table::Failure];

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often it is asked whether it is done.
const TICK: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
struct Count {
    rows: u64,
}

/// Forgets a login: how many rows that were.
pub fn forget(client: &Client, login: &str) -> Result<u64> {
    let count = |statement: &str| -> Result<u64> {
        Ok(rows::<Count>(&client.ask(statement)?)?.iter().map(|count| count.rows).sum())
    };
    let login = Quoted(login);
    let mut removed = 0;
    for table in TABLES {
        let (name, is_it) = (table.name(), format!("origin = '' AND login = {login}"));
        removed += count(&format!("SELECT count() AS rows FROM {name} WHERE {is_it}"))?;
        client.change(&format!("ALTER TABLE {name} DELETE WHERE {is_it}"))?;
    }
    let unfinished = format!(
        "SELECT count() AS rows FROM system.mutations WHERE database = {} AND table IN {} AND NOT is_done",
        Quoted(client.database()),
        set(TABLES.map(Table::name))
    );
    let start = Instant::now();
    while count(&unfinished)? > 0 {
        if start.elapsed() > PATIENCE {
            return Err(Error::Store(format!("{}: it is still removing rows", client.name())));
        }
        thread::sleep(TICK);
    }
    Ok(removed)
}
