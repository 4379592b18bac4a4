//! What tiny_http makes of the requests that we accept. It may refuse one or hang up (it takes ASCII
//! alone, for example), but must not see another: method, path, query and body of all that it sees are
//! those that we see, in the same order. This is slower than `http`, because it goes through a socket.

#![no_main]

#[path = "../opinions/mod.rs"]
mod opinions;
#[path = "../opinions/tiny.rs"]
mod tiny;

use std::cell::RefCell;

use opinions::Question;
use tiny::Tiny;
use trackalert::probe::http::{Request, Server};

thread_local! {
    static BOTH: RefCell<(Server, Tiny)> =
        RefCell::new((Server::new().expect("it starts"), Tiny::start()));
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // To tiny_http the rest of such a connection is another protocol, whatever we answer.
    if data.to_ascii_lowercase().windows(7).any(|window| window == b"upgrade") {
        return;
    }
    BOTH.with_borrow(|(server, tiny)| {
        let Some(question) = Question::new(server, data, has_no_trailer) else { return };
        let seen = tiny.read(&question.sent);
        assert!(question.expected.starts_with(&seen), "{seen:?} instead of {:?}", question.expected);
    });
});

/// Whether a request has no trailer fields, which tiny_http takes for the next request.
fn has_no_trailer(request: &Request, data: &[u8]) -> bool {
    !request.is_chunked || data[..request.end].ends_with(b"\r\n0\r\n\r\n")
}
