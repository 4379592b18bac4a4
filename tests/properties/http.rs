//! A connection makes the same of what a client sends in whatever pieces it comes, answers each
//! request once and in order, and keeps no more than a head or a body of it.

use std::cell::RefCell;

use trackalert::probe::http::{BODY, HEAD, Refused, Request, Server, Talk};

use super::Random;

thread_local! {
    static SERVER: RefCell<Server> = RefCell::new(Server::new().unwrap());
}

/// `data` is what a client sends.
pub fn http(data: &[u8]) {
    SERVER.with_borrow_mut(|server| {
        let mut random = Random::of(data);
        let (requests, refusal) = server.requests(data);
        let whole = check(server.talk([data]), &requests, refusal);
        for longest in [1, 7, 100, 1000] {
            // Byte by byte, a long input would cost more than it shows.
            if longest > 1 || data.len() <= 600 {
                let pieces = random.pieces(data, longest);
                assert_eq!(check(server.talk(pieces), &requests, refusal), whole, "up to {longest} bytes");
            }
        }
    });
}

/// An answer as far as it says the same each time.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// What a connection came to, once it is what the requests make one expect.
fn check(talk: Talk, requests: &[Request], refusal: Option<Refused>) -> (Vec<Answer>, bool) {
    assert!(talk.held <= 2 * (HEAD + BODY), "{} bytes are held", talk.held);
    let mut rest = &talk.output[..];
    let mut answers = Vec::new();
    let mut is_closed = false;
    for request in requests {
        if is_closed {
            break;
        }
        if request.gets_continue {
            assert_eq!(take(&mut rest, true).status, 100, "{request:?}");
        }
        let is_refused = request.body.is_none() && request.rejected.is_none();
        if is_refused {
            // The body has not come, or can't be read.
            break;
        }
        let answer = take(&mut rest, request.is_head);
        match request.rejected {
            Some(status) => assert_eq!(answer.status, status, "{request:?}"),
            None => assert!([200, 400].contains(&answer.status), "{} for {request:?}", answer.status),
        }
        let is_unsure = request.rejected.is_some() && (request.is_chunked || request.expects_continue);
        is_closed = !request.keeps_alive || is_unsure;
        assert_eq!(closes(&answer), is_closed, "{request:?}");
        answers.push(answer);
    }
    if let Some(refusal) = refusal.filter(|_| !is_closed) {
        let answer = take(&mut rest, refusal.is_head);
        assert_eq!(answer.status, refusal.status);
        assert!(closes(&answer));
        answers.push(answer);
        is_closed = true;
    }
    assert!(rest.is_empty(), "an answer too many: {}", String::from_utf8_lossy(rest));
    assert_eq!(talk.is_closing, is_closed);
    // What is counted meanwhile differs.
    answers.iter_mut().filter(|answer| answer.status == 200).for_each(|answer| answer.body.clear());
    (answers, is_closed)
}

fn closes(answer: &Answer) -> bool {
    answer.fields.iter().any(|(name, value)| name == "connection" && value == b"close")
}

/// Takes the next answer from what was sent.
fn take(sent: &mut &[u8], has_no_body: bool) -> Answer {
    let end = sent.windows(4).position(|window| window == b"\r\n\r\n").expect("no answer") + 4;
    let (head, rest) = sent.split_at(end);
    let head = std::str::from_utf8(head).unwrap().trim_end();
    let mut lines = head.split("\r\n");
    let (version, status) = lines.next().unwrap().split_at(9);
    assert!(["HTTP/1.0 ", "HTTP/1.1 "].contains(&version), "{head}");
    let status = status[..3].parse().unwrap();
    let mut length = 0;
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        match name.to_ascii_lowercase().as_str() {
            "date" => {}
            "content-length" => length = value.parse().unwrap(),
            name => fields.push((name.to_owned(), value.as_bytes().to_vec())),
        }
    }
    let length = if has_no_body { 0 } else { length };
    let (body, rest) = rest.split_at(length);
    *sent = rest;
    Answer { status, fields, body: body.to_vec() }
}
