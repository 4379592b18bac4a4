//! Netmasks and groups of them. A look-up in a group costs the length of an address, however many
//! masks there are.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

/// A network: an address whose first bits count. Host bits are cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Netmask(IpNet);

/// The text is not a netmask.
#[derive(Debug, PartialEq, Eq)]
pub struct BadNetmask(String);

impl Netmask {
    /// The network of the first `bits` of `ip`; more than the address has count as all.
    pub fn new(ip: IpAddr, bits: u8) -> Netmask {
        let most = if ip.is_ipv4() { 32 } else { 128 };
        Netmask(IpNet::new_assert(ip, bits.min(most)).trunc())
    }

    pub fn net(self) -> IpNet {
        self.0
    }

    #[cfg(test)]
    fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip)
    }
}

impl FromStr for Netmask {
    type Err = BadNetmask;

    /// Reads `10.0.0.0/8`, `2001:db8::/32` or a lone address.
    fn from_str(text: &str) -> Result<Self, BadNetmask> {
        let bad = || BadNetmask(text.to_owned());
        let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        // Not as a whole: `ipnet` takes 010.0.0.0/8, which others read as 8.0.0.0/8.
        let ip: IpAddr = ip.parse().map_err(|_| bad())?;
        let Some(bits) = bits else { return Ok(Netmask(IpNet::from(ip))) };
        let is_number = bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = bits.parse().ok().filter(|_| is_number).ok_or_else(bad)?;
        IpNet::new(ip, bits).map(|net| Netmask(net.trunc())).map_err(|_| bad())
    }
}

impl fmt::Display for Netmask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for BadNetmask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a netmask", self.0)
    }
}

/// A set of netmasks, some of which exclude: the longest that holds an address decides.
#[derive(Clone, Debug, Default)]
pub struct NetmaskGroup {
    v4: PrefixMap<Ipv4Net, Entry>,
    v6: PrefixMap<Ipv6Net, Entry>,
    added: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    includes: bool,
    /// When it was added, so that a group can be shown as it was given.
    number: usize,
}

/// Loopback and the private, shared and link-local ranges of RFC 1918, 6598, 3927, 4193 and 4291.
const DEFAULT_ACL: &[&str] = &[
    "127.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "192.168.0.0/16",
    "172.16.0.0/12",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

impl NetmaskGroup {
    pub fn new() -> NetmaskGroup {
        NetmaskGroup::default()
    }

    /// A group of these masks; the error names the first that is none.
    pub fn from_masks<S: AsRef<str>>(masks: &[S]) -> Result<NetmaskGroup, BadNetmask> {
        let mut group = NetmaskGroup::new();
        masks.iter().try_for_each(|mask| group.add(mask.as_ref()))?;
        Ok(group)
    }

    /// What may use the HTTP listeners unless the configuration says otherwise.
    pub fn default_acl() -> NetmaskGroup {
        NetmaskGroup::from_masks(DEFAULT_ACL).expect("the default ACL is made of netmasks")
    }

    /// Adds a mask; a leading `!` excludes what is in it. The last word on the same network counts.
    pub fn add(&mut self, mask: &str) -> Result<(), BadNetmask> {
        let (includes, text) = match mask.strip_prefix('!') {
            Some(rest) => (false, rest),
            None => (true, mask),
        };
        let net: Netmask = text.parse()?;
        self.added += 1;
        let entry = Entry { includes, number: self.added };
        match net.0 {
            IpNet::V4(net) => drop(self.v4.insert(net, entry)),
            IpNet::V6(net) => drop(self.v6.insert(net, entry)),
        }
        Ok(())
    }

    /// Whether the longest mask that holds `ip` includes it. An IPv4-mapped address is IPv6 here, as
    /// in the original; unmap it first where that is not what a user means.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.contains_net(ip.into())
    }

    /// Whether the longest mask that holds all of `net` includes it.
    pub fn contains_net(&self, net: IpNet) -> bool {
        let found = match net {
            IpNet::V4(net) => self.v4.get_lpm(&net).map(|(_, entry)| entry),
            IpNet::V6(net) => self.v6.get_lpm(&net).map(|(_, entry)| entry),
        };
        found.is_some_and(|entry| entry.includes)
    }

    /// Whether a part of `net` may be included, however small: the longest mask that holds all of it, or
    /// one within it, includes.
    pub fn touches(&self, net: IpNet) -> bool {
        let within = match net {
            IpNet::V4(net) => self.v4.children(&net).any(|(_, entry)| entry.includes),
            IpNet::V6(net) => self.v6.children(&net).any(|(_, entry)| entry.includes),
        };
        within || self.contains_net(net)
    }

    /// How many masks there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Removes every mask.
    pub fn clear(&mut self) {
        *self = NetmaskGroup::new();
    }

    /// The masks as they were given, in that order.
    pub fn masks(&self) -> Vec<String> {
        let v4 = self.v4.iter().map(|(net, entry)| (entry, net.to_string()));
        let v6 = self.v6.iter().map(|(net, entry)| (entry, net.to_string()));
        let mut masks: Vec<_> = v4.chain(v6).collect();
        masks.sort_by_key(|(entry, _)| entry.number);
        masks.into_iter().map(|(entry, net)| if entry.includes { net } else { format!("!{net}") }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_netmask_is_read_and_printed_without_host_bits() {
        for (text, expected) in [
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("192.0.2.1", Some("192.0.2.1/32")),
            ("2001:db8::1/32", Some("2001:db8::/32")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("10.0.0.0/33", None),
            ("10.0.0.0/", None),
            ("10.0.0.0/-1", None),
            ("10.0.0.0/+8", None),
            ("010.0.0.0/8", None),
            ("10.0.0/8", None),
            ("foo", None),
            ("", None),
        ] {
            let read = text.parse::<Netmask>().ok().map(|mask| mask.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
        assert_eq!(Netmask::new("192.0.2.77".parse().unwrap(), 99).to_string(), "192.0.2.77/32");
    }

    #[test]
    fn the_longest_mask_decides() {
        let group = NetmaskGroup::from_masks(&["10.0.0.0/8", "!10.1.0.0/16", "10.1.2.0/24", "2001:db8::/32"])
            .unwrap();
        for (ip, expected) in [
            ("10.2.0.1", true),
            ("10.1.0.1", false),
            ("10.1.2.1", true),
            ("11.0.0.1", false),
            ("::ffff:10.2.0.1", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(group.contains(ip.parse().unwrap()), expected, "{ip}");
        }
        assert_eq!(group.len(), 4);
        assert_eq!(group.masks(), ["10.0.0.0/8", "!10.1.0.0/16", "10.1.2.0/24", "2001:db8::/32"]);
    }

    #[test]
    fn a_network_is_touched_where_a_part_of_it_is_included() {
        let group =
            NetmaskGroup::from_masks(&["10.0.0.0/8", "!10.1.0.0/16", "10.1.2.0/24", "2001:db8::1"]).unwrap();
        for (net, expected) in [
            ("10.2.0.0/24", true),
            ("10.1.2.3/32", true),
            ("10.1.0.0/16", true),
            ("10.1.3.0/24", false),
            ("0.0.0.0/0", true),
            ("11.0.0.0/8", false),
            ("2001:db8::/64", true),
            ("2001:db8:1::/64", false),
        ] {
            assert_eq!(group.touches(net.parse().unwrap()), expected, "{net}");
        }
        assert!(!NetmaskGroup::new().touches("0.0.0.0/0".parse().unwrap()));
    }

    #[test]
    fn a_group_agrees_with_its_masks_one_by_one() {
        let masks = ["128.0.0.0/1", "192.0.2.0/24", "192.0.2.128/25", "198.51.100.7/32"];
        let group = NetmaskGroup::from_masks(&masks).unwrap();
        for ip in ["127.0.0.1", "128.0.0.0", "192.0.2.200", "198.51.100.7", "1.1.1.1"] {
            let ip = ip.parse().unwrap();
            let expected = masks.iter().any(|mask| mask.parse::<Netmask>().unwrap().contains(ip));
            assert_eq!(group.contains(ip), expected, "{ip}");
        }
    }

    #[test]
    fn a_bad_mask_is_named() {
        let error = NetmaskGroup::from_masks(&["10.0.0.0/8", "10.0.0.0/99"]).unwrap_err();
        assert_eq!(error.to_string(), "\"10.0.0.0/99\" is not a netmask");
        assert!(NetmaskGroup::default_acl().contains("127.0.0.1".parse().unwrap()));
    }
}
