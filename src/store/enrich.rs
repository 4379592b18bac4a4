//! What becomes of a report on its way into the store: its texts as far as they are kept, what the
//! client is, where it is and whose. That is resolved once and stays, because databases change.

use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;

use crate::device::{self, cut};
use crate::error::{Error, Result};
use crate::geoip::{Database, Databases};
use crate::login::LoginTuple;
use crate::store::Egress;
use crate::store::bounded::{FAIL_TYPE, PWHASH, SESSION_ID, bounded, kept_login, kept_protocol};
use crate::store::record::{Place, Record, net};

/// Makes records of reports.
pub struct Enrich {
    geo: Option<Arc<Database>>,
    asn: Option<Arc<Database>>,
    /// Of a network, for IPv4 and for IPv6.
    bits: (u8, u8),
    egress: Arc<Egress>,
}

impl Enrich {
    /// With databases by the names that `newGeoIP2DB` gave them; without one, nothing is known of what is
    /// in it. `bits` is how long the networks of addresses are, for IPv4 and for IPv6; `egress` knows which
    /// addresses many logins share.
    pub fn new(
        databases: &Databases,
        geo: Option<&str>,
        asn: Option<&str>,
        bits: (u8, u8),
        egress: Arc<Egress>,
    ) -> Result<Enrich> {
        for (option, bits, most) in [("net4", bits.0, 32), ("net6", bits.1, 128)] {
            if !(1..=most).contains(&bits) {
                return Err(Error::Config(format!("{option} = {bits}: 1 to {most} expected")));
            }
        }
        Ok(Enrich { geo: named(databases, "geo", geo)?, asn: named(databases, "asn", asn)?, bits, egress })
    }

    /// What the store keeps of a report, the device of which is known.
    pub fn record(&self, login: &LoginTuple) -> Record {
        // 0.0.0.0 stands for no address.
        let ip = Some(login.remote.ip()).filter(|ip| !ip.is_unspecified());
        Record {
            t: login.t,
            login: kept_login(login.login()).into(),
            ip,
            success: login.success,
            policy_reject: login.policy_reject,
            tls: login.tls,
            protocol: kept_protocol(login.protocol()).into(),
            pwhash: text(login.pwhash(), PWHASH),
            session_id: text(login.session_id(), SESSION_ID),
            fail_type: text(login.fail_type(), FAIL_TYPE),
            device_id: cut(login.device_id(), device::LONGEST).into(),
            device: device::identity(login.protocol(), login.device_attrs()),
            place: ip.map(|ip| self.place(ip)).unwrap_or_default(),
            net: ip.and_then(|ip| net(ip, self.bits)),
            is_shared: ip.is_some_and(|ip| self.egress.contains(ip)),
        }
    }

    fn place(&self, ip: IpAddr) -> Place {
        let location = self.geo.as_ref().map(|geo| geo.location(ip)).unwrap_or_default();
        Place {
            country: location.country,
            region: location.region,
            coordinates: location.coordinates,
            radius: location.radius,
            asn: self.asn.as_ref().map_or(0, |asn| asn.asn(ip)),
        }
    }
}

/// The database that an option names.
fn named(databases: &Databases, option: &str, name: Option<&str>) -> Result<Option<Arc<Database>>> {
    let Some(name) = name else { return Ok(None) };
    let database = databases.named(name).ok_or_else(|| {
        let missing = format!("no newGeoIP2DB(\"{name}\", …) in the configuration");
        Error::Config(format!("{option} = \"{name}\": {missing}"))
    })?;
    Ok(Some(database))
}

fn text(text: &str, most: usize) -> CompactString {
    bounded(text, most).into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::store::bounded::LOGIN;

    const WFORCE: &str = include_str!("../../tests/data/wforce-report.json");

    fn databases() -> Databases {
        let databases = Databases::default();
        for (name, file) in [("city", "scenario-city.mmdb"), ("asn", "scenario-asn.mmdb")] {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
            databases.open(name, &file).unwrap();
        }
        databases
    }

    fn enrich() -> Enrich {
        Enrich::new(&databases(), Some("city"), Some("asn"), (24, 64), Arc::default()).unwrap()
    }

    fn login(json: &str) -> LoginTuple {
        LoginTuple::from_json(json.as_bytes(), UNIX_EPOCH + Duration::from_secs(1_800_000_000)).unwrap()
    }

    fn from(ip: &str) -> LoginTuple {
        login(&format!(r#"{{"remote": "{ip}"}}"#))
    }

    #[test]
    fn a_record_has_what_the_sender_says() {
        let record = enrich().record(&login(WFORCE));
        let expected = Record {
            t: 1_795_490_801.892_085,
            login: "joe".into(),
            ip: Some("192.0.2.1".parse().unwrap()),
            success: true,
            tls: true,
            protocol: "http".into(),
            pwhash: "cc04".into(),
            device_id: record.device_id.clone(),
            device: "web/Windows/Chrome".into(),
            net: Some("192.0.2.0/24".parse().unwrap()),
            ..Record::default()
        };
        assert_eq!(record, expected);
        assert!(record.device_id.starts_with("Mozilla/5.0 (Windows NT 10.0; Win64; x64)"));
        let json =
            r#"{"policy_reject": true, "session_id": "s1", "fail_type": "policy", "protocol": "pop3"}"#;
        let record = enrich().record(&login(json));
        assert!(record.policy_reject && !record.success && !record.tls);
        assert_eq!((record.session_id.as_str(), record.fail_type.as_str()), ("s1", "policy"));
        assert_eq!((record.protocol.as_str(), record.device.as_str()), ("pop3", ""));
    }

    #[test]
    fn an_address_has_a_place_and_a_network() {
        let expected = Place {
            country: "DE".into(),
            coordinates: Some((52.52, 13.4)),
            radius: 20,
            asn: 64_714,
            ..Place::default()
        };
        assert_eq!(enrich().record(&from("20.20.3.2")).place, expected);
        for (ip, expected) in [
            ("20.20.3.2", "20.20.3.0/24"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
            ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ] {
            assert_eq!(enrich().record(&from(ip)).net.unwrap().to_string(), expected, "{ip}");
        }
        let narrow = Enrich::new(&databases(), None, None, (32, 128), Arc::default()).unwrap();
        let record = narrow.record(&from("20.20.3.2"));
        assert_eq!(
            (record.net.unwrap().to_string().as_str(), record.place),
            ("20.20.3.2/32", Place::default())
        );
    }

    #[test]
    fn a_database_says_what_is_in_it_alone() {
        let databases = databases();
        let place = |geo, asn| {
            Enrich::new(&databases, geo, asn, (24, 64), Arc::default())
                .unwrap()
                .record(&from("20.20.3.2"))
                .place
        };
        let all = place(Some("city"), Some("asn"));
        assert_eq!(place(Some("city"), None), Place { asn: 0, ..all.clone() });
        assert_eq!(place(None, Some("asn")), Place { asn: all.asn, ..Place::default() });
        assert_eq!(place(Some("asn"), Some("city")), Place::default());
    }

    #[test]
    fn without_an_address_there_is_no_place_and_no_network() {
        for json in
            ["{}", r#"{"remote": "0.0.0.0"}"#, r#"{"remote": "::"}"#, r#"{"remote": "::ffff:0.0.0.0"}"#]
        {
            let record = enrich().record(&login(json));
            assert_eq!((record.ip, record.place, record.net), (None, Place::default(), None), "{json}");
        }
    }

    #[test]
    fn a_record_is_small_whatever_the_sender_sends() {
        for letter in ["x", "é", "€", "%", "/"] {
            let long = letter.repeat(100_000);
            let json = format!(
                r#"{{"login": "{long}", "pwhash": "{long}", "protocol": "{long}", "device_id": "{long}",
                    "session_id": "{long}", "fail_type": "{long}", "attrs": {{"a": "{long}"}},
                    "device_attrs": {{"os.family": "{long}", "{long}": "{long}", "app.name": "{long}"}}}}"#
            );
            let record = enrich().record(&login(&json));
            let Record { login, protocol, pwhash, session_id, fail_type, device_id, device, .. } = record;
            let texts = [login, protocol, pwhash, session_id, fail_type, device_id, device];
            let bytes: usize = texts.iter().map(|text| text.len()).sum();
            assert!((1400..1500).contains(&bytes), "{bytes} for {letter}");
        }
    }

    #[test]
    fn logins_that_begin_alike_stay_apart() {
        let record = |end: &str| {
            let long = "x".repeat(LOGIN) + end;
            enrich().record(&login(&format!(r#"{{"login": "{long}"}}"#))).login
        };
        let (none, one, other) = (record(""), record("a"), record("b"));
        assert!(none != one && one != other);
        assert_eq!(one, record("a"));
    }

    #[test]
    fn an_address_of_many_is_known_as_such() {
        let egress = Arc::<Egress>::default();
        let enrich = Enrich::new(&databases(), None, None, (24, 64), egress.clone()).unwrap();
        egress.set_learned(&["192.0.2.0/24".parse().unwrap(), "0.0.0.0/8".parse().unwrap()]);
        for (ip, expected) in
            [("192.0.2.7", true), ("::ffff:192.0.2.7", true), ("198.51.100.7", false), ("0.0.0.0", false)]
        {
            assert_eq!(enrich.record(&from(ip)).is_shared, expected, "{ip}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let databases = databases();
        let error = |geo, asn, bits| {
            Enrich::new(&databases, geo, asn, bits, Arc::default()).err().unwrap().to_string()
        };
        for (geo, asn, bits, expected) in [
            (Some("City"), None, (24, 64), r#"geo = "City": no newGeoIP2DB("City", …) in the configuration"#),
            (Some("city"), Some(""), (24, 64), r#"asn = "": no newGeoIP2DB("", …) in the configuration"#),
            (None, None, (0, 64), "net4 = 0: 1 to 32 expected"),
            (None, None, (33, 64), "net4 = 33: 1 to 32 expected"),
            (None, None, (24, 129), "net6 = 129: 1 to 128 expected"),
        ] {
            assert_eq!(error(geo, asn, bits), expected);
        }
        assert!(Enrich::new(&databases, None, None, (1, 128), Arc::default()).is_ok());
    }
}
