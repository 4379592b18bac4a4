//! Where an address is and whose, as the report store keeps it: one look-up and one pass over the
//! record for each database, in the place of one for each value.

use std::fmt;
use std::net::IpAddr;

use compact_str::CompactString;
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::geoip::{Database, Whole};

/// Where an address is, by a database of cities or countries. A text that is not known is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Location {
    /// ISO 3166-1.
    pub country: CompactString,
    /// ISO 3166-2, without the country.
    pub region: CompactString,
    /// Degrees: latitude and longitude.
    pub coordinates: Option<(f64, f64)>,
    /// Kilometres around it where the address is likely to be; 0 where that is unknown.
    pub radius: u16,
}

impl Database {
    pub fn location(&self, ip: IpAddr) -> Location {
        let reader = self.reader();
        let record = reader.lookup(ip).ok().and_then(|found| found.decode::<Record>().ok()?);
        record.map(Location::from).unwrap_or_default()
    }

    /// The number of the autonomous system; 0 where it is unknown.
    pub fn asn(&self, ip: IpAddr) -> u32 {
        let reader = self.reader();
        let owner = reader.lookup(ip).ok().and_then(|found| found.decode::<Owner>().ok()?);
        let number = owner.unwrap_or_default().autonomous_system_number.0;
        if number <= f64::from(u32::MAX) { number as u32 } else { 0 }
    }
}

/// A record of a database of cities, as far as it is of use here. One of countries is the same with
/// less in it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Record<'a> {
    #[serde(borrow)]
    country: Area<'a>,
    #[serde(borrow)]
    subdivisions: Vec<Area<'a>>,
    location: Point,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Area<'a> {
    #[serde(borrow)]
    iso_code: Option<&'a str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Point {
    latitude: Option<Number>,
    longitude: Option<Number>,
    accuracy_radius: Number,
}

/// A record of a database of autonomous systems.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Owner {
    autonomous_system_number: Whole,
}

/// A number of any of the format's types: databases that people make themselves have others than
/// MaxMind's.
#[derive(Clone, Copy, Default)]
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Number, D::Error> {
        struct Any;

        impl Visitor<'_> for Any {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number as f64))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number as f64))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Number, E> {
                Ok(Number(number))
            }
        }

        value.deserialize_any(Any)
    }
}

impl From<Record<'_>> for Location {
    fn from(record: Record) -> Location {
        let code = |area: Area| area.iso_code.unwrap_or_default().into();
        let coordinates = record.location.coordinates();
        Location {
            country: code(record.country),
            region: code(record.subdivisions.first().copied().unwrap_or_default()),
            coordinates,
            // What is negative becomes 0, and what is too much the most.
            radius: coordinates.map_or(0, |_| record.location.accuracy_radius.0 as u16),
        }
    }
}

impl Point {
    /// The point, if it is one on earth. Some databases have 0, 0 where they don't know better: there
    /// is nothing but sea.
    fn coordinates(&self) -> Option<(f64, f64)> {
        let (latitude, longitude) = (self.latitude?.0, self.longitude?.0);
        let is_point = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        (is_point && (latitude, longitude) != (0.0, 0.0)).then_some((latitude, longitude))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geoip::tests::{data, ip};

    fn open(name: &str) -> Database {
        Database::open(&data(name)).unwrap()
    }

    fn location(database: &Database, address: &str) -> Location {
        database.location(ip(address))
    }

    #[test]
    fn an_address_has_a_location_as_far_as_the_database_says() {
        let (city, scenario, country) = (open("city.mmdb"), open("scenario-city.mmdb"), open("country.mmdb"));
        for (database, ip, country, region, coordinates, radius) in [
            (&city, "81.2.69.160", "GB", "ENG", Some((51.5142, -0.0931)), 100),
            (&city, "2001:218::1", "JP", "", Some((35.68536, 139.75309)), 100),
            (&city, "10.0.0.1", "", "", None, 0),
            (&city, "::", "", "", None, 0),
            (&scenario, "20.20.3.2", "DE", "", Some((52.52, 13.4)), 20),
            (&country, "128.243.1.1", "GB", "", Some((52.9044, -1.2326)), 50),
            (&country, "2001:db8::1", "", "", None, 0),
        ] {
            let expected = Location { country: country.into(), region: region.into(), coordinates, radius };
            assert_eq!(location(database, ip), expected, "{ip}");
        }
    }

    #[test]
    fn an_address_has_an_autonomous_system_or_none() {
        let (asn, city) = (open("scenario-asn.mmdb"), open("city.mmdb"));
        for (database, ip, expected) in [
            (&asn, "20.20.3.2", 64_714),
            (&asn, "192.0.2.1", 0),
            (&asn, "2001:db8::1", 0),
            (&city, "81.2.69.160", 0),
        ] {
            assert_eq!(database.asn(ip.parse().unwrap()), expected, "{ip}");
        }
    }

    #[test]
    fn what_is_no_point_on_earth_is_no_location() {
        for (record, coordinates, radius) in [
            (r#"{}"#, None, 0),
            (r#"{"location": {}}"#, None, 0),
            (r#"{"location": {"latitude": 1.5, "accuracy_radius": 5}}"#, None, 0),
            (r#"{"location": {"longitude": 1.5}}"#, None, 0),
            (r#"{"location": {"latitude": 0.0, "longitude": 0.0}}"#, None, 0),
            (r#"{"location": {"latitude": 0.0, "longitude": 9.5}}"#, Some((0.0, 9.5)), 0),
            (r#"{"location": {"latitude": 90, "longitude": -180}}"#, Some((90.0, -180.0)), 0),
            (r#"{"location": {"latitude": 90.1, "longitude": 0}}"#, None, 0),
            (r#"{"location": {"latitude": 0, "longitude": -180.1}}"#, None, 0),
            (
                r#"{"location": {"latitude": 1, "longitude": 2, "accuracy_radius": 1e9}}"#,
                Some((1.0, 2.0)),
                65535,
            ),
            (r#"{"location": {"latitude": 1, "longitude": 2, "accuracy_radius": -1}}"#, Some((1.0, 2.0)), 0),
        ] {
            let location = Location::from(serde_json::from_str::<Record>(record).unwrap());
            assert_eq!((location.coordinates, location.radius), (coordinates, radius), "{record}");
        }
    }
}
