//! The file of a policy: where it is, and what it may say.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::Local;
use rlua::{ChunkMode, Function, Lua, RegistryKey, Table, Value};

use crate::config::When;
use crate::cron::{Expression, parse_duration};
use crate::error::{Error, Result};
use crate::lua::argument::type_name;
use crate::lua::policy::Functions;
use crate::lua::policy::shipped::{self, SHIPPED};

/// What a policy's file may return.
const FIELDS: [&str; 10] = [
    "name",
    "summary",
    "defaults",
    "group",
    "every",
    "on_report",
    "on_success",
    "on_failure",
    "on_episode",
    "on_schedule",
];

/// What the file of a policy says.
pub struct File<'lua> {
    pub name: String,
    pub table: Table<'lua>,
    pub defaults: Table<'lua>,
}

/// Runs the file of a policy: the one that is beside the configuration, or else the one that is shipped.
pub fn read<'lua>(lua: &'lua Lua, name: &str) -> Result<File<'lua>> {
    let is_path = name.contains('/') || name.ends_with(".lua");
    let own = if is_path { PathBuf::from(name) } else { Path::new("policies").join(format!("{name}.lua")) };
    let (text, source) = match fs::read(&own) {
        Ok(text) => (text, format!("@{}", own.display())),
        Err(e) if is_path => return Err(Error::io(&own)(e)),
        Err(_) => {
            let shipped = shipped::find(name).ok_or_else(|| {
                let names: Vec<&str> = SHIPPED.iter().map(|policy| policy.name).collect();
                Error::Refused(format!("no policy named \"{name}\": there are {}", names.join(", ")))
            })?;
            (shipped.text.into(), format!("@policies/{name}.lua"))
        }
    };
    let result = lua.load(text.as_slice()).set_name(source).set_mode(ChunkMode::Text).eval::<Value>();
    let bad = |what: &str| Error::Refused(format!("policy {name}: {what}"));
    let Value::Table(table) = result? else { return Err(bad("its file must return a table")) };
    for key in keys(Some(&table))? {
        if !FIELDS.contains(&key.as_str()) {
            return Err(bad(&format!("no field named \"{key}\": there are {}", FIELDS.join(", "))));
        }
    }
    let text =
        |field| table.get::<_, Option<String>>(field).map_err(|_| bad(&format!("{field} must be text")));
    let found = text("name")?.ok_or_else(|| bad("it has no name"))?;
    text("summary")?.ok_or_else(|| bad("it has no summary"))?;
    let defaults = match table.get::<_, Value>("defaults")? {
        Value::Nil => lua.create_table()?,
        Value::Table(defaults) => defaults,
        _ => return Err(bad("defaults must be a table")),
    };
    Ok(File { name: found, table, defaults })
}

impl File<'_> {
    /// What is wrong with it, or with its use.
    pub fn bad(&self, what: String) -> Error {
        Error::Refused(format!("policy {}: {what}", self.name))
    }

    /// What it wants to be called for.
    pub fn functions(&self, lua: &Lua) -> Result<Functions> {
        let function = |field: &str| -> Result<Option<RegistryKey>> {
            match self.table.get::<_, Value>(field)? {
                Value::Nil => Ok(None),
                Value::Function(function) => Ok(Some(lua.create_registry_value::<Function>(function)?)),
                _ => Err(self.bad(format!("{field} must be a function"))),
            }
        };
        Ok(Functions {
            report: function("on_report")?,
            success: function("on_success")?,
            failure: function("on_failure")?,
            episode: function("on_episode")?,
            schedule: function("on_schedule")?,
        })
    }

    /// When it is due by itself.
    pub fn when(&self) -> Result<Option<When>> {
        let every = self.table.get::<_, Option<String>>("every")?;
        match (self.table.contains_key("on_schedule")?, every) {
            (true, Some(every)) => when(&every).map(Some).map_err(|e| self.bad(format!("every: {e}"))),
            (false, None) => Ok(None),
            _ => Err(self.bad("on_schedule and every need each other".into())),
        }
    }
}

/// When a policy is due: a cron expression, or a pause.
fn when(every: &str) -> Result<When> {
    if every.trim().contains(' ') {
        return Expression::parse(every, &Local::now()).map(When::Cron);
    }
    let pause = parse_duration(every)?;
    if pause.is_zero() {
        return Err(Error::Refused("it must be more than 0".into()));
    }
    Ok(When::Every(pause))
}

/// The keys of a table, all of which must be text.
pub fn keys(table: Option<&Table>) -> Result<Vec<String>> {
    let Some(table) = table else { return Ok(Vec::new()) };
    let mut keys = Vec::new();
    for pair in table.clone().pairs::<Value, Value>() {
        let (key, _) = pair?;
        let Value::String(key) = key else {
            return Err(Error::Refused(format!("keys must be strings, got a {}", type_name(&key))));
        };
        keys.push(key.to_string_lossy().into_owned());
    }
    keys.sort();
    Ok(keys)
}
