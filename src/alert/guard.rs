//! Who is never blocked, whatever an alert says: those whom many logins share an address with, our own
//! machines, and networks so large that it is no attacker's. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use ipnet::{IpNet, Ipv4Net};
use serde_json::Value;

use crate::net::addr::Address;
use crate::net::netmask::{Netmask, NetmaskGroup};
use crate::store::Egress;
use crate::store::query::Source;

/// The largest networks that can be blocked, by the bits that they have in common.
const LARGEST: (u8, u8) = (16, 48);

/// What is nobody's address: this network, multicast and what is reserved.
const NOBODY: &[&str] = &["0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8"];

static NOBODYS: LazyLock<NetmaskGroup> =
    LazyLock::new(|| NetmaskGroup::from_masks(NOBODY).expect("they are netmasks"));
static PRIVATE: LazyLock<NetmaskGroup> = LazyLock::new(NetmaskGroup::default_acl);

/// Why the source of an alert is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spared {
    NoAddress,
    /// The source is a network that the address is not in.
    Elsewhere,
    TooLarge,
    Nobody,
    Private,
    Shared,
}

impl fmt::Display for Spared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Spared::NoAddress => "it has no address",
            Spared::Elsewhere => "its source is a network without its address",
            Spared::TooLarge => "its network is too large",
            Spared::Nobody => "it is nobody's address",
            Spared::Private => "it is a private address",
            Spared::Shared => "many logins share it",
        })
    }
}

/// What an alert in JSON is about: its address, or the network that its data name as the source.
pub fn source(alert: &Value) -> Result<Source, Spared> {
    let ip = alert["ip"].as_str().and_then(|ip| ip.parse::<Address>().ok());
    let ip = ip.ok_or(Spared::NoAddress)?.unmapped().ip();
    let net = alert["data"]["source"].as_str().and_then(|net| net.parse::<Netmask>().ok());
    let net = net.map(|net| unmapped(net.net())).filter(|net| net.prefix_len() < net.max_prefix_len());
    match net {
        Some(net) if net.contains(&ip) => Ok(Source::Net(net)),
        Some(_) => Err(Spared::Elsewhere),
        None => Ok(Source::Ip(ip)),
    }
}

/// A network of IPv4 that was written as one of IPv6 (RFC 4291, 2.5.5.2) is one of IPv4.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(ip, bits): (Ipv4Addr, u8)| Ipv4Net::new(ip, bits).ok()).map_or(net, IpNet::V4)
}

/// Refuses those who must not be blocked. `is_private` says whether our own networks can be.
pub fn check(source: Source, egress: &Egress, is_private: bool) -> Result<(), Spared> {
    let net = match source {
        Source::Ip(ip) => IpNet::from(ip),
        Source::Net(net) => net,
    };
    let least = if matches!(net.addr(), IpAddr::V4(_)) { LARGEST.0 } else { LARGEST.1 };
    match () {
        () if net.prefix_len() < least => Err(Spared::TooLarge),
        () if NOBODYS.touches(net) => Err(Spared::Nobody),
        () if !is_private && PRIVATE.touches(net) => Err(Spared::Private),
        () if egress.touches(source) => Err(Spared::Shared),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(ip: Value, source: Value) -> Result<Source, Spared> {
        super::source(&json!({ "rule": "spray", "ip": ip, "data": { "source": source } }))
    }

    #[test]
    fn an_alert_is_about_its_address_or_the_network_of_it() {
        let ip = |text: &str| Ok(Source::Ip(text.parse().unwrap()));
        let net = |text: &str| Ok(Source::Net(text.parse().unwrap()));
        for (address, source, expected) in [
            ("192.0.2.1", Value::Null, ip("192.0.2.1")),
            ("192.0.2.1", json!("192.0.2.1"), ip("192.0.2.1")),
            ("192.0.2.1", json!("198.51.100.9"), ip("192.0.2.1")),
            ("192.0.2.1", json!("somewhere"), ip("192.0.2.1")),
            ("192.0.2.1", json!(7), ip("192.0.2.1")),
            ("192.0.2.1", json!("192.0.2.0/24"), net("192.0.2.0/24")),
            ("192.0.2.1", json!("192.0.2.77/24"), net("192.0.2.0/24")),
            ("192.0.2.1", json!("198.51.100.0/24"), Err(Spared::Elsewhere)),
            ("::ffff:192.0.2.1", json!("::ffff:192.0.2.0/120"), net("192.0.2.0/24")),
            ("::ffff:192.0.2.1", Value::Null, ip("192.0.2.1")),
            ("2001:db8::1", json!("2001:db8::/64"), net("2001:db8::/64")),
            ("2001:db8::1", Value::Null, ip("2001:db8::1")),
            ("192.0.2.0/24", Value::Null, Err(Spared::NoAddress)),
            ("", json!("192.0.2.0/24"), Err(Spared::NoAddress)),
        ] {
            assert_eq!(of(json!(address), source.clone()), expected, "{address} {source}");
        }
        assert_eq!(of(Value::Null, json!("192.0.2.0/24")), Err(Spared::NoAddress));
        assert_eq!(super::source(&Value::Null), Err(Spared::NoAddress));
    }

    #[test]
    fn who_must_not_be_blocked_is_spared() {
        use Spared::{Nobody, Private, Shared, TooLarge};
        let egress = Egress::default();
        egress.trust(&["198.51.100.0/24".into(), "!198.51.100.128/25".into()]).unwrap();
        egress.trust(&["2001:db8:5::7".into()]).unwrap();
        egress.set_learned(&["203.0.113.64/26".parse().unwrap()]);
        for (text, public, private) in [
            ("192.0.2.1", None, None),
            ("2001:db8::1", None, None),
            ("192.0.2.0/24", None, None),
            ("2001:db8::/48", None, None),
            // Those whom many share an address with, and networks with one of them.
            ("198.51.100.1", Some(Shared), Some(Shared)),
            ("198.51.100.129", None, None),
            ("198.51.100.0/26", Some(Shared), Some(Shared)),
            ("198.51.100.128/25", None, None),
            ("198.51.0.0/16", Some(Shared), Some(Shared)),
            ("203.0.113.65", Some(Shared), Some(Shared)),
            ("203.0.113.1", None, None),
            ("203.0.113.0/24", Some(Shared), Some(Shared)),
            ("2001:db8:5::/64", Some(Shared), Some(Shared)),
            ("2001:db8:5:1::/64", None, None),
            // Our own.
            ("127.0.0.1", Some(Private), None),
            ("::1", Some(Private), None),
            ("10.1.2.3", Some(Private), None),
            ("172.16.0.0/16", Some(Private), None),
            ("172.0.0.0/8", Some(TooLarge), Some(TooLarge)),
            ("192.168.0.0/16", Some(Private), None),
            ("169.254.1.1", Some(Private), None),
            ("100.64.0.1", Some(Private), None),
            ("fd00::1", Some(Private), None),
            ("fe80::/64", Some(Private), None),
            // Everybody's and nobody's.
            ("0.0.0.0/0", Some(TooLarge), Some(TooLarge)),
            ("192.0.0.0/15", Some(TooLarge), Some(TooLarge)),
            ("2001:db8::/47", Some(TooLarge), Some(TooLarge)),
            ("0.0.0.0", Some(Nobody), Some(Nobody)),
            ("255.255.255.255", Some(Nobody), Some(Nobody)),
            ("224.0.0.0/16", Some(Nobody), Some(Nobody)),
            ("::", Some(Nobody), Some(Nobody)),
            ("::/64", Some(Nobody), Some(Nobody)),
            ("ff02::1", Some(Nobody), Some(Nobody)),
        ] {
            let source = match text.split_once('/') {
                Some(_) => Source::Net(text.parse().unwrap()),
                None => Source::Ip(text.parse().unwrap()),
            };
            for (is_private, expected) in [(false, public), (true, private)] {
                assert_eq!(check(source, &egress, is_private).err(), expected, "{text} {is_private}");
            }
        }
    }
}
