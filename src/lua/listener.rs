//! Functions that add HTTP listeners. What a listener shows its clients is read and checked here, so
//! that a certificate which can't be used is an error of the configuration, with its line.

#![allow(non_snake_case)] // Names of arguments are the manual's: useSSL.

use std::net::SocketAddr;
use std::path::Path;

use rlua::{Lua, Value};

use crate::config::{Config, Listener};
use crate::error::{Error, Result};
use crate::lua::api::{Context, FILE, Func, func};
use crate::lua::argument::{Argument, type_name};
use crate::net::addr::Address;
use crate::net::tls::{Options, ServerTls};

#[rustfmt::skip] // A function has three lines: what it is called with, its help, what it does.
pub static FUNCS: &[Func] = &[
    func!(FILE, addListener(address: String, useSSL: bool, certificate: Value, key: Value, options: Value),
        "Add an HTTP listener on an IP address and port.",
        |lua, cx| read_tls(lua, useSSL, certificate, key, options).and_then(|tls| add(cx, &address, tls))),
    func!(FILE, webserver(address: String, password: String),
        "Add a plain HTTP listener and set the password (deprecated).",
        |_lua, cx| webserver(cx, &address, password)),
];

fn webserver(cx: &Context, address: &str, password: String) -> Result<()> {
    log::warn!("webserver() is deprecated: use addListener() and setWebserverPassword()");
    cx.shared.set_password(password)?;
    add(cx, address, None)
}

fn add(cx: &Context, address: &str, tls: Option<ServerTls>) -> Result<()> {
    add_listener(&mut cx.config.borrow_mut(), address, tls)
}

fn add_listener(config: &mut Config, address: &str, tls: Option<ServerTls>) -> Result<()> {
    let bad = || Error::Bad { what: "an IP address with a port", value: address.into() };
    let parsed: Address = address.parse().map_err(|_| bad())?;
    let address = SocketAddr::new(parsed.ip(), parsed.port().ok_or_else(bad)?);
    if address.port() != 0 && config.listeners.iter().any(|listener| listener.address == address) {
        return Err(Error::Refused(format!("address: {address} has a listener already")));
    }
    config.listeners.push(Listener { address, tls });
    Ok(())
}

/// What the arguments after `useSSL` name, if the listener has a use for it.
fn read_tls(
    lua: &Lua,
    use_ssl: bool,
    certificate: Value,
    key: Value,
    options: Value,
) -> Result<Option<ServerTls>> {
    if !use_ssl {
        // The original's documentation gives empty ones to plain listeners.
        return match [certificate, key, options].iter().find(|value| !is_empty(value)) {
            Some(value) => {
                Err(Error::Refused(format!("a {} after useSSL = false has no meaning", type_name(value))))
            }
            None => Ok(None),
        };
    }
    let certificate = text(lua, "certificate", certificate)?;
    let key = text(lua, "key", key)?;
    let options = read_options(lua, options)?;
    ServerTls::load(Path::new(&certificate), Path::new(&key), &options).map(Some)
}

fn read_options(lua: &Lua, value: Value) -> Result<Options> {
    let mut options = Options::default();
    let table = match value {
        Value::Nil => return Ok(options),
        Value::Table(table) => table,
        other => return Err(Error::Refused(format!("options: table expected, got {}", type_name(&other)))),
    };
    for pair in table.pairs::<Value, Value>() {
        let (name, value) = pair?;
        let name = text(lua, "options: name", name)?;
        let value = text(lua, &format!("options: {name}"), value)?;
        options.set(&name, &value).map_err(|e| Error::Refused(format!("options: {name}: {e}")))?;
    }
    Ok(options)
}

/// A text that says something.
fn text(lua: &Lua, name: &str, value: Value) -> Result<String> {
    let found = if is_empty(&value) { "nothing" } else { type_name(&value) };
    let text = String::from_value(value, lua).filter(|text| !text.is_empty());
    text.ok_or_else(|| Error::Refused(format!("{name}: string expected, got {found}")))
}

/// Whether a value stands for nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Nil => true,
        Value::String(text) => text.as_bytes().is_empty(),
        Value::Table(table) => table.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_needs_an_address_with_a_port() {
        let mut config = Config::default();
        for (address, error) in [
            ("127.0.0.1:8084", ""),
            ("[::1]:8084", ""),
            ("127.0.0.1:0", ""),
            ("127.0.0.1:0", ""),
            ("127.0.0.1:8084", "address: 127.0.0.1:8084 has a listener already"),
            ("127.0.0.1", "\"127.0.0.1\" is not an IP address with a port"),
            ("localhost:8084", "\"localhost:8084\" is not an IP address with a port"),
        ] {
            let result = add_listener(&mut config, address, None).err().map(|e| e.to_string());
            assert_eq!(result.unwrap_or_default(), error, "{address}");
        }
        assert_eq!(config.listeners.len(), 4);
    }

    #[test]
    fn tls_needs_what_plain_http_has_no_use_for() {
        let lua = Lua::new();
        for (arguments, error) in [
            ("false", ""),
            ("false, '', '', {}", ""),
            ("false, '/a.pem'", "a string after useSSL = false has no meaning"),
            ("false, nil, nil, { client_ca = '/a.pem' }", "a table after useSSL = false has no meaning"),
            ("true", "certificate: string expected, got nothing"),
            ("true, '', ''", "certificate: string expected, got nothing"),
            ("true, '/a.pem'", "key: string expected, got nothing"),
            ("true, '/a.pem', true", "key: string expected, got boolean"),
            ("true, '/a.pem', '/a.key', 1", "options: table expected, got number"),
            (
                "true, '/a.pem', '/a.key', { min_protocol = true }",
                "options: min_protocol: string expected, got boolean",
            ),
            (
                "true, '/a.pem', '/a.key', { client_ca = '' }",
                "options: client_ca: string expected, got nothing",
            ),
            (
                "true, '/a.pem', '/a.key', { min_protocol = 'TLSv1' }",
                "options: min_protocol: \"TLSv1\" is not TLSv1.2 or TLSv1.3",
            ),
            (
                "true, '/a.pem', '/a.key', { min_protocol = 'TLSv1.3', max_protocol = 'TLSv1.2' }",
                "options: min_protocol is above max_protocol",
            ),
            ("true, '/nonexistent/a.pem', '/a.key', {}", "/nonexistent/a.pem: no such file or directory"),
        ] {
            let (use_ssl, certificate, key, options) =
                lua.load(format!("return {arguments}")).eval::<(bool, Value, Value, Value)>().unwrap();
            let result = read_tls(&lua, use_ssl, certificate, key, options).err().map(|e| e.to_string());
            assert_eq!(result.unwrap_or_default(), error, "{arguments}");
        }
    }
}
