//! The connections of a client, as ureq wants them: TLS where the URL says https, and a watch for kept
//! connections that the server has closed meanwhile. ureq's own TLS can't check a chain without a name.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

/// Puts TLS over the connections of https URLs.
pub struct TlsConnector(Option<Arc<ClientConfig>>);

impl TlsConnector {
    /// Without a configuration there is no TLS, and https URLs are an error of ureq's.
    pub fn new(config: Option<Arc<ClientConfig>>) -> TlsConnector {
        TlsConnector(config)
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, Encrypted>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let Some(plain) = chained else { return Ok(None) };
        let Some(config) = self.0.clone().filter(|_| details.needs_tls()) else {
            return Ok(Some(Either::A(plain)));
        };
        let host = details.uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| Error::Tls("the host has no valid name"))?;
        let mut connection = ClientConnection::new(config, name)?;
        let mut socket = TransportAdapter::new(plain.boxed(), details.current_time.clone());
        socket.set_timeout(details.timeout);
        connection.complete_io(&mut socket)?;
        let config = details.config;
        Ok(Some(Either::B(Encrypted {
            stream: StreamOwned::new(connection, socket),
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
        })))
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConnector")
    }
}

/// A connection with TLS.
pub struct Encrypted {
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    buffers: LazyBuffers,
}

impl Transport for Encrypted {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.get_mut().set_timeout(timeout);
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encrypted")
    }
}

/// The server has closed a kept connection without a byte of an answer.
#[derive(Debug)]
pub struct IsStale;

impl fmt::Display for IsStale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was closed without an answer")
    }
}

impl std::error::Error for IsStale {}

/// Puts a watch over every connection.
#[derive(Debug)]
pub struct KeptConnector;

impl<In: Transport> Connector<In> for KeptConnector {
    type Out = Kept<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| Kept { inner, has_answered: false, waits: false }))
    }
}

/// A connection that may be kept: it knows whether what fails is only that it is stale.
#[derive(Debug)]
pub struct Kept<In> {
    inner: In,
    /// Whether it has had an answer, and so is one that was kept.
    has_answered: bool,
    /// Whether a request has been sent and no byte of its answer has come.
    waits: bool,
}

impl<In> Kept<In> {
    fn is_stale(&self) -> bool {
        self.has_answered && self.waits
    }

    /// What an error means on this connection.
    fn explain(&self, error: Error) -> Error {
        match error {
            Error::Io(_) if self.is_stale() => Error::Other(Box::new(IsStale)),
            other => other,
        }
    }
}

impl<In: Transport> Transport for Kept<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.waits = true;
        self.inner.transmit_output(amount, timeout).map_err(|e| self.explain(e))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        match self.inner.await_input(timeout) {
            Ok(true) => {
                self.has_answered = true;
                self.waits = false;
                Ok(true)
            }
            Ok(false) if self.is_stale() => Err(Error::Other(Box::new(IsStale))),
            Ok(false) => Ok(false),
            Err(e) => Err(self.explain(e)),
        }
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
