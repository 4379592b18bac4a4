//! Who may use the API: the ACL, then the password.

use std::process::Command;

use crate::support::http::{Client, basic};
use crate::support::{Folder, PROGRAM, Trackalert};

fn status_with(daemon: &Trackalert, authorization: &str) -> u16 {
    let mut client = daemon.client();
    client.send(format!("GET /command/stats HTTP/1.1\r\nHost: a\r\n{authorization}\r\n"));
    client.reply().status
}

#[test]
fn an_acl_can_restrict() {
    let config = "addListener('127.0.0.1:0', false)\nsetWebserverPassword('super')\nsetACL({'192.0.2.0/24'})";
    let daemon = Trackalert::start_with(Folder::new(), config, Command::new(PROGRAM));
    let mut client = daemon.client();
    // Refused before a byte is read: even for what needs no password, even for nothing at all.
    let reply = client.reply();
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json()["reason"], "Source IP Address not in ACL");
    assert_eq!(reply.json()["ip"], "127.0.0.1");
    assert_eq!(reply.header("Connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn the_default_acl_is_extended_by_addacl_and_replaced_by_setacl() {
    for (config, expected) in [
        (
            "addACL('192.0.2.0/24')",
            "127.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 192.168.0.0/16, \
          172.16.0.0/12, ::1/128, fc00::/7, fe80::/10, 192.0.2.0/24",
        ),
        ("setACL({'127.0.0.1'}) addACL('!10.0.0.0/8')", "127.0.0.1/32, !10.0.0.0/8"),
    ] {
        let daemon = Trackalert::start_with(Folder::new(), config, Command::new(PROGRAM));
        let line = daemon.wait_for_line("ACL allowing queries from: ");
        assert_eq!(line, format!("ACL allowing queries from: {expected}"));
    }
}

#[test]
fn an_ipv6_listener_takes_ipv6_clients_alone() {
    let config = "addListener('[::1]:0', false)\nsetWebserverPassword('super')";
    let daemon = Trackalert::start_with(Folder::new(), config, Command::new(PROGRAM));
    assert!(daemon.address.is_ipv6());
    assert_eq!(daemon.get("/livez").status, 200);
}

#[test]
fn a_password_may_hold_a_colon_and_is_compared_whole() {
    let daemon = Trackalert::start("setWebserverPassword('su:per')");
    for (user, password, expected) in [
        ("wforce", "su:per", 200),
        ("", "su:per", 200),
        ("other", "su:per", 200),
        ("wforce", "su:per\0junk", 401),
        ("wforce", "su:pe", 401),
        ("wforce", "", 401),
    ] {
        assert_eq!(status_with(&daemon, &basic(user, password)), expected, "{user} {password:?}");
    }
}

#[test]
fn failures_are_counted_and_logged_once_for_an_address() {
    let daemon = Trackalert::start("");
    for _ in 0..20 {
        let mut client = daemon.client();
        client.send("POST /command/report HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}");
        let reply = client.reply();
        assert_eq!((reply.status, reply.header("WWW-Authenticate")), (401, Some("basic realm=\"wforce\"")));
        assert_eq!(reply.json()["reason"], "Unauthorized");
    }
    assert_eq!(daemon.metric("trackalert_auth_failures_total"), 20);
    let line = daemon.wait_for_line("Web Authentication failed");
    assert!(
        line.starts_with("WforceWebserver: HTTP(S) Request \"/command/report\" from 127.0.0.1:"),
        "{line}"
    );
    assert_eq!(daemon.count_lines("Web Authentication failed"), 1);
}

#[test]
fn a_refused_body_is_skipped_and_the_connection_goes_on() {
    let daemon = Trackalert::start("");
    let mut client = daemon.client();
    let smuggled = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = smuggled.len();
    client.send(format!("POST /command/report HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    assert_eq!(client.reply().status, 401);
    client.send(smuggled);
    assert_eq!(client.get("/command/stats").status, 200, "the body was no request");
}

#[test]
fn without_a_password_everything_protected_is_refused() {
    let config = "addListener('127.0.0.1:0', false)";
    let daemon = Trackalert::start_with(Folder::new(), config, Command::new(PROGRAM));
    daemon.wait_for_line("no setWebserverPassword() in the configuration");
    for (path, expected) in [("/command/stats", 401), ("/metrics", 401), ("/livez", 200), ("/nosuch", 404)] {
        assert_eq!(daemon.get(path).status, expected, "{path}");
    }
    assert_eq!(status_with(&daemon, &basic("wforce", "")), 401);
}

#[test]
fn metrics_may_be_open_while_the_rest_is_not() {
    let daemon = Trackalert::start("setMetricsNoPassword()");
    for (path, expected) in [("/metrics", 200), ("/command/stats", 401)] {
        let mut client = Client::connect(daemon.address);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.reply().status, expected, "{path}");
    }
}
