//! Functions that write a line to the log: a message with named values.

use log::Level;
use rlua::{Lua, Table, Value};

use crate::error::Result;
use crate::logger;
use crate::lua::api::{ANYWHERE, Func, func};
use crate::lua::argument::Argument;
use crate::lua::objects::tostring;

#[rustfmt::skip] // A function has three lines: what it is called with, its help, what it does.
pub static FUNCS: &[Func] = &[
    func!(ANYWHERE, infoLog(message: String, values: Option<Table>),
        "Log a message with named values at level info.",
        |lua, _cx| line(lua, &message, values).map(|line| log::info!("{line}"))),
    func!(ANYWHERE, warnLog(message: String, values: Option<Table>),
        "Log a message with named values at level warning.",
        |lua, _cx| line(lua, &message, values).map(|line| log::warn!("{line}"))),
    func!(ANYWHERE, errorLog(message: String, values: Option<Table>),
        "Log a message with named values at level error.",
        |lua, _cx| line(lua, &message, values).map(|line| log::error!("{line}"))),
    func!(ANYWHERE, debugLog(message: String, values: Option<Table>),
        "Log a message with named values at level debug, when verbose.",
        |lua, _cx| when_verbose(lua, &message, values, Level::Debug)),
    func!(ANYWHERE, vinfoLog(message: String, values: Option<Table>),
        "Log a message with named values at level info, when verbose.",
        |lua, _cx| when_verbose(lua, &message, values, Level::Info)),
];

fn when_verbose(lua: &Lua, message: &str, values: Option<Table>, level: Level) -> Result<()> {
    if logger::is_verbose() {
        log::log!(level, "{}", line(lua, message, values)?);
    }
    Ok(())
}

/// `message: key="value" …`, the keys sorted.
fn line(lua: &Lua, message: &str, values: Option<Table>) -> Result<String> {
    let mut fields = Vec::new();
    if let Some(values) = values {
        for pair in values.pairs::<Value, Value>() {
            let (key, value) = pair?;
            let key =
                <String as Argument>::from_value(key.clone(), lua).map_or_else(|| tostring(lua, key), Ok)?;
            fields.push((key, tostring(lua, value)?));
        }
    }
    Ok(logger::line(message, &fields))
}
