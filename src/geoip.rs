//! Where addresses are and whose: MaxMind databases by name, read into memory, and read again
//! while look-ups go on. What a policy sees of them is in `lua/lookup.rs`.

use std::collections::BTreeMap;
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

/// The folders where packages and geoipupdate(1) put databases.
const FOLDERS: [&str; 3] = ["/usr/share/GeoIP", "/var/lib/GeoIP", "/usr/local/share/GeoIP"];

/// A database that a deprecated function opens where packages put it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standard {
    Country,
    City,
    Isp,
}

impl Standard {
    /// The function of the configuration that opens it.
    pub fn function(self) -> &'static str {
        match self {
            Standard::Country => "initGeoIPDB",
            Standard::City => "initGeoIPCityDB",
            Standard::Isp => "initGeoIPISPDB",
        }
    }

    /// The names of its file, the commercial one first.
    fn files(self) -> [&'static str; 2] {
        match self {
            Standard::Country => ["GeoIP2-Country.mmdb", "GeoLite2-Country.mmdb"],
            Standard::City => ["GeoIP2-City.mmdb", "GeoLite2-City.mmdb"],
            Standard::Isp => ["GeoIP2-ISP.mmdb", "GeoLite2-ASN.mmdb"],
        }
    }
}

/// The databases of a configuration.
#[derive(Default)]
pub struct Databases {
    named: RwLock<BTreeMap<String, Arc<Database>>>,
    standard: RwLock<BTreeMap<Standard, Arc<Database>>>,
}

impl Databases {
    /// Opens a database for a policy to look up by name, unless there is one of that name.
    pub fn open(&self, name: &str, file: &Path) -> Result<()> {
        if self.named.read().contains_key(name) {
            log::warn!("database \"{name}\" is there already: the further one is ignored");
            return Ok(());
        }
        let database = Database::open(file)?;
        self.named.write().insert(name.to_owned(), Arc::new(database));
        Ok(())
    }

    /// Opens a database where packages put it.
    pub fn open_standard(&self, standard: Standard) -> Result<()> {
        let files = standard.files();
        let mut places = FOLDERS.iter().flat_map(|folder| files.map(|file| Path::new(folder).join(file)));
        let Some(file) = places.find(|file| file.exists()) else {
            let (files, folders) = (files.join(" nor "), FOLDERS.join(", "));
            return Err(Error::Refused(format!("there is neither {files} in {folders}")));
        };
        let database = Database::open(&file)?;
        self.standard.write().insert(standard, Arc::new(database));
        Ok(())
    }

    pub fn named(&self, name: &str) -> Option<Arc<Database>> {
        self.named.read().get(name).cloned()
    }

    pub fn standard(&self, standard: Standard) -> Option<Arc<Database>> {
        self.standard.read().get(&standard).cloned()
    }

    /// Opens every file again. One that can't be used leaves its old content in place; the error
    /// names all of those.
    pub fn reload(&self) -> Result<()> {
        let mut databases: Vec<Arc<Database>> = self.named.read().values().cloned().collect();
        databases.extend(self.standard.read().values().cloned());
        let failures: Vec<String> = databases
            .iter()
            .filter_map(|database| database.reload().err())
            .map(|e| format!("{e} (the old database is kept)"))
            .collect();
        if failures.is_empty() { Ok(()) } else { Err(Error::Refused(failures.join("; "))) }
    }
}

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

    fn reload(&self) -> Result<()> {
        let reader = Arc::new(read(&self.file)?);
        *self.reader.write() = reader;
        Ok(())
    }

    fn reader(&self) -> Arc<Content> {
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

    fn data(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

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

    #[test]
    fn a_bad_file_leaves_the_old_database_in_place() {
        let file = std::env::temp_dir().join(format!("trackalert-{}.mmdb", std::process::id()));
        let replace = |content: &[u8]| {
            let new = file.with_extension("new");
            std::fs::write(&new, content).unwrap();
            std::fs::rename(&new, &file).unwrap();
        };
        replace(&std::fs::read(data("city.mmdb")).unwrap());
        let databases = Databases::default();
        databases.open("city", &file).unwrap();
        let city = databases.named("city").unwrap();
        let country = || city.country(ip("128.243.1.1"));
        assert_eq!(country(), None);
        replace(b"garbage");
        let error = databases.reload().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: not a MaxMind database", file.display())), "{error}");
        assert_eq!(city.country(ip("81.2.69.160")).as_deref(), Some("GB"), "the old content");
        replace(&std::fs::read(data("country.mmdb")).unwrap());
        databases.reload().unwrap();
        assert_eq!(country().as_deref(), Some("GB"), "the new content");
        std::fs::remove_file(&file).unwrap();
        assert!(databases.reload().is_err() && country().is_some());
        databases.open("city", &data("city.mmdb")).unwrap();
        assert!(Arc::ptr_eq(&city, &databases.named("city").unwrap()), "the first counts");
    }
}
