//! How other servers read what a client sends. What we accept they must accept too, with the same
//! method, target and body, and the next request must begin for them where it begins for us: else a
//! proxy that reads as they do could be led to believe in other requests than we serve.

use trackalert::probe::http::{Request, Server};

/// A request as far as servers can be compared.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub body: Vec<u8>,
}

/// What follows the requests that we accept, to see that it is understood as the next.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

/// What another server is sent, and what it must see in it.
pub struct Question {
    pub sent: Vec<u8>,
    pub expected: Vec<Seen>,
}

impl Question {
    /// The requests that `data` begins with and we accept, as far as they can be `compared` and the
    /// connection is kept, and one more if it is kept then. Nothing if there is none.
    pub fn new(server: &Server, data: &[u8], compared: fn(&Request, &[u8]) -> bool) -> Option<Question> {
        let (requests, _) = server.requests(data);
        let mut keeps_alive = true;
        let accepted = requests.into_iter().take_while(|request| {
            let is_served = keeps_alive && request.body.is_some() && compared(request, data);
            keeps_alive &= request.keeps_alive;
            is_served
        });
        let accepted: Vec<Request> = accepted.collect();
        let last = accepted.last()?;
        let mut sent = data[..last.end].to_vec();
        let is_kept = last.keeps_alive;
        let mut expected: Vec<Seen> = accepted.into_iter().map(seen).collect();
        if is_kept {
            sent.extend_from_slice(NEXT);
            let [method, path, query] = ["GET", "/next", ""].map(str::to_owned);
            expected.push(Seen { method, path, query, body: Vec::new() });
        }
        Some(Question { sent, expected })
    }
}

fn seen(request: Request) -> Seen {
    let Request { method, path, query, body, .. } = request;
    Seen { method, path, query, body: body.unwrap_or_default() }
}
