//! Functions for webhooks and for the HTTPS that the daemon speaks as a client.

use std::path::Path;
use std::time::Duration;

use rlua::{Lua, Table, Value};
use secrecy::zeroize::Zeroize;

use crate::error::{Error, Result};
use crate::lua::api::{CONSOLE, Context, FILE, Func, Phase, Role, func};
use crate::lua::argument::Argument;
use crate::lua::config::{THREADS, count};
use crate::webhook::MAX_TIMEOUT;

#[rustfmt::skip] // A function has three lines: what it is called with, its help, what it does.
pub static FUNCS: &[Func] = &[
    func!(FILE, addCustomWebHook(name: String, keys: Table),
        "Declare a custom webhook.",
        |lua, cx| add(lua, cx, &name, keys)),
    func!(&[Role::Worker], runCustomWebHook(name: String, data: rlua::String),
        "Send data to the receiver of a custom webhook.",
        |_lua, cx| { run(cx, &name, data.as_bytes()); Ok(()) }),
    func!(CONSOLE, showCustomWebHooks(),
        "Show the custom webhooks.",
        |_lua, cx| Ok(cx.shared.webhook_table())),
    func!(FILE, setNumWebHookThreads(number: usize),
        "Set the first of two numbers whose product is how many webhooks are delivered at a time.",
        |_lua, cx| count(number, THREADS).map(|n| cx.config.borrow_mut().webhooks.threads = n)),
    func!(FILE, setNumWebHookConnsPerThread(number: usize),
        "Set the second of two numbers whose product is how many webhooks are delivered at a time.",
        |_lua, cx| count(number, THREADS).map(|n| cx.config.borrow_mut().webhooks.connections = n)),
    func!(FILE, setWebHookQueueSize(number: usize),
        "Set how many deliveries of webhooks may wait.",
        |_lua, cx| count(number, 1..=10_000_000).map(|n| cx.config.borrow_mut().webhooks.queue = n)),
    func!(FILE, setWebHookTimeoutSecs(seconds: Duration),
        "Set how long an attempt to deliver a webhook may take.",
        |_lua, cx| timeout(seconds).map(|timeout| cx.config.borrow_mut().webhooks.timeout = timeout)),
    func!(FILE, disableCurlPeerVerification(),
        "Accept certificates of HTTPS servers that no trusted one vouches for.",
        |_lua, cx| { cx.config.borrow_mut().outbound.checks_chain = false; Ok(()) }),
    func!(FILE, disableCurlHostVerification(),
        "Accept certificates of HTTPS servers that are made out to another name.",
        |_lua, cx| { cx.config.borrow_mut().outbound.checks_name = false; Ok(()) }),
    func!(FILE, setCurlCABundleFile(file: String),
        "Trust the certificates in a file instead of the system's.",
        |_lua, cx| cx.config.borrow_mut().outbound.set_bundle(Path::new(&file))),
    func!(FILE, setCurlClientCertAndKey(certificate: String, key: String),
        "Show a certificate to HTTPS servers that ask for one.",
        |_lua, cx| cx.config.borrow_mut().outbound.set_identity(Path::new(&certificate), Path::new(&key))),
];

fn timeout(seconds: Duration) -> Result<Duration> {
    if seconds <= MAX_TIMEOUT {
        return Ok(seconds);
    }
    Err(Error::Refused(format!("seconds: more than {}", MAX_TIMEOUT.as_secs())))
}

fn add(lua: &Lua, cx: &Context, name: &str, keys: Table) -> Result<()> {
    let mut keys = read_keys(lua, keys)?;
    let added = cx.shared.add_webhook(name, &keys);
    // The hook has made its own of those that are secret.
    keys.iter_mut().for_each(|(_, value)| value.zeroize());
    added
}

/// The keys of a hook, as bytes: a secret need not be text.
fn read_keys(lua: &Lua, keys: Table) -> Result<Vec<(String, Vec<u8>)>> {
    let mut pairs = Vec::new();
    for pair in keys.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let key = <String as Argument>::from_value(key, lua)
            .ok_or_else(|| Error::Refused("keys: a key must be a string".into()))?;
        let value = match value {
            Value::Boolean(value) if key == "kafka" => value.to_string().into_bytes(),
            value => <rlua::String as Argument>::from_value(value, lua)
                .ok_or_else(|| Error::Refused(format!("{key}: must be a string")))?
                .as_bytes()
                .to_vec(),
        };
        pairs.push((key, value));
    }
    pairs.sort();
    Ok(pairs)
}

/// Queues a delivery, unless the state is only reading the file: each state does.
fn run(cx: &Context, name: &str, data: &[u8]) {
    if cx.phase.get() == Phase::Call {
        cx.shared.run_webhook(name, data.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use crate::login::LoginTuple;
    use crate::lua::{Role, Script, State};
    use crate::manual;
    use crate::shared::Shared;

    #[test]
    fn the_example_of_the_manual_works() {
        let (shared, script) =
            (Arc::<Shared>::default(), Script::of(&manual::example("trackalert_webhook.5")));
        State::new(shared.clone(), Role::Config, Some(&script)).unwrap();
        assert!(shared.webhook_table().contains("https://chat.example.com/hooks/%{YYYY}%{MM}%{dd}"));
        let worker = State::new(shared.clone(), Role::Worker, Some(&script)).unwrap();
        for count in 1..=30 {
            worker.report(&LoginTuple::default(), None, Instant::now() + super::MAX_TIMEOUT).unwrap();
            // Before the start is complete there is no room for a delivery.
            assert_eq!(shared.stats.metrics.webhook_dropped.get(), u64::from(count >= 20));
        }
    }
}
