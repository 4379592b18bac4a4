//! The objects of a policy: ComboAddress, Netmask and NetmaskGroup, with the functions that make
//! them. Each object's methods are one table, as the functions are.

use std::fmt;
use std::net::IpAddr;

use rlua::{Lua, MetaMethod, UserData, UserDataFields, UserDataMethods, Value};

use crate::error::{Error, Result};
use crate::lua::api::{ANYWHERE, Func, func};
use crate::lua::argument::Argument;
use crate::lua::method::{Method, add_methods, method};
use crate::net::addr::Address;
use crate::net::netmask::{Netmask, NetmaskGroup};

#[rustfmt::skip] // A function has three lines: what it is called with, its help, what it does.
pub static FUNCS: &[Func] = &[
    func!(ANYWHERE, newCA(address: String),
        "Make a ComboAddress of an IP address with an optional port.",
        |_lua, _cx| Ok(parse_address(&address))),
    func!(ANYWHERE, newNetmask(netmask: String),
        "Make a Netmask of an address with an optional prefix length.",
        |_lua, _cx| parse_netmask(&netmask)),
    func!(ANYWHERE, newNetmaskFromCA(address: ComboAddress, bits: usize),
        "Make a Netmask of the first bits of an address.",
        |_lua, _cx| Ok(Mask(Some(Netmask::new(address.0.ip(), bits.min(128) as u8))))),
    func!(ANYWHERE, newNetmaskGroup(),
        "Make an empty NetmaskGroup.",
        |_lua, _cx| Ok(Group(NetmaskGroup::new()))),
];

/// An address with an optional port.
#[derive(Clone, Copy)]
pub struct ComboAddress(pub Address);

impl ComboAddress {
    /// The address as databases look it up: IPv4 in IPv6 clothes as IPv4.
    pub fn ip(&self) -> IpAddr {
        self.0.unmapped().ip()
    }
}

/// The methods of a ComboAddress.
#[rustfmt::skip] // A row a method.
pub static COMBO_ADDRESS: &[Method<ComboAddress>] = &[
    method!(tostring(), "The address without its port, as RFC 5952 writes it.", |this| Ok(this.0.to_string())),
    method!(tostringWithPort(), "The address with its port, if it has one.", |this| Ok(this.0.with_port())),
    method!(isIPv4(), "Whether it is an IPv4 address.", |this| Ok(this.0.is_ipv4())),
    method!(isIPv6(), "Whether it is an IPv6 address.", |this| Ok(this.0.is_ipv6())),
    method!(isMappedIPv4(), "Whether it is IPv4 written as IPv6.", |this| Ok(this.0.is_mapped_ipv4())),
];

impl UserData for ComboAddress {
    fn add_fields<'lua, F: UserDataFields<'lua, Self>>(fields: &mut F) {
        add_methods("ComboAddress", COMBO_ADDRESS, fields);
    }

    fn add_methods<'lua, M: UserDataMethods<'lua, Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.0.to_string()));
        methods.add_meta_method(MetaMethod::Eq, |_, this, other: ComboAddress| Ok(this.0 == other.0));
        methods.add_meta_method(MetaMethod::Lt, |_, this, other: ComboAddress| Ok(this.0 < other.0));
        methods.add_meta_method(MetaMethod::Le, |_, this, other: ComboAddress| Ok(this.0 <= other.0));
        methods.add_meta_function(MetaMethod::Concat, |_, (left, right): (Text, Text)| {
            Ok([left.0, right.0].concat())
        });
    }
}

impl<'lua> rlua::FromLua<'lua> for ComboAddress {
    fn from_lua(value: Value<'lua>, _: &'lua Lua) -> rlua::Result<Self> {
        match value {
            Value::UserData(data) => Ok(*data.borrow::<ComboAddress>()?),
            other => {
                Err(rlua::Error::RuntimeError(format!("ComboAddress expected, got {}", other.type_name())))
            }
        }
    }
}

impl<'lua> Argument<'lua> for ComboAddress {
    const WANTED: &'static str = "ComboAddress";

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        rlua::FromLua::from_lua(value, lua).ok()
    }
}

/// One side of `..` beside a ComboAddress.
struct Text(String);

impl<'lua> rlua::FromLua<'lua> for Text {
    fn from_lua(value: Value<'lua>, lua: &'lua Lua) -> rlua::Result<Self> {
        if let Ok(ComboAddress(address)) = rlua::FromLua::from_lua(value.clone(), lua) {
            return Ok(Text(address.to_string()));
        }
        let found = value.type_name();
        let text = <String as Argument>::from_value(value, lua);
        text.map(Text)
            .ok_or_else(|| rlua::Error::RuntimeError(format!("attempt to concatenate a {found} value")))
    }
}

/// Reads an address for a policy, where a bad one is 0.0.0.0 and a line in the log.
fn parse_address(text: &str) -> ComboAddress {
    ComboAddress(text.parse().unwrap_or_else(|_| {
        log::error!("newCA(address): \"{text}\" is not an IP address with an optional port");
        Address::UNSPECIFIED
    }))
}

/// A netmask; none when it was made of what is no address.
pub struct Mask(Option<Netmask>);

/// The methods of a Netmask.
#[rustfmt::skip]
pub static NETMASK: &[Method<Mask>] = &[
    method!(toStringNetwork(), "The network with its prefix length.", |this| Ok(this.text())),
    method!(tostring(), "The same as toStringNetwork.", |this| Ok(this.text())),
];

impl Mask {
    /// What it holds, unless it is empty.
    pub fn netmask(&self) -> Option<Netmask> {
        self.0
    }

    fn text(&self) -> String {
        self.0.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

impl UserData for Mask {
    fn add_fields<'lua, F: UserDataFields<'lua, Self>>(fields: &mut F) {
        add_methods("Netmask", NETMASK, fields);
    }

    fn add_methods<'lua, M: UserDataMethods<'lua, Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.text()));
    }
}

/// Reads a netmask for a policy: what is no address is an empty Netmask and a line in the log, as
/// in the original; a prefix that the address can't have is an error.
fn parse_netmask(text: &str) -> Result<Mask> {
    match text.parse() {
        Ok(netmask) => Ok(Mask(Some(netmask))),
        Err(_) if text.split('/').next().is_some_and(|address| address.parse::<Address>().is_ok()) => {
            Err(Error::Bad { what: "a netmask", value: text.into() })
        }
        Err(_) => {
            log::error!("newNetmask(netmask): \"{text}\" is not a netmask");
            Ok(Mask(None))
        }
    }
}

/// A set of netmasks.
pub struct Group(NetmaskGroup);

impl Group {
    /// The netmasks as they were given.
    pub fn masks(&self) -> Vec<String> {
        self.0.masks()
    }
}

/// The methods of a NetmaskGroup.
#[rustfmt::skip]
pub static NETMASK_GROUP: &[Method<Group>] = &[
    method!(addMask(netmask: String),
        "Add a netmask, or exclude one that begins with an exclamation mark.",
        |this| this.0.add(&netmask).map_err(|e| Error::Refused(e.to_string()))),
    method!(match(address: ComboAddress),
        "Whether the longest netmask that holds the address includes it.",
        |this| Ok(this.0.contains(address.0.ip()))),
    method!(size(), "How many netmasks there are.", |this| Ok(this.0.len())),
    method!(clear(), "Remove every netmask.", |this| { this.0.clear(); Ok(()) }),
];

impl UserData for Group {
    fn add_fields<'lua, F: UserDataFields<'lua, Self>>(fields: &mut F) {
        add_methods("NetmaskGroup", NETMASK_GROUP, fields);
    }

    fn add_methods<'lua, M: UserDataMethods<'lua, Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.0.masks().join(", ")));
    }
}

impl fmt::Debug for ComboAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.with_port())
    }
}

/// The text of a value for a log line: what `tostring` says, numbers in Lua's way.
pub fn tostring(lua: &Lua, value: Value) -> Result<String> {
    if let Some(text) = <String as Argument>::from_value(value.clone(), lua) {
        return Ok(text);
    }
    Ok(value.to_string()?)
}
