//! Clients of a listener that speaks TLS: good ones, and those that would cost a plain listener nothing
//! either.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::http::{self, Client, request};
use crate::support::tls::TlsServer;
use crate::support::wait_for;

const SHORT: &str = "setHTTPLimits{ head_timeout = 2, body_timeout = 0.5, idle_timeout = 0.5 }";
const LOG: &str = "setReport(function(lt) infoLog('got', { login = lt.login }) end)";

/// What still comes, to the end however it comes.
fn rest(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => panic!("no end: {e}"),
        _ => bytes,
    }
}

/// Waits until nobody is connected but who asks.
fn wait_for_the_last(server: &TlsServer) {
    wait_for("no connection but this", || {
        (server.daemon.metric("trackalert_active_http_connections") == 1).then_some(())
    });
}

#[test]
fn reports_come_over_a_connection_that_is_kept() {
    let Some(server) = TlsServer::start("{}", LOG) else { return };
    let mut client = server.client();
    for _ in 0..3 {
        assert_eq!(client.post("/command/report", r#"{"login":"kept"}"#).status, 200);
    }
    client.send(request("POST", "/command/report", r#"{"login":"pipelined"}"#).repeat(500));
    for _ in 0..500 {
        assert_eq!(client.reply().status, 200);
    }
    wait_for("all reports", || (server.daemon.count_lines("got: login=\"kept\"") == 3).then_some(()));
    wait_for("all reports", || (server.daemon.count_lines("got: login=\"pipelined\"") == 500).then_some(()));
    assert_eq!(client.post("/command/nosuch", "{}").status, 404);
    client.send("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.reply().status, 200);
    assert!(client.is_closed());
}

#[test]
fn bodies_may_be_large_both_ways() {
    let echo = "setCustomEndpoint('echo', function(args) return true, { text = args.attrs.text } end)";
    let Some(server) = TlsServer::start("{}", echo) else { return };
    let mut client = server.client();
    let text = "0123456789abcdef".repeat((1 << 16) - 4);
    let body = format!(r#"{{"attrs":{{"text":"{text}"}}}}"#);
    for _ in 0..3 {
        let reply = client.post("/command/echo", &body);
        assert_eq!((reply.status, reply.json()["r_attrs"]["text"].as_str()), (200, Some(text.as_str())));
    }
    assert_eq!(client.post("/command/echo", &(body + &" ".repeat(64))).status, 413);
    assert!(client.is_closed());
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let Some(server) = TlsServer::start("{}", "") else { return };
    let mut client = server.client();
    let before = server.daemon.status("VmRSS");
    const REQUESTS: usize = 10_000;
    client.send(request("GET", "/metrics", "").repeat(REQUESTS));
    wait_for_the_last(&server);
    let served = server.daemon.metric("trackalert_commands_total{cmd=\"metrics\"}");
    assert!(served < REQUESTS as u64, "{served} answers were made although none was read");
    let after = server.daemon.status("VmRSS");
    assert!(after < before + 20_000, "from {before} to {after} KiB");
}

#[test]
fn a_client_that_reads_late_gets_everything_in_order() {
    let who = "setCustomEndpoint('who', function() return true, { name = 'who' } end)";
    let Some(server) = TlsServer::start("{}", who) else { return };
    const ROUNDS: u64 = 1500;
    let count = || server.daemon.metric("trackalert_commands_total{cmd=\"who\"}");
    let pair = request("GET", "/metrics", "") + &request("POST", "/command/who", "{}");
    for mut client in [server.daemon.client(), server.client()] {
        let (start, mut last) = (count(), 0);
        client.send(pair.repeat(ROUNDS as usize));
        wait_for("the server to be stuck", || {
            let now = count() - start;
            let is_stuck = now > 0 && now == last;
            last = now;
            is_stuck.then_some(())
        });
        assert!(last < ROUNDS, "the systems' buffers hold every answer");
        for _ in 0..ROUNDS {
            assert!(client.reply().text().contains("trackalert_commands_total"));
            assert_eq!(client.reply().json()["r_attrs"]["name"], "who");
        }
    }
}

#[test]
fn records_may_be_tiny() {
    let Some(server) = TlsServer::start("{}", LOG) else { return };
    let mut client = server.client();
    for byte in request("POST", "/command/report", r#"{"login":"tiny"}"#).bytes() {
        client.send([byte]);
    }
    assert_eq!(client.reply().status, 200);
    server.daemon.wait_for_line("got: login=\"tiny\"");
}

#[test]
fn the_silent_delay_nobody() {
    let Some(server) = TlsServer::start("{}", "") else { return };
    let before = server.daemon.status("VmRSS");
    let silent: Vec<TcpStream> = (0..200).map(|_| http::connect(server.address)).collect();
    wait_for("all of them", || {
        (server.daemon.metric("trackalert_active_http_connections") == 201).then_some(())
    });
    let start = Instant::now();
    assert_eq!(server.client().get("/livez").status, 200);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let each = server.daemon.status("VmRSS").saturating_sub(before) / 200;
    assert!(each < 64, "{each} KiB for each");
    drop(silent);
}

#[test]
fn a_handshake_has_its_time_and_no_more() {
    let Some(server) = TlsServer::start("{}", SHORT) else { return };
    let silent = http::connect(server.address);
    assert!(rest(&silent).is_empty());
    // A handshake message of 16 KiB that never comes to its end.
    let mut slow = http::connect(server.address);
    let start = Instant::now();
    let mut hello = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03".iter().chain(std::iter::repeat(&0));
    while slow.write_all(&[*hello.next().unwrap()]).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(30), "it goes on as long as bytes come");
        std::thread::sleep(Duration::from_millis(50));
    }
    wait_for_the_last(&server);
}

#[test]
fn a_connection_that_is_not_used_ends_with_a_word() {
    let Some(server) = TlsServer::start("{}", SHORT) else { return };
    let mut unused = server.client();
    let mut kept = server.client();
    assert_eq!(kept.get("/livez").status, 200);
    let mut slow = server.client();
    slow.send("GET /li");
    assert_eq!(slow.reply().status, 408);
    assert!(unused.is_closed() && kept.is_closed() && slow.is_closed());
    wait_for_the_last(&server);
}

#[test]
fn a_client_may_close_its_side_before_the_answer() {
    let later = "setCustomEndpoint('who', function() return true, {} end)";
    let Some(server) = TlsServer::start("{}", later) else { return };
    for says_so in [true, false] {
        let mut stream = server.shake(&Arc::new(server.trusting(None))).unwrap();
        let requests = request("GET", "/livez", "") + &request("POST", "/command/who", "{}");
        stream.write_all(requests.as_bytes()).unwrap();
        if says_so {
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        } else {
            stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let socket = stream.sock.try_clone().unwrap();
        let mut client = Client::over(stream, socket);
        assert_eq!((client.reply().status, client.reply().status), (200, 200));
        assert!(client.is_closed());
    }
}

#[test]
fn whoever_does_not_speak_tls_is_closed() {
    let Some(server) = TlsServer::start("{}", "") else { return };
    for bytes in [request("GET", "/livez", "").as_bytes(), b"\x80\x2e\x01\x03\x01", &[0; 70_000], b"\n"] {
        let mut stream = http::connect(server.address);
        // It may be closed before it has said everything.
        let _ = stream.write_all(bytes);
        if bytes.len() < 5 {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let told = rest(&stream);
        assert!(!told.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&told));
    }
    assert_eq!(server.client().get("/livez").status, 200);
}

#[test]
fn a_client_may_go_at_any_time() {
    let Some(server) = TlsServer::start("{}", "") else { return };
    let config = Arc::new(server.trusting(None));
    let mut hello = Vec::new();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    rustls::ClientConnection::new(config.clone(), name).unwrap().write_tls(&mut hello).unwrap();
    for length in [1, 5, hello.len() / 2, hello.len()] {
        http::connect(server.address).write_all(&hello[..length]).unwrap();
    }
    for text in ["", "POST /comm", &request("POST", "/command/report", "{}")[..100]] {
        // Neither a word nor the rest: the socket is just closed.
        server.shake(&config).unwrap().write_all(text.as_bytes()).unwrap();
    }
    // In the midst of a record.
    let mut stream = server.shake(&config).unwrap();
    stream.sock.write_all(b"\x17\x03\x03\x10\x00only a few").unwrap();
    drop(stream);
    // What was never sealed.
    let mut stream = server.shake(&config).unwrap();
    stream.sock.write_all(&[b"\x17\x03\x03\x00\x40".as_slice(), &[7; 64]].concat()).unwrap();
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
    wait_for_the_last(&server);
    assert_eq!(server.client().get("/livez").status, 200);
}

#[test]
fn whoever_is_not_let_in_is_just_closed() {
    let Some(server) = TlsServer::start("{}", "setMaxWebserverConns(2)") else { return };
    let mut inside = [server.client(), server.client()];
    assert!(rest(http::connect(server.address)).is_empty());
    inside.iter_mut().for_each(|client| assert_eq!(client.get("/livez").status, 200));
    let Some(server) = TlsServer::start("{}", "setACL({'192.0.2.0/24'})") else { return };
    assert!(rest(http::connect(server.address)).is_empty());
    assert_eq!(server.daemon.client().reply().status, 401);
}
