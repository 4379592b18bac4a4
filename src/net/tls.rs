//! The server's side of TLS, read and checked as a whole: the certificate that a listener shows, its
//! key, and what is asked of clients. Connections are made of it in `http::wire`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use crate::error::{Error, Result};
use crate::net::expiry::expiry;
use crate::net::pem;

/// The versions that there are, oldest first.
static VERSIONS: [(&str, &SupportedProtocolVersion); 2] = [("TLSv1.2", &TLS12), ("TLSv1.3", &TLS13)];

/// What OpenSSL calls the cipher suites of TLS 1.2; those of TLS 1.3 have one name.
static OPENSSL: [(CipherSuite, &str); 6] = [
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305"),
];

/// What may be asked for beside a certificate.
#[derive(Debug, Default)]
pub struct Options {
    /// Indexes of [`VERSIONS`].
    oldest: Option<usize>,
    newest: Option<usize>,
    suites: Vec<CipherSuite>,
    client_ca: Option<PathBuf>,
}

impl Options {
    /// Sets an option by one of the names that it has.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let before = match name {
            "min_protocol" | "minimum_protocol" | "MinProtocol" => self.oldest.replace(version(value)?),
            "max_protocol" | "MaxProtocol" => self.newest.replace(version(value)?),
            "cipher_list" | "ciphersuites" => {
                for name in value.split(':') {
                    self.suites.push(suite(name)?);
                }
                None
            }
            "client_ca" => {
                self.client_ca = Some(value.into());
                None
            }
            _ => {
                let known = "min_protocol, max_protocol, cipher_list, ciphersuites and client_ca";
                return Err(Error::Refused(format!("no such option: there are {known}")));
            }
        };
        before.map_or(Ok(()), |_| Err(Error::Refused("given twice, by two of its names".into())))
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>> {
        let range = self.oldest.unwrap_or(0)..=self.newest.unwrap_or(VERSIONS.len() - 1);
        if range.is_empty() {
            return Err(Error::Refused("options: min_protocol is above max_protocol".into()));
        }
        Ok(VERSIONS[range].iter().map(|(_, version)| *version).collect())
    }

    /// Whether a suite may be used. As with OpenSSL, naming some of one version's suites says nothing
    /// about those of the other.
    fn allows(&self, suite: &SupportedCipherSuite) -> bool {
        let is_named = |suite: &SupportedCipherSuite| self.suites.contains(&suite.suite());
        is_named(suite) || !suites().any(|known| known.version() == suite.version() && is_named(known))
    }
}

fn version(name: &str) -> Result<usize> {
    let found = VERSIONS.iter().position(|(known, _)| *known == name);
    found.ok_or_else(|| Error::Bad { what: "TLSv1.2 or TLSv1.3", value: name.into() })
}

fn suites() -> impl Iterator<Item = &'static SupportedCipherSuite> {
    ring::ALL_CIPHER_SUITES.iter()
}

/// The cipher suite that IANA, OpenSSL or rustls calls `name`.
fn suite(name: &str) -> Result<CipherSuite> {
    let openssl = OPENSSL.iter().find(|(_, known)| *known == name).map(|(suite, _)| *suite);
    let found = openssl.or_else(|| {
        let mut suites = suites().map(SupportedCipherSuite::suite);
        suites.find(|suite| iana(*suite) == name || format!("{suite:?}") == name)
    });
    found.ok_or_else(|| {
        let names: Vec<String> = suites().map(|suite| iana(suite.suite())).collect();
        Error::Refused(format!("no cipher suite named \"{name}\": there are {}", names.join(", ")))
    })
}

/// rustls marks the suites of TLS 1.3, which IANA does not.
fn iana(suite: CipherSuite) -> String {
    format!("{suite:?}").replace("TLS13_", "TLS_")
}

/// What a listener needs to speak TLS.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    expiry: Option<UnixTime>,
}

/// Two that were read at different times may differ, whatever they were read from.
impl PartialEq for ServerTls {
    fn eq(&self, other: &ServerTls) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }
}

impl Eq for ServerTls {}

impl ServerTls {
    /// Reads a chain of certificates and the key of its first from PEM files.
    pub fn load(certificate: &Path, key: &Path, options: &Options) -> Result<ServerTls> {
        let versions = options.versions()?;
        let mut provider = ring::default_provider();
        provider.cipher_suites.retain(|suite| options.allows(suite));
        let provider = Arc::new(provider);
        let shown = pem::certified_key(certificate, key)?;
        let expiry = shown.end_entity_cert().ok().and_then(expiry);
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(&versions).map_err(refused)?;
        let builder = match &options.client_ca {
            Some(path) => builder.with_client_cert_verifier(client_verifier(path, provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // What a session needs to be resumed is kept by the client, so no client costs memory later.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new().map_err(refused)?;
        Ok(ServerTls { config: Arc::new(config), expiry })
    }

    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// When the certificate that is shown expires, if it says so.
    pub fn expiry(&self) -> Option<UnixTime> {
        self.expiry
    }
}

/// Lets in clients that show a certificate which one of those in a file vouches for.
fn client_verifier(path: &Path, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(path)? {
        roots
            .add(certificate)
            .map_err(|_| pem::unusable(path, "a certificate is not one of X.509 version 3"))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    verifier.build().map_err(|e| pem::unusable(path, &e.to_string()))
}

fn refused(e: rustls::Error) -> Error {
    Error::Refused(format!("TLS: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_several_names_and_few_values() {
        let all = "there are TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, ";
        for (name, value, error) in [
            ("min_protocol", "TLSv1.2", ""),
            ("minimum_protocol", "TLSv1.3", ""),
            ("MinProtocol", "TLSv1.3", ""),
            ("max_protocol", "TLSv1.2", ""),
            ("MaxProtocol", "TLSv1.3", ""),
            ("min_protocol", "TLSv1.1", "\"TLSv1.1\" is not TLSv1.2 or TLSv1.3"),
            ("max_protocol", "1.3", "\"1.3\" is not TLSv1.2 or TLSv1.3"),
            ("cipher_list", "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305", ""),
            ("ciphersuites", "TLS_AES_128_GCM_SHA256:TLS13_CHACHA20_POLY1305_SHA256", ""),
            ("cipher_list", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", ""),
            ("cipher_list", "HIGH:!aNULL", all),
            ("cipher_list", "", all),
            ("client_ca", "/nonexistent", ""),
            ("verify", "none", "no such option: there are min_protocol, max_protocol, cipher_list, "),
        ] {
            let result = Options::default().set(name, value).err().map(|e| e.to_string());
            let result = result.unwrap_or_default();
            assert!(result.contains(error) && result.is_empty() == error.is_empty(), "{name}: {result}");
        }
    }

    #[test]
    fn two_names_of_one_option_are_one_too_many() {
        let mut options = Options::default();
        options.set("min_protocol", "TLSv1.2").unwrap();
        assert!(options.set("MinProtocol", "TLSv1.3").is_err());
    }

    #[test]
    fn the_newest_version_must_not_be_older_than_the_oldest() {
        for (oldest, newest, number) in
            [(None, None, 2), (Some(0), Some(0), 1), (Some(1), Some(1), 1), (Some(1), Some(0), 0)]
        {
            let options = Options { oldest, newest, ..Options::default() };
            assert_eq!(options.versions().map_or(0, |versions| versions.len()), number);
        }
    }

    #[test]
    fn suites_that_are_named_exclude_others_of_their_version() {
        for (named, left) in [
            ("", 9),
            ("TLS_AES_128_GCM_SHA256", 7),
            ("ECDHE-RSA-AES128-GCM-SHA256", 4),
            ("ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384", 3),
        ] {
            let mut options = Options::default();
            if !named.is_empty() {
                options.set("cipher_list", named).unwrap();
            }
            assert_eq!(suites().filter(|suite| options.allows(suite)).count(), left, "{named}");
        }
    }

    #[test]
    fn every_suite_has_a_name_of_openssl() {
        let of_tls12 = suites().filter(|suite| suite.version() == &TLS12).map(SupportedCipherSuite::suite);
        assert_eq!(of_tls12.collect::<Vec<_>>(), OPENSSL.map(|(suite, _)| suite));
    }
}
