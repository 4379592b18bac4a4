//! The examples of trackalert_webhook(5).

use std::path::Path;

use regex::Regex;

use super::example::{daemon, has, run_all, sh_ok, shape, stop};
use crate::support::hook::{Answer, OK, Request, Sink};
use crate::support::{SERVER, Trackalert};

#[test]
fn every_example_of_the_webhooks_works() {
    run_all(
        "man/trackalert_webhook.5",
        &[
            ("import base64", is_genuine),
            ("rEe7H2xLKwAMziRHO06Cg", |text| {
                assert_eq!(signed().header("x-wforce-signature"), Some(text));
            }),
            ("{\"records\"", |text| {
                let request = delivered("kafka = 'true'", r#"{"a":1}"#);
                assert_eq!(String::from_utf8(request.body).unwrap(), text.replace("DATA", r#"{"a":1}"#));
            }),
            ("addCustomWebHook", tells_a_chat),
            ("webhook failed: ", logs),
        ],
    );
}

/// A daemon that hands data to a hook for each report.
fn hooked(sink: &Sink, options: &str, data: &str, more: &str) -> Trackalert {
    daemon(&format!(
        "{SERVER}addCustomWebHook('alert', {{ url = '{}', {options} }}) {more}
        setReport(function() runCustomWebHook('alert', '{data}') end)",
        sink.url("/")
    ))
}

fn delivered(options: &str, data: &str) -> Request {
    let sink = Sink::start(|_| OK);
    let daemon = hooked(&sink, options, data, "");
    daemon.report("{}");
    let request = sink.wait_for(1).remove(0);
    stop(daemon);
    request
}

/// The delivery that the section SIGNATURES speaks of.
fn signed() -> Request {
    delivered("secret = 'verysecretcode'", r#"{ "foo":"bar" }"#)
}

fn is_genuine(text: &str) {
    if !has("python3") {
        return;
    }
    let request = signed();
    let (body, signature) =
        (String::from_utf8(request.body.clone()).unwrap(), request.header("x-wforce-signature"));
    let ask = format!(
        "{text}\nfor secret in b'verysecretcode', b'another': print(is_genuine(secret, b'{body}', b'{}'))",
        signature.unwrap()
    );
    let lines = format!("python3 - <<'END'\n{ask}\nEND");
    assert_eq!(sh_ok(Path::new("/"), &lines), "True\nFalse\n");
}

fn tells_a_chat(text: &str) {
    let sink = Sink::start(|_| OK);
    let here = text.replace("https://chat.example.com/", &sink.url("/"));
    assert_ne!(here, text);
    let daemon = daemon(&format!("{SERVER}{here}"));
    for n in 0..30 {
        let success = n % 3 == 0;
        let body = format!(r#"{{"login":"joe","remote":"192.0.2.66","success":{success}}}"#);
        assert_eq!(daemon.report(&body).status, 200);
    }
    let request = sink.wait_for(1).remove(0);
    assert_eq!(String::from_utf8(request.body.clone()).unwrap(), r#"{"remote":"192.0.2.66"}"#);
    assert!(Regex::new("^/hooks/20[0-9]{6}$").unwrap().is_match(request.target()), "{}", request.target());
    assert!(request.header("x-wforce-signature").is_some());
    stop(daemon);
}

fn logs(text: &str) {
    let mut lines = text.lines();
    let sink = Sink::start(|_| Answer::Status(503, ""));
    let daemon = hooked(&sink, "", "{}", "");
    daemon.report("{}");
    let line = daemon.wait_for_line("webhook failed: ");
    let expected = lines.next().unwrap().replace("http://192.0.2.80/", &sink.url("/"));
    assert_eq!(line.trim_end(), expected);

    let sink = Sink::start(|_| Answer::Never);
    let one = "setWebHookQueueSize(1) setNumWebHookThreads(1) setNumWebHookConnsPerThread(1)";
    let daemon = hooked(&sink, "timeout = 1", "{}", one);
    for _ in 0..5 {
        daemon.report("{}");
    }
    let line = daemon.wait_for_line("webhook dropped, ");
    assert_eq!(shape(&line), shape(lines.next().unwrap()));
    assert_eq!(lines.next(), None);
}
