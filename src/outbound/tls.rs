//! What HTTPS servers must show to be trusted, and what they are shown in turn. libcurl's two switches
//! are kept apart: whether a certificate is vouched for, and whether it is the server's own.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Error, Result};
use crate::net::pem;

type Checked<T> = std::result::Result<T, rustls::Error>;

/// What the configuration asks of every outbound HTTPS connection.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Whether a certificate must be vouched for by one that is trusted.
    pub checks_chain: bool,
    /// Whether a certificate must have the host name.
    pub checks_name: bool,
    /// The certificates to trust, instead of the system's.
    bundle: Option<Vec<CertificateDer<'static>>>,
    /// What servers are shown that want to know who asks.
    identity: Option<Arc<SingleCertAndKey>>,
}

impl Default for Tls {
    fn default() -> Self {
        Tls { checks_chain: true, checks_name: true, bundle: None, identity: None }
    }
}

impl Tls {
    /// Trusts the certificates in a PEM file, and no others.
    pub fn set_bundle(&mut self, path: &Path) -> Result<()> {
        let certificates = pem::certificates(path)?;
        let (added, ignored) = RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
        if added == 0 {
            return Err(pem::unusable(path, "no certificate that can be used"));
        }
        if ignored > 0 {
            log::warn!("{}: {ignored} certificates can't be used", path.display());
        }
        self.bundle = Some(certificates);
        Ok(())
    }

    /// The certificates to trust, if they are not the system's.
    pub fn bundle(&self) -> Option<&[CertificateDer<'static>]> {
        self.bundle.as_deref()
    }

    /// Shows servers that ask for it the certificate in one PEM file, with the key in another.
    pub fn set_identity(&mut self, certificate: &Path, key: &Path) -> Result<()> {
        let identity = pem::certified_key(certificate, key)?;
        self.identity = Some(Arc::new(SingleCertAndKey::from(identity)));
        Ok(())
    }

    /// What connections are made with. Reads the system's certificates if they are needed.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier {
            checks_chain: self.checks_chain,
            checks_name: self.checks_name,
            roots: if self.checks_chain { self.roots()? } else { RootCertStore::empty() },
            bundle: self.bundle.clone().unwrap_or_default(),
            algorithms: provider.signature_verification_algorithms,
        };
        let refused = |e: rustls::Error| Error::Refused(format!("TLS: {e}"));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(refused)?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let config = match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(identity.clone()),
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if let Some(bundle) = &self.bundle {
            roots.add_parsable_certificates(bundle.iter().cloned());
            return Ok(roots);
        }
        let system = rustls_native_certs::load_native_certs();
        system.errors.iter().for_each(|e| log::warn!("certificates of the system: {e}"));
        let (added, _) = roots.add_parsable_certificates(system.certs);
        if added == 0 {
            let text = "the system trusts no certificates, so https can't work: name some with setCurlCABundleFile()";
            return Err(Error::Refused(text.into()));
        }
        Ok(roots)
    }
}

/// Checks what servers show.
#[derive(Debug)]
struct Verifier {
    checks_chain: bool,
    checks_name: bool,
    roots: RootCertStore,
    /// A server whose own certificate is in here is trusted, whether or not it can vouch for others.
    bundle: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Old certificates, which can't even be read here, are good enough then.
    fn checks_nothing(&self) -> bool {
        !self.checks_chain && !self.checks_name
    }

    /// Checks a signature, if anything is checked at all.
    fn check(
        &self,
        verify: impl FnOnce() -> Checked<HandshakeSignatureValid>,
    ) -> Checked<HandshakeSignatureValid> {
        if self.checks_nothing() { Ok(HandshakeSignatureValid::assertion()) } else { verify() }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Checked<ServerCertVerified> {
        if self.checks_nothing() {
            return Ok(ServerCertVerified::assertion());
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        if self.checks_chain && !self.bundle.contains(certificate) {
            let (roots, algorithms) = (&self.roots, self.algorithms.all);
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
        }
        if self.checks_name {
            verify_server_name(&parsed, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Checked<HandshakeSignatureValid> {
        self.check(|| verify_tls12_signature(message, certificate, signature, &self.algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Checked<HandshakeSignatureValid> {
        self.check(|| verify_tls13_signature(message, certificate, signature, &self.algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_is_no_use_is_named() {
        let folder = std::env::temp_dir().join(format!("trackalert-tls-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let empty = file("empty.pem", "nothing\n");
        let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let cut = file("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
        let missing = folder.join("missing.pem");
        for (path, why) in [
            (&empty, "no certificate in PEM format"),
            (&broken, "no certificate that can be used"),
            (&missing, "no such file or directory"),
        ] {
            let error = Tls::default().set_bundle(path).unwrap_err().to_string();
            assert_eq!(error, format!("{}: {why}", path.display()));
        }
        let error = Tls::default().set_bundle(&cut).unwrap_err().to_string();
        assert_eq!(error, format!("{}: no certificate in PEM format", cut.display()));
        let error = Tls::default().set_identity(&broken, &empty).unwrap_err().to_string();
        assert_eq!(error, format!("{}: no private key in PEM format", empty.display()));
        fs::remove_dir_all(&folder).unwrap();
    }
}
