//! A report as the tables of the server have it.

use std::net::IpAddr;

use compact_str::{CompactString, ToCompactString};
use serde::{Deserialize, Serialize};

use crate::store::query::{DAY, Source};
use crate::store::record::{Outcome, Place, Record, Seconds};

/// Microseconds: decimal fractions of a second come back as they were.
const FRACTION: f64 = 1_000_000.0;

/// Coordinates are whole numbers of this part of a degree, as databases have them.
const DEGREE: f64 = 10_000.0;

/// What counts as a success, and as a failure of an account that does not exist. What is above the one is
/// a failure.
const OK: u8 = 1;
const FAIL: u8 = 2;
const UNKNOWN: u8 = 3;

/// A report as the tables have it. Those of `arrival` that are not here are up to the sender.
#[derive(Serialize, Deserialize)]
pub struct Row {
    t: i64,
    #[serde(skip_deserializing)]
    second: Seconds,
    #[serde(skip_deserializing)]
    day: u32,
    login: CompactString,
    ip: CompactString,
    #[serde(skip_deserializing)]
    address: String,
    net: CompactString,
    #[serde(skip_deserializing)]
    outcome: u8,
    success: u8,
    policy_reject: u8,
    tls: u8,
    protocol: CompactString,
    pwhash: CompactString,
    session_id: CompactString,
    fail_type: CompactString,
    device_id: CompactString,
    device: CompactString,
    country: CompactString,
    region: CompactString,
    located: u8,
    latitude: i32,
    longitude: i32,
    radius: u16,
    asn: u32,
    shared: u8,
}

/// The columns of a report that is read.
pub const COLUMNS: &str = "t, login, ip, net, success, policy_reject, tls, protocol, pwhash, session_id,
    fail_type, device_id, device, country, region, located, latitude, longitude, radius, asn,
    shared";

impl Row {
    pub fn of(record: &Record) -> Row {
        let place = &record.place;
        let (latitude, longitude) = place.coordinates.unwrap_or_default();
        Row {
            t: micros(record.t),
            second: record.seconds(),
            day: record.seconds() / DAY,
            login: record.login.clone(),
            ip: record.ip.map_or_else(Default::default, |ip| ip.to_compact_string()),
            address: record.ip.map_or_else(String::new, address),
            net: record.net.map_or_else(Default::default, |net| net.to_compact_string()),
            outcome: match record.outcome() {
                Outcome::Neither => 0,
                Outcome::Ok => OK,
                Outcome::Fail { is_unknown: false } => FAIL,
                Outcome::Fail { is_unknown: true } => UNKNOWN,
            },
            success: record.success.into(),
            policy_reject: record.policy_reject.into(),
            tls: record.tls.into(),
            protocol: record.protocol.clone(),
            pwhash: record.pwhash.clone(),
            session_id: record.session_id.clone(),
            fail_type: record.fail_type.clone(),
            device_id: record.device_id.clone(),
            device: record.device.clone(),
            country: place.country.clone(),
            region: place.region.clone(),
            located: place.coordinates.is_some().into(),
            latitude: (latitude * DEGREE).round() as i32,
            longitude: (longitude * DEGREE).round() as i32,
            radius: place.radius,
            asn: place.asn,
            shared: record.is_shared.into(),
        }
    }

    pub fn record(self) -> Record {
        Record {
            t: self.t as f64 / FRACTION,
            login: self.login,
            ip: self.ip.parse().ok(),
            success: self.success != 0,
            policy_reject: self.policy_reject != 0,
            tls: self.tls != 0,
            protocol: self.protocol,
            pwhash: self.pwhash,
            session_id: self.session_id,
            fail_type: self.fail_type,
            device_id: self.device_id,
            device: self.device,
            place: Place {
                country: self.country,
                region: self.region,
                coordinates: (self.located != 0).then(|| degrees(self.latitude, self.longitude)),
                radius: self.radius,
                asn: self.asn,
            },
            net: self.net.parse().ok(),
            is_shared: self.shared != 0,
        }
    }

    pub fn day(&self) -> u32 {
        self.day
    }
}

/// A time in microseconds.
pub fn micros(t: f64) -> i64 {
    (t * FRACTION).round() as i64
}

/// Coordinates as the tables have them, in degrees.
pub fn degrees(latitude: i32, longitude: i32) -> (f64, f64) {
    (f64::from(latitude) / DEGREE, f64::from(longitude) / DEGREE)
}

/// An address as digits that are in the order of addresses.
fn address(ip: IpAddr) -> String {
    let ip = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    format!("{:032x}", u128::from(ip))
}

/// The first and the last address of a source.
pub fn span(source: Source) -> (String, String) {
    match source {
        Source::Ip(ip) => (address(ip), address(ip)),
        Source::Net(net) => (address(net.network()), address(net.broadcast())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::examination::{Random, report};

    #[test]
    fn a_report_comes_back_as_it_was() {
        let mut random = Random(23);
        for _ in 0..1000 {
            let record = report(&mut random, 1_700_000_000, 100);
            let text = serde_json::to_string(&Row::of(&record)).unwrap();
            assert_eq!(serde_json::from_str::<Row>(&text).unwrap().record(), record);
        }
    }

    #[test]
    fn a_network_is_a_span_of_addresses() {
        let (first, last) = span(Source::Net("192.0.2.0/24".parse().unwrap()));
        for (ip, is_in) in [("192.0.2.0", true), ("192.0.2.255", true), ("192.0.3.0", false), ("::1", false)]
        {
            let address = address(ip.parse().unwrap());
            assert_eq!((first.as_str()..=last.as_str()).contains(&address.as_str()), is_in, "{ip}");
        }
    }
}
