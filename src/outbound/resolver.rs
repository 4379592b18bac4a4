//! Addresses of host names. Looking one up can't be given a time, so a thread of its own does it; what
//! it finds is remembered for some seconds, since many requests in a row go to the same few hosts.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How long addresses are remembered. Whoever moves a host waits longer than that for caches.
const MEMORY: Duration = Duration::from_secs(10);

/// Names that are remembered.
const MAX_NAMES: usize = 1000;

/// Look-ups under way, most of which nobody waits for any more: name servers are out of reach.
const MAX_LOOKUPS: usize = 64;

#[derive(Debug, Default)]
pub struct CachingResolver {
    known: Mutex<HashMap<String, (Instant, Vec<SocketAddr>)>>,
    /// Each look-up under way holds one more of it.
    lookups: Arc<()>,
}

impl Resolver for CachingResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.scheme().zip(uri.authority());
        let host = host.and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority));
        let host = host.ok_or_else(|| ureq::Error::BadUri("no host".into()))?;
        let mut addresses = self.empty();
        self.addresses(host, timeout)?.into_iter().take(16).for_each(|address| addresses.push(address));
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

impl CachingResolver {
    fn addresses(&self, host: String, timeout: NextTimeout) -> Result<Vec<SocketAddr>, ureq::Error> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let now = Instant::now();
        if let Some((since, addresses)) = self.known.lock().get(&host)
            && now.saturating_duration_since(*since) < MEMORY
        {
            return Ok(addresses.clone());
        }
        let addresses = self.look_up(host.clone(), timeout)?;
        let mut known = self.known.lock();
        if known.len() >= MAX_NAMES {
            known.clear();
        }
        known.insert(host, (now, addresses.clone()));
        Ok(addresses)
    }

    fn look_up(&self, host: String, timeout: NextTimeout) -> Result<Vec<SocketAddr>, ureq::Error> {
        if Arc::strong_count(&self.lookups) > MAX_LOOKUPS {
            return Err(io::Error::other("name servers do not answer").into());
        }
        let (send, answer) = mpsc::sync_channel(1);
        let lookup = self.lookups.clone();
        let run = move || {
            // Whoever asked may have given up.
            let _ = send.send(host.to_socket_addrs().map(Vec::from_iter));
            drop(lookup);
        };
        thread::Builder::new().name("resolve".into()).spawn(run)?;
        let answer = answer.recv_timeout(*timeout.after).map_err(|_| ureq::Error::Timeout(timeout.reason))?;
        Ok(answer?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(resolver: &CachingResolver, uri: &str) -> Result<Vec<SocketAddr>, ureq::Error> {
        let timeout = NextTimeout { after: Duration::from_secs(60).into(), ..NextTimeout::default() };
        let uri = Uri::try_from(uri).unwrap();
        resolver.resolve(&uri, &Config::default(), timeout).map(|addresses| addresses.to_vec())
    }

    #[test]
    fn addresses_need_no_look_up_and_names_one() {
        let resolver = CachingResolver::default();
        for (uri, expected) in [
            ("http://192.0.2.1/x", "192.0.2.1:80"),
            ("https://192.0.2.1/x", "192.0.2.1:443"),
            ("http://[2001:db8::1]:8080/", "[2001:db8::1]:8080"),
        ] {
            assert_eq!(resolve(&resolver, uri).unwrap(), [expected.parse().unwrap()], "{uri}");
        }
        assert!(resolver.known.lock().is_empty());
        let found = resolve(&resolver, "http://localhost:1/").unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 1), "{found:?}");
        resolver.known.lock().get_mut("localhost:1").unwrap().1 = vec!["192.0.2.7:1".parse().unwrap()];
        assert_eq!(resolve(&resolver, "http://localhost:1/").unwrap(), ["192.0.2.7:1".parse().unwrap()]);
    }

    #[test]
    fn look_ups_that_hang_have_an_end() {
        let resolver = CachingResolver::default();
        let _hanging = vec![resolver.lookups.clone(); MAX_LOOKUPS];
        let error = resolve(&resolver, "http://localhost/").unwrap_err();
        assert_eq!(error.to_string(), "io: name servers do not answer");
    }
}
