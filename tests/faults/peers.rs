//! Clients that break off, half or whole, wherever they are; and those that never read.

use std::net::{SocketAddr, TcpStream};

use socket2::SockRef;

use crate::support::http::{Client, connect, request};
use crate::support::tls::TlsServer;
use crate::support::{Trackalert, wait_for};

/// Reports are slow, so that a client can break off while one runs.
const POLICY: &str = "setReportAck('done') setNumReportThreads(4) setNumEndpointThreads(1)
    local ffi = require 'ffi' ffi.cdef 'int usleep(unsigned);'
    setReport(function() ffi.C.usleep(20000) end)
    setCustomEndpoint('slow', function() ffi.C.usleep(20000) return true, {} end)";

/// What has been sent when a client breaks off.
fn states() -> [(&'static str, String); 8] {
    let report = request("POST", "/command/report", "{}");
    let chunked = report.replace("Content-Length: 2", "Transfer-Encoding: chunked");
    let expecting = report.replace("Host:", "Expect: 100-continue\r\nHost:");
    [
        ("idle", String::new()),
        ("in the head", report[..30].to_owned()),
        ("in the body", report[..report.len() - 1].to_owned()),
        ("in a chunk", format!("{}5\r\n{{", &chunked[..chunked.len() - 2])),
        ("after leave was asked for", expecting[..expecting.len() - 2].to_owned()),
        ("before the answer", report.clone()),
        ("in a row", report.repeat(20) + &report[..30]),
        ("before an endpoint's answer", request("POST", "/command/slow", "{}")),
    ]
}

/// Closes with a reset, whatever is under way.
fn reset(socket: TcpStream) {
    SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(socket);
}

/// Whether nobody but who asks is connected, and the daemon answers as ever.
fn wait_until_alone(daemon: &Trackalert) {
    wait_for("the end of every connection", || {
        (daemon.metric("trackalert_active_http_connections") == 1).then_some(())
    });
    assert_eq!(daemon.report("{}").status, 200);
}

fn send(address: SocketAddr, bytes: &str) -> TcpStream {
    let mut socket = connect(address);
    std::io::Write::write_all(&mut socket, bytes.as_bytes()).unwrap();
    socket
}

#[test]
fn a_reset_in_any_state_ends_that_client_alone() {
    let mut daemon = Trackalert::start(POLICY);
    let mut other = daemon.client();
    for (state, bytes) in states() {
        let sockets: Vec<TcpStream> = (0..20).map(|_| send(daemon.address, &bytes)).collect();
        sockets.into_iter().for_each(reset);
        assert_eq!(other.get("/livez").status, 200, "{state}");
    }
    drop(other);
    wait_until_alone(&daemon);
    assert!(daemon.is_running());
    assert_eq!(daemon.count_lines("panic"), 0);
    daemon.stop();
}

#[test]
fn a_reset_inside_tls_ends_that_client_alone() {
    let Some(server) = TlsServer::start("{}", POLICY) else { return };
    // The first bytes of a handshake, a record that is cut, and what is none.
    for bytes in
        ["", "\x16\x03\x01", "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03", "GET / HTTP/1.1\r\n\r\n"]
    {
        (0..20).for_each(|_| reset(send(server.address, bytes)));
    }
    assert_eq!(server.client().get("/livez").status, 200);
    wait_until_alone(&server.daemon);
    server.daemon.stop();
}

#[test]
fn a_half_closed_client_gets_what_it_asked_for_and_no_more() {
    let daemon = Trackalert::start(POLICY);
    for (state, bytes) in states() {
        let socket = send(daemon.address, &bytes);
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let mut client = Client::over(socket.try_clone().unwrap(), socket);
        let replies: Vec<u16> = std::iter::from_fn(|| client.try_reply()).map(|reply| reply.status).collect();
        let expected = match state {
            "before the answer" | "before an endpoint's answer" => vec![200],
            "in a row" => vec![200; 20],
            "after leave was asked for" => vec![100],
            _ => vec![],
        };
        assert_eq!(replies, expected, "{state}");
    }
    wait_until_alone(&daemon);
    daemon.stop();
}

#[test]
fn a_client_that_never_reads_is_not_read_from_and_cut_off() {
    let daemon = Trackalert::start("");
    let mut client = daemon.client();
    // The systems' buffers hold all of these requests, and the answers of some of them.
    const REQUESTS: usize = 10_000;
    client.send(request("GET", "/metrics", "").repeat(REQUESTS));
    wait_for("the server's patience to end", || {
        assert_eq!(daemon.get("/livez").status, 200);
        (daemon.metric("trackalert_active_http_connections") == 1).then_some(())
    });
    let served = daemon.metric("trackalert_commands_total{cmd=\"metrics\"}");
    assert!(served < REQUESTS as u64, "{served} answers were made although none was read");
    assert!(daemon.status("VmRSS") < 100_000, "{} KiB: {}", daemon.status("VmRSS"), daemon.tail());
}
