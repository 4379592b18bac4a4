//! An IP address with an optional port: what wforce calls a ComboAddress. Host names are never
//! looked up.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// An IP address with an optional port. Two are equal, and sort, by the IP address alone.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    ip: IpAddr,
    port: Option<u16>,
}

/// The text is not an IP address with an optional port.
#[derive(Debug, PartialEq, Eq)]
pub struct BadAddress;

impl Address {
    /// 0.0.0.0, which stands for no address.
    pub const UNSPECIFIED: Address = Address { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: None };

    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    pub fn port(&self) -> Option<u16> {
        self.port
    }

    pub fn is_ipv4(&self) -> bool {
        self.ip.is_ipv4()
    }

    pub fn is_ipv6(&self) -> bool {
        self.ip.is_ipv6()
    }

    /// Whether it is an IPv4 address in IPv6 clothes, `::ffff:192.0.2.1` (RFC 4291, 2.5.5.2).
    pub fn is_mapped_ipv4(&self) -> bool {
        matches!(self.ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some())
    }

    /// The same address, as IPv4 where it is a mapped one.
    pub fn unmapped(&self) -> Address {
        Address { ip: self.ip.to_canonical(), port: self.port }
    }

    /// The address with its port, if it has one, as `FromStr` reads it.
    pub fn with_port(&self) -> String {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).to_string(),
            None => self.ip.to_string(),
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Address { ip, port: None }
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    /// Reads `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(ip) = bare {
            return ip.parse().map(|ip| Address { ip: IpAddr::V6(ip), port: None }).map_err(|_| BadAddress);
        }
        if let Ok(ip) = text.parse() {
            return Ok(Address { ip, port: None });
        }
        let socket: SocketAddr = text.parse().map_err(|_| BadAddress)?;
        Ok(Address { ip: socket.ip(), port: Some(socket.port()) })
    }
}

/// The IP address as RFC 5952 writes it, without the port.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip.fmt(f)
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.ip == other.ip
    }
}

impl Eq for Address {}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Address {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ip.cmp(&other.ip)
    }
}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ip.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_strictly() {
        for (text, expected) in [
            ("192.0.2.1", Some(("192.0.2.1", "192.0.2.1"))),
            ("192.0.2.1:80", Some(("192.0.2.1", "192.0.2.1:80"))),
            ("2001:DB8::0:1", Some(("2001:db8::1", "2001:db8::1"))),
            ("[2001:db8::1]", Some(("2001:db8::1", "2001:db8::1"))),
            ("[2001:db8::1]:80", Some(("2001:db8::1", "[2001:db8::1]:80"))),
            ("::ffff:192.0.2.1", Some(("::ffff:192.0.2.1", "::ffff:192.0.2.1"))),
            ("", None),
            ("192.0.2", None),
            ("010.1.1.1", None),
            ("192.0.2.1:70000", None),
            ("[192.0.2.1]:80", None),
            ("localhost", None),
            (" 192.0.2.1", None),
        ] {
            let read: Option<(String, String)> =
                text.parse().ok().map(|address: Address| (address.to_string(), address.with_port()));
            assert_eq!(read.as_ref().map(|(ip, all)| (ip.as_str(), all.as_str())), expected, "{text}");
        }
    }

    #[test]
    fn the_port_does_not_count_in_comparisons() {
        let read = |text: &str| text.parse::<Address>().unwrap();
        assert_eq!(read("192.0.2.1:80"), read("192.0.2.1:81"));
        assert!(read("192.0.2.9") < read("192.0.2.10"));
        assert_eq!(read("::ffff:192.0.2.1").unmapped(), read("192.0.2.1"));
        assert!(read("::ffff:192.0.2.1").is_mapped_ipv4() && !read("192.0.2.1").is_mapped_ipv4());
    }
}
