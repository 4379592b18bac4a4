//! Clients that are slow, silent, rude or many: each costs a file descriptor and nobody's time.

use std::time::{Duration, Instant};

use crate::support::http::{Client, request};
use crate::support::{Trackalert, wait_for};

const SHORT: &str =
    "setHTTPLimits{ head = 1000, body = 1000, head_timeout = 0.5, body_timeout = 0.5, idle_timeout = 0.5 }";

/// Sends a byte now and then until the server has had enough; how it is told.
fn trickle(client: &mut Client, bytes: &str) -> Option<u16> {
    for byte in bytes.bytes() {
        if client.try_send([byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    client.try_reply().map(|reply| reply.status)
}

#[test]
fn a_client_that_trickles_is_cut_off_and_nobody_notices() {
    let daemon = Trackalert::start(SHORT);
    let mut slow_head = daemon.client();
    let mut slow_body = daemon.client();
    let whole = request("POST", "/command/report", "0123456789");
    slow_body.send(&whole[..whole.len() - 9]);
    std::thread::scope(|scope| {
        let head = scope.spawn(|| trickle(&mut slow_head, "GET /livez HTTP/1.1\r\n"));
        let body = scope.spawn(|| trickle(&mut slow_body, "        "));
        let mut other = daemon.client();
        let start = Instant::now();
        while !head.is_finished() || !body.is_finished() {
            assert_eq!(other.get("/livez").status, 200);
            assert!(start.elapsed() < Duration::from_secs(30));
        }
        assert_eq!(head.join().unwrap(), Some(408));
        assert_eq!(body.join().unwrap(), Some(408));
    });
    assert!(slow_head.is_closed() && slow_body.is_closed());
}

#[test]
fn a_silent_client_is_cut_off() {
    let daemon = Trackalert::start(SHORT);
    let mut silent = daemon.client();
    let mut kept = daemon.client();
    assert_eq!(kept.get("/livez").status, 200);
    // What old clients send after a body begins no request that could be late.
    kept.send("\r\n\r");
    assert!(silent.is_closed() && kept.is_closed());
    wait_for("no connection but this", || {
        (daemon.metric("trackalert_active_http_connections") == 1).then_some(())
    });
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let daemon = Trackalert::start(SHORT);
    let long = "x".repeat(1000);
    for (bytes, status) in [
        (format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET /{long}"), 414),
        (request("POST", "/command/report", &"x".repeat(1001)), 413),
        (
            request("POST", "/command/report", "")
                .replace("Content-Length: 0", "Content-Length: 99999999999999999999"),
            413,
        ),
        (
            request("POST", "/command/report", "3E9\r\n")
                .replace("Content-Length: 5", "Transfer-Encoding: chunked"),
            413,
        ),
    ] {
        let mut client = daemon.client();
        client.send(&bytes);
        let reply = client.reply();
        assert_eq!((reply.status, reply.header("Connection")), (status, Some("close")), "{bytes}");
        assert_eq!(reply.json()["status"], "failure");
        assert!(client.is_closed());
    }
}

#[test]
fn an_answer_arrives_although_the_client_is_still_sending() {
    let daemon = Trackalert::start("");
    let mut client = daemon.client();
    client
        .send(request("POST", "/command/report", "").replace("Content-Length: 0", "Content-Length: 5000000"));
    // More than the buffers of both systems hold.
    for _ in 0..64 {
        if client.try_send([b'x'; 65536]).is_err() {
            break;
        }
    }
    assert_eq!(client.reply().status, 413);
}

#[test]
fn a_request_may_come_in_any_pieces() {
    let daemon = Trackalert::start("setReport(function(lt) infoLog('got', { login = lt.login }) end)");
    let chunked = request("POST", "/command/report", "")
        .replace("Content-Length: 0", "Transfer-Encoding: chunked")
        + "5\r\n{\"log\r\nb;x=y\r\nin\":\"pieces\r\n2\r\n\"}\r\n0\r\nT: x\r\n\r\n";
    let plain = request("POST", "/command/report", r#"{"login":"pieces"}"#);
    let mut client = daemon.client();
    for bytes in [chunked, plain] {
        for byte in bytes.bytes() {
            client.send([byte]);
        }
        assert_eq!(client.reply().status, 200);
    }
    wait_for("both", || (daemon.count_lines("got: login=\"pieces\"") == 2).then_some(()));
}

#[test]
fn a_body_is_asked_for_when_the_client_waits_for_that() {
    let daemon = Trackalert::start("");
    let mut client = daemon.client();
    let bytes = request("POST", "/command/report", "{}").replace("Host:", "Expect: 100-continue\r\nHost:");
    let (head, body) = bytes.split_at(bytes.len() - 2);
    client.send(head);
    assert_eq!(client.reply().status, 100);
    client.send(body);
    assert_eq!(client.reply().status, 200);
    // One that is refused is not asked, and can't know what the server takes the body for.
    client.send(head.replace("/command/report", "/command/nosuch"));
    let reply = client.reply();
    assert_eq!((reply.status, reply.header("Connection")), (404, Some("close")));
}

#[test]
fn beyond_the_limit_the_newest_is_refused() {
    let daemon = Trackalert::start("setMaxWebserverConns(5)");
    let mut clients: Vec<Client> = (0..5).map(|_| daemon.client()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/livez").status, 200));
    let mut refused = daemon.client();
    let reply = refused.reply();
    assert_eq!((reply.status, reply.header("Retry-After")), (503, Some("1")));
    assert!(refused.is_closed());
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/livez").status, 200));
    clients.clear();
    wait_for("room again", || {
        let mut client = daemon.client();
        client.try_send(request("GET", "/livez", "")).ok()?;
        (client.try_reply()?.status == 200).then_some(())
    });
}
