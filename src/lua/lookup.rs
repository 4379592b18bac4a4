//! Functions that open MaxMind databases, and the object that a policy looks addresses up with.

use std::path::Path;
use std::sync::Arc;

use rlua::{IntoLua, Lua, UserData, UserDataFields, Value};

use crate::geoip::{City, Database, Standard, Whole, distance_km};
use crate::lua::api::{ANYWHERE, CONSOLE, Context, FILE, Func, func};
use crate::lua::method::{Method, add_methods, method};
use crate::lua::objects::ComboAddress;

#[rustfmt::skip] // A function has three lines: what it is called with, its help, what it does.
pub static FUNCS: &[Func] = &[
    func!(FILE, newGeoIP2DB(name: String, file: String),
        "Open a MaxMind database.",
        |_lua, cx| cx.shared.geoip.open(&name, Path::new(&file))),
    func!(ANYWHERE, getGeoIP2DB(name: String),
        "Give the database that newGeoIP2DB has opened.",
        |_lua, cx| Ok(named(cx, &name))),
    func!(ANYWHERE, distance(lat1: f64, lon1: f64, lat2: f64, lon2: f64),
        "The kilometres between two points on Earth.",
        |_lua, _cx| Ok(distance_km((lat1, lon1), (lat2, lon2)))),
    func!(FILE, initGeoIPDB(),
        "Open the country database where packages put it (deprecated).",
        |_lua, cx| cx.shared.geoip.open_standard(Standard::Country)),
    func!(FILE, initGeoIPCityDB(),
        "Open the city database where packages put it (deprecated).",
        |_lua, cx| cx.shared.geoip.open_standard(Standard::City)),
    func!(FILE, initGeoIPISPDB(),
        "Open the provider database where packages put it (deprecated).",
        |_lua, cx| cx.shared.geoip.open_standard(Standard::Isp)),
    func!(ANYWHERE, lookupCountry(address: ComboAddress),
        "The country code of an address in the database of initGeoIPDB (deprecated).",
        |_lua, cx| Ok(standard(cx, Standard::Country).country(address))),
    func!(ANYWHERE, lookupCity(address: ComboAddress),
        "The record of an address in the database of initGeoIPCityDB (deprecated).",
        |_lua, cx| Ok(standard(cx, Standard::City).city(address))),
    func!(ANYWHERE, lookupISP(address: ComboAddress),
        "The provider of an address in the database of initGeoIPISPDB (deprecated).",
        |_lua, cx| Ok(standard(cx, Standard::Isp).isp(address))),
    func!(CONSOLE, reloadGeoIPDBs(),
        "Open every MaxMind database again.",
        |_lua, cx| cx.shared.geoip.reload().map(|()| "reloadGeoIPDBs() successful\n")),
    func!(CONSOLE, reloadGeoIP2DBs(),
        "Do the same as reloadGeoIPDBs.",
        |_lua, cx| cx.shared.geoip.reload().map(|()| "reloadGeoIP2DBs() successful\n")),
];

/// A database; without one, look-ups find nothing.
pub struct GeoIP2DB(Option<Arc<Database>>);

/// The methods of a GeoIP2DB.
#[rustfmt::skip]
pub static GEOIP2DB: &[Method<GeoIP2DB>] = &[
    method!(lookupCountry(address: ComboAddress),
        "The country code of an address, or an empty string.",
        |this| Ok(this.country(address))),
    method!(lookupISP(address: ComboAddress),
        "The provider of an address, or an empty string.",
        |this| Ok(this.isp(address))),
    method!(lookupCity(address: ComboAddress),
        "The record of an address in a city database.",
        |this| Ok(this.city(address))),
    method!(lookupStringValue(address: ComboAddress, path: Vec<String>),
        "The string at a path in the record of an address, or an empty string.",
        |this| Ok(this.value::<String>(address, &path))),
    method!(lookupUIntValue(address: ComboAddress, path: Vec<String>),
        "The whole number at a path in the record of an address, or 0.",
        |this| Ok(this.value::<Whole>(address, &path).0)),
    method!(lookupBoolValue(address: ComboAddress, path: Vec<String>),
        "The boolean at a path in the record of an address, or false.",
        |this| Ok(this.value::<bool>(address, &path))),
    method!(lookupDoubleValue(address: ComboAddress, path: Vec<String>),
        "The number at a path in the record of an address, or 0.",
        |this| Ok(this.value::<f64>(address, &path))),
];

fn named(cx: &Context, name: &str) -> GeoIP2DB {
    let database = cx.shared.geoip.named(name);
    if database.is_none() {
        log::error!("getGeoIP2DB(name): no newGeoIP2DB(\"{name}\", …) in the configuration");
    }
    GeoIP2DB(database)
}

fn standard(cx: &Context, standard: Standard) -> GeoIP2DB {
    let database = cx.shared.geoip.standard(standard);
    let function = standard.function();
    if database.is_none() && cx.shared.is_news(function) {
        log::warn!("look-ups find nothing without {function}() in the configuration");
    }
    GeoIP2DB(database)
}

impl GeoIP2DB {
    fn country(&self, address: ComboAddress) -> String {
        self.0.as_ref().and_then(|database| database.country(address.ip())).unwrap_or_default()
    }

    fn isp(&self, address: ComboAddress) -> String {
        self.0.as_ref().and_then(|database| database.isp(address.ip())).unwrap_or_default()
    }

    fn city(&self, address: ComboAddress) -> Place {
        Place(self.0.as_ref().map(|database| database.city(address.ip())).unwrap_or_default())
    }

    fn value<T>(&self, address: ComboAddress, path: &[String]) -> T
    where
        T: Default + for<'de> serde::Deserialize<'de>,
    {
        self.0.as_ref().and_then(|database| database.value(address.ip(), path)).unwrap_or_default()
    }
}

impl UserData for GeoIP2DB {
    fn add_fields<'lua, F: UserDataFields<'lua, Self>>(fields: &mut F) {
        add_methods("GeoIP2DB", GEOIP2DB, fields);
    }
}

/// What a city database says of an address, as a table.
struct Place(City);

impl<'lua> IntoLua<'lua> for Place {
    fn into_lua(self, lua: &'lua Lua) -> rlua::Result<Value<'lua>> {
        let City {
            city,
            country_code,
            country_name,
            region,
            continent_code,
            postal_code,
            latitude,
            longitude,
        } = self.0;
        let table = lua.create_table_with_capacity(0, 8)?;
        for (name, text) in [
            ("city", city),
            ("country_code", country_code),
            ("country_name", country_name),
            ("region", region),
            ("continent_code", continent_code),
            ("postal_code", postal_code),
        ] {
            table.raw_set(name, text)?;
        }
        table.raw_set("latitude", latitude)?;
        table.raw_set("longitude", longitude)?;
        table.into_lua(lua)
    }
}
