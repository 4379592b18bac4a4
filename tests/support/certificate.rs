//! Certificates made by openssl(1): an authority, and whom it vouches for.

use std::path::{Path, PathBuf};
use std::process::Command;

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
