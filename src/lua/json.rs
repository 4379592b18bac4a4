//! Tables of Lua as JSON, as far as they can be: text, numbers, booleans, lists and tables with names, not
//! without end.

use rlua::{Lua, Table, Value as Lua51};
use serde_json::{Map, Number, Value};

use crate::error::{Error, Result};
use crate::lua::argument::{Argument, type_name};

/// Tables inside each other.
const DEPTH: usize = 16;

/// A table with names as an object that takes at most `most` bytes.
pub fn object(lua: &Lua, table: Table, most: usize) -> Result<Map<String, Value>> {
    let mut left = most;
    let map = members(lua, table, DEPTH, &mut left)?;
    let bytes = serde_json::to_string(&map).map_or(usize::MAX, |text| text.len());
    if bytes > most { Err(too_long()) } else { Ok(map) }
}

fn too_long() -> Error {
    Error::Refused("too much of it".into())
}

/// `left` is how much of it there may still be: a table that is its own member ends there too.
fn members(lua: &Lua, table: Table, depth: usize, left: &mut usize) -> Result<Map<String, Value>> {
    let mut map = Map::new();
    for pair in table.pairs::<Lua51, Lua51>() {
        let (key, value) = pair?;
        let found = type_name(&key);
        let key = String::from_value(key, lua)
            .ok_or_else(|| Error::Refused(format!("a key must be a string or a number, got a {found}")))?;
        *left = left.checked_sub(key.len() + 1).ok_or_else(too_long)?;
        let value = of(lua, value, depth, left).map_err(|e| Error::Refused(format!("{key}: {e}")))?;
        map.insert(key, value);
    }
    Ok(map)
}

fn of(lua: &Lua, value: Lua51, depth: usize, left: &mut usize) -> Result<Value> {
    *left = left.checked_sub(1).ok_or_else(too_long)?;
    match value {
        Lua51::Boolean(value) => Ok(value.into()),
        Lua51::Integer(value) => Ok(value.into()),
        Lua51::Number(value) if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 => {
            Ok((value as i64).into())
        }
        Lua51::Number(value) => {
            let number = Number::from_f64(value).map(Value::Number);
            number.ok_or_else(|| Error::Refused("a number that JSON has not".into()))
        }
        Lua51::String(text) => {
            let text = String::from_utf8_lossy(text.as_bytes()).into_owned();
            *left = left.checked_sub(text.len()).ok_or_else(too_long)?;
            Ok(text.into())
        }
        // Addresses and netmasks.
        value @ Lua51::UserData(_) => Ok(crate::lua::objects::tostring(lua, value)?.into()),
        Lua51::Table(_) if depth == 0 => Err(Error::Refused("tables inside each other without end".into())),
        Lua51::Table(table) => {
            let length = table.raw_len();
            if length > 0 && length == table.clone().pairs::<Lua51, Lua51>().count() {
                let items = table.sequence_values::<Lua51>().map(|item| of(lua, item?, depth - 1, left));
                return items.collect::<Result<Vec<Value>>>().map(Value::Array);
            }
            members(lua, table, depth - 1, left).map(Value::Object)
        }
        other => {
            Err(Error::Refused(format!("text, number, boolean or table expected, got {}", type_name(&other))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(chunk: &str) -> String {
        let lua = Lua::new();
        let table = lua.load(chunk).eval().unwrap();
        match object(&lua, table, 100) {
            Ok(map) => Value::Object(map).to_string(),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn a_table_becomes_an_object_or_is_refused() {
        for (chunk, expected) in [
            ("{}", "{}"),
            ("{ a = 1, b = 1.5, c = 'x', d = true }", r#"{"a":1,"b":1.5,"c":"x","d":true}"#),
            ("{ a = { 1, 'x', { b = 2 } }, e = {} }", r#"{"a":[1,"x",{"b":2}],"e":{}}"#),
            ("{ 'x', k = 1 }", r#"{"1":"x","k":1}"#),
            ("{ a = 'x\\255' }", "{\"a\":\"x\u{fffd}\"}"),
            ("{ a = 1/0 }", "a: a number that JSON has not"),
            ("{ a = { b = print } }", "a: b: text, number, boolean or table expected, got function"),
            ("{ [true] = 1 }", "a key must be a string or a number, got a boolean"),
            ("{ a = ('x'):rep(101) }", "a: too much of it"),
            ("{ a = ('\\1'):rep(50) }", "too much of it"),
            ("(function() local t = {} t[1] = t return t end)()", "too much of it"),
        ] {
            let found = convert(chunk);
            assert!(
                found == expected || found.ends_with(expected) || found.contains("without end"),
                "{chunk}: {found}"
            );
        }
    }
}
