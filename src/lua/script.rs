//! The text of a configuration, and where the modules that it requires are looked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rlua::{Lua, Table};
use secrecy::zeroize::Zeroizing;

use crate::error::{Error, Result};

/// The text of a configuration, read once so that every state runs the same.
pub struct Script {
    /// The name for messages.
    name: String,
    /// Where `require` looks first.
    folder: PathBuf,
    pub(super) text: Zeroizing<Vec<u8>>,
    /// How long it may run in a state, if that is limited.
    limit: Option<Duration>,
}

impl Script {
    /// Reads a configuration file, whose folder is where `require` looks first.
    pub fn read(path: &Path) -> Result<Script> {
        let text = fs::read(path).map(Zeroizing::new).map_err(Error::io(path))?;
        let absolute = fs::canonicalize(path).map_err(Error::io(path))?;
        let folder = absolute.parent().unwrap_or(Path::new("/")).to_path_buf();
        Ok(Script { name: path.display().to_string(), folder, text, limit: None })
    }

    /// The same, which may be interrupted when it runs longer than `limit` in a state.
    pub fn within(self, limit: Duration) -> Script {
        Script { limit: Some(limit), ..self }
    }

    /// A configuration that is in no file.
    pub fn of(text: &str) -> Script {
        Script {
            name: "test.conf".into(),
            folder: std::env::temp_dir(),
            text: Zeroizing::new(text.into()),
            limit: None,
        }
    }

    /// How long it may run in a state, if that is limited.
    pub fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// The name of the file, as messages have it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `require` looks beside the configuration first, then where packages put shared policies, then
    /// where LuaJIT and the environment say, and last where Linux distributions put modules for Lua
    /// 5.1: a LuaJIT from a package knows those places, one built from source does not.
    pub fn set_path(&self, lua: &Lua) -> Result<()> {
        let package: Table = lua.globals().get("package")?;
        let (path, cpath): (String, String) = (package.get("path")?, package.get("cpath")?);
        let folder = self.folder.display();
        let policies = "/usr/share/trackalert/?.lua;/usr/share/trackalert/?/init.lua";
        let modules = "/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?/init.lua";
        package.set("path", format!("{folder}/?.lua;{folder}/?/init.lua;{policies};{path};{modules}"))?;
        let arch = std::env::consts::ARCH;
        let modules =
            format!("/usr/lib/{arch}-linux-gnu/lua/5.1/?.so;/usr/lib64/lua/5.1/?.so;/usr/lib/lua/5.1/?.so");
        Ok(package.set("cpath", format!("{cpath};{modules}"))?)
    }
}
