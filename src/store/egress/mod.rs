//! Addresses that many logins come from and share: webmail, fetchers of mail, offices, carriers. A success
//! from there says nothing of where somebody is, and so teaches no place. The configuration names some, and
//! others are learned.

mod kept;
mod learn;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ipnet::IpNet;
use parking_lot::{Mutex, RwLock};

use crate::error::{Error, Result};
use crate::net::netmask::{BadNetmask, NetmaskGroup};
use crate::store::Store;
use crate::store::query::Source;
use crate::store::record::Seconds;

/// Networks that many logins share.
#[derive(Default)]
pub struct Egress {
    /// By the configuration.
    trusted: Nets,
    /// By what was seen, whatever the configuration says.
    learned: Arc<Nets>,
    /// When that was.
    learned_at: Arc<Mutex<Option<Seconds>>>,
}

/// Networks that are looked up for every report, and change once a day.
#[derive(Default)]
struct Nets {
    /// Most platforms have none, and need no lock to know that.
    is_used: AtomicBool,
    group: RwLock<NetmaskGroup>,
}

impl Egress {
    /// What the next configuration starts from: it says itself whom it trusts.
    pub fn next(&self) -> Egress {
        Egress {
            trusted: Nets::default(),
            learned: self.learned.clone(),
            learned_at: self.learned_at.clone(),
        }
    }

    /// Adds networks of the configuration; a leading `!` excludes what is in one of them.
    pub fn trust(&self, masks: &[String]) -> Result<()> {
        let add = |group: &mut NetmaskGroup| masks.iter().try_for_each(|mask| group.add(mask));
        self.trusted.change(add).map_err(|e| Error::Refused(e.to_string()))
    }

    /// Takes over what was learned before the last restart.
    pub fn load(&self, store: &dyn Store) -> Result<()> {
        let known = kept::read(&store.read_aside()?).map_err(|e| Error::Store(e.to_string()))?;
        if let Some((nets, at)) = known {
            self.set_learned(&nets);
            *self.learned_at.lock() = Some(at);
        }
        Ok(())
    }

    /// Learns anew from the week before and with `at`, and has the store keep it: how many networks.
    pub fn learn(&self, store: &dyn Store, at: Seconds) -> Result<usize> {
        let nets = learn::learn(&mut *store.reader()?, at)?;
        self.set_learned(&nets);
        *self.learned_at.lock() = Some(at);
        let count = nets.len();
        store.change_aside(Box::new(move |file| kept::write(file, &nets, at)))?;
        Ok(count)
    }

    /// The end of the week that was learned from last, if there was one.
    pub fn learned_at(&self) -> Option<Seconds> {
        *self.learned_at.lock()
    }

    /// Takes these networks for those that were learned.
    pub fn set_learned(&self, nets: &[IpNet]) {
        let masks: Vec<String> = nets.iter().map(IpNet::to_string).collect();
        let replace = |group: &mut NetmaskGroup| {
            *group = NetmaskGroup::from_masks(&masks)?;
            Ok(())
        };
        self.learned.change(replace).expect("a network is a netmask");
    }

    /// Whether an address, which must not be IPv4-mapped, is one of many.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.has(Source::Ip(ip))
    }

    /// Whether an address, or all of a network, is.
    pub fn has(&self, source: Source) -> bool {
        self.trusted.has(source) || self.learned.has(source)
    }

    /// Whether an address, or any part of a network, is.
    pub fn touches(&self, source: Source) -> bool {
        match source {
            Source::Ip(_) => self.has(source),
            Source::Net(net) => self.trusted.touches(net) || self.learned.touches(net),
        }
    }
}

impl Nets {
    /// Changes all of it or nothing.
    fn change(
        &self,
        change: impl FnOnce(&mut NetmaskGroup) -> std::result::Result<(), BadNetmask>,
    ) -> std::result::Result<(), BadNetmask> {
        let mut group = self.group.write();
        let mut changed = group.clone();
        change(&mut changed)?;
        *group = changed;
        self.is_used.store(group.len() > 0, Ordering::Relaxed);
        Ok(())
    }

    fn has(&self, source: Source) -> bool {
        self.is_used.load(Ordering::Relaxed)
            && match source {
                Source::Ip(ip) => self.group.read().contains(ip),
                Source::Net(net) => self.group.read().contains_net(net),
            }
    }

    fn touches(&self, net: IpNet) -> bool {
        self.is_used.load(Ordering::Relaxed) && self.group.read().touches(net)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_trusted_or_learned_is_shared() {
        let egress = Egress::default();
        let is_shared = |egress: &Egress, ip: &str| egress.contains(ip.parse().unwrap());
        assert!(!is_shared(&egress, "192.0.2.1"));
        egress.trust(&["192.0.2.0/24".into(), "!192.0.2.128/25".into()]).unwrap();
        egress.trust(&["2001:db8::/32".into()]).unwrap();
        egress.set_learned(&[net("198.51.100.0/24")]);
        for (ip, expected) in [
            ("192.0.2.1", true),
            ("192.0.2.200", false),
            ("2001:db8::1", true),
            ("198.51.100.1", true),
            ("203.0.113.1", false),
        ] {
            assert_eq!(is_shared(&egress, ip), expected, "{ip}");
        }
        for (some, whole, part) in [
            ("192.0.2.0/25", true, true),
            ("192.0.2.192/26", false, false),
            ("192.0.0.0/16", false, true),
            ("198.51.100.0/24", true, true),
            ("198.51.100.0/23", false, true),
            ("203.0.113.0/24", false, false),
        ] {
            let source = Source::Net(net(some));
            assert_eq!((egress.has(source), egress.touches(source)), (whole, part), "{some}");
        }
        assert!(egress.touches(Source::Ip("192.0.2.1".parse().unwrap())));
    }

    #[test]
    fn what_was_learned_outlives_a_configuration() {
        let egress = Egress::default();
        egress.trust(&["192.0.2.0/24".into()]).unwrap();
        egress.set_learned(&[net("198.51.100.0/24")]);
        let next = egress.next();
        let is_shared = |egress: &Egress, ip: &str| egress.contains(ip.parse().unwrap());
        assert!(!is_shared(&next, "192.0.2.1") && is_shared(&next, "198.51.100.1"));
        next.set_learned(&[net("203.0.113.0/24")]);
        assert!(is_shared(&egress, "203.0.113.1") && !is_shared(&egress, "198.51.100.1"), "both know it");
        next.set_learned(&[]);
        assert!(!is_shared(&egress, "203.0.113.1"));
    }

    #[test]
    fn a_bad_mask_changes_nothing() {
        let egress = Egress::default();
        let error = egress.trust(&["192.0.2.0/24".into(), "home".into()]).unwrap_err().to_string();
        assert_eq!(error, "\"home\" is not a netmask");
        assert!(!egress.contains("192.0.2.1".parse().unwrap()));
    }
}
