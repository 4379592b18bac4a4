//! The options of `newReportStore`.

use std::ops::RangeInclusive;
use std::path::{Path, absolute};
use std::time::Duration;

use secrecy::zeroize::Zeroizing;

use crate::config::{ClickHouse, Config, StorePlace, StoreSettings};
use crate::error::{Error, Result};
use crate::lua::options::Options;

const KEYS: &[&str] = &[
    "path",
    "clickhouse",
    "spool",
    "raw_days",
    "profile_days",
    "durable",
    "net4",
    "net6",
    "geo",
    "asn",
    "commit_ms",
    "commit_rows",
];

/// The store that a configuration asks for.
pub fn add(config: &mut Config, options: &Options) -> Result<()> {
    if config.store.is_some() {
        return Err(Error::Refused("there is a report store already, and can be only one".into()));
    }
    config.store = Some(read(options)?);
    Ok(())
}

fn read(options: &Options) -> Result<StoreSettings> {
    options.allow(KEYS)?;
    let default = StoreSettings::new(place(options)?);
    let commit_ms = number(options, "commit_ms", 1..=1000, default.commit.as_millis() as u64)?;
    Ok(StoreSettings {
        raw_days: number(options, "raw_days", 1..=3650, default.raw_days)?,
        profile_days: number(options, "profile_days", 1..=3650, default.profile_days)?,
        durable: options.get::<Option<bool>>("durable")?.unwrap_or(default.durable),
        net4: number(options, "net4", 8..=32, default.net4)?,
        net6: number(options, "net6", 16..=128, default.net6)?,
        geo: name(options, "geo")?,
        asn: name(options, "asn")?,
        commit: Duration::from_millis(commit_ms),
        commit_rows: number(options, "commit_rows", 1..=100_000, default.commit_rows)?,
        ..default
    })
}

/// A number that must lie within a range, all of which the type has.
fn number<T>(options: &Options, key: &str, range: RangeInclusive<usize>, default: T) -> Result<T>
where
    T: TryFrom<usize>,
{
    let number = options.get_within(key, range)?;
    Ok(number.and_then(|number| T::try_from(number).ok()).unwrap_or(default))
}

fn place(options: &Options) -> Result<StorePlace> {
    let (path, url) = (name(options, "path")?, name(options, "clickhouse")?.map(Zeroizing::new));
    match (path, url) {
        (Some(_), None) if options.get::<Option<String>>("spool")?.is_some() => {
            Err(Error::Refused("spool: of a store in ClickHouse only".into()))
        }
        (Some(path), None) => {
            let path = Path::new(&path);
            absolute(path).map(StorePlace::File).map_err(Error::io(path))
        }
        (None, Some(url)) => {
            let server = ClickHouse::parse(&url).map_err(|e| Error::Refused(format!("clickhouse: {e}")))?;
            let spool = name(options, "spool")?.map_or_else(|| server.spool.clone(), Into::into);
            let spool = absolute(&spool).map_err(Error::io(spool))?;
            Ok(StorePlace::ClickHouse(ClickHouse { spool, ..server }))
        }
        (None, None) => Err(Error::Refused("path or clickhouse expected, got neither".into())),
        (Some(_), Some(_)) => Err(Error::Refused("path or clickhouse expected, got both".into())),
    }
}

/// A text that is not empty.
fn name(options: &Options, key: &str) -> Result<Option<String>> {
    match options.get::<Option<String>>(key)? {
        Some(text) if text.is_empty() => Err(Error::Refused(format!("{key}: is empty"))),
        text => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::lua::argument::Argument;
    use rlua::Lua;

    fn parse(table: &str) -> Result<StoreSettings> {
        let lua = Lua::new();
        let value = lua.load(table).eval().unwrap();
        let mut config = Config::default();
        add(&mut config, &Options::from_value(value, &lua).unwrap())?;
        Ok(config.store.unwrap())
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let place = StorePlace::File(PathBuf::from("/var/lib/trackalert/reports.db"));
        let least = parse("{ path = '/var/lib/trackalert/reports.db' }").unwrap();
        assert_eq!(least, StoreSettings::new(place.clone()));
        let all = parse(
            "{ path = '/var/lib/trackalert/reports.db', raw_days = 1, profile_days = 3650, durable = false,
               net4 = 16, net6 = 48, geo = 'City', asn = 'ASN', commit_ms = 5, commit_rows = 1 }",
        );
        let expected = StoreSettings {
            place,
            raw_days: 1,
            profile_days: 3650,
            durable: false,
            net4: 16,
            net6: 48,
            geo: Some("City".into()),
            asn: Some("ASN".into()),
            commit: Duration::from_millis(5),
            commit_rows: 1,
        };
        assert_eq!(all.unwrap(), expected);
        let server = ClickHouse::parse("http://u:p@192.0.2.1:8123/logins").unwrap();
        let settings = parse("{ clickhouse = 'http://u:p@192.0.2.1:8123/logins' }").unwrap();
        assert_eq!(settings.place, StorePlace::ClickHouse(server));
        let relative = parse("{ path = 'reports.db' }").unwrap().place;
        assert!(matches!(relative, StorePlace::File(path) if path.is_absolute()));
    }

    #[test]
    fn an_option_that_can_not_be_is_an_error_without_a_password() {
        for (table, error) in [
            ("{}", "path or clickhouse expected, got neither"),
            ("{ path = 'x', clickhouse = 'http://u:secret@x' }", "path or clickhouse expected, got both"),
            ("{ path = '' }", "path: is empty"),
            ("{ path = {} }", "path: string expected, got table"),
            (
                "{ clickhouse = 'u:secret@x' }",
                "clickhouse: http or https URL of a server and a database expected",
            ),
            ("{ clickhouse = { 'secret' } }", "clickhouse: string expected, got table"),
            ("{ path = 'x', raw_days = 0 }", "raw_days: from 1 to 3650 expected, got 0"),
            ("{ path = 'x', profile_days = 1e6 }", "profile_days: from 1 to 3650 expected, got 1000000"),
            ("{ path = 'x', net4 = 33 }", "net4: from 8 to 32 expected, got 33"),
            ("{ path = 'x', net6 = 129 }", "net6: from 16 to 128 expected, got 129"),
            ("{ path = 'x', commit_ms = 1001 }", "commit_ms: from 1 to 1000 expected, got 1001"),
            ("{ path = 'x', commit_rows = 0.5 }", "commit_rows: whole number expected, got number"),
            ("{ path = 'x', durable = 1 }", "durable: boolean expected, got number"),
            ("{ path = 'x', geo = true }", "geo: string expected, got boolean"),
            (
                "{ path = 'x', days = 1 }",
                "no key named \"days\": there are path, clickhouse, spool, raw_days, profile_days, durable, \
                 net4, net6, geo, asn, commit_ms and commit_rows",
            ),
            ("{ path = 'x', spool = 'y' }", "spool: of a store in ClickHouse only"),
        ] {
            assert_eq!(parse(table).unwrap_err().to_string(), error, "{table}");
        }
    }
}
