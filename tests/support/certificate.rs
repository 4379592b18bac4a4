//! Certificates made by openssl(1): an authority, and whom it vouches for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, crypto::ring};

use super::Folder;

/// A certificate and its key, as PEM files.
pub struct Certificate {
    pub path: PathBuf,
    pub key: PathBuf,
}

/// Makes an authority, or what an authority vouches for, with the subject's names as openssl's
/// `subjectAltName` has them.
pub fn make(folder: &Folder, name: &str, names: &str, authority: Option<&Certificate>) -> Certificate {
    let file = |suffix: &str| folder.path(&format!("{name}.{suffix}"));
    let made = Certificate { path: file("pem"), key: file("key") };
    let request = file("csr");
    let new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"];
    let subject = format!("/CN={name}");
    openssl(new, &[Path::new(&subject), "-keyout".as_ref(), &made.key, "-out".as_ref(), &request]);
    let kind = if authority.is_some() { "CA:FALSE" } else { "CA:TRUE" };
    let extensions =
        folder.write(&format!("{name}.ext"), &format!("basicConstraints={kind}\nsubjectAltName={names}\n"));
    let sign = ["x509", "-req", "-days", "2", "-extfile"];
    let rest = [extensions.as_path(), "-in".as_ref(), &request, "-out".as_ref(), &made.path];
    match authority {
        Some(authority) => openssl(
            sign,
            &[
                &rest[..],
                &[
                    "-CAcreateserial".as_ref(),
                    "-CA".as_ref(),
                    &authority.path,
                    "-CAkey".as_ref(),
                    &authority.key,
                ],
            ]
            .concat(),
        ),
        None => openssl(sign, &[&rest[..], &["-signkey".as_ref(), &made.key]].concat()),
    }
    made
}

/// Runs openssl(1), which must succeed.
pub fn openssl<const N: usize>(first: [&str; N], rest: &[&Path]) {
    let output = Command::new("openssl").args(first).args(rest).output().unwrap();
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
}

/// The configuration of a server with this certificate; with `clients`, those must show one that it
/// vouches for.
pub fn server(certificate: &Certificate, clients: Option<&Certificate>) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let chain = vec![CertificateDer::from_pem_file(&certificate.path).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(&authority.path).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    builder.with_single_cert(chain, key).unwrap()
}
