//! One MaxMind database, read into memory: what a policy asks it about an address.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use maxminddb::{PathElement, Reader, path};
use parking_lot::RwLock;
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::error::{Error, Result};

/// What a file held.
type Content = Reader<Vec<u8>>;

/// One database. Whoever holds it sees what the file held when it was last read.
pub struct Database {
    file: PathBuf,
    reader: RwLock<Arc<Content>>,
}

/// What a city database says of an address. What it does not say is empty or 0.
#[derive(Debug, Default, PartialEq)]
pub struct City {
    pub city: String,
    pub country_code: String,
    pub country_name: String,
    pub region: String,
    pub continent_code: String,
    pub postal_code: String,
    pub latitude: f64,
    pub longitude: f64,
}

impl Database {
    pub fn open(file: &Path) -> Result<Database> {
        let file = std::path::absolute(file).map_err(Error::io(file))?;
        let reader = read(&file)?;
        Ok(Database { file, reader: RwLock::new(Arc::new(reader)) })
    }

    pub(super) fn reload(&self) -> Result<()> {
        let reader = Arc::new(read(&self.file)?);
        *self.reader.write() = reader;
        Ok(())
    }

    pub(super) fn reader(&self) -> Arc<Content> {
        self.reader.read().clone()
    }

    /// The country's code of ISO 3166-1.
    pub fn country(&self, ip: IpAddr) -> Option<String> {
        text(&self.reader(), ip, &path!["country", "iso_code"])
    }

    /// The provider's name; in a database of autonomous systems, the organisation's.
    pub fn isp(&self, ip: IpAddr) -> Option<String> {
        let reader = self.reader();
        text(&reader, ip, &path!["isp"])
            .or_else(|| text(&reader, ip, &path!["autonomous_system_organization"]))
    }

    pub fn city(&self, ip: IpAddr) -> City {
        let reader = self.reader();
        let record = reader.lookup(ip).ok().and_then(|found| found.decode::<Record>().ok()?);
        record.map(City::from).unwrap_or_default()
    }

    /// The value at `path` in the record of an address, if there is one and it has the type. A
    /// number in the path counts the elements of an array, from 0.
    pub fn value<T: for<'de> Deserialize<'de>>(&self, ip: IpAddr, path: &[String]) -> Option<T> {
        let path: Vec<PathElement> =
            path.iter().map(|part| part.parse().map_or(PathElement::Key(part), PathElement::Index)).collect();
        self.reader().lookup(ip).ok()?.decode_path(&path).ok()?
    }
}

/// A whole number, whichever of the format's types for them holds it.
#[derive(Debug, Default, PartialEq)]
pub struct Whole(pub f64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(value: D) -> std::result::Result<Whole, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_u64<E>(self, number: u64) -> std::result::Result<Whole, E> {
                Ok(Whole(number as f64))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> std::result::Result<Whole, E> {
                let number = u32::try_from(number).map_err(|_| E::custom("a negative number"))?;
                Ok(Whole(number.into()))
            }

            fn visit_u128<E>(self, number: u128) -> std::result::Result<Whole, E> {
                Ok(Whole(number as f64))
            }
        }

        value.deserialize_any(Number)
    }
}

fn text(reader: &Content, ip: IpAddr, path: &[PathElement]) -> Option<String> {
    reader.lookup(ip).ok()?.decode_path::<&str>(path).ok()?.map(str::to_owned)
}

/// Not mapped into memory: whoever cuts a file that is mapped, instead of renaming another one over
/// it, ends the process with SIGBUS.
fn read(file: &Path) -> Result<Content> {
    let content = fs::read(file).map_err(Error::io(file))?;
    Reader::from_source(content)
        .map_err(|e| Error::Refused(format!("{}: not a MaxMind database: {e}", file.display())))
}

/// A record of a city database, as far as it is of use here. `cities` is in some that people make
/// themselves.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Record<'a> {
    #[serde(borrow)]
    city: Option<Place<'a>>,
    #[serde(borrow)]
    cities: Vec<Place<'a>>,
    #[serde(borrow)]
    continent: Place<'a>,
    #[serde(borrow)]
    country: Place<'a>,
    location: Location,
    #[serde(borrow)]
    postal: Place<'a>,
    #[serde(borrow)]
    subdivisions: Vec<Place<'a>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Place<'a> {
    #[serde(borrow)]
    code: Option<&'a str>,
    #[serde(borrow)]
    iso_code: Option<&'a str>,
    #[serde(borrow)]
    names: Names<'a>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Names<'a> {
    #[serde(borrow)]
    en: Option<&'a str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Location {
    latitude: f64,
    longitude: f64,
}

impl From<Record<'_>> for City {
    fn from(record: Record) -> City {
        let owned = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let city = record.city.or_else(|| record.cities.first().copied()).unwrap_or_default();
        let region = record.subdivisions.first().copied().unwrap_or_default();
        City {
            city: owned(city.names.en),
            country_code: owned(record.country.iso_code),
            country_name: owned(record.country.names.en),
            region: owned(region.iso_code),
            continent_code: owned(record.continent.code),
            postal_code: owned(record.postal.code),
            latitude: record.location.latitude,
            longitude: record.location.longitude,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geoip::tests::{data, ip};

    #[test]
    fn an_address_has_a_place_or_none() {
        let city = Database::open(&data("city.mmdb")).unwrap();
        for (address, country) in
            [("216.160.83.56", Some("US")), ("2001:218::1", Some("JP")), ("10.0.0.1", None)]
        {
            assert_eq!(city.country(ip(address)).as_deref(), country, "{address}");
        }
        let london = city.city(ip("81.2.69.160"));
        assert_eq!((london.city.as_str(), london.region.as_str()), ("London", "ENG"));
        assert_eq!((london.latitude, london.longitude), (51.5142, -0.0931));
        assert_eq!(city.city(ip("10.0.0.1")), City::default());
        assert_eq!(city.isp(ip("81.2.69.160")), None);
    }

    #[test]
    fn a_value_is_found_by_its_path_and_type() {
        let city = Database::open(&data("city.mmdb")).unwrap();
        let path = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
        let london = ip("81.2.69.160");
        assert_eq!(city.value(london, &path("subdivisions 0 iso_code")), Some("ENG".to_owned()));
        assert_eq!(city.value(london, &path("subdivisions 9 iso_code")), None::<String>);
        assert_eq!(city.value(london, &path("location latitude")), None::<String>);
        assert_eq!(city.value(london, &path("location latitude")), Some(51.5142));
        assert_eq!(city.value(london, &path("city geoname_id")), Some(Whole(2_643_743.0)));
        assert_eq!(city.value(london, &[]), None::<String>);
    }
}
