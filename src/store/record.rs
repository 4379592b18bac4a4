//! What the store keeps of a report: what its sender said but for the free attributes, and where and
//! what the client is, which is resolved once, when the report comes in.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use compact_str::CompactString;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A whole second of event time, since the epoch.
pub type Seconds = u32;

/// A report as the store keeps it. A text that is not known is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// When, by the report itself, in seconds since the epoch.
    pub t: f64,
    pub login: CompactString,
    pub ip: Option<IpAddr>,
    pub success: bool,
    pub policy_reject: bool,
    pub tls: bool,
    pub protocol: CompactString,
    /// Comparable within one login only.
    pub pwhash: CompactString,
    pub session_id: CompactString,
    pub fail_type: CompactString,
    /// What the client said of itself.
    pub device_id: CompactString,
    /// What that makes of it, without versions.
    pub device: CompactString,
    pub place: Place,
    /// The network of the address, as long as the configuration says.
    pub net: Option<IpNet>,
    /// Whether many logins come from the address: a success from there teaches no place.
    pub is_shared: bool,
}

/// Where an address is and whose, by the databases of the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// ISO 3166-1.
    pub country: CompactString,
    /// ISO 3166-2, without the country.
    pub region: CompactString,
    /// Degrees: latitude and longitude.
    pub coordinates: Option<(f64, f64)>,
    /// Kilometres around it where the address is likely to be; 0 where that is unknown.
    pub radius: u16,
    /// The autonomous system; 0 where it is unknown.
    pub asn: u32,
}

/// The whole second of a time.
pub fn seconds(time: SystemTime) -> Seconds {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as Seconds)
}

/// How a login counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// `is_unknown` says that there is no such account.
    Fail {
        is_unknown: bool,
    },
    /// Neither: the password may have been right, or was not looked at.
    Neither,
}

/// Failures that say nothing of a password.
const OTHER_FAILURES: [&str; 4] = ["internal", "policy", "disabled", "expired"];

impl Record {
    /// The second of the report. Earlier or later than the store can tell is as early or late as it can.
    pub fn seconds(&self) -> Seconds {
        self.t as Seconds
    }

    pub fn outcome(&self) -> Outcome {
        if self.success {
            Outcome::Ok
        } else if self.policy_reject || OTHER_FAILURES.contains(&self.fail_type.as_str()) {
            Outcome::Neither
        } else {
            Outcome::Fail { is_unknown: self.fail_type == "account" }
        }
    }
}

/// The network of an address with this many bits for IPv4 and for IPv6.
pub fn net(ip: IpAddr, bits: (u8, u8)) -> Option<IpNet> {
    Some(match ip {
        IpAddr::V4(ip) => IpNet::V4(Ipv4Net::new(ip, bits.0).ok()?.trunc()),
        IpAddr::V6(ip) => IpNet::V6(Ipv6Net::new(ip, bits.1).ok()?.trunc()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_say_nothing_of_a_password_count_as_neither() {
        for (success, policy_reject, fail_type, expected) in [
            (true, false, "", Outcome::Ok),
            (true, true, "internal", Outcome::Ok),
            (false, false, "", Outcome::Fail { is_unknown: false }),
            (false, false, "password", Outcome::Fail { is_unknown: false }),
            (false, false, "account", Outcome::Fail { is_unknown: true }),
            (false, true, "", Outcome::Neither),
            (false, false, "internal", Outcome::Neither),
            (false, false, "policy", Outcome::Neither),
            (false, false, "disabled", Outcome::Neither),
            (false, false, "expired", Outcome::Neither),
        ] {
            let record = Record { success, policy_reject, fail_type: fail_type.into(), ..Record::default() };
            assert_eq!(record.outcome(), expected, "{success} {policy_reject} {fail_type}");
        }
    }

    #[test]
    fn an_address_has_a_network() {
        for (ip, expected) in [("192.0.2.77", "192.0.2.0/24"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64")] {
            assert_eq!(net(ip.parse().unwrap(), (24, 64)).unwrap().to_string(), expected);
        }
        assert_eq!(net("192.0.2.77".parse().unwrap(), (33, 64)), None);
    }
}
