//! When certificates expire. The parser of X.509 that is there already, webpki's, keeps the dates to
//! itself, but says of a certificate that has expired since when it has.

use std::time::Duration;

use rustls::client::verify_server_cert_signed_by_trust_anchor as verify;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

/// The last second of a certificate's life; nothing if it names none that could be.
pub fn expiry(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let end_of_time = UnixTime::since_unix_epoch(Duration::MAX);
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    // Its dates are looked at before anything else.
    match verify(&parsed, &RootCertStore::empty(), &[], end_of_time, algorithms) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => Some(not_after),
        _ => None,
    }
}
