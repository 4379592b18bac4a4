//! A report of the store as a line of JSON: what wforce says of a login, in its form, and beside that what
//! only a store knows, so that another one can be filled with it.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};

use compact_str::CompactString;
use ipnet::IpNet;
use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::device::{self, cut};
use crate::login::LoginTuple;
use crate::store::Enrich;
use crate::store::bounded::{FAIL_TYPE, LOGIN, PROTOCOL, PWHASH, SESSION_ID, rebounded};
use crate::store::record::{Place, Record};

/// Stands for no address.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Bytes that the code of a country or region is far below.
const SHORT: usize = 16;

/// The name of what wforce does not know.
const OURS: &str = "trackalert";

#[derive(Serialize)]
struct Line<'a> {
    t: f64,
    login: &'a str,
    remote: IpAddr,
    success: bool,
    policy_reject: bool,
    fail_type: &'a str,
    pwhash: &'a str,
    protocol: &'a str,
    tls: bool,
    session_id: &'a str,
    device_id: &'a str,
    trackalert: Kept,
}

/// What a store has found out about a report. What is unknown is left out.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    device: CompactString,
    #[serde(skip_serializing_if = "Option::is_none")]
    net: Option<IpNet>,
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    country: CompactString,
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    region: CompactString,
    #[serde(skip_serializing_if = "Option::is_none")]
    lat: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lon: Option<f64>,
    #[serde(skip_serializing_if = "is_zero")]
    radius: u16,
    #[serde(skip_serializing_if = "is_zero")]
    asn: u32,
    #[serde(skip_serializing_if = "is_zero")]
    shared: bool,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Writes a report as a line.
pub fn write(record: &Record, mut to: impl Write) -> io::Result<()> {
    let place = &record.place;
    let (lat, lon) = place.coordinates.unzip();
    let line = Line {
        t: record.t,
        login: &record.login,
        remote: record.ip.unwrap_or(NOWHERE),
        success: record.success,
        policy_reject: record.policy_reject,
        fail_type: &record.fail_type,
        pwhash: &record.pwhash,
        protocol: &record.protocol,
        tls: record.tls,
        session_id: &record.session_id,
        device_id: &record.device_id,
        trackalert: Kept {
            device: record.device.clone(),
            net: record.net,
            country: place.country.clone(),
            region: place.region.clone(),
            lat,
            lon,
            radius: place.radius,
            asn: place.asn,
            shared: record.is_shared,
        },
    };
    serde_json::to_writer(&mut to, &line)?;
    to.write_all(b"\n")
}

impl Kept {
    /// What a store has found out about the report of a line; nothing, if it is from no store.
    pub fn of(line: &[u8]) -> serde_json::Result<Option<Kept>> {
        #[derive(Deserialize)]
        struct Only {
            trackalert: Option<Kept>,
        }
        if memmem::find(line, OURS.as_bytes()).is_none() {
            return Ok(None);
        }
        serde_json::from_slice(line).map(|Only { trackalert }| trackalert)
    }

    /// The record of a report that a store had. What it was resolved to then stands, but for its network:
    /// only those that are as long as `enrich` makes them can be asked for.
    pub fn record(self, login: &LoginTuple, enrich: &Enrich) -> Record {
        let short = |text: &str| cut(text, SHORT).into();
        let is_on_earth = |(lat, lon): &(f64, f64)| lat.abs() <= 90.0 && lon.abs() <= 180.0;
        let place = Place {
            country: short(&self.country),
            region: short(&self.region),
            coordinates: self.lat.zip(self.lon).filter(is_on_earth),
            radius: self.radius,
            asn: self.asn,
        };
        Record {
            login: rebounded(login.login(), LOGIN),
            protocol: rebounded(login.protocol(), PROTOCOL),
            pwhash: rebounded(login.pwhash(), PWHASH),
            session_id: rebounded(login.session_id(), SESSION_ID),
            fail_type: rebounded(login.fail_type(), FAIL_TYPE),
            device: cut(&self.device, device::LONGEST).into(),
            place,
            is_shared: self.shared,
            ..enrich.record(login)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::geoip::Databases;
    use crate::store::examination::{self, Random};

    fn enrich() -> Enrich {
        Enrich::new(&Databases::default(), None, None, (24, 64), Arc::default()).unwrap()
    }

    fn line(record: &Record) -> String {
        let mut line = Vec::new();
        write(record, &mut line).unwrap();
        String::from_utf8(line).unwrap()
    }

    fn read(line: &str) -> Record {
        let login = LoginTuple::from_history(line.as_bytes()).unwrap();
        Kept::of(line.as_bytes()).unwrap().unwrap().record(&login, &enrich())
    }

    #[test]
    fn a_line_has_everything_that_is_kept() {
        let record = Record {
            t: 1_700_000_000.25,
            login: "joe".into(),
            ip: Some("192.0.2.1".parse().unwrap()),
            success: true,
            net: Some("192.0.2.0/24".parse().unwrap()),
            device: "imap/iOS/Mail".into(),
            place: Place { country: "DE".into(), coordinates: Some((52.52, 13.4)), ..Place::default() },
            ..Record::default()
        };
        let expected = concat!(
            r#"{"t":1700000000.25,"login":"joe","remote":"192.0.2.1","success":true,"policy_reject":false,"#,
            r#""fail_type":"","pwhash":"","protocol":"","tls":false,"session_id":"","device_id":"","#,
            r#""trackalert":{"device":"imap/iOS/Mail","net":"192.0.2.0/24","country":"DE","#,
            r#""lat":52.52,"lon":13.4}}"#,
            "\n"
        );
        assert_eq!(line(&record), expected);
        let nothing = line(&Record::default());
        assert!(
            nothing.contains(r#""remote":"0.0.0.0""#) && nothing.ends_with("\"trackalert\":{}}\n"),
            "{nothing}"
        );
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let mut random = Random(23);
        for _ in 0..1000 {
            let record = examination::report(&mut random, 1_700_000_000, 100);
            assert_eq!(read(&line(&record)), record);
        }
    }

    #[test]
    fn a_text_that_was_cut_once_is_not_cut_again() {
        let long = "x".repeat(100_000);
        let json = format!(
            r#"{{"login": "{long}", "pwhash": "{long}", "protocol": "{long}", "device_id": "{long}",
                "session_id": "{long}", "fail_type": "{long}", "t": 1700000000, "remote": "2001:db8::1"}}"#
        );
        let login = LoginTuple::from_history(json.as_bytes()).unwrap();
        let record = enrich().record(&login);
        assert_eq!(read(&line(&record)), record);
        // One that no store has made is.
        let forged = json.replacen('{', r#"{"trackalert": {"lat": 1e300, "lon": 0}, "#, 1);
        assert_eq!(read(&forged), record);
    }

    #[test]
    fn what_a_store_says_is_told_from_what_looks_like_it() {
        assert!(Kept::of(br#"{"login": "joe"}"#).unwrap().is_none());
        assert!(
            Kept::of(br#"{"login": "trackalert", "attrs": {"trackalert": {"asn": "x"}}}"#).unwrap().is_none()
        );
        assert!(Kept::of(br#"{"trackalert": null}"#).unwrap().is_none());
        assert_eq!(Kept::of(br#"{"trackalert" : {"asn": 64500, "new": 1}}"#).unwrap().unwrap().asn, 64_500);
        assert!(Kept::of(br#"{"trackalert": {"asn": "64500"}}"#).is_err());
    }
}
