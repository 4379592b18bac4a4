//! What `-V` prints: which program this is, and of what it is made. The libraries are asked, since a
//! package may use the system's.

use crate::error::Result;
use crate::lua;
use crate::net::crypto;
use crate::store;

/// What the program can do beside taking reports over HTTP. All of it is in every build.
const FEATURES: &str = "alerts blocklist clickhouse console geoip policies smtp sqlite syslog systemd tls \
    user-agents webhooks";

/// Three lines, the first with the versions of the program and of Lua.
pub fn version() -> Result<String> {
    Ok(format!(
        "trackalert {} ({})\nLibraries: libsodium {}, SQLite {}\nFeatures: {FEATURES}\n",
        env!("CARGO_PKG_VERSION"),
        lua::version()?,
        crypto::version(),
        store::version(),
    ))
}
