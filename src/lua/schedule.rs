//! Functions that name background functions and say when each is to run.

use std::time::Duration;

use chrono::Local;
use rlua::{Function, Lua};

use crate::config::{Scheduled, When};
use crate::cron::{Expression, parse_duration};
use crate::error::{Error, Result};
use crate::lua::api::{ANYWHERE, Context, FILE, Func, Phase, func, place, prelude};

#[rustfmt::skip] // A function has three lines: what it is called with, its help, what it does.
pub static FUNCS: &[Func] = &[
    func!(ANYWHERE, setBackground(name: String, function: Function),
        "Name a function that can be scheduled.",
        |lua, cx| set_background(lua, cx, name, function)),
    func!(FILE, cronScheduleBackgroundFunc(cron: String, name: String),
        "Run a background function at the times of a cron expression.",
        |lua, cx| Expression::parse(&cron, &Local::now()).map(|cron| schedule(lua, cx, name, When::Cron(cron)))),
    func!(FILE, intervalScheduleBackgroundFunc(duration: String, name: String),
        "Run a background function again and again, with a pause in between.",
        |lua, cx| interval(&duration).map(|pause| schedule(lua, cx, name, When::Every(pause)))),
    func!(ANYWHERE, durationToSeconds(duration: String),
        "Give the seconds of a duration, hours[:minutes[:seconds]].",
        |_lua, _cx| Ok(seconds(&duration))),
];

/// The first function of a name counts, as in the original; from the console, the last.
fn set_background(lua: &Lua, cx: &Context, name: String, function: Function) -> Result<()> {
    let replaces = cx.phase.get() != Phase::File;
    prelude(lua, "set_background")?.call::<_, ()>((name.as_str(), function, replaces))?;
    cx.config.borrow_mut().background.insert(name);
    Ok(())
}

fn schedule(lua: &Lua, cx: &Context, name: String, when: When) {
    cx.config.borrow_mut().scheduled.push(Scheduled { name, when, place: place(lua) });
}

/// A longer pause is a mistake.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);

fn interval(text: &str) -> Result<Duration> {
    let pause = parse_duration(text)?;
    if pause.is_zero() {
        return Err(Error::Refused("duration: it must be more than 0".into()));
    }
    if pause > LONGEST {
        return Err(Error::Refused("duration: it is longer than ten years".into()));
    }
    Ok(pause)
}

/// In a policy a bad duration is 0 and a line in the log, as in the original.
fn seconds(text: &str) -> u64 {
    parse_duration(text).map_or_else(
        |e| {
            log::error!("durationToSeconds(duration): {e}");
            0
        },
        |duration| duration.as_secs(),
    )
}
