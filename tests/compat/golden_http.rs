//! The recorded exchanges, each on a connection of its own.

use serde_json::Value;

use crate::support::http::Client;
use crate::support::{Trackalert, file};

/// Sends the bytes of a recorded request and gives the statuses that come back.
fn statuses(daemon: &Trackalert, request: &str) -> Vec<u16> {
    let bytes: Vec<u8> = request.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect();
    let mut client = Client::connect(daemon.address);
    // Some requests are refused before they end.
    let _ = client.try_send(bytes);
    client.close_writing();
    let is_head = request.starts_with("HEAD ");
    let mut replies = || if is_head { Some(client.reply_without_body()) } else { client.try_reply() };
    let mut found = Vec::new();
    while let Some(reply) = replies() {
        found.push(reply.status);
        let is_json = reply.header("Content-Type") == Some("application/json");
        assert!(!is_json || reply.body.is_empty() || reply.json().is_object(), "{}", reply.text());
        if is_head {
            break;
        }
    }
    found
}

#[test]
fn every_recorded_exchange_is_answered_as_it_should_be() {
    let mut daemon = Trackalert::start(&file("conf/golden.lua"));
    let (mut wrong, mut count) = (Vec::new(), 0);
    for line in file("golden/http.jsonl").lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let found = statuses(&daemon, row["request"].as_str().unwrap());
        // What is free may also be no answer, but never the end of the daemon.
        let expected = row["status"].as_u64();
        if expected.is_some_and(|expected| found.first().map(|status| u64::from(*status)) != Some(expected)) {
            wrong.push(format!("{}: {found:?}, not {expected:?}", row["name"]));
        }
        count += 1;
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(count, 152);
    assert!(daemon.is_running());
    assert_eq!(daemon.get("/livez").status, 200);
}
