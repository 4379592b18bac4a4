//! Who the daemon is once it need not be root any more: users and groups by name or number, and the
//! one way there, after which there is none back.

use std::ffi::CString;
use std::fmt;

use nix::unistd::{
    Gid, Group, Uid, User, geteuid, getresgid, getresuid, initgroups, setgroups, setresgid, setresuid,
};

use crate::error::{Error, Result};
use crate::unix::{protect_memory, system};

/// A user as `setUser` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    uid: Uid,
    /// The name and the group that the user database has.
    entry: Option<(CString, Gid)>,
}

impl Account {
    /// Finds a user by name, or else by number. Root is none: whoever names it wants something else.
    pub fn find(text: &str) -> Result<Account> {
        let unknown = || Error::Unknown { what: "user", name: text.into() };
        let found = User::from_name(text).map_err(system("user database"))?;
        let found = match (found, number(text)) {
            (None, Some(uid)) => User::from_uid(uid.into()).map_err(system("user database"))?,
            (found, _) => found,
        };
        let account = match found {
            Some(user) => {
                let name = CString::new(user.name).map_err(|_| unknown())?;
                Account { uid: user.uid, entry: Some((name, user.gid)) }
            }
            None => Account { uid: number(text).ok_or_else(unknown)?.into(), entry: None },
        };
        if account.uid.is_root() {
            return Err(Error::Refused(format!("name: \"{text}\" is root, which is to be given up")));
        }
        Ok(account)
    }
}

/// Finds a group by name, or else by number.
pub fn find_group(text: &str) -> Result<Gid> {
    let found = Group::from_name(text).map_err(system("group database"))?;
    let found = found.map(|group| group.gid).or_else(|| number(text).map(Gid::from_raw));
    found.ok_or_else(|| Error::Unknown { what: "group", name: text.into() })
}

/// The number of a user or group. To the system the largest means that nothing is to change.
fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && *number != u32::MAX)
}

/// The user and the groups that the daemon is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    uid: Uid,
    gid: Gid,
    /// Whether the group was asked for, and does not just go with the user.
    is_group_named: bool,
    /// Whose supplementary groups it gets: those of the group database, or none.
    name: Option<CString>,
}

impl Identity {
    /// The user with its own group or another one.
    pub fn new(account: &Account, group: Option<Gid>) -> Result<Identity> {
        let (name, own) = account.entry.clone().unzip();
        let gid = group.or(own).ok_or_else(|| {
            Error::Config(format!("setUser(name): user {} has no name, so setGroup() is needed", account.uid))
        })?;
        Ok(Identity { uid: account.uid, gid, is_group_named: group.is_some(), name })
    }

    /// Becomes it, in all threads and for good. Capabilities go with root; threads that are started
    /// from now on have none, even if the process was started with some as this user.
    pub fn assume(&self) -> Result<()> {
        if geteuid().is_root() {
            match &self.name {
                Some(name) => initgroups(name, self.gid).map_err(system("initgroups"))?,
                None => setgroups(&[self.gid]).map_err(system("setgroups"))?,
            }
            setresgid(self.gid, self.gid, self.gid).map_err(system("setresgid"))?;
            setresuid(self.uid, self.uid, self.uid).map_err(system("setresuid"))?;
        } else if !self.is_current()? {
            return Err(Error::Config(format!(
                "setUser(name): only root can become {self}, and the daemon was started as user {}",
                geteuid()
            )));
        }
        drop_capabilities()?;
        // A change of the user may have undone it.
        protect_memory()?;
        if self.is_current()? {
            Ok(())
        } else {
            Err(Error::Refused(format!("the system did not make it {self}")))
        }
    }

    /// Whether the process is it, with no way back.
    fn is_current(&self) -> Result<bool> {
        let user = getresuid().map_err(system("getresuid"))?;
        let group = getresgid().map_err(system("getresgid"))?;
        let is_group = [group.real, group.effective, group.saved] == [self.gid; 3];
        let needs_group = self.is_group_named || user.effective.is_root();
        Ok([user.real, user.effective, user.saved] == [self.uid; 3] && (is_group || !needs_group))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}, group {}", self.uid, self.gid)
    }
}

/// Gives up every capability. The bounding set may stay: without new privileges nothing can be got
/// from it.
#[cfg(target_os = "linux")]
fn drop_capabilities() -> Result<()> {
    use caps::CapSet::{Ambient, Effective, Inheritable, Permitted};
    for set in [Ambient, Inheritable, Effective, Permitted] {
        let is_empty =
            caps::clear(None, set).is_ok() && caps::read(None, set).is_ok_and(|set| set.is_empty());
        if !is_empty {
            return Err(Error::Refused("the capabilities of root can't be given up".into()));
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn drop_capabilities() -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names_or_numbers() {
        for (text, error) in [
            ("daemon", ""),
            ("1", ""),
            ("54321", ""),
            ("root", "name: \"root\" is root, which is to be given up"),
            ("0", "name: \"0\" is root, which is to be given up"),
            ("no such user", "no user named \"no such user\""),
            ("", "no user named \"\""),
            ("-1", "no user named \"-1\""),
            ("+1", "no user named \"+1\""),
            ("4294967295", "no user named \"4294967295\""),
        ] {
            let result = Account::find(text).map(drop);
            assert_eq!(result.err().map(|e| e.to_string()).unwrap_or_default(), error, "{text}");
        }
        assert_eq!(Account::find("daemon").unwrap(), Account::find("1").unwrap());
        assert_eq!(find_group("daemon").unwrap(), find_group("1").unwrap());
        assert_eq!(find_group("4294967295").unwrap_err().to_string(), "no group named \"4294967295\"");
    }

    #[test]
    fn a_user_without_a_name_needs_a_group() {
        let (named, nameless) = (Account::find("daemon").unwrap(), Account::find("54321").unwrap());
        let group = find_group("54322").unwrap();
        for (account, group, expected) in [
            (&named, None, "user 1, group 1"),
            (&named, Some(group), "user 1, group 54322"),
            (&nameless, Some(group), "user 54321, group 54322"),
        ] {
            assert_eq!(Identity::new(account, group).unwrap().to_string(), expected);
        }
        let error = Identity::new(&nameless, None).unwrap_err();
        let expected = "setUser(name): user 54321 has no name, so setGroup() is needed";
        assert_eq!((error.to_string().as_str(), error.status()), (expected, 78));
    }
}
