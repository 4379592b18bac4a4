//! Commands of the console: run in the state that ran the configuration, whose answer counts, and in
//! the states of the pools.

use std::time::Instant;

use rlua::{ChunkMode, MultiValue, Table, Value};

use crate::error::Result;
use crate::lua::api::{self, Phase, Role};
use crate::lua::{Failure, State, objects};

impl State {
    /// Makes the state that ran the configuration the console's.
    pub fn become_console(&self) -> Result<()> {
        self.context.role.set(Role::Console);
        let context = self.context.clone();
        let print = self.lua.create_function(move |lua, values: MultiValue| {
            let texts: rlua::Result<Vec<String>> =
                values.into_iter().map(|value| Ok(objects::tostring(lua, value)?)).collect();
            let mut printed = context.printed.borrow_mut();
            printed.push_str(&texts?.join("\t"));
            printed.push('\n');
            Ok(())
        })?;
        Ok(self.lua.globals().set("print", print)?)
    }

    /// Runs a line from the console and gives its answer; after `deadline` it may be interrupted.
    pub fn command(&self, line: &str, deadline: Instant) -> Result<String> {
        let _running = self.interruptible.run(&self.lua, deadline);
        self.context.printed.borrow_mut().clear();
        self.context.answered.borrow_mut().clear();
        let call = if api::is_bare_name(line) { format!("{}()", line.trim()) } else { line.to_owned() };
        let expression = self.chunk(&format!("return {call}")).into_function();
        let is_call = api::is_call_of_ours(&call);
        let shows_all = expression.is_ok() && !is_call || line.trim_start().starts_with("return");
        let function = expression.or_else(|_| self.chunk(line).into_function())?;
        let mut values: MultiValue = function.call(())?;
        let (mut printed, answered) = (self.context.printed.take(), self.context.answered.take());
        match values.pop_front() {
            Some(Value::Table(table)) => printed.push_str(&self.show_table(table)?),
            Some(value @ Value::String(_)) => printed.push_str(&objects::tostring(&self.lua, value)?),
            Some(value) if shows_all => printed.push_str(&objects::tostring(&self.lua, value)?),
            _ if printed.is_empty() => return Ok(answered),
            _ => {}
        }
        Ok(printed)
    }

    /// Whether the console has left commands since the last time.
    pub fn is_behind(&self) -> bool {
        self.context.shared.command_count() > self.seen.get()
    }

    /// Runs, in a pool's state, what the console has left; after `deadline` it may be interrupted.
    pub fn catch_up(&self, deadline: Instant) {
        let commands = self.context.shared.commands_after(self.seen.get());
        self.seen.set(self.seen.get() + commands.len());
        self.context.phase.set(Phase::Command);
        for command in commands {
            if let Err(e) = self.command(&command, deadline) {
                ::log::error!("console command in a Lua thread: {}", Failure::new(&e).message);
            }
        }
        self.context.phase.set(Phase::Call);
    }

    fn chunk<'lua>(&'lua self, text: &str) -> rlua::Chunk<'lua, 'static> {
        self.lua.load(text.to_owned()).set_name("=console").set_mode(ChunkMode::Text)
    }

    /// One `key=value` a line, sorted.
    fn show_table(&self, table: Table) -> Result<String> {
        let mut lines = Vec::new();
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            let (key, value) = (objects::tostring(&self.lua, key)?, objects::tostring(&self.lua, value)?);
            lines.push(format!("{key}={value}\n"));
        }
        lines.sort();
        Ok(lines.concat())
    }
}
