//! Functions for the operator at the console: each answers with text.

use crate::error::{Error, Result};
use crate::lua::api::{CONSOLE, Func, func, help};
use crate::net::crypto::{self, Key};
use crate::shared::Shared;

#[rustfmt::skip] // A function has three lines: what it is called with, its help, what it does.
pub static FUNCS: &[Func] = &[
    func!(CONSOLE, help(name: Option<String>),
        "Describe a function, or every function of the console.",
        |_lua, _cx| help(name.as_deref())),
    func!(CONSOLE, makeKey(),
        "Make a key for the console, as a line for the configuration.",
        |_lua, _cx| crypto::new_key().map(|key| format!("setKey(\"{key}\")\n"))),
    func!(CONSOLE, showACL(),
        "Show the netmasks of the ACL.",
        |_lua, cx| Ok(lines(&cx.shared.acl()))),
    func!(CONSOLE, showCommandStats(),
        "Show how often each command was called in the last five minutes.",
        |_lua, cx| Ok(counts(cx.shared.stats.command_stats()))),
    func!(CONSOLE, showCustomEndpoints(),
        "Show the custom endpoints.",
        |_lua, cx| Ok(endpoints(&cx.shared))),
    func!(CONSOLE, showCustomStats(),
        "Show the custom counters of the last five minutes.",
        |_lua, cx| Ok(counts(cx.shared.stats.custom_stats()))),
    func!(CONSOLE, showPerfStats(),
        "Show how long jobs waited and ran in the last five minutes.",
        |_lua, cx| Ok(counts(cx.shared.stats.perf_stats()))),
    func!(CONSOLE, showVersion(),
        "Show the version.",
        |_lua, _cx| Ok(concat!("trackalert ", env!("CARGO_PKG_VERSION"), "\n"))),
    func!(CONSOLE, shutdown(),
        "Stop the daemon cleanly.",
        |_lua, cx| { cx.stops.set(true); Ok(()) }),
    func!(CONSOLE, stats(),
        "Show how many reports there were since the start.",
        |_lua, cx| Ok(format!("{} reports\n", cx.shared.stats.reports()))),
    func!(CONSOLE, testCrypto(message: String),
        "Encrypt and decrypt a message with the key of the console.",
        |_lua, cx| test_crypto(cx.config.borrow().key.as_ref(), &message)),
];

fn lines(texts: &[String]) -> String {
    texts.iter().map(|text| format!("{text}\n")).collect()
}

fn counts(counts: Vec<(String, u64)>) -> String {
    counts.iter().map(|(name, count)| format!("{name}={count}\n")).collect()
}

fn test_crypto(key: Option<&Key>, message: &str) -> Result<&'static str> {
    let key = key.ok_or_else(|| Error::Refused("there is no setKey() in the configuration".into()))?;
    let nonce = crypto::new_nonce()?;
    let opened = key.open(&key.seal(message.as_bytes(), &nonce), &nonce);
    if opened.is_some_and(|opened| opened.as_slice() == message.as_bytes()) {
        return Ok("Everything is ok!\n");
    }
    Err(Error::Refused("the message does not come out as it went in".into()))
}

fn endpoints(shared: &Shared) -> String {
    let heading = format!("{:<30} \n", "Custom Endpoint");
    heading + &shared.endpoints().iter().map(|name| format!("{name:<30} \n")).collect::<String>()
}
