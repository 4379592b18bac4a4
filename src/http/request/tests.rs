use super::*;

fn status(head: &str) -> u16 {
    match Head::parse(head.as_bytes(), &HttpLimits::default()) {
        Ok(_) => 200,
        Err(refusal) => refusal.status,
    }
}

#[test]
fn a_head_is_read_or_refused() {
    for (head, expected) in [
        ("GET /x HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /x HTTP/1.0\r\n\r\n", 200),
        ("GET /x HTTP/1.1\r\n\r\n", 400),
        ("GET /x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET /x HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET /x HTTP/1.1\r\nHost:\r\n\r\n", 200),
        ("GET /x HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("GET /x http/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /x y HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /?x#y HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET\r\n\r\n", 400),
        ("GET /x HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400),
        ("GET /x HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400),
        ("GET /x HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
        ("GET /x HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", 400),
        ("GET /x HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", 400),
        ("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400),
        ("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", 400),
        ("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
        ("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", 413),
        ("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
        ("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
        ("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", 200),
        ("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400),
        ("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400),
        ("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , chunked\r\n\r\n", 400),
        ("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 400),
        (
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n", 200),
        ("POST /x HTTP/1.1\r\nHost: a\r\nExpect: something\r\n\r\n", 417),
    ] {
        assert_eq!(status(head), expected, "{head:?}");
    }
    let many = "X: y\r\n".repeat(100);
    assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")), 431);
}

#[test]
fn a_connection_is_kept_as_both_sides_know_how() {
    for (line, fields, expected) in [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: x, CLOSE\r\n", false),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("HTTP/1.0", "Connection: close\r\nConnection: keep-alive\r\n", false),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let text = format!("GET / {line}\r\nHost: a\r\n{fields}\r\n");
        let head = Head::parse(text.as_bytes(), &HttpLimits::default()).unwrap();
        assert_eq!(head.keeps_alive, expected, "{text}");
    }
}

#[test]
fn the_end_of_a_head_is_found_however_it_comes() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    for step in 1..head.len() {
        let mut scanned = 0;
        let found = (0..=head.len())
            .step_by(step)
            .chain([head.len()])
            .find_map(|length| find_end(&head[..length], &mut scanned, 1000).unwrap());
        assert_eq!(found, Some(head.len() - 4), "in steps of {step}");
    }
    for (bytes, limit, status) in [
        (&b"GET / HTTP/1.1\nHost: a\n\n"[..], 1000, 400),
        (&head[..], 20, 431),
        (&head[..], 10, 414),
        (b"\n", 10, 400),
    ] {
        assert_eq!(find_end(bytes, &mut 0, limit).unwrap_err().status, status);
    }
}

#[test]
fn chunks_come_together_however_they_are_cut() {
    let body = b"5 ;name=value;a=\"\\\";\"\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\nGET";
    for step in 1..body.len() {
        let (mut chunks, mut input, mut fed) = (Chunks::default(), Vec::new(), 0);
        while !chunks.is_done() {
            let next = (fed + step).min(body.len());
            input.extend_from_slice(&body[fed..next]);
            fed = next;
            let taken = chunks.take(&input, 100).unwrap();
            input.drain(..taken);
        }
        input.extend_from_slice(&body[fed..]);
        assert_eq!(
            (chunks.content.as_slice(), input.as_slice()),
            (&b"hello!"[..], &b"GET"[..]),
            "in steps of {step}"
        );
    }
}

#[test]
fn malformed_chunks_are_refused() {
    for (body, status) in [
        ("zz\r\n", 400),
        ("\r\n", 400),
        ("-1\r\n", 400),
        ("0x5\r\n", 400),
        ("5 5\r\n", 400),
        ("5\nhello", 400),
        ("2\r\nhello", 400),
        ("65\r\n", 413),
        ("ffffffffffffffff\r\n", 400),
        ("5 \r\n", 400),
        ("5\x0c;a\r\n", 400),
        ("5;a=\"\r\n", 400),
        ("5;a=\"\\\"\r\n", 400),
        ("5;\x0b\r\n", 400),
        ("0\r\na\rb\r\n", 400),
        ("0\r\nGET / HTTP/1.1\r\n", 400),
        ("0\r\n: a\r\n", 400),
        ("0\r\nA : b\r\n", 400),
        ("0\r\nA: b\r\n c\r\n", 400),
        ("5\r\0hello\r\n", 400),
        ("0\r\n\r\0", 400),
        ("0\r\na: \x7f\r\n", 400),
    ] {
        assert_eq!(Chunks::default().take(body.as_bytes(), 100).unwrap_err().status, status, "{body:?}");
    }
    let long = format!("5;{}\r\n", "x".repeat(MAX_CHUNK_LINE));
    assert_eq!(Chunks::default().take(long.as_bytes(), 100).unwrap_err().status, 400);
}
