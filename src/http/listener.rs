//! Listeners are opened before anything depends on them, so that one which can't be opened changes
//! nothing. Those that are open already, and still wanted, keep their sockets.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Listener;
use crate::error::{Error, Result};
use crate::net::tls::ServerTls;

/// Connections that the system may keep until they are accepted; it has a limit of its own.
const BACKLOG: i32 = 4096;

/// Where a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What the configuration says, where port 0 stands for any.
    configured: SocketAddr,
    /// What the system has made of it.
    pub actual: SocketAddr,
}

/// A listener that is open.
#[derive(Debug)]
pub struct Opened {
    pub place: Place,
    pub tls: Option<ServerTls>,
    /// Its socket, unless it is in use already.
    pub socket: Option<TcpListener>,
}

impl Opened {
    /// Where it is, and the second at which its certificate expires, if it shows one that does.
    pub fn expiry(&self) -> Option<(String, u64)> {
        let expiry = self.tls.as_ref()?.expiry()?;
        Some((self.place.actual.to_string(), expiry.as_secs()))
    }
}

/// Opens what is `wanted` beside the listeners that are `held`.
pub fn open(wanted: &[Listener], held: &[Place]) -> Result<Vec<Opened>> {
    let mut held = held.to_vec();
    let mut open = |listener: &Listener| {
        let (address, tls) = (listener.address, listener.tls.clone());
        if let Some(at) = held.iter().position(|place| place.configured == address) {
            return Ok(Opened { place: held.remove(at), tls, socket: None });
        }
        let (actual, socket) = listen(address).map_err(|e| refused(address, e, wanted, &held))?;
        Ok(Opened { place: Place { configured: address, actual }, tls, socket: Some(socket) })
    };
    wanted.iter().map(&mut open).collect()
}

/// The system can't have a listener on every address beside one that is to be closed, which must not
/// be closed before everything else is sure.
fn refused(address: SocketAddr, e: io::Error, wanted: &[Listener], held: &[Place]) -> Error {
    let is_wanted = |place: &Place| wanted.iter().any(|listener| listener.address == place.configured);
    let is_in_the_way = |place: &&Place| place.actual.port() == address.port() && !is_wanted(place);
    match held.iter().find(is_in_the_way) {
        Some(place) if e.kind() == ErrorKind::AddrInUse => {
            let old = place.actual;
            Error::Refused(format!("listener {address}: {old} is open until then, so this needs a restart"))
        }
        _ => Error::io(format!("listener {address}"))(e),
    }
}

/// Opens a socket. One on an IPv6 address does not take IPv4 clients.
fn listen(address: SocketAddr) -> io::Result<(SocketAddr, TcpListener)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart need not wait until the last connections of the old process are forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    Ok((listener.local_addr()?, listener))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(addresses: &[&str]) -> Vec<Listener> {
        addresses.iter().map(|address| Listener { address: address.parse().unwrap(), tls: None }).collect()
    }

    #[test]
    fn what_is_open_is_not_opened_again() {
        let first = open(&wanted(&["127.0.0.1:0", "127.0.0.2:0", "127.0.0.1:0"]), &[]).unwrap();
        let held: Vec<Place> = first.iter().map(|opened| opened.place).collect();
        assert!(held.iter().all(|place| place.actual.port() != 0));
        for (addresses, expected) in [
            (&["127.0.0.1:0", "127.0.0.1:0", "127.0.0.2:0"][..], &[Some(0), Some(2), Some(1)][..]),
            (&["127.0.0.1:0"], &[Some(0)]),
            (&["127.0.0.2:0", "127.0.0.2:0"], &[Some(1), None]),
            (&[], &[]),
        ] {
            let opened = open(&wanted(addresses), &held).unwrap();
            let found: Vec<Option<usize>> =
                opened.iter().map(|opened| held.iter().position(|place| *place == opened.place)).collect();
            assert_eq!(found, expected, "{addresses:?}");
            assert!(
                opened.iter().zip(&found).all(|(opened, found)| opened.socket.is_none() == found.is_some())
            );
        }
    }

    #[test]
    fn an_address_that_takes_the_place_of_another_needs_a_restart() {
        let first = open(&wanted(&["127.0.0.1:0"]), &[]).unwrap();
        let place = first[0].place;
        let every = format!("0.0.0.0:{}", place.actual.port());
        for (also, text) in
            [(None, "is open until then, so this needs a restart"), (Some("127.0.0.1:0"), "in use")]
        {
            let addresses: Vec<&str> = [Some(every.as_str()), also].into_iter().flatten().collect();
            let error = open(&wanted(&addresses), &[place]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("listener {every}: ")) && error.ends_with(text), "{error}");
        }
    }

    #[test]
    fn an_address_that_is_taken_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = open(&wanted(&[&address.to_string()]), &[]).unwrap_err();
        assert_eq!(error.to_string(), format!("listener {address}: address already in use"));
    }
}
