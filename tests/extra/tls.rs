//! What listeners that speak TLS show, and what they ask of clients. The clients that are not rustls'
//! are openssl's.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use chrono::NaiveDateTime;
use nix::sys::signal::Signal;
use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::support::certificate::{make, openssl};
use crate::support::http::request;
use crate::support::tls::{TlsServer, folder};
use crate::support::{PROGRAM, SERVER, output, run, skipped, wait_for};

/// What openssl's client prints when it asks for `/livez` with these options.
fn ask(server: &TlsServer, options: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-ign_eof", "-verify_return_error", "-connect", &server.address.to_string()]);
    command.arg("-CAfile").arg(&server.authority.path).args(options);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that could not connect does not read it.
    let _ =
        child.stdin.take().unwrap().write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let output = child.wait_with_output().unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

const OLD: &str = "DEFAULT:@SECLEVEL=0";
const ACCEPTED: &str = "HTTP/1.1 200 OK";
const REFUSED: &str = "alert protocol version";
const ALERT: &str = "SSL alert number";

#[test]
fn versions_are_those_that_the_options_leave() {
    for (options, tls12, tls13) in [
        ("{}", ACCEPTED, ACCEPTED),
        ("{ min_protocol = 'TLSv1.2' }", ACCEPTED, ACCEPTED),
        ("{ min_protocol = 'TLSv1.3' }", REFUSED, ACCEPTED),
        ("{ minimum_protocol = 'TLSv1.3' }", REFUSED, ACCEPTED),
        ("{ MinProtocol = 'TLSv1.3' }", REFUSED, ACCEPTED),
        ("{ max_protocol = 'TLSv1.2' }", ACCEPTED, REFUSED),
        ("{ MaxProtocol = 'TLSv1.2' }", ACCEPTED, REFUSED),
        ("{ min_protocol = 'TLSv1.3', max_protocol = 'TLSv1.3' }", REFUSED, ACCEPTED),
    ] {
        let Some(server) = TlsServer::start(options, "") else { return };
        for (version, expected) in
            [("-tls1", ALERT), ("-tls1_1", ALERT), ("-tls1_2", tls12), ("-tls1_3", tls13)]
        {
            let printed = ask(&server, &[version, "-cipher", OLD]);
            assert!(printed.contains(expected), "{options} {version}: {printed}");
        }
    }
}

#[test]
fn cipher_suites_are_those_that_the_options_leave() {
    let options = "{ cipher_list = 'ECDHE-ECDSA-AES256-GCM-SHA384:TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256',
                     ciphersuites = 'TLS_AES_128_GCM_SHA256' }";
    let Some(server) = TlsServer::start(options, "") else { return };
    for (client, expected) in [
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], "Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "alert handshake failure"),
        (["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"], "Cipher is TLS_AES_128_GCM_SHA256"),
        (["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], "alert handshake failure"),
    ] {
        let printed = ask(&server, &client);
        assert!(printed.contains(expected), "{client:?}: {printed}");
    }
}

#[test]
fn http_is_the_only_protocol_inside() {
    let Some(server) = TlsServer::start("{}", "") else { return };
    for (offered, expected) in
        [("http/1.1,h2", "ALPN protocol: http/1.1"), ("h2", "alert no application protocol")]
    {
        let printed = ask(&server, &["-alpn", offered]);
        assert!(printed.contains(expected), "{offered}: {printed}");
    }
}

#[test]
fn nothing_that_a_client_says_is_logged() {
    let Some((folder, authority)) = folder() else { return };
    let stranger = make(&folder, "stranger", "DNS:stranger", None);
    let server = TlsServer::start_in(folder, authority, "{}", "");
    let lines = server.daemon.lines();
    for (options, expected) in [
        // A name that none can have, and the alert of a client that does not trust the listener.
        (["-servername", "127.0.0.1"], ACCEPTED),
        (["-CAfile", stranger.path.to_str().unwrap()], "certificate verify failed"),
        // Without that level many a system refuses to say it.
        (["-tls1", "-cipher=DEFAULT:@SECLEVEL=0"], ALERT),
    ] {
        let printed = ask(&server, &options);
        assert!(printed.contains(expected), "{options:?}: {printed}");
    }
    wait_for("the last to be gone", || {
        (server.daemon.metric("trackalert_active_http_connections") == 1).then_some(())
    });
    assert_eq!(server.daemon.lines(), lines);
}

#[test]
fn clients_show_a_certificate_where_one_is_asked_for() {
    let Some((folder, authority)) = folder() else { return };
    let stranger = make(&folder, "stranger", "DNS:stranger", None);
    let good = make(&folder, "good", "DNS:good", Some(&authority));
    let bad = make(&folder, "bad", "DNS:bad", Some(&stranger));
    let server = TlsServer::start_in(folder, authority, "{ client_ca = 'authority.pem' }", "");
    for (identity, expected) in
        [(None, "CertificateRequired"), (Some(&bad), "UnknownCA"), (Some(&good), "HTTP/1.1 200 OK")]
    {
        let config = Arc::new(server.trusting(identity));
        for _ in 0..2 {
            // In TLS 1.3 it is the first answer that tells a client whether it is let in.
            let mut found = String::new();
            let mut asked = server.shake(&config).and_then(|mut stream| {
                let closing = request("GET", "/livez", "").replace("Host:", "Connection: close\r\nHost:");
                // It may have been refused already.
                let _ = stream.write_all(closing.as_bytes());
                stream.read_to_string(&mut found).map(drop)
            });
            let said = asked.as_mut().map_or_else(|e| e.to_string(), |()| found);
            assert!(said.contains(expected), "{said} is not {expected}");
        }
    }
}

#[test]
fn sessions_are_resumed() {
    let Some(server) = TlsServer::start("{}", "") else { return };
    let config = Arc::new(server.trusting(None));
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
        let mut stream = server.shake(&config).unwrap();
        stream.write_all(request("GET", "/livez", "").as_bytes()).unwrap();
        // With the answer come the tickets.
        assert!(stream.read(&mut [0; 1000]).unwrap() > 0);
        assert_eq!(stream.conn.handshake_kind(), Some(expected));
    }
}

#[test]
fn certificates_are_read_again_with_the_configuration() {
    let Some(server) = TlsServer::start("{}", "") else { return };
    let (daemon, config) = (&server.daemon, Arc::new(server.trusting(None)));
    let is_shown = || {
        let stream = server.shake(&config).unwrap();
        let file = CertificateDer::from_pem_file(daemon.folder.path("server.pem")).unwrap();
        stream.conn.peer_certificates().unwrap()[0] == file
    };
    assert!(is_shown());
    let mut kept = server.client();
    make(&daemon.folder, "server", "DNS:localhost", Some(&server.authority));
    assert!(!is_shown());
    daemon.signal(Signal::SIGHUP);
    wait_for("the new certificate", || is_shown().then_some(()));
    assert_eq!(kept.get("/livez").status, 200);
    daemon.folder.write("server.key", "");
    daemon.signal(Signal::SIGHUP);
    let line = daemon.wait_for_line("not reloaded, everything stays as it was: trackalert.conf:");
    assert!(line.ends_with("server.key: no private key in PEM format"), "{line}");
    assert!(is_shown());
    assert_eq!(kept.get("/livez").status, 200);
}

#[test]
fn the_metrics_tell_when_certificates_expire() {
    let Some((folder, authority)) = folder() else { return };
    let [path, key] = ["server.pem", "server.key"].map(|name| folder.path(name));
    let expiry = || {
        let mut command = Command::new("openssl");
        let printed = output(command.args(["x509", "-noout", "-enddate", "-in"]).arg(&path)).stdout;
        let date = NaiveDateTime::parse_from_str(printed.trim(), "notAfter=%b %e %H:%M:%S %Y GMT");
        u64::try_from(date.unwrap().and_utc().timestamp()).unwrap()
    };
    let server = TlsServer::start_in(folder, authority, "{}", "");
    let (daemon, address) = (&server.daemon, server.address);
    let shown = || {
        let text = daemon.get("/metrics").text();
        let lines =
            text.lines().filter_map(|line| line.strip_prefix("trackalert_certificate_expiry_seconds"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let first = expiry();
    let line = |expiry: u64| format!("{{listener=\"{address}\"}} {expiry}");
    assert_eq!(shown(), [line(first)], "and none of the listener without TLS");
    // After 2049 dates have another form.
    let renew = ["req", "-x509", "-subj", "/CN=server", "-days", "50000", "-key"];
    openssl(renew, &[&key, "-out".as_ref(), &path]);
    let second = expiry();
    assert!(second > first + 40_000 * 86_400);
    assert_eq!(shown(), [line(first)], "what is shown is what counts");
    daemon.reload();
    assert_eq!(shown(), [line(second)]);
    daemon.reload_with(SERVER);
    assert!(shown().is_empty());
}

#[test]
fn keys_come_in_several_formats() {
    let Some((folder, authority)) = folder() else { return };
    let file = |name: &str| folder.path(name);
    let rsa = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=rsa", "-days", "2", "-keyout"];
    openssl(rsa, &[&file("pkcs8.key"), "-out".as_ref(), &file("rsa.pem")]);
    for (from, to) in [("pkcs8.key", "pkcs1.key"), ("server.key", "sec1.key")] {
        openssl(["pkey", "-traditional"], &["-in".as_ref(), &file(from), "-out".as_ref(), &file(to)]);
    }
    let text = |name: &str| fs::read_to_string(file(name)).unwrap();
    folder.write("both.pem", &(text("sec1.key") + &text("server.pem") + &text("authority.pem")));
    let pairs = [
        ("rsa.pem", "pkcs8.key"),
        ("rsa.pem", "pkcs1.key"),
        ("server.pem", "server.key"),
        ("server.pem", "sec1.key"),
        ("both.pem", "both.pem"),
    ];
    for (name, label) in
        [("pkcs8.key", "BEGIN PRIVATE"), ("pkcs1.key", "BEGIN RSA"), ("sec1.key", "BEGIN EC")]
    {
        assert!(text(name).contains(label), "{name}");
    }
    let listeners = pairs.map(|(certificate, key)| {
        format!("addListener('127.0.0.1:0', true, '{certificate}', '{key}', {{}})\n")
    });
    let server = TlsServer::start_in(folder, authority, "{}", &listeners.concat());
    let lines = server.daemon.lines();
    let addresses =
        lines.iter().filter_map(|line| line.split_once("with TLS on ").map(|(_, address)| address));
    let mut asked = 0;
    for address in addresses {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", address]).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("BEGIN CERTIFICATE"), "{address}");
        asked += 1;
    }
    assert_eq!(asked, 1 + pairs.len());
}

#[test]
fn what_can_not_be_used_is_fatal_and_named() {
    let Some((folder, _)) = folder() else { return };
    make(&folder, "other", "DNS:other", None);
    folder.write("garbage.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    folder.write("text.pem", "not PEM at all");
    folder.write("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB");
    let encrypt = ["pkcs8", "-topk8", "-passout", "pass:super"];
    let (from, to) = (folder.path("server.key"), folder.path("locked.key"));
    openssl(encrypt, &["-in".as_ref(), &from, "-out".as_ref(), &to]);
    let p521 = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521", "-out"];
    openssl(p521, &[&folder.path("p521.key")]);
    for (arguments, text) in [
        ("'missing.pem', 'server.key'", "missing.pem: no such file or directory"),
        ("'server.pem', 'missing.key'", "missing.key: no such file or directory"),
        ("'garbage.pem', 'server.key'", "garbage.pem: the first certificate is not one of X.509 version 3"),
        ("'text.pem', 'server.key'", "text.pem: no certificate in PEM format"),
        ("'cut.pem', 'server.key'", "cut.pem: no certificate in PEM format"),
        ("'server.key', 'server.key'", "server.key: no certificate in PEM format"),
        ("'server.pem', 'server.pem'", "server.pem: no private key in PEM format"),
        ("'server.pem', 'locked.key'", "locked.key: the key has a passphrase"),
        ("'server.pem', 'p521.key'", "p521.key: no key of a kind that can be used: RSA from 2048 bits, "),
        ("'server.pem', 'other.key'", "other.key: not the key of the certificate in server.pem"),
        ("'server.pem', 'server.key', { client_ca = 'text.pem' }", "text.pem: no certificate in PEM format"),
        (
            "'server.pem', 'server.key', { client_ca = 'garbage.pem' }",
            "garbage.pem: a certificate is not one of X.509 version 3",
        ),
        (
            "'server.pem', 'server.key', { min_protocol = 'TLSv1.1' }",
            "options: min_protocol: \"TLSv1.1\" is not TLSv1.2 or TLSv1.3",
        ),
        (
            "'server.pem', 'server.key', { cipher_list = 'AES128-SHA' }",
            "options: cipher_list: no cipher suite named \"AES128-SHA\": there are TLS_AES_256_GCM_SHA384, ",
        ),
        (
            "'server.pem', 'server.key', { verify = 'no' }",
            "options: verify: no such option: there are min_protocol, max_protocol, cipher_list, ",
        ),
    ] {
        let config = format!("\naddListener('127.0.0.1:0', true, {arguments})");
        let path = folder.write("x.conf", &config);
        for mode in ["-s", "-t"] {
            let output = run(&[mode, "-C", path.to_str().unwrap()], "");
            assert_eq!(output.status, 78, "{config}: {}", output.stderr);
            let prefix = "x.conf:2: addListener(address, useSSL, certificate, key, options): ";
            assert!(output.stderr.contains(&format!("{prefix}{text}")), "{config}: {}", output.stderr);
            assert!(!output.stderr.contains("MIG"), "a part of the key is told: {}", output.stderr);
        }
    }
}

#[test]
fn a_key_that_this_user_may_not_read_is_told_so() {
    let Some((folder, _)) = folder() else { return };
    let config = "addListener('127.0.0.1:0', true, 'server.pem', 'server.key')";
    let path = folder.write("x.conf", config);
    let limit = |name: &Path, mode| fs::set_permissions(name, fs::Permissions::from_mode(mode)).unwrap();
    limit(&folder.path("server.key"), 0o000);
    let mut command = Command::new(PROGRAM);
    command.args(["-t", "-C"]).arg(path);
    if nix::unistd::geteuid().is_root() {
        ["", "x.conf", "server.pem"].iter().for_each(|name| limit(&folder.path(name), 0o755));
        command.uid(65534).gid(65534);
    }
    let Ok(output) = command.output() else {
        return skipped("the program can't be run by another user");
    };
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("server.key: permission denied for user "), "{text}");
    assert_eq!(output.status.code(), Some(78));
}
