//! The program with a listener that speaks TLS, and clients of it that are rustls'.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::client::{ClientConnection, Resumption};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, StreamOwned, crypto::ring};

use super::certificate::{Certificate, make};
use super::http::{self, Client};
use super::{Folder, PROGRAM, SERVER, Trackalert, skipped};

/// The program with listeners that speak TLS; the folder has what they need.
pub struct TlsServer {
    pub daemon: Trackalert,
    pub address: SocketAddr,
    pub authority: Certificate,
}

/// A folder with `authority.pem`, and `server.pem` with `server.key`; nothing if openssl is missing.
pub fn folder() -> Option<(Folder, Certificate)> {
    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
        skipped("openssl is not installed");
        return None;
    }
    let folder = Folder::new();
    let authority = make(&folder, "authority", "DNS:authority", None);
    make(&folder, "server", "DNS:localhost,IP:127.0.0.1", Some(&authority));
    Some((folder, authority))
}

impl TlsServer {
    /// Runs it with one such listener beside the plain one.
    pub fn start(options: &str, config: &str) -> Option<TlsServer> {
        let (folder, authority) = folder()?;
        Some(TlsServer::start_in(folder, authority, options, config))
    }

    /// The same with a folder that has more.
    pub fn start_in(folder: Folder, authority: Certificate, options: &str, config: &str) -> TlsServer {
        let listener = format!("addListener('127.0.0.1:0', true, 'server.pem', 'server.key', {options})");
        let config = format!("{SERVER}{listener}\n{config}");
        TlsServer::of(Trackalert::start_with(folder, &config, Command::new(PROGRAM)), authority)
    }

    /// A program that runs already.
    pub fn of(daemon: Trackalert, authority: Certificate) -> TlsServer {
        let line = daemon.wait_for_line("listening with TLS on ");
        let address = line.rsplit(' ').next().unwrap().parse().unwrap();
        TlsServer { daemon, address, authority }
    }

    /// The configuration of a client that trusts the authority and can resume sessions.
    pub fn trusting(&self, identity: Option<&Certificate>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.authority.path).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => {
                let chain = vec![CertificateDer::from_pem_file(&identity.path).unwrap()];
                let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(8);
        config
    }

    /// A new connection, after its handshake.
    pub fn shake(&self, config: &Arc<ClientConfig>) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = ClientConnection::new(config.clone(), name).unwrap();
        let mut socket = http::connect(self.address);
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(tls, socket))
    }

    /// A client with a new connection. Its connection must end with a word of the server's.
    pub fn client(&self) -> Client {
        let stream = self.shake(&Arc::new(self.trusting(None))).unwrap();
        let socket = stream.sock.try_clone().unwrap();
        Client::over(stream, socket)
    }
}
