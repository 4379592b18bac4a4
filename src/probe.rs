//! The parts of the program that read what strangers write, for fuzz targets (`tests/fuzz`) and for
//! the tests that replay what those found. The program itself never calls anything here, so nothing
//! of it is in the program. What must hold is in `tests/properties`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeZone};

use crate::cron;
use crate::device;
use crate::lua::{Failure, Role, Script, State};
use crate::net::addr::Address;
use crate::net::netmask;
use crate::shared::Shared;

pub use crate::console::probe as console;
pub use crate::http::probe as http;
pub use crate::login::{Attributes, LoginTuple, Value};

/// A cron expression.
pub struct Expression(cron::Expression);

impl Expression {
    /// Reads an expression; the error is the message.
    pub fn parse<Tz: TimeZone>(text: &str, now: &DateTime<Tz>) -> Result<Expression, String> {
        cron::Expression::parse(text, now).map(Expression).map_err(|e| e.to_string())
    }

    /// When it is due after `now`.
    pub fn next<Tz: TimeZone>(&self, now: &DateTime<Tz>) -> Option<DateTime<Tz>> {
        self.0.next(now)
    }
}

/// Reads a duration.
pub fn duration(text: &str) -> Option<Duration> {
    cron::parse_duration(text).ok()
}

/// A netmask as it is printed, if the text is one.
pub fn netmask(text: &str) -> Option<String> {
    text.parse::<netmask::Netmask>().ok().map(|mask| mask.to_string())
}

/// The netmask of the first bits of an address, as it is printed.
pub fn netmask_of(ip: IpAddr, bits: u8) -> String {
    netmask::Netmask::new(ip, bits).to_string()
}

/// An address, its port and the whole of it as it is printed, if the text is one.
pub fn address(text: &str) -> Option<(IpAddr, Option<u16>, String)> {
    let address: Address = text.parse().ok()?;
    Some((address.ip(), address.port(), address.with_port()))
}

/// A set of netmasks.
#[derive(Default)]
pub struct NetmaskGroup(netmask::NetmaskGroup);

impl NetmaskGroup {
    /// Adds a mask; the error is the message.
    pub fn add(&mut self, mask: &str) -> Result<(), String> {
        self.0.add(mask).map_err(|e| e.to_string())
    }

    /// Whether the group includes an address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(ip)
    }

    /// Its masks as they were given.
    pub fn masks(&self) -> Vec<String> {
        self.0.masks()
    }

    /// How many masks there are.
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

/// What parses the devices of reports.
pub struct Devices(device::Devices);

impl Devices {
    /// With the patterns of a regexes.yaml; the error says what is wrong with it.
    pub fn new(regexes: &str) -> Result<Devices, String> {
        let patterns = device::Patterns::parse_file(Path::new("regexes.yaml"), regexes)?;
        Ok(Devices(device::Devices::new(Some(patterns))))
    }

    /// What is known of a client.
    pub fn parse(&self, protocol: &str, device_id: &str) -> BTreeMap<String, String> {
        let attrs = self.0.parse(protocol, device_id);
        attrs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }
}

/// A Lua state with a policy.
pub struct Policy(State);

/// How long a call of the policy may take.
const LIMIT: Duration = Duration::from_secs(60);

impl Policy {
    /// Runs a configuration.
    pub fn new(config: &str) -> Result<Policy, String> {
        let state = State::new(Arc::<Shared>::default(), Role::Worker, Some(&Script::of(config)));
        state.map(Policy).map_err(|e| Failure::new(&e).message)
    }

    /// Calls its report function.
    pub fn report(&self, login: &LoginTuple) -> Result<(), String> {
        self.0.report(login, None, Instant::now() + LIMIT).map_err(|e| Failure::new(&e).message)
    }

    /// Calls the function of a custom endpoint.
    pub fn endpoint(&self, name: &str, attrs: &Attributes) -> Result<Answer, String> {
        self.0.endpoint(name, attrs, Instant::now() + LIMIT).map_err(|e| Failure::new(&e).message)
    }
}

/// What the function of a custom endpoint returned.
pub type Answer = (bool, Vec<(String, String)>);
