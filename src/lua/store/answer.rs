//! Answers of the store as Lua has them: tables in which what is not known is nil. Only the texts that
//! the sender of a report left empty are empty.

use rlua::{IntoLua, IntoLuaMulti, Lua, MultiValue, Table, Value};

use crate::episode::Episode;
use crate::error::{Error, Result};
use crate::lua::objects::ComboAddress;
use crate::net::addr::Address;
use crate::stats::Feed;
use crate::store::query::{
    self, LoginFailures, PlatformCounts, Profile, Pwhash, Source, SourceCounts, TopRow, Visit,
};
use crate::store::record::Record;

/// An answer, or the reason why there is none.
pub struct Answer<T>(std::result::Result<T, String>);

impl<T> Answer<T> {
    pub fn of(value: T) -> Answer<T> {
        Answer(Ok(value))
    }

    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer(self.0.map(change))
    }
}

impl Answer<bool> {
    /// Whether both are so. No answer to one of them is none to both.
    pub fn and(self, other: Answer<bool>) -> Answer<bool> {
        Answer(self.0.and_then(|one| other.0.map(|other| one && other)))
    }

    pub fn is(&self, value: &bool) -> bool {
        self.0.as_ref() == Ok(value)
    }
}

/// The question was checked before, so that whatever goes wrong with it is the store's.
impl<T> From<Result<T>> for Answer<T> {
    fn from(result: Result<T>) -> Self {
        Answer(result.map_err(|e| match e {
            Error::Store(_) => e.to_string(),
            other => Error::Store(other.to_string()).to_string(),
        }))
    }
}

/// The answer, or nil and the reason.
impl<'lua, T: IntoLua<'lua>> IntoLuaMulti<'lua> for Answer<T> {
    fn into_lua_multi(self, lua: &'lua Lua) -> rlua::Result<MultiValue<'lua>> {
        match self.0 {
            Ok(value) => value.into_lua_multi(lua),
            Err(reason) => (Value::Nil, reason).into_lua_multi(lua),
        }
    }
}

/// A table in the making.
struct Row<'lua>(Table<'lua>);

impl<'lua> Row<'lua> {
    fn new(lua: &'lua Lua, fields: usize) -> rlua::Result<Self> {
        lua.create_table_with_capacity(0, fields).map(Row)
    }

    /// Sets a field. Nil leaves it out.
    fn set(self, name: &str, value: impl IntoLua<'lua>) -> rlua::Result<Self> {
        self.0.raw_set(name, value)?;
        Ok(self)
    }

    fn end(self) -> rlua::Result<Value<'lua>> {
        Ok(Value::Table(self.0))
    }
}

/// A text that is empty where it is not known.
fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// A number that is 0 where it is not known, or what is true or not said.
fn nonzero<T: Default + PartialEq>(value: T) -> Option<T> {
    Some(value).filter(|value| *value != T::default())
}

fn net(net: Option<ipnet::IpNet>) -> Option<String> {
    net.map(|net| net.to_string())
}

impl<'lua> IntoLua<'lua> for Profile {
    fn into_lua(self, lua: &'lua Lua) -> rlua::Result<Value<'lua>> {
        Row::new(lua, 7)?
            .set("first", self.first)?
            .set("last", self.last)?
            .set("days", self.days)?
            .set("since", self.since)?
            .set("since_days", self.since_days)?
            .set("places", self.places)?
            .set("pwhashes", self.pwhashes)?
            .end()
    }
}

impl<'lua> IntoLua<'lua> for Visit {
    fn into_lua(self, lua: &'lua Lua) -> rlua::Result<Value<'lua>> {
        let (lat, lon) = self.coordinates.unzip();
        Row::new(lua, 8)?
            .set("t", self.t)?
            .set("net", net(self.net))?
            .set("lat", lat)?
            .set("lon", lon)?
            .set("radius", nonzero(self.radius))?
            .set("country", known(&self.country))?
            .set("asn", nonzero(self.asn))?
            .set("device", known(&self.device))?
            .end()
    }
}

impl<'lua> IntoLua<'lua> for Pwhash {
    fn into_lua(self, lua: &'lua Lua) -> rlua::Result<Value<'lua>> {
        Row::new(lua, 3)?
            .set("pwhash", self.pwhash.as_str())?
            .set("first", self.first)?
            .set("last", self.last)?
            .end()
    }
}

/// What is known of a login with the value that was asked for, which the answer need not repeat.
pub struct Seen(pub query::Value);

impl<'lua> IntoLua<'lua> for Seen {
    fn into_lua(self, lua: &'lua Lua) -> rlua::Result<Value<'lua>> {
        counts(Row::new(lua, 5)?, &self.0)?.end()
    }
}

impl<'lua> IntoLua<'lua> for query::Value {
    fn into_lua(self, lua: &'lua Lua) -> rlua::Result<Value<'lua>> {
        counts(Row::new(lua, 6)?, &self)?.set("value", self.value.as_str())?.end()
    }
}

fn counts<'lua>(row: Row<'lua>, known: &query::Value) -> rlua::Result<Row<'lua>> {
    row.set("ok", known.ok)?
        .set("fail", known.fail)?
        .set("days", known.days)?
        .set("first", known.first)?
        .set("last", known.last)
}

/// How a login failed, or what a source did.
pub enum Failures {
    Login(LoginFailures),
    Source(SourceCounts),
}

impl<'lua> IntoLua<'lua> for Failures {
    fn into_lua(self, lua: &'lua Lua) -> rlua::Result<Value<'lua>> {
        match self {
            Failures::Login(counts) => Row::new(lua, 5)?
                .set("attempts", counts.attempts)?
                .set("nets", counts.nets)?
                .set("asns", counts.asns)?
                .set("countries", counts.countries)?
                .set("pwhashes", counts.pwhashes)?
                .end(),
            Failures::Source(counts) => Row::new(lua, 6)?
                .set("attempts", counts.attempts)?
                .set("ok", counts.ok)?
                .set("unknown", counts.unknown)?
                .set("logins", counts.logins)?
                .set("ok_logins", counts.ok_logins)?
                .set("spread", counts.spread)?
                .end(),
        }
    }
}

/// An attack, as it is at a time.
pub struct Attack {
    pub episode: Episode,
    pub now: f64,
}

impl<'lua> IntoLua<'lua> for Attack {
    fn into_lua(self, lua: &'lua Lua) -> rlua::Result<Value<'lua>> {
        let episode = &self.episode;
        let (ip, net) = match episode.source {
            Source::Ip(ip) => (Some(ip.to_string()), None),
            Source::Net(net) => (None, Some(net.to_string())),
        };
        let rules = lua.create_table_from(episode.rules.iter().map(|rule| (&**rule, true)))?;
        Row::new(lua, 9)?
            .set("id", episode.id())?
            .set("source", episode.source.to_string())?
            .set("ip", ip)?
            .set("net", net)?
            .set("rule", episode.rules.first().map(|rule| &**rule))?
            .set("rules", rules)?
            .set("first", episode.first)?
            .set("last", episode.last)?
            .set("open", episode.is_open(self.now))?
            .end()
    }
}

/// What came in the last minutes.
pub struct Fed(pub Feed);

impl<'lua> IntoLua<'lua> for Fed {
    fn into_lua(self, lua: &'lua Lua) -> rlua::Result<Value<'lua>> {
        Row::new(lua, 3)?
            .set("reports", self.0.reports)?
            .set("internal", self.0.internal)?
            .set("whole", self.0.is_whole)?
            .end()
    }
}

impl<'lua> IntoLua<'lua> for Record {
    fn into_lua(self, lua: &'lua Lua) -> rlua::Result<Value<'lua>> {
        let (lat, lon) = self.place.coordinates.unzip();
        Row::new(lua, 20)?
            .set("t", self.t)?
            .set("login", self.login.as_str())?
            .set("remote", self.ip.map(|ip| ComboAddress(Address::from(ip))))?
            .set("success", self.success)?
            .set("policy_reject", self.policy_reject)?
            .set("tls", self.tls)?
            .set("protocol", self.protocol.as_str())?
            .set("pwhash", self.pwhash.as_str())?
            .set("session_id", self.session_id.as_str())?
            .set("fail_type", self.fail_type.as_str())?
            .set("device_id", self.device_id.as_str())?
            .set("device", known(&self.device))?
            .set("country", known(&self.place.country))?
            .set("region", known(&self.place.region))?
            .set("lat", lat)?
            .set("lon", lon)?
            .set("radius", nonzero(self.place.radius))?
            .set("asn", nonzero(self.place.asn))?
            .set("net", net(self.net))?
            .set("shared", nonzero(self.is_shared))?
            .end()
    }
}

impl<'lua> IntoLua<'lua> for TopRow {
    fn into_lua(self, lua: &'lua Lua) -> rlua::Result<Value<'lua>> {
        Row::new(lua, 4)?
            .set("value", self.value)?
            .set("attempts", self.attempts)?
            .set("ok", self.ok)?
            .set("logins", self.logins)?
            .end()
    }
}

impl<'lua> IntoLua<'lua> for PlatformCounts {
    fn into_lua(self, lua: &'lua Lua) -> rlua::Result<Value<'lua>> {
        Row::new(lua, 4)?
            .set("ok", self.ok)?
            .set("fail", self.fail)?
            .set("logins", self.logins)?
            .set("ips", self.ips)?
            .end()
    }
}
