//! Certificates and keys in PEM files (RFC 7468), whoever is to see them.

use std::fs;
use std::path::Path;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Result};

/// A chain of certificates from one file and the key of its first from another.
pub fn certified_key(certificate: &Path, key: &Path) -> Result<CertifiedKey> {
    let chain = certificates(certificate)?;
    let mut private = read_key(key)?;
    let signer = any_supported_type(&private);
    // ring has made its own form of it.
    private.zeroize();
    let signer = signer.map_err(|_| {
        unusable(key, "no key of a kind that can be used: RSA from 2048 bits, P-256, P-384 or Ed25519")
    })?;
    let shown = CertifiedKey::new(chain, signer);
    match shown.keys_match() {
        Ok(()) => Ok(shown),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(unusable(key, &format!("not the key of the certificate in {}", certificate.display())))
        }
        Err(_) => Err(unusable(certificate, "the first certificate is not one of X.509 version 3")),
    }
}

/// The certificates of a file; that there is none is an error.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = read(path)?;
    let certificates: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(unusable(path, "no certificate in PEM format")),
    }
}

/// What is wrong with a key is not told in detail: the details are parts of the key.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        let is_encrypted = text.windows(9).any(|word| word == b"ENCRYPTED");
        unusable(path, if is_encrypted { "the key has a passphrase" } else { "no private key in PEM format" })
    })
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    fs::read(path).map(Zeroizing::new).map_err(Error::io(path))
}

/// Says why a file can't be used.
pub fn unusable(path: &Path, why: &str) -> Error {
    Error::Refused(format!("{}: {why}", path.display()))
}
