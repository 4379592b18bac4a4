//! Arguments of functions that Lua calls: taken one by one from the stack, with an error that names
//! the argument and what it should have been. Numbers pass for strings, as they do in Lua.

use std::time::Duration;

use rlua::{Function, Lua, MultiValue, Table, Value};

use crate::error::{Error, Result};

/// Seconds beyond which a time is for ever: thirty years. No clock overflows by so little.
const LONGEST: f64 = 1e9;

/// The arguments of one call.
pub struct Arguments<'lua> {
    lua: &'lua Lua,
    values: MultiValue<'lua>,
}

/// A type that an argument can have.
pub trait Argument<'lua>: Sized {
    /// What to ask for when the value is something else.
    const WANTED: &'static str;

    /// The value as this type, if it is one. An argument that was left out is nil.
    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self>;
}

impl<'lua> Arguments<'lua> {
    pub fn new(lua: &'lua Lua, values: MultiValue<'lua>) -> Self {
        Arguments { lua, values }
    }

    /// The next argument; `name` is for the error.
    pub fn next<T: Argument<'lua>>(&mut self, name: &str) -> Result<T> {
        let value = self.values.pop_front().unwrap_or(Value::Nil);
        let found = type_name(&value);
        T::from_value(value, self.lua)
            .ok_or_else(|| Error::Refused(format!("{name}: {} expected, got {found}", T::WANTED)))
    }

    /// There must be no more.
    pub fn end(&mut self) -> Result<()> {
        self.values.pop_front().map_or(Ok(()), |_| Err(Error::Refused("too many arguments".into())))
    }
}

/// The type of a value as Lua calls it.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        value => value.type_name(),
    }
}

impl<'lua> Argument<'lua> for String {
    const WANTED: &'static str = "string";

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        let text = rlua::String::from_value(value, lua)?;
        Some(String::from_utf8_lossy(text.as_bytes()).into_owned())
    }
}

/// For what is bytes rather than text.
impl<'lua> Argument<'lua> for rlua::String<'lua> {
    const WANTED: &'static str = "string";

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        match value {
            Value::String(_) | Value::Integer(_) | Value::Number(_) => lua.coerce_string(value).ok()?,
            _ => None,
        }
    }
}

impl<'lua> Argument<'lua> for bool {
    const WANTED: &'static str = "boolean";

    fn from_value(value: Value<'lua>, _: &'lua Lua) -> Option<Self> {
        value.as_boolean()
    }
}

impl<'lua> Argument<'lua> for f64 {
    const WANTED: &'static str = "number";

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        lua.coerce_number(value).ok()?
    }
}

impl<'lua> Argument<'lua> for usize {
    const WANTED: &'static str = "whole number";

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        let number = f64::from_value(value, lua)?;
        // Above 2^53 a number of Lua is no longer exact.
        (number >= 0.0 && number.fract() == 0.0 && number <= 9_007_199_254_740_992.0)
            .then_some(number as usize)
    }
}

impl<'lua> Argument<'lua> for Duration {
    const WANTED: &'static str = "number of seconds, more than 0";

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        let seconds = f64::from_value(value, lua).filter(|seconds| *seconds > 0.0)?.min(LONGEST);
        Duration::try_from_secs_f64(seconds).ok()
    }
}

impl<'lua> Argument<'lua> for Function<'lua> {
    const WANTED: &'static str = "function";

    fn from_value(value: Value<'lua>, _: &'lua Lua) -> Option<Self> {
        match value {
            Value::Function(func) => Some(func),
            _ => None,
        }
    }
}

impl<'lua> Argument<'lua> for Table<'lua> {
    const WANTED: &'static str = "table";

    fn from_value(value: Value<'lua>, _: &'lua Lua) -> Option<Self> {
        match value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }
}

impl<'lua> Argument<'lua> for Vec<String> {
    const WANTED: &'static str = "list of strings";

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        let table = Table::from_value(value, lua)?;
        let texts =
            table.clone().sequence_values::<Value>().map(|value| String::from_value(value.ok()?, lua));
        let list = texts.collect::<Option<Vec<String>>>()?;
        (list.len() == table.pairs::<Value, Value>().count()).then_some(list)
    }
}

impl<'lua> Argument<'lua> for Value<'lua> {
    const WANTED: &'static str = "value";

    fn from_value(value: Value<'lua>, _: &'lua Lua) -> Option<Self> {
        Some(value)
    }
}

impl<'lua, T: Argument<'lua>> Argument<'lua> for Option<T> {
    const WANTED: &'static str = T::WANTED;

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        match value {
            Value::Nil => Some(None),
            value => T::from_value(value, lua).map(Some),
        }
    }
}

/// The pairs of a table as text: numbers in Lua's way, a value of another type refused by its key.
pub fn text_pairs(lua: &Lua, table: Table) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let found = type_name(&value);
        let key = String::from_value(key, lua)
            .ok_or_else(|| Error::Refused("keys must be strings or numbers".into()))?;
        let value = String::from_value(value, lua)
            .ok_or_else(|| Error::Refused(format!("{key}: string expected, got {found}")))?;
        pairs.push((key, value));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `T` makes of the values that `chunk` returns.
    fn take<T: for<'lua> Argument<'lua> + std::fmt::Debug>(chunk: &str) -> String {
        let lua = Lua::new();
        let values: MultiValue = lua.load(chunk).eval().unwrap();
        let mut args = Arguments::new(&lua, values);
        match args.next::<T>("arg").and_then(|value| args.end().map(|()| value)) {
            Ok(value) => format!("{value:?}"),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn an_argument_is_taken_or_named() {
        for (got, expected) in [
            (take::<String>("'x'"), "\"x\""),
            (take::<String>("5"), "\"5\""),
            (take::<String>("1e15"), "\"1e+15\""),
            (take::<String>("'a\\255'"), "\"a\u{fffd}\""),
            (take::<String>("true"), "arg: string expected, got boolean"),
            (take::<String>("return"), "arg: string expected, got nil"),
            (take::<String>("'x', 'y'"), "too many arguments"),
            (take::<bool>("true"), "true"),
            (take::<bool>("1"), "arg: boolean expected, got number"),
            (take::<usize>("3"), "3"),
            (take::<usize>("'3'"), "3"),
            (take::<usize>("-1"), "arg: whole number expected, got number"),
            (take::<usize>("1.5"), "arg: whole number expected, got number"),
            (take::<Duration>("0.5"), "500ms"),
            (take::<Duration>("0"), "arg: number of seconds, more than 0 expected, got number"),
            (take::<Duration>("1/0"), "1000000000s"),
            (take::<Duration>("0/0"), "arg: number of seconds, more than 0 expected, got number"),
            (take::<Option<String>>("nil"), "None"),
            (take::<Option<String>>("'x'"), "Some(\"x\")"),
            (take::<Vec<String>>("{'a', 2}"), "[\"a\", \"2\"]"),
            (take::<Vec<String>>("{'a', {}}"), "arg: list of strings expected, got table"),
            (take::<Vec<String>>("{'a', k = 'b'}"), "arg: list of strings expected, got table"),
        ] {
            assert_eq!(got, expected);
        }
    }
}
