//! What can be asked of the store, and what it answers, whatever keeps it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use compact_str::CompactString;
use ipnet::IpNet;

use crate::error::{Error, Result};
use crate::store::record::{Record, Seconds};
use crate::store::usual::Past;

/// How fine the counts of the last two days are.
pub const STEP: Seconds = 300;
pub const HOUR: Seconds = 3600;
pub const DAY: Seconds = 24 * HOUR;

/// Hours that counts by five minutes, of a source by the hour, and of logins and the platform by the hour
/// are kept.
pub const FINE_HOURS: u32 = 2 * 24;
pub const SOURCE_HOURS: u32 = 14 * 24;
pub const LONG_HOURS: u32 = 90 * 24;

/// Places, passwords and values of a dimension that are remembered of a login.
pub const PLACES: usize = 4;
pub const PWHASHES: usize = 6;
pub const VALUES: usize = 64;

/// Rows that one query may ask for.
pub const MOST_ROWS: usize = 10_000;

/// Asks a store, from one thread.
pub trait Reader {
    /// What is known of a login; `None` for one that was never seen to succeed.
    fn profile(&mut self, login: &str) -> Result<Option<Profile>>;
    /// What is known of a login with one value of a dimension.
    fn seen(&mut self, login: &str, dimension: Dimension, value: &str) -> Result<Option<Value>>;
    /// The same for all of its values, the one used last first.
    fn values(&mut self, login: &str, dimension: Dimension) -> Result<Vec<Value>>;
    /// How a login failed.
    fn login_failures(&mut self, login: &str, window: Window) -> Result<LoginFailures>;
    /// What an address or a network did.
    fn source(&mut self, source: Source, window: Window) -> Result<SourceCounts>;
    /// On how many logins it failed in the windows of the past, but for unusual ones.
    fn usual(&mut self, source: Source, past: Past) -> Result<u64>;
    /// Reports, the latest first.
    fn reports(&mut self, query: &ReportQuery) -> Result<Vec<Record>>;
    /// Whoever has most.
    fn top(&mut self, query: &TopQuery) -> Result<Vec<TopRow>>;
    /// What happened on the whole platform, or a part of it.
    fn platform(&mut self, part: Part, value: &str, window: Window) -> Result<PlatformCounts>;
}

/// What was known of the login of a report before that report was counted.
pub trait Memory: Send + Sync {
    fn login(&self) -> &str;
    /// As [`Reader::profile`] answers.
    fn profile(&self) -> Option<Profile>;
    /// As [`Reader::seen`] answers.
    fn seen(&self, dimension: Dimension, value: &str) -> Option<Value>;
    /// As [`Reader::values`] answers.
    fn values(&self, dimension: Dimension) -> Vec<Value>;
}

/// What the logins of an account are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    Country,
    Asn,
    Net,
    Device,
    Protocol,
    /// Four hours of the day in UTC, by the first of them: "00", "04" and so on.
    Hour,
}

/// What the logins of the platform are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// All of them; the value is empty.
    All,
    Country,
    Asn,
    Protocol,
    Device,
}

/// What [`Reader::top`] ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Ip,
    Net,
    Login,
    Asn,
    Country,
    Device,
}

/// An address or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    Ip(IpAddr),
    Net(IpNet),
}

/// Whose reports [`Reader::reports`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    Login(String),
    Ip(IpAddr),
}

/// A span of event time: from `start` on, without `end`.
///
/// It begins with a step of five minutes, or with an hour if it begins earlier than counts by five
/// minutes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub start: Seconds,
    pub end: Seconds,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ReportQuery {
    pub whose: Whose,
    /// Not before this, in seconds since the epoch.
    pub since: f64,
    pub success: Option<bool>,
    pub limit: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopQuery {
    pub by: By,
    pub window: Window,
    /// Ranks by successes, by failures, or by both together.
    pub success: Option<bool>,
    /// Only those with so many distinct logins of the kind that is ranked by.
    pub min_logins: u64,
    pub limit: usize,
}

/// What is known of a login. Times are of successes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    pub first: Seconds,
    pub last: Seconds,
    /// On how many days (UTC).
    pub days: u32,
    /// The first after the last absence of 90 days or more, and on how many days since then.
    pub since: Seconds,
    pub since_days: u32,
    /// Where from, the latest first, one for each network.
    pub places: Vec<Visit>,
    /// With which passwords, the latest first.
    pub pwhashes: Vec<Pwhash>,
}

/// A place where a login came from.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Visit {
    pub t: Seconds,
    pub net: Option<IpNet>,
    pub coordinates: Option<(f64, f64)>,
    pub radius: u16,
    pub country: CompactString,
    pub asn: u32,
    pub device: CompactString,
}

/// A password that was right.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pwhash {
    pub pwhash: CompactString,
    pub first: Seconds,
    pub last: Seconds,
}

/// What is known of a login with one value of a dimension. Days and times are of successes; there is no
/// first and no last without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    pub value: CompactString,
    pub ok: u32,
    pub fail: u32,
    pub days: u32,
    pub first: Option<Seconds>,
    pub last: Option<Seconds>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoginFailures {
    pub attempts: u64,
    pub nets: u64,
    pub asns: u64,
    pub countries: u64,
    pub pwhashes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceCounts {
    /// Failures.
    pub attempts: u64,
    pub ok: u64,
    /// Failures on accounts that do not exist.
    pub unknown: u64,
    /// Distinct logins that failed.
    pub logins: u64,
    /// Distinct logins that succeeded.
    pub ok_logins: u64,
    /// Logins that failed once, twice, 3 or 4 times, 5 to 8 times, and more often.
    pub spread: [u64; 5],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlatformCounts {
    pub ok: u64,
    pub fail: u64,
    /// Distinct logins.
    pub logins: u64,
    /// Distinct addresses.
    pub ips: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopRow {
    pub value: String,
    /// Failures.
    pub attempts: u64,
    pub ok: u64,
    /// Distinct logins: those that failed, if failures are ranked; those that succeeded, if successes are.
    /// Of an asn, a country or a device, all of them.
    pub logins: u64,
}

impl Dimension {
    pub const ALL: [Dimension; 6] = [
        Dimension::Country,
        Dimension::Asn,
        Dimension::Net,
        Dimension::Device,
        Dimension::Protocol,
        Dimension::Hour,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Dimension::Country => "country",
            Dimension::Asn => "asn",
            Dimension::Net => "net",
            Dimension::Device => "device",
            Dimension::Protocol => "protocol",
            Dimension::Hour => "hour",
        }
    }
}

impl FromStr for Dimension {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        named(&Dimension::ALL, Dimension::name, text, "country, asn, net, device, protocol or hour")
    }
}

impl Part {
    pub const ALL: [Part; 5] = [Part::All, Part::Country, Part::Asn, Part::Protocol, Part::Device];

    pub fn name(self) -> &'static str {
        match self {
            Part::All => "all",
            Part::Country => "country",
            Part::Asn => "asn",
            Part::Protocol => "protocol",
            Part::Device => "device",
        }
    }
}

impl FromStr for Part {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        named(&Part::ALL, Part::name, text, "all, country, asn, protocol or device")
    }
}

impl By {
    pub const ALL: [By; 6] = [By::Ip, By::Net, By::Login, By::Asn, By::Country, By::Device];

    pub fn name(self) -> &'static str {
        match self {
            By::Ip => "ip",
            By::Net => "net",
            By::Login => "login",
            By::Asn => "asn",
            By::Country => "country",
            By::Device => "device",
        }
    }

    /// Hours that its counts are kept.
    pub fn most_hours(self) -> u32 {
        match self {
            By::Ip | By::Net => SOURCE_HOURS,
            By::Login | By::Asn | By::Country | By::Device => LONG_HOURS,
        }
    }
}

impl FromStr for By {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        named(&By::ALL, By::name, text, "ip, net, login, asn, country or device")
    }
}

fn named<T: Copy>(all: &[T], name: fn(T) -> &'static str, text: &str, wanted: &'static str) -> Result<T> {
    let found = all.iter().copied().find(|one| name(*one) == text);
    found.ok_or_else(|| Error::Bad { what: wanted, value: text.into() })
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Ip(ip) => write!(f, "{ip}"),
            Source::Net(net) => write!(f, "{net}"),
        }
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let net = || text.parse().map(Source::Net);
        let source = text.parse().map(Source::Ip).or_else(|_| net());
        source.map_err(|_| Error::Bad { what: "an IP address or a network", value: text.into() })
    }
}

impl TopQuery {
    /// Of logins, there are no counts of successes by the hour.
    pub fn check(&self) -> Result<()> {
        if self.by == By::Login && self.success != Some(false) {
            return Err(Error::Refused(
                "success: false expected: of logins, only failures are ranked".into(),
            ));
        }
        Ok(())
    }
}

impl Window {
    /// The last `hours` before and with `at`, of which there can be at most `most`.
    pub fn new(at: f64, hours: f64, most: u32) -> Result<Window> {
        if !(hours > 0.0 && hours <= f64::from(most)) {
            return Err(Error::Refused(format!(
                "hours: more than 0 and at most {most} expected, got {hours}"
            )));
        }
        let step = if hours <= f64::from(FINE_HOURS) { STEP } else { HOUR };
        let start = (at - hours * f64::from(HOUR)).floor() as Seconds;
        Ok(Window { start: start - start % step, end: (at as Seconds).saturating_add(1) })
    }

    /// Whether something of an hour that begins then is in it.
    pub fn has_hour(self, hour: Seconds) -> bool {
        hour + HOUR > self.start && hour < self.end
    }

    /// When the hours begin that something of is in it.
    pub fn hours(self) -> impl Iterator<Item = Seconds> {
        (self.start - self.start % HOUR..self.end).step_by(HOUR as usize)
    }

    /// The same in whole hours, for what is only counted by the hour.
    pub fn in_hours(self) -> Window {
        Window { start: self.start - self.start % HOUR, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_or_those_that_are_stand_in_the_error() {
        assert!(Dimension::ALL.iter().all(|one| one.name().parse::<Dimension>().unwrap() == *one));
        assert!(Part::ALL.iter().all(|one| one.name().parse::<Part>().unwrap() == *one));
        assert!(By::ALL.iter().all(|one| one.name().parse::<By>().unwrap() == *one));
        let error = "planet".parse::<Dimension>().unwrap_err().to_string();
        assert_eq!(error, "\"planet\" is not country, asn, net, device, protocol or hour");
    }

    #[test]
    fn a_window_begins_with_a_step() {
        let at = 1_000_000_123.9;
        for (hours, start) in [
            (1.0, 999_996_300),
            (0.25, 999_999_000),
            (48.0, 999_827_100),
            (49.0, 999_820_800),
            (1000.0, 996_397_200),
        ] {
            let window = Window::new(at, hours, 2000).unwrap();
            assert_eq!((window.start, window.end), (start, 1_000_000_124), "{hours}");
        }
        for hours in [0.0, -1.0, 2000.1, f64::NAN, f64::INFINITY] {
            assert!(Window::new(at, hours, 2000).is_err(), "{hours}");
        }
    }
}
