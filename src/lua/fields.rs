//! What Lua sees of a report and of a call of a custom endpoint. Every report comes this way, so the
//! values go onto Lua's stack in one C function: rlua would make a protected call for each of them.

#![allow(unsafe_code)] // Values are pushed with Lua's own C functions.

use std::ffi::c_int;
use std::ptr;

use rlua::ffi;
use rlua::{Function, LightUserData, Lua, Table, lua_State};

use crate::error::Result;
use crate::login::{Attributes, LoginTuple, Value};
use crate::store::record::Record;

/// The function that takes a [`pointer()`] to a [`LoginTuple`] and returns its fields but the address:
/// `t`, `login`, `pwhash`, `success`, `policy_reject`, `tls`, `protocol`, `device_id`, `session_id`,
/// `fail_type`, `attrs`, `attrs_mv`, `device_attrs`.
pub fn of_login(lua: &Lua) -> Result<Function<'_>> {
    // SAFETY: it keeps to Lua's rules for a C function, and to those of `push_login`.
    Ok(unsafe { lua.create_c_function(push_login)? })
}

/// The function that takes a [`pointer()`] to [`Attributes`] and returns `attrs` and `attrs_mv`.
pub fn of_attributes(lua: &Lua) -> Result<Function<'_>> {
    // SAFETY: it keeps to Lua's rules for a C function, and to those of `push_attributes`.
    Ok(unsafe { lua.create_c_function(push_attributes)? })
}

/// What the store has made of a report, as further fields of its LoginTuple. What is not known is left out.
pub fn place<'lua>(lua: &'lua Lua, record: &Record) -> Result<Table<'lua>> {
    let place = &record.place;
    let table = lua.create_table_with_capacity(0, 8)?;
    let text = |name: &str, text: &str| if text.is_empty() { Ok(()) } else { table.raw_set(name, text) };
    text("country", &place.country)?;
    text("region", &place.region)?;
    text("device", &record.device)?;
    if let Some(net) = record.net {
        table.raw_set("net", net.to_string())?;
    }
    if let Some((lat, lon)) = place.coordinates {
        table.raw_set("lat", lat)?;
        table.raw_set("lon", lon)?;
    }
    if place.radius > 0 {
        table.raw_set("radius", place.radius)?;
    }
    if place.asn > 0 {
        table.raw_set("asn", place.asn)?;
    }
    Ok(table)
}

/// A value as the functions above take it. Whoever passes it on keeps `value` until the call ends.
pub fn pointer<T>(value: &T) -> LightUserData {
    LightUserData(ptr::from_ref(value).cast_mut().cast())
}

/// Errors of Lua (no memory) leave these functions by unwinding or by a jump, so nothing in them
/// may need to be dropped. The results and three more fit into what Lua guarantees: 20 places.
unsafe extern "C-unwind" fn push_login(state: *mut lua_State) -> c_int {
    // SAFETY: the prelude calls this with what `pointer` made of a login that lives. A policy that gets
    // hold of it by `debug` may pass other pointers, as it may to `ffi`.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TLIGHTUSERDATA);
        let login: &LoginTuple = &*ffi::lua_touserdata(state, 1).cast();
        ffi::lua_pushnumber(state, login.t);
        push_text(state, login.login());
        push_text(state, login.pwhash());
        ffi::lua_pushboolean(state, login.success.into());
        ffi::lua_pushboolean(state, login.policy_reject.into());
        ffi::lua_pushboolean(state, login.tls.into());
        push_text(state, login.protocol());
        push_text(state, login.device_id());
        push_text(state, login.session_id());
        push_text(state, login.fail_type());
        push_singles(state, || login.attrs());
        push_lists(state, login.attrs());
        push_pairs(state, login.device_attrs().count(), login.device_attrs());
    }
    13
}

unsafe extern "C-unwind" fn push_attributes(state: *mut lua_State) -> c_int {
    // SAFETY: as above, for attributes.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TLIGHTUSERDATA);
        let attrs: &Attributes = &*ffi::lua_touserdata(state, 1).cast();
        push_singles(state, || attrs.iter());
        push_lists(state, attrs.iter());
    }
    2
}

unsafe fn push_text(state: *mut lua_State, text: &str) {
    // SAFETY: Lua copies the bytes. The caller has room for one value.
    unsafe { ffi::lua_pushlstring_(state, text.as_ptr().cast(), text.len()) };
}

/// The attributes with one value.
unsafe fn push_singles<'a, I: Iterator<Item = (&'a str, Value<'a>)>>(
    state: *mut lua_State,
    attrs: impl Fn() -> I,
) {
    let singles = || {
        attrs().filter_map(|(name, value)| match value {
            Value::One(text) => Some((name, text)),
            Value::Many(_) => None,
        })
    };
    // SAFETY: as for `push_pairs`.
    unsafe { push_pairs(state, singles().count(), singles()) };
}

unsafe fn push_pairs<'a>(
    state: *mut lua_State,
    count: usize,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) {
    // SAFETY: the table is where it was pushed. The caller has room for three values.
    unsafe {
        ffi::lua_createtable(state, 0, size(count));
        for (name, value) in pairs {
            push_text(state, name);
            push_text(state, value);
            ffi::lua_rawset(state, -3);
        }
    }
}

unsafe fn push_lists<'a>(state: *mut lua_State, attrs: impl Iterator<Item = (&'a str, Value<'a>)>) {
    // SAFETY: the tables are where they were pushed. The caller has room for four values.
    unsafe {
        ffi::lua_createtable(state, 0, 0);
        for (name, value) in attrs {
            let Value::Many(items) = value else { continue };
            push_text(state, name);
            ffi::lua_createtable(state, size(items.len()), 0);
            for (at, text) in (1..).zip(items.iter()) {
                push_text(state, text);
                ffi::lua_rawseti(state, -2, at);
            }
            ffi::lua_rawset(state, -3);
        }
    }
}

/// How large to make a table: a hint, so that what no body can hold does not matter.
fn size(entries: usize) -> c_int {
    entries.try_into().unwrap_or(0)
}
