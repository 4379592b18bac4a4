//! Where addresses are and whose: MaxMind databases by name, and read again while look-ups go on. One
//! of them is in `database`, what the report store asks it in `place`. What a policy sees of them is in
//! `lua/lookup.rs`.

mod database;
mod distance;
mod place;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::{Error, Result};

pub use database::{City, Database, Whole};
pub use distance::distance_km;

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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::path::PathBuf;

    use super::*;

    pub fn data(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
    }

    pub fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
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
