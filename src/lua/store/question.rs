//! Questions to the store: what a policy writes as a table becomes a query of `store::query`, with every
//! key checked and every window and list bounded.

use std::net::IpAddr;

use ipnet::IpNet;
use rlua::{Lua, Value};

use crate::error::{Error, Result};
use crate::lua::argument::{Argument, type_name};
use crate::lua::objects::{ComboAddress, Group, Mask};
use crate::lua::options::Options;
use crate::net::addr::Address;
use crate::net::netmask::Netmask;
use crate::store::query::{
    By, Dimension, LONG_HOURS, MOST_ROWS, Part, ReportQuery, SOURCE_HOURS, Source, TopQuery, Whose, Window,
};
use crate::store::record::Seconds;
use crate::store::usual::{self, Past};
use crate::store::{kept_login, kept_protocol};

/// Rows that are given when a policy does not say how many.
const ROWS: usize = 100;

/// Who may have failed.
pub enum Failing {
    Login(String),
    Source(Source),
}

pub fn failures(query: &Options, now: f64) -> Result<(Failing, Window)> {
    query.allow(&["login", "ip", "net", "hours", "at"])?;
    let (login, ip, net) = (query.get("login")?, query.get("ip")?, query.get("net")?);
    let (failing, most) = match (login, ip, net) {
        (Some(Login(login)), None, None) => (Failing::Login(login), LONG_HOURS),
        (None, Some(Ip(ip)), None) => (Failing::Source(Source::Ip(ip)), SOURCE_HOURS),
        (None, None, Some(Net(net))) => (Failing::Source(Source::Net(net)), SOURCE_HOURS),
        _ => return Err(Error::Refused("one of login, ip and net expected".into())),
    };
    Ok((failing, window(query, now, most)?))
}

pub fn usual(query: &Options, now: f64) -> Result<(Source, Past)> {
    query.allow(&["ip", "net", "hours", "at"])?;
    let source = match (query.get("ip")?, query.get("net")?) {
        (Some(Ip(ip)), None) => Source::Ip(ip),
        (None, Some(Net(net))) => Source::Net(net),
        _ => return Err(Error::Refused("one of ip and net expected".into())),
    };
    let most = usual::MOST_HOURS;
    let Some(hours) = query.get_within("hours", 1..=most as usize)? else {
        return Err(Error::Refused(format!("hours: from 1 to {most} expected, got nil")));
    };
    Ok((source, Past::new(time(query, "at")?.unwrap_or(now), hours as u32)))
}

pub fn reports(query: &Options) -> Result<ReportQuery> {
    query.allow(&["login", "ip", "since", "success", "limit"])?;
    let whose = match (query.get("login")?, query.get("ip")?) {
        (Some(Login(login)), None) => Whose::Login(login),
        (None, Some(Ip(ip))) => Whose::Ip(ip),
        _ => return Err(Error::Refused("one of login and ip expected".into())),
    };
    let since = time(query, "since")?.unwrap_or_default();
    Ok(ReportQuery { whose, since, success: query.get("success")?, limit: limit(query)? })
}

pub fn top(query: &Options, now: f64) -> Result<TopQuery> {
    query.allow(&["by", "hours", "at", "success", "min_logins", "limit"])?;
    let by: By = query.get::<String>("by")?.parse()?;
    let top = TopQuery {
        by,
        window: window(query, now, by.most_hours())?,
        success: query.get("success")?,
        min_logins: query.get::<Option<usize>>("min_logins")?.unwrap_or_default() as u64,
        limit: limit(query)?,
    };
    top.check().map(|()| top)
}

/// Without a part, it is all of the platform, which has no value.
pub fn platform(query: &Options, now: f64) -> Result<(Part, String, Window)> {
    query.allow(&["by", "value", "hours", "at"])?;
    let part = query.get::<Option<String>>("by")?.map_or(Ok(Part::All), |by| by.parse())?;
    let value = match part {
        Part::All if query.get::<Option<String>>("value")?.is_some() => {
            return Err(Error::Refused("value: none expected without a by".into()));
        }
        Part::All => String::new(),
        Part::Protocol => kept_protocol(&query.get::<String>("value")?),
        Part::Country | Part::Asn | Part::Device => query.get("value")?,
    };
    Ok((part, value, window(query, now, LONG_HOURS)?))
}

/// So many hours before and with `at`, or else with `now`.
fn window(query: &Options, now: f64, most: u32) -> Result<Window> {
    let Some(hours) = query.get::<Option<f64>>("hours")? else {
        return Err(Error::Refused(format!("hours: more than 0 and at most {most} expected, got nil")));
    };
    Window::new(time(query, "at")?.unwrap_or(now), hours, most)
}

fn time(query: &Options, key: &str) -> Result<Option<f64>> {
    let time = query.get::<Option<f64>>(key)?;
    if time.is_some_and(|time| !(0.0..=Seconds::MAX.into()).contains(&time)) {
        return Err(Error::Refused(format!("{key}: seconds since 1970 expected")));
    }
    Ok(time)
}

fn limit(query: &Options) -> Result<usize> {
    Ok(query.get_within("limit", 1..=MOST_ROWS)?.unwrap_or(ROWS))
}

/// A login, as the store knows it.
pub struct Login(pub String);

impl<'lua> Argument<'lua> for Login {
    const WANTED: &'static str = "string";

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        String::from_value(value, lua).map(|login| Login(kept_login(&login).into_owned()))
    }
}

/// An address, as an object or as text.
struct Ip(IpAddr);

impl<'lua> Argument<'lua> for Ip {
    const WANTED: &'static str = "ComboAddress or IP address";

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        match value {
            Value::UserData(_) => ComboAddress::from_value(value, lua).map(|address| Ip(address.ip())),
            value => {
                let address: Address = String::from_value(value, lua)?.parse().ok()?;
                Some(Ip(address.unmapped().ip()))
            }
        }
    }
}

/// A network, as an object or as text.
struct Net(IpNet);

impl<'lua> Argument<'lua> for Net {
    const WANTED: &'static str = "Netmask or text of one";

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        match value {
            Value::UserData(data) => data.borrow::<Mask>().ok()?.netmask().map(|mask| Net(mask.net())),
            value => String::from_value(value, lua)?.parse().ok().map(|mask: Netmask| Net(mask.net())),
        }
    }
}

/// An address or a network, as an object or as text.
pub struct Whence(pub Source);

impl<'lua> Argument<'lua> for Whence {
    const WANTED: &'static str = "ComboAddress, Netmask or text of one";

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        let ip = Ip::from_value(value.clone(), lua).map(|Ip(ip)| Source::Ip(ip));
        ip.or_else(|| Net::from_value(value, lua).map(|Net(net)| Source::Net(net))).map(Whence)
    }
}

/// Networks, as an object or as a list of texts.
pub struct Nets(pub Vec<String>);

impl<'lua> Argument<'lua> for Nets {
    const WANTED: &'static str = "list of strings or NetmaskGroup";

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        match value {
            Value::UserData(data) => data.borrow::<Group>().ok().map(|group| Nets(group.masks())),
            value => Vec::from_value(value, lua).map(Nets),
        }
    }
}

/// A value of a dimension, of which only a network can be an object.
pub enum Named {
    Text(String),
    Net(IpNet),
}

impl<'lua> Argument<'lua> for Named {
    const WANTED: &'static str = "string or Netmask";

    fn from_value(value: Value<'lua>, lua: &'lua Lua) -> Option<Self> {
        match type_name(&value) {
            "userdata" => Net::from_value(value, lua).map(|Net(net)| Named::Net(net)),
            _ => String::from_value(value, lua).map(Named::Text),
        }
    }
}

impl Named {
    /// As the store writes the values of a dimension.
    pub fn of(&self, dimension: Dimension) -> Result<String> {
        let text = match self {
            Named::Net(net) if dimension == Dimension::Net => return Ok(net.to_string()),
            Named::Net(_) => return Err(Error::Refused("value: string expected, got Netmask".into())),
            Named::Text(text) => text,
        };
        match dimension {
            _ if text.is_empty() => Ok(String::new()),
            Dimension::Net => {
                let mask: Netmask = text.parse().map_err(|e| Error::Refused(format!("value: {e}")))?;
                Ok(mask.to_string())
            }
            Dimension::Hour => {
                let hour = text.parse::<u8>().ok().filter(|hour| *hour < 24);
                let bad = || Error::Refused("value: hour from 0 to 23 expected".into());
                hour.map(|hour| format!("{:02}", hour - hour % 4)).ok_or_else(bad)
            }
            Dimension::Protocol => Ok(kept_protocol(text)),
            Dimension::Country | Dimension::Asn | Dimension::Device => Ok(text.clone()),
        }
    }
}
