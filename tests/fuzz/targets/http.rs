//! What a client sends to us, and what hyper makes of the requests in it that we accept: method, path,
//! query, body, number, and where the next one begins.

#![no_main]

#[path = "../opinions/hyper.rs"]
mod hyper;
#[path = "../opinions/mod.rs"]
mod opinions;

use std::cell::RefCell;

use opinions::Question;
use trackalert::probe::http::Server;

thread_local! {
    static SERVER: RefCell<Server> = RefCell::new(Server::new().expect("it starts"));
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    trackalert_fuzz::http(data);
    let Some(question) = SERVER.with_borrow(|server| Question::new(server, data, |_, _| true)) else {
        return;
    };
    let (seen, error) = hyper::read(&question.sent);
    // What is no URI we answer as any path that nobody serves.
    let is_refused = error.as_ref().is_some_and(|e| e.is_parse() && e.to_string() == "invalid URI");
    let expected = if is_refused { &question.expected[..seen.len()] } else { &question.expected[..] };
    assert_eq!(seen, expected, "{error:?}");
});
