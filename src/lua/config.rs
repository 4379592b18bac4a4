//! Functions that configure the daemon. Those of plain settings fill `Config`; those that can also
//! change while running, from the console, go to `Shared`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use rlua::{Function, Lua, Table, Value};

use crate::config::{Ack, BUILT_IN, CONSOLE_PORT, Config, HttpLimits};
use crate::error::{Error, Result};
use crate::logger;
use crate::lua::api::{ANYWHERE, Context, FILE, Func, Role, func, place, prelude};
use crate::lua::argument::Argument;
use crate::net::addr::Address;
use crate::shared::Shared;
use crate::unix::{Account, find_group};

/// The file, for the daemon and for its client.
const FILE_AND_CLIENT: &[Role] = &[Role::Config, Role::Client];
/// The file, and the console while running.
const FILE_AND_CONSOLE: &[Role] = &[Role::Config, Role::Console];

#[rustfmt::skip] // A function has three lines: what it is called with, its help, what it does.
pub static FUNCS: &[Func] = &[
    func!(FILE_AND_CONSOLE, setACL(netmasks: Vec<String>),
        "Let the addresses in these netmasks, and no others, use the HTTP listeners.",
        |_lua, cx| cx.shared.set_acl(&netmasks)),
    func!(FILE_AND_CONSOLE, addACL(netmask: String),
        "Let the addresses in a netmask use the HTTP listeners.",
        |_lua, cx| cx.shared.add_acl(&netmask)),
    func!(FILE_AND_CONSOLE, setWebserverPassword(password: String),
        "Set the password of the HTTP listeners.",
        |_lua, cx| cx.shared.set_password(password)),
    func!(FILE, setMetricsNoPassword(),
        "Let /metrics be read without the password.",
        |_lua, cx| { cx.shared.open_metrics(); Ok(()) }),
    func!(FILE, setNumWorkerThreads(number: usize),
        "Set how many threads serve HTTP.",
        |_lua, cx| count(number, THREADS).map(|n| cx.config.borrow_mut().worker_threads = n)),
    func!(FILE, setNumReportThreads(number: usize),
        "Set how many threads run the report function.",
        |_lua, cx| count(number, THREADS).map(|n| cx.config.borrow_mut().report_threads = n)),
    func!(FILE, setNumEndpointThreads(number: usize),
        "Set how many threads run custom endpoints.",
        |_lua, cx| count(number, THREADS).map(|n| cx.config.borrow_mut().endpoint_threads = n)),
    func!(FILE, setNumSchedulerThreads(number: usize),
        "Set how many threads run background functions.",
        |_lua, cx| count(number, THREADS).map(|n| cx.config.borrow_mut().scheduler_threads = n)),
    func!(FILE, setNumLuaStates(number: usize),
        "Raise the number of Lua states, which follows from the numbers of threads.",
        |_lua, cx| count(number, THREADS).map(|n| cx.config.borrow_mut().lua_states = Some(n))),
    func!(FILE, setReportQueueSize(number: usize),
        "Set how many reports may wait for a thread.",
        |_lua, cx| count(number, 1..=10_000_000).map(|n| cx.config.borrow_mut().report_queue = n)),
    func!(FILE, setReportAck(when: String),
        "Set when a report is answered: \"queued\" or \"done\".",
        |_lua, cx| parse_ack(&when).map(|ack| cx.config.borrow_mut().report_ack = ack)),
    func!(FILE, setMaxWebserverConns(number: usize),
        "Set how many HTTP connections may be open at a time.",
        |_lua, cx| count(number, 1..=1_000_000).map(|n| cx.config.borrow_mut().connections = n)),
    func!(FILE, setHTTPLimits(limits: Table),
        "Set what a client of the HTTP listeners may cost.",
        |lua, cx| set_limits(lua, &mut cx.config.borrow_mut().http, limits)),
    func!(FILE, setShutdownTimeout(seconds: Duration),
        "Set how long queued reports may take to finish at the end.",
        |_lua, cx| { cx.config.borrow_mut().shutdown_timeout = seconds; Ok(()) }),
    func!(FILE, setLuaTimeout(seconds: Duration),
        "Set how long one call of a Lua function may take.",
        |_lua, cx| { cx.config.borrow_mut().lua_timeout = seconds; Ok(()) }),
    func!(FILE, setLuaMemoryLimit(megabytes: usize),
        "Set how much memory the Lua state of a thread may have.",
        |_lua, cx| count(megabytes, 16..=1 << 20).map(|n| cx.config.borrow_mut().lua_memory = n << 10)),
    func!(FILE_AND_CLIENT, controlSocket(address: String),
        "Let the console be used from elsewhere, on an IP address and port.",
        |_lua, cx| control_socket(&mut cx.config.borrow_mut(), &address)),
    func!(FILE_AND_CLIENT, setKey(key: String),
        "Set the key that encrypts the console.",
        |lua, cx| Ok(set_key(lua, &mut cx.config.borrow_mut(), &key))),
    func!(FILE, setUser(name: String),
        "Set the user that the daemon becomes when it no longer needs to be root.",
        |_lua, cx| Account::find(&name).map(|user| cx.config.borrow_mut().user = Some(user))),
    func!(FILE, setGroup(name: String),
        "Set the group that the daemon has with the user of setUser.",
        |_lua, cx| find_group(&name).map(|group| cx.config.borrow_mut().group = Some(group))),
    func!(FILE, setVerboseAll(),
        "Log more, as the option -v does.",
        |_lua, _cx| { logger::set_verbose(true); Ok(()) }),
    func!(FILE_AND_CONSOLE, addCustomStat(name: String),
        "Declare a custom counter.",
        |_lua, cx| cx.shared.add_custom_stat(&name)),
    func!(&[Role::Worker], incCustomStat(name: String),
        "Add one to a custom counter.",
        |_lua, cx| { count_custom(&cx.shared, &name); Ok(()) }),
    func!(ANYWHERE, setReport(function: Function),
        "Name the function to call for each report.",
        |lua, cx| set_report(lua, cx, function)),
    func!(ANYWHERE, setCustomEndpoint(name: String, function: Function),
        "Name the function to call for POST requests to /command/name.",
        |lua, cx| set_endpoint(lua, cx, &name, function)),
];

pub(super) const THREADS: RangeInclusive<usize> = 1..=1024;

/// A number that must lie within a range.
pub(super) fn count(number: usize, range: RangeInclusive<usize>) -> Result<usize> {
    if range.contains(&number) {
        return Ok(number);
    }
    Err(Error::Refused(format!("number: {number} is not from {} to {}", range.start(), range.end())))
}

fn control_socket(config: &mut Config, address: &str) -> Result<()> {
    let bad = |_| Error::Bad { what: "an IP address with an optional port", value: address.into() };
    let parsed: Address = address.parse().map_err(bad)?;
    config.control_socket = Some(SocketAddr::new(parsed.ip(), parsed.port().unwrap_or(CONSOLE_PORT)));
    Ok(())
}

/// Whether the key can be used; as in the original, one that can't is no reason not to start.
fn set_key(lua: &Lua, config: &mut Config, key: &str) -> bool {
    let key = key.parse().inspect_err(|e| log::error!("{}: setKey(key): {e}", place(lua)));
    config.key = key.ok();
    config.key.is_some()
}

fn parse_ack(when: &str) -> Result<Ack> {
    match when {
        "queued" => Ok(Ack::Queued),
        "done" => Ok(Ack::Done),
        _ => Err(Error::Bad { what: "\"queued\" or \"done\"", value: when.into() }),
    }
}

/// Takes the limits that the table names; one that it doesn't know is an error.
fn set_limits(lua: &Lua, limits: &mut HttpLimits, table: Table) -> Result<()> {
    for pair in table.pairs::<String, Value>() {
        let (name, value) = pair?;
        match name.as_str() {
            "head" => limits.head = bytes(lua, &name, value, 256)?,
            "body" => limits.body = bytes(lua, &name, value, 1)?,
            "head_timeout" => limits.head_timeout = seconds(lua, &name, value)?,
            "body_timeout" => limits.body_timeout = seconds(lua, &name, value)?,
            "idle_timeout" => limits.idle_timeout = seconds(lua, &name, value)?,
            _ => {
                let known = "head, body, head_timeout, body_timeout and idle_timeout";
                return Err(Error::Refused(format!("limits: no limit named \"{name}\": there are {known}")));
            }
        }
    }
    Ok(())
}

/// A size in bytes; what is asked for must hold a request and fit in memory.
fn bytes(lua: &Lua, name: &str, value: Value, least: usize) -> Result<usize> {
    const MOST: usize = 1 << 30;
    let number = <usize as Argument>::from_value(value, lua).filter(|n| (least..=MOST).contains(n));
    number.ok_or_else(|| Error::Refused(format!("limits: {name} must be from {least} to {MOST} bytes")))
}

fn seconds(lua: &Lua, name: &str, value: Value) -> Result<Duration> {
    <Duration as Argument>::from_value(value, lua)
        .ok_or_else(|| Error::Refused(format!("limits: {name} must be a number of seconds, more than 0")))
}

fn count_custom(shared: &Shared, name: &str) {
    if !shared.stats.count_custom(name) && shared.is_news("incCustomStat") {
        log::warn!("incCustomStat(name): no addCustomStat(\"{name}\") in the configuration");
    }
}

fn set_report(lua: &Lua, cx: &Context, function: Function) -> Result<()> {
    cx.config.borrow_mut().has_report = true;
    Ok(prelude(lua, "set_report")?.call(function)?)
}

/// Keeps the function of an endpoint; only the state that runs the configuration first, or a command
/// of the console, makes the endpoint known.
fn set_endpoint(lua: &Lua, cx: &Context, name: &str, function: Function) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(Error::Refused(format!("name: \"{name}\" may hold letters, digits, - and _ only")));
    }
    if BUILT_IN.contains(&name) {
        return Err(Error::Refused(format!("name: \"{name}\" is a built-in command")));
    }
    prelude(lua, "set_endpoint")?.call::<_, ()>((name, function))?;
    if cx.role.get() != Role::Worker {
        cx.shared.add_endpoint(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_does_not_exist_is_refused() {
        let lua = Lua::new();
        for (table, error) in [
            ("{head = 1024, idle_timeout = 0.5}", ""),
            (
                "{header = 1}",
                "limits: no limit named \"header\": there are head, body, head_timeout, body_timeout and idle_timeout",
            ),
            ("{body = 0}", "limits: body must be from 1 to 1073741824 bytes"),
            ("{head_timeout = 0}", "limits: head_timeout must be a number of seconds, more than 0"),
        ] {
            let mut limits = HttpLimits::default();
            let table = lua.load(table).eval().unwrap();
            let result = set_limits(&lua, &mut limits, table).err().map(|e| e.to_string());
            assert_eq!(result.unwrap_or_default(), error);
        }
    }
}
