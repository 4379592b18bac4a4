//! Requests to other people's web servers: blocking, over connections that are kept, with TLS as the
//! configuration has it. What is sent, to whom, and how often is up to the callers.

mod resolver;
mod tls;
mod transport;
mod url;

use std::fmt;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use ureq::http::{Request, Response};
use ureq::unversioned::transport::{Connector, TcpConnector};
use ureq::{Agent, Body};

use crate::error::{Error, Result};
use resolver::CachingResolver;
use transport::{IsStale, KeptConnector, TlsConnector};

pub use tls::Tls;
pub use url::{User, is_https, split_user};

/// Bytes of a connection's buffers, and of the head of an answer.
const BUFFER: usize = 16 << 10;

/// How much of an answer's body is read, so that its connection can be kept.
const MAX_IGNORED: u64 = 64 << 10;

/// Sends requests. Redirects are not followed, and proxies of the environment not used.
pub struct Client(Agent);

impl Client {
    /// A client that keeps as many connections; without `tls` it refuses https.
    pub fn new(tls: Option<&Tls>, connections: usize) -> Result<Client> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent("")
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_response_header_size(BUFFER)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .build();
        let tls = TlsConnector::new(tls.map(Tls::client_config).transpose()?);
        let connector = ().chain(TcpConnector::default()).chain(tls).chain(KeptConnector);
        Ok(Client(Agent::with_parts(config, connector, CachingResolver::default())))
    }

    /// Sends a request and gives the answer, whatever its status, once its head is there. `timeout` is
    /// for all of it: the look-up of the name, the connection, the request and the answer's body.
    ///
    /// A server may close a kept connection at any time, even while a request is on its way. A request
    /// that this happens to is sent once more, over a new connection.
    pub fn send(&self, request: &Request<&[u8]>, timeout: Duration) -> Result<Response<Body>> {
        let start = Instant::now();
        let fail = |e: ureq::Error| Error::Refused(Cause { error: e, timeout }.to_string());
        let first = self.0.configure_request(request.clone()).timeout_global(Some(timeout)).build();
        match self.0.run(first) {
            Err(ureq::Error::Other(e)) if e.is::<IsStale>() => {}
            result => return result.map_err(fail),
        }
        let left = timeout.saturating_sub(start.elapsed());
        let again = self.0.configure_request(request.clone()).timeout_global(Some(left));
        // What else is kept for this server is likely to be as stale.
        self.0.run(again.max_idle_age(Duration::ZERO).build()).map_err(fail)
    }
}

/// Reads an answer to its end, if that is near, so that its connection can be kept.
pub fn finish(answer: Response<Body>) {
    // One that can't be read costs the connection, no more.
    let _ = io::copy(&mut answer.into_body().into_reader().take(MAX_IGNORED), &mut io::sink());
}

/// Why there is no answer, in the words of this program.
struct Cause {
    error: ureq::Error,
    timeout: Duration,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            ureq::Error::Timeout(_) => write!(f, "no answer within {} s", self.timeout.as_secs_f64()),
            ureq::Error::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => write!(f, "{IsStale}"),
            ureq::Error::Io(e) if e.get_ref().is_none() => {
                let text = e.to_string();
                f.write_str(&text.split(" (os error").next().unwrap_or_default().to_lowercase())
            }
            ureq::Error::Io(e) => write!(f, "{e}"),
            ureq::Error::Rustls(e) => write!(f, "{e}"),
            ureq::Error::Other(e) => write!(f, "{e}"),
            other => write!(f, "{other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_in_plain_words() {
        let refused = io::Error::from_raw_os_error(111);
        for (error, expected) in [
            (ureq::Error::Timeout(ureq::Timeout::Global), "no answer within 1.5 s"),
            (ureq::Error::Io(refused), "connection refused"),
            (ureq::Error::Io(io::Error::other("No such Name")), "No such Name"),
            (ureq::Error::Other(Box::new(IsStale)), "the connection was closed without an answer"),
            (
                ureq::Error::Io(io::ErrorKind::UnexpectedEof.into()),
                "the connection was closed without an answer",
            ),
            (ureq::Error::HostNotFound, "host not found"),
        ] {
            assert_eq!(Cause { error, timeout: Duration::from_millis(1500) }.to_string(), expected);
        }
    }
}
