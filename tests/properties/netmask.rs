//! Netmasks and addresses are read as `ipnet` and the standard library read them, and a group of
//! netmasks decides as its masks do one by one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use arbitrary::{Result, Unstructured};
use ipnet::IpNet;
use trackalert::probe::{self, NetmaskGroup};

/// `data` is a text and, behind a NUL, numbers of which masks and addresses are made.
pub fn netmask(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    text.lines().for_each(|line| {
        read_netmask(line);
        read_address(line);
    });
    // Too few numbers make a group of what there was.
    let _ = decide(&mut Unstructured::new(parts.next().unwrap_or_default()));
}

fn read_netmask(text: &str) {
    let found = probe::netmask(text);
    let expected = match text.split_once('/') {
        Some((ip, bits)) => {
            // Zeros in front are no harm, a sign is.
            let bits = bits.parse::<u8>().ok().filter(|_| !bits.starts_with('+'));
            ip.parse::<IpAddr>().ok().zip(bits).and_then(|(ip, bits)| IpNet::new(ip, bits).ok())
        }
        None => text.parse::<IpAddr>().ok().map(IpNet::from),
    };
    assert_eq!(found, expected.map(|net| net.trunc().to_string()), "{text:?}");
    if let Some(printed) = found {
        assert_eq!(probe::netmask(&printed), Some(printed.clone()), "{text:?}");
        let mut group = NetmaskGroup::default();
        group.add(text).unwrap();
        group.add(&format!("!{text}")).unwrap();
        assert_eq!(group.masks(), [format!("!{printed}")], "{text:?}");
    }
}

fn read_address(text: &str) {
    let found = probe::address(text);
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let expected = match (bare, text.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
        (Some(bare), ..) => bare.parse::<Ipv6Addr>().ok().map(|ip| (IpAddr::V6(ip), None)),
        (_, Ok(ip), _) => Some((ip, None)),
        (.., Ok(socket)) => Some((socket.ip(), Some(socket.port()))),
        _ => None,
    };
    assert_eq!(found.as_ref().map(|(ip, port, _)| (*ip, *port)), expected, "{text:?}");
    if let Some((ip, port, printed)) = found {
        assert_eq!(probe::address(&printed), Some((ip, port, printed.clone())), "{text:?}");
    }
}

/// A mask of a group, and whether it includes what is in it.
#[derive(Debug)]
struct Mask(IpNet, bool);

fn decide(numbers: &mut Unstructured) -> Result<()> {
    let (mut group, mut masks) = (NetmaskGroup::default(), Vec::<Mask>::new());
    for _ in 0..numbers.int_in_range(0..=60)? {
        let ip = address(numbers)?;
        let bits = numbers.int_in_range(0..=if ip.is_ipv4() { 32 } else { 128 })?;
        let net = IpNet::new(ip, bits).unwrap();
        let includes = numbers.arbitrary()?;
        group.add(&format!("{}{net}", if includes { "" } else { "!" })).unwrap();
        assert_eq!(probe::netmask_of(ip, bits), net.trunc().to_string());
        masks.retain(|Mask(other, _)| *other != net.trunc());
        masks.push(Mask(net.trunc(), includes));
    }
    let printed: Vec<String> = masks
        .iter()
        .map(|Mask(net, includes)| format!("{}{net}", if *includes { "" } else { "!" }))
        .collect();
    assert_eq!(group.masks(), printed);
    assert_eq!(group.size(), masks.len());
    while !numbers.is_empty() {
        let ip = address(numbers)?;
        let holders = masks.iter().filter(|Mask(net, _)| net.contains(&ip));
        let longest = holders.max_by_key(|Mask(net, _)| net.prefix_len());
        assert_eq!(
            group.contains(ip),
            longest.is_some_and(|Mask(_, includes)| *includes),
            "{ip} in {masks:?}"
        );
    }
    Ok(())
}

/// An address among few, so that many masks hold it.
fn address(numbers: &mut Unstructured) -> Result<IpAddr> {
    let mut bit = |number: u8| Ok::<u8, arbitrary::Error>(numbers.arbitrary::<u8>()? & number);
    Ok(match bit(3)? {
        0 => IpAddr::from([bit(0x81)?, 0, bit(1)?, bit(0xff)?]),
        1 => IpAddr::from(Ipv4Addr::from(numbers.arbitrary::<u32>()?)),
        2 => IpAddr::from([bit(0x80)?, 0, 0, 0, 0, 0, 0, bit(1)?, 0, 0, 0, 0, 0, 0, 0, bit(0xff)?]),
        _ => IpAddr::from(Ipv6Addr::from(numbers.arbitrary::<u128>()?)),
    })
}
