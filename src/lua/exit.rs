//! What `os.exit` does in every state. LuaJIT's own ends the process at once: with it go the reports
//! that wait, the webhooks, the log's last lines and the pid file.

use std::rc::Rc;

use rlua::{Function, Lua, Table, Value};

use crate::error::Error;
use crate::lua::api::{Context, Phase, answer, prelude};
use crate::lua::argument::Argument;

/// Puts an `os.exit` in place that asks for an orderly end and ends the call.
pub fn install(lua: &Lua, context: &Rc<Context>) -> rlua::Result<()> {
    let context = context.clone();
    let exit = lua.create_function(move |lua, asked: Value| {
        let status = status(asked, lua);
        let text = format!("{}os.exit({status}) was called", caller(lua));
        match context.phase.get() {
            Phase::File => context.exit.set(Some((status, text))),
            Phase::Command | Phase::Call => {
                context.stops.set(true);
                if context.shared.exit(status, text.clone()) {
                    log::error!("{text}");
                }
            }
        }
        answer(lua, || format!("os.exit({status})"), Err(Error::Refused("this call ends here".into())))
    })?;
    lua.globals().get::<_, Table>("os")?.set("exit", prelude(lua, "face")?.call::<_, Function>(exit)?)
}

/// The line that has called it, whatever it was called through (`pcall`).
fn caller(lua: &Lua) -> String {
    // Level 0 is the function, 1 its face in the prelude.
    let levels = (2..).map_while(|level| lua.inspect_stack(level));
    let mut lines = levels.filter(|caller| caller.curr_line() > 0);
    let Some(line) = lines.next() else { return String::new() };
    let source = line.source().short_src.unwrap_or_default().into_owned();
    format!("{source}:{}: ", line.curr_line())
}

/// As C's `exit`: the lowest byte of a number; nothing and true are 0, anything else is 1.
fn status(asked: Value, lua: &Lua) -> u8 {
    match asked {
        Value::Nil | Value::Boolean(true) => 0,
        other => {
            <f64 as Argument>::from_value(other, lua).map_or(1, |number| (number as i64).to_le_bytes()[0])
        }
    }
}
