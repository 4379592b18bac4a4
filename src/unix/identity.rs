//! Who the daemon is once it need not be root any more: users and groups by name or number, and the
//! one way there, after which there is none back.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fmt;

use nix::unistd::{
    Gid, Group, Uid, User, geteuid, getgrouplist, getgroups, getresgid, getresuid, setgroups, setresgid,
    setresuid,
};

use crate::error::{Error, Result};
use crate::unix::limits::protect_memory;
use crate::unix::system;

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
        let groups = if geteuid().is_root() { Some(self.groups()?) } else { None };
        if let Some(groups) = &groups {
            setgroups(groups).map_err(system("setgroups"))?;
            setresgid(self.gid, self.gid, self.gid).map_err(system("setresgid"))?;
            setresuid(self.uid, self.uid, self.uid).map_err(system("setresuid"))?;
        } else if !self.is_had(&Held::now()?, None) {
            return Err(Error::Config(format!(
                "setUser(name): only root can become {self}, and the daemon was started as user {}",
                geteuid()
            )));
        }
        drop_capabilities()?;
        // A change of the user may have undone it.
        protect_memory()?;
        if self.is_had(&Held::now()?, groups.as_deref()) {
            Ok(())
        } else {
            Err(Error::Refused(format!("the system did not make it {self}")))
        }
    }

    /// The supplementary groups that root gives it; its own is one.
    fn groups(&self) -> Result<Vec<Gid>> {
        match &self.name {
            Some(name) => getgrouplist(name, self.gid).map_err(system("group database")),
            None => Ok(vec![self.gid]),
        }
    }

    /// Whether a process that holds this is it, with no way back. One that was root has these
    /// supplementary groups. Whoever starts another may give it groups as they like, but for one
    /// that was asked for.
    fn is_had(&self, held: &Held, groups: Option<&[Gid]>) -> bool {
        let is_user = held.users == [self.uid; 3];
        let is_group = held.groups == [self.gid; 3];
        match groups {
            Some(groups) => is_user && is_group && numbers(&held.more) == numbers(groups),
            None => is_user && (is_group || !self.is_group_named),
        }
    }
}

/// The users and groups of the process: real, effective and saved, and the supplementary ones.
struct Held {
    users: [Uid; 3],
    groups: [Gid; 3],
    more: Vec<Gid>,
}

impl Held {
    fn now() -> Result<Held> {
        let user = getresuid().map_err(system("getresuid"))?;
        let group = getresgid().map_err(system("getresgid"))?;
        Ok(Held {
            users: [user.real, user.effective, user.saved],
            groups: [group.real, group.effective, group.saved],
            more: getgroups().map_err(system("getgroups"))?,
        })
    }
}

/// Groups as a set.
fn numbers(groups: &[Gid]) -> BTreeSet<u32> {
    groups.iter().map(|group| group.as_raw()).collect()
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}, group {}", self.uid, self.gid)
    }
}

/// Gives up every capability. What is empty is left alone, because a service manager that left none
/// may also have forbidden to change them. The bounding set may stay: without new privileges nothing
/// can be got from it.
#[cfg(target_os = "linux")]
fn drop_capabilities() -> Result<()> {
    use caps::CapSet::{Ambient, Effective, Inheritable, Permitted};
    for set in [Ambient, Inheritable, Effective, Permitted] {
        let is_empty = || caps::read(None, set).is_ok_and(|set| set.is_empty());
        if !is_empty() && (caps::clear(None, set).is_err() || !is_empty()) {
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

    #[test]
    fn one_that_was_root_has_no_user_and_no_group_left_but_its_own() {
        let group = Gid::from_raw;
        let user = Account::find("54321").unwrap();
        let identity = Identity::new(&user, Some(group(54322))).unwrap();
        let unnamed = Identity { is_group_named: false, ..identity.clone() };
        let (uid, gid, root) = (user.uid, group(54322), Uid::from_raw(0));
        for (users, groups, more, after_root, as_started) in [
            ([uid; 3], [gid; 3], vec![gid], true, true),
            ([uid; 3], [gid; 3], vec![gid, gid], true, true),
            ([uid; 3], [gid; 3], vec![], false, true),
            ([uid; 3], [gid; 3], vec![gid, group(0)], false, true),
            ([uid; 3], [gid, gid, group(0)], vec![gid], false, false),
            ([uid, uid, root], [gid; 3], vec![gid], false, false),
            ([root; 3], [gid; 3], vec![gid], false, false),
        ] {
            let held = Held { users, groups, more };
            let case = format!("{users:?} {groups:?} {:?}", held.more);
            assert_eq!(identity.is_had(&held, Some(&[gid])), after_root, "{case}");
            assert_eq!(unnamed.is_had(&held, Some(&[gid])), after_root, "no setGroup: {case}");
            assert_eq!(identity.is_had(&held, None), as_started, "{case}");
            assert_eq!(unnamed.is_had(&held, None), users == [uid; 3], "no setGroup: {case}");
        }
    }
}
