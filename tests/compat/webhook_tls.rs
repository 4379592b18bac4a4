//! Webhooks to receivers that speak HTTPS: whom the daemon trusts, and what it shows them.

use std::collections::HashSet;
use std::process::Command;

use crate::compat::webhook::{POLICY, hook, run_hook, wait_for_events};
use crate::support::certificate::{make, server};
use crate::support::hook::{OK, Sink};
use crate::support::{Folder, PROGRAM, SERVER, Trackalert, run};

#[test]
fn certificates_are_checked_as_the_configuration_says() {
    let folder = Folder::new();
    let ours = make(&folder, "ours", "DNS:ours.example.com", None);
    let theirs = make(&folder, "theirs", "DNS:theirs.example.com", None);
    let itself = make(&folder, "itself", "IP:127.0.0.1", None);
    let here = make(&folder, "here", "IP:127.0.0.1,DNS:localhost", Some(&ours));
    let elsewhere = make(&folder, "elsewhere", "DNS:elsewhere.example.com", Some(&ours));
    let stranger = make(&folder, "stranger", "IP:127.0.0.1", Some(&theirs));
    let lost = make(&folder, "lost", "DNS:lost.example.com", Some(&theirs));
    let certificates = [
        ("here", &here),
        ("elsewhere", &elsewhere),
        ("stranger", &stranger),
        ("lost", &lost),
        ("itself", &itself),
    ];
    let sinks = certificates.map(|(name, made)| (name, Sink::start_tls(server(made, None), |_| OK)));
    let hooks: String = sinks
        .iter()
        .map(|(name, sink)| hook(name, &format!("https://{}/", sink.address), "timeout = 30"))
        .collect();
    let bundle = |made: &std::path::Path| format!("setCurlCABundleFile('{}')\n", made.display());
    let (no_peer, no_host) = ("disableCurlPeerVerification()\n", "disableCurlHostVerification()\n");
    for (settings, accepted) in [
        (bundle(&ours.path), &["here"][..]),
        (bundle(&theirs.path), &["stranger"]),
        (bundle(&itself.path), &["itself"]),
        (bundle(&ours.path) + no_host, &["here", "elsewhere"]),
        (no_peer.into(), &["here", "stranger", "itself"]),
        (format!("{no_peer}{no_host}"), &["here", "elsewhere", "stranger", "lost", "itself"]),
    ] {
        let daemon = Trackalert::start(&format!("{settings}{hooks}{POLICY}"));
        for (id, (name, sink)) in (1..).zip(&sinks) {
            let url = format!("https://{}/", sink.address);
            let before = sink.requests().len();
            run_hook(&daemon, name, 1);
            if accepted.contains(name) {
                wait_for_events(&daemon, id, &url, "ok", 1);
                assert_eq!(sink.requests().len(), before + 1);
            } else {
                wait_for_events(&daemon, id, &url, "error", 1);
                let line = daemon.wait_for_line(&format!("name=\"{name}\""));
                assert!(line.contains("cause=\"invalid peer certificate: "), "{settings}{line}");
                assert_eq!(sink.requests().len(), before, "nothing is sent");
            }
        }
    }
}

#[test]
fn the_certificates_of_the_system_count_when_they_are_needed() {
    let folder = Folder::new();
    let ours = make(&folder, "ours", "DNS:ours.example.com", None);
    let here = make(&folder, "here", "IP:127.0.0.1", Some(&ours));
    let sink = Sink::start_tls(server(&here, None), |_| OK);
    let url = format!("https://{}/", sink.address);
    let start = |url: &str, certificates: &std::path::Path| {
        let config = format!("{SERVER}{}{POLICY}", hook("system", url, "timeout = 30"));
        let mut command = Command::new(PROGRAM);
        command.env("SSL_CERT_FILE", certificates).env_remove("SSL_CERT_DIR");
        Trackalert::start_with(Folder::new(), &config, command)
    };
    let daemon = start(&url, &ours.path);
    run_hook(&daemon, "system", 1);
    wait_for_events(&daemon, 1, &url, "ok", 1);
    let missing = folder.path("missing.pem");
    start("http://192.0.2.1/", &missing);
    let path = folder.write("bad.conf", &hook("system", &url, ""));
    let mut command = Command::new(PROGRAM);
    command.args(["-t", "-C", path.to_str().unwrap()]);
    let output = command.env("SSL_CERT_FILE", &missing).env_remove("SSL_CERT_DIR").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("the system trusts no certificates, so https can't work"), "{error}");
}

#[test]
fn a_client_can_show_a_certificate() {
    let folder = Folder::new();
    let ours = make(&folder, "ours", "DNS:ours.example.com", None);
    let theirs = make(&folder, "theirs", "DNS:theirs.example.com", None);
    let here = make(&folder, "here", "DNS:localhost", Some(&ours));
    let client = make(&folder, "client", "DNS:client.example.com", Some(&theirs));
    let sink = Sink::start_tls(server(&here, Some(&theirs)), |_| OK);
    let url = format!("https://localhost:{}/", sink.address.port());
    let config = format!(
        "setCurlCABundleFile('{}')\n{}{POLICY}",
        ours.path.display(),
        hook("mutual", &url, "timeout = 30")
    );
    let show = |certificate: &std::path::Path| {
        format!("setCurlClientCertAndKey('{}', '{}')\n", certificate.display(), client.key.display())
    };
    let daemon = Trackalert::start(&config);
    run_hook(&daemon, "mutual", 1);
    wait_for_events(&daemon, 1, &url, "error", 1);
    let daemon = Trackalert::start(&format!("{}{config}", show(&client.path)));
    for count in 1..=3 {
        run_hook(&daemon, "mutual", 1);
        wait_for_events(&daemon, 1, &url, "ok", count);
    }
    let connections: HashSet<usize> = sink.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections.len(), 1, "TLS connections are kept, too");
    let path = folder.write("bad.conf", &show(&here.path));
    let output = run(&["-t", "-C", path.to_str().unwrap()], "");
    assert_eq!(output.status, 78);
    let (key, certificate) = (client.key.display(), here.path.display());
    let error = format!("{key}: not the key of the certificate in {certificate}");
    assert!(output.stderr.contains(&error), "{}", output.stderr);
}
