//! What can go wrong, sorted by what the reader must do about it, and the only way into
//! `rlua::Error`. A message is whole: lower case, no full stop, the thing before the complaint.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::geteuid;

/// The result of nearly everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug)]
pub enum Error {
    /// The command line is wrong: see the usage.
    Usage(String),
    /// The configuration can't be used: mend the file.
    Config(String),
    /// The system refused something about a file, a socket or an address.
    Io(PathBuf, io::Error),
    /// Lua code failed.
    Lua(rlua::Error),
    /// An argument has a value that can't be used; `what` says what it should have been.
    Bad { what: &'static str, value: String },
    /// A name that nothing has.
    Unknown { what: &'static str, name: String },
    /// Something that can't be done in this state of affairs.
    Refused(String),
    /// The report store can't answer or write, for this reason: go on without it.
    Store(String),
    /// Lua has called `os.exit` with this status; the text says where.
    Exit(u8, String),
}

impl Error {
    /// For `map_err`: what the system said about `path`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |e| Error::Io(path, e)
    }

    /// The exit status of a program that ends for this reason: `EX_CONFIG` of sysexits.h is 78.
    pub fn status(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Config(_) => 78,
            Error::Exit(status, _) => *status,
            _ => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(text) | Error::Config(text) | Error::Refused(text) | Error::Exit(_, text) => {
                f.write_str(text)
            }
            Error::Io(path, e) => write!(f, "{}: {}", path.display(), lower(e)),
            Error::Lua(e) => write!(f, "{e}"),
            Error::Store(text) => write!(f, "store unavailable: {text}"),
            Error::Bad { what, value } => write!(f, "\"{value}\" is not {what}"),
            Error::Unknown { what, name } => write!(f, "no {what} named \"{name}\""),
        }
    }
}

/// The system's words without the number that Rust adds to them, and who it is that may not, since that
/// is not always who started the program.
fn lower(e: &io::Error) -> String {
    let text = e.to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_lowercase();
    let is_forbidden = e.kind() == io::ErrorKind::PermissionDenied && !geteuid().is_root();
    if is_forbidden { format!("{text} for user {}", geteuid()) } else { text }
}

impl std::error::Error for Error {}

impl From<rlua::Error> for Error {
    fn from(e: rlua::Error) -> Self {
        Error::Lua(e)
    }
}

impl From<Error> for rlua::Error {
    fn from(e: Error) -> Self {
        match e {
            Error::Lua(e) => e,
            other => rlua::Error::ExternalError(Arc::new(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_thing_before_the_complaint() {
        let missing = io::Error::from_raw_os_error(2);
        for (error, text, status) in [
            (Error::io("/etc/x.pem")(missing), "/etc/x.pem: no such file or directory", 1),
            (
                Error::Bad { what: "a netmask", value: "10.0.0.0/99".into() },
                "\"10.0.0.0/99\" is not a netmask",
                1,
            ),
            (Error::Unknown { what: "webhook", name: "x".into() }, "no webhook named \"x\"", 1),
            (Error::Usage("bad".into()), "bad", 2),
            (Error::Config("bad".into()), "bad", 78),
        ] {
            assert_eq!((error.to_string().as_str(), error.status()), (text, status));
        }
    }
}
