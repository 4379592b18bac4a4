//! Named arguments: a table whose keys are read one by one, with errors that name the key and say what
//! is allowed.

use std::fmt::Display;
use std::ops::RangeInclusive;

use rlua::{Lua, Table, Value};

use crate::error::{Error, Result};
use crate::lua::argument::{Argument, type_name};

/// A table of named arguments.
pub struct Options<'lua> {
    lua: &'lua Lua,
    table: Table<'lua>,
}

impl<'lua> Argument<'lua> for Options<'lua> {
    const WANTED: &'static str = "table";

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        let table = Table::from_value(value, lua)?;
        Some(Options { lua, table })
    }
}

impl<'lua> Options<'lua> {
    /// The table itself.
    pub fn table(&self) -> Table<'lua> {
        self.table.clone()
    }

    /// Refuses keys that are not among these.
    pub fn allow(&self, known: &[&str]) -> Result<()> {
        for pair in self.table.clone().pairs::<Value, Value>() {
            let (key, _) = pair?;
            let found = type_name(&key);
            let Some(key) = String::from_value(key, self.lua) else {
                return Err(Error::Refused(format!("keys must be strings, got a {found}: {}", list(known))));
            };
            if !known.contains(&key.as_str()) {
                return Err(Error::Refused(format!("no key named \"{key}\": {}", list(known))));
            }
        }
        Ok(())
    }

    /// The value of a key; one that may be left out is an `Option`.
    pub fn get<T: Argument<'lua>>(&self, key: &str) -> Result<T> {
        let value = self.table.raw_get::<_, Value>(key)?;
        let found = type_name(&value);
        T::from_value(value, self.lua)
            .ok_or_else(|| Error::Refused(format!("{key}: {} expected, got {found}", T::WANTED)))
    }

    /// The same for a number that must lie within a range.
    pub fn get_within<T>(&self, key: &str, range: RangeInclusive<T>) -> Result<Option<T>>
    where
        T: Argument<'lua> + PartialOrd + Display,
    {
        match self.get::<Option<T>>(key)? {
            Some(number) if !range.contains(&number) => {
                let (least, most) = range.into_inner();
                Err(Error::Refused(format!("{key}: from {least} to {most} expected, got {number}")))
            }
            number => Ok(number),
        }
    }
}

/// What keys there are.
fn list(known: &[&str]) -> String {
    match known {
        [one] => format!("there is {one}"),
        [others @ .., last] => format!("there are {} and {last}", others.join(", ")),
        [] => "there are none".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_or_named() {
        let lua = Lua::new();
        let read = |table: &str| -> Result<Option<usize>> {
            let options = Options { lua: &lua, table: lua.load(table).eval().unwrap() };
            options.allow(&["limit", "login"])?;
            options.get::<Option<String>>("login")?;
            options.get_within("limit", 1..=10)
        };
        assert_eq!(read("{}").unwrap(), None);
        assert_eq!(read("{ limit = 3, login = 5 }").unwrap(), Some(3));
        for (table, error) in [
            ("{ limits = 3 }", "no key named \"limits\": there are limit and login"),
            ("{ 'x' }", "no key named \"1\": there are limit and login"),
            ("{ [true] = 1 }", "keys must be strings, got a boolean: there are limit and login"),
            ("{ login = {} }", "login: string expected, got table"),
            ("{ limit = 'x' }", "limit: whole number expected, got string"),
            ("{ limit = 0 }", "limit: from 1 to 10 expected, got 0"),
            ("{ limit = 11 }", "limit: from 1 to 10 expected, got 11"),
        ] {
            assert_eq!(read(table).unwrap_err().to_string(), error, "{table}");
        }
    }
}
