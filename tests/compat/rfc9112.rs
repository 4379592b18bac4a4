//! What RFC 9112 and RFC 9110 ask of a server, and the ways to smuggle a request past a proxy, as
//! tables of raw exchanges: each is sent in one piece and byte by byte, plain and inside TLS.
//!
//! A row of a table begins with `[section] what must hold`. The lines up to that with `=` are the bytes:
//! their ends mean nothing, `\r \n \t \\ \xNN` are what they are in Rust, `{name}` stands for one of
//! [`WORDS`], and `{N*text}` for a text N times. The line with `=` has the statuses that come back, and
//! what becomes of the connection then: `open` for the next request, `close`, or `end` if the client has
//! closed its side. Words in quotes after it must be in the last body.

use std::process::Command;

use crate::support::http::{Client, Reply, basic};
use crate::support::tls::TlsServer;
use crate::support::{Folder, PROGRAM, SERVER, Trackalert, file};

const CONFIG: &str = "
setHTTPLimits{ head = 4000, body = 1000, head_timeout = 60, body_timeout = 60 }
setCustomEndpoint('echo', function(args) return true, args.attrs end)
";

/// Parts of many rows. The second request of a row is `{livez}` mostly, whose length is 32 (20 in
/// hexadecimal digits).
const WORDS: &[(&str, &str)] = &[
    ("livez", "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("post", "POST /command/report HTTP/1.1\r\nHost: a\r\n{auth}"),
    ("echo", "POST /command/echo HTTP/1.1\r\nHost: a\r\n{auth}"),
    ("report", "{post}Content-Length: 2\r\n\r\n{}"),
];

/// What no row has, so that its answer, 404, is known from those of the row.
const PROBE: &str = "GET /probe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Open,
    Close,
    /// The client closes first.
    Client,
}

/// A row of a table.
#[derive(Debug)]
struct Exchange {
    what: String,
    bytes: Vec<u8>,
    statuses: Vec<u16>,
    end: End,
    text: String,
}

impl Exchange {
    fn read(what: &str, bytes: &str, outcome: &str) -> Exchange {
        let (words, text) = outcome.split_once('"').unwrap_or((outcome, ""));
        let (statuses, end): (Vec<_>, Vec<_>) =
            words.split_whitespace().partition(|word| word.parse::<u16>().is_ok());
        Exchange {
            what: what.to_owned(),
            bytes: unescape(&expand(bytes)),
            statuses: statuses.iter().map(|status| status.parse().unwrap()).collect(),
            end: match end.as_slice() {
                ["open"] => End::Open,
                ["close"] => End::Close,
                ["end"] => End::Client,
                _ => panic!("{what}: {outcome}"),
            },
            text: text.trim_end_matches('"').to_owned(),
        }
    }

    /// What the program did that it should not have, over a new connection.
    fn run(&self, daemon: &Trackalert, mut client: Client, piece: usize) -> Option<String> {
        let before = commands(daemon);
        let probe = if self.end == End::Client { "" } else { PROBE };
        for piece in [self.bytes.as_slice(), probe.as_bytes()].concat().chunks(piece) {
            // A server that has answered and closed need not take the rest.
            if client.try_send(piece).is_err() {
                break;
            }
        }
        if self.end == End::Client {
            client.close_writing();
        }
        let replies = self.replies(&mut client);
        let mut expected = self.statuses.clone();
        expected.extend((self.end == End::Open).then_some(404));
        let found: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        if found != expected {
            return Some(format!("answered {found:?}, not {expected:?}"));
        }
        if !client.leftover().is_empty() {
            return Some(format!("sent {:?} after the answers", String::from_utf8_lossy(client.leftover())));
        }
        // Nothing may run whose answer is not seen.
        let (ran, answered) =
            (commands(daemon) - before, found.iter().filter(|status| **status == 200).count());
        if ran != answered as u64 {
            return Some(format!("{ran} commands ran, {answered} were answered"));
        }
        let last = self.statuses.len().checked_sub(1).map(|at| replies[at].text());
        if !last.unwrap_or_default().contains(&self.text) {
            return Some(format!("no {:?} in the last answer", self.text));
        }
        let ends = self.end != End::Client;
        replies.iter().enumerate().find_map(|(at, reply)| {
            let is_last = ends && at + 1 == replies.len();
            broken_rule(reply, is_last).map(|rule| format!("answer {}: {rule}", at + 1))
        })
    }

    fn replies(&self, client: &mut Client) -> Vec<Reply> {
        let mut replies = Vec::new();
        if self.bytes.starts_with(b"HEAD ") {
            replies.push(client.reply_without_body());
        }
        while let Some(reply) = client.try_reply() {
            replies.push(reply);
        }
        replies
    }
}

/// What holds for every answer: the section that one breaks.
fn broken_rule(reply: &Reply, is_last: bool) -> Option<&'static str> {
    let has = |name| reply.header(name).is_some();
    let is_interim = reply.status < 200;
    let rules = [
        (
            is_interim || is_date(reply.header("Date")),
            "9110 6.6.1, 5.6.7: an answer has a Date, an IMF-fixdate",
        ),
        (reply.body.is_empty() || has("Content-Type"), "9110 8.3: content has a type"),
        (is_interim != has("Content-Length"), "9112 6.2: interim answers have no length, others do here"),
        (!has("Transfer-Encoding"), "9112 6.1: not in answers to HTTP/1.0, and never here"),
        (reply.status != 405 || has("Allow"), "9110 15.5.6: 405 says what is allowed"),
        (reply.status != 401 || has("WWW-Authenticate"), "9110 15.5.2: 401 has a challenge"),
        (is_last == (reply.header("Connection") == Some("close")), "9112 9.6: the last answer says close"),
    ];
    rules.into_iter().find_map(|(is_kept, rule)| (!is_kept).then_some(rule))
}

/// Whether it looks like `Sun, 06 Nov 1994 08:49:37 GMT`.
fn is_date(text: Option<&str>) -> bool {
    let shape = |c: char| match c {
        'A'..='Z' => 'A',
        'a'..='z' => 'a',
        '0'..='9' => '0',
        other => other,
    };
    let text: String = text.unwrap_or_default().chars().map(shape).collect();
    text == "Aaa, 00 Aaa 0000 00:00:00 AAA"
}

/// How many commands have run, without those that ask for this.
fn commands(daemon: &Trackalert) -> u64 {
    let text = daemon.get("/metrics").text();
    let counts = text.lines().filter_map(|line| line.strip_prefix("trackalert_commands_total{cmd=\""));
    counts
        .filter(|line| !line.starts_with("metrics\""))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

/// Puts in what stands in braces.
fn expand(text: &str) -> String {
    let mut text = text.to_owned();
    // Words have words in them.
    for _ in 0..2 {
        for (name, word) in WORDS {
            text = text.replace(&format!("{{{name}}}"), word);
        }
    }
    text = text.replace("{auth}", &basic("u", "super"));
    while let Some(next) = text.match_indices('{').find_map(|(at, _)| repeat(&text, at)) {
        text = next;
    }
    text
}

/// The text with what is repeated in braces at `at` put in, if they are such.
fn repeat(text: &str, at: usize) -> Option<String> {
    let (number, rest) = text[at + 1..].split_once('*')?;
    let number = number.parse().ok()?;
    let (repeated, end) = rest.split_once('}')?;
    Some(format!("{}{}{end}", &text[..at], repeated.repeat(number)))
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let escaped = if byte == b'\\' { rest.next().unwrap() } else { 0 };
        bytes.push(match escaped {
            0 => byte,
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            _ => panic!("\\{} in {text}", escaped as char),
        });
    }
    bytes
}

fn table(name: &str) -> Vec<Exchange> {
    let text = file(name);
    let (mut exchanges, mut what, mut bytes) = (Vec::new(), "", String::new());
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("= ") {
            Some(outcome) => {
                exchanges.push(Exchange::read(what, &bytes, outcome));
                (what, bytes) = ("", String::new());
            }
            None if what.is_empty() => what = line,
            None => bytes.push_str(line),
        }
    }
    assert!(what.is_empty(), "{what} has no end");
    exchanges
}

/// Runs a table in every way; each client is new.
fn check(name: &str, daemon: &Trackalert, client: impl Fn() -> Client, is_tls: bool) {
    let exchanges = table(name);
    let mut wrong = Vec::new();
    // What rustls sends at the end of a half of its connection is not what a row means.
    for exchange in exchanges.iter().filter(|exchange| !is_tls || exchange.end != End::Client) {
        for piece in [usize::MAX, 1] {
            if let Some(fault) = exchange.run(daemon, client(), piece) {
                let way = if piece == 1 { "byte by byte" } else { "in one piece" };
                wrong.push(format!("{} ({way}): {fault}", exchange.what));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), 2 * exchanges.len(), wrong.join("\n"));
}

#[test]
fn the_rules_of_http_hold() {
    let daemon = Trackalert::start(CONFIG);
    check("data/rfc9112.txt", &daemon, || daemon.client(), false);
}

#[test]
fn nothing_is_smuggled() {
    let daemon = Trackalert::start(CONFIG);
    check("data/smuggling.txt", &daemon, || daemon.client(), false);
}

#[test]
fn all_of_it_holds_inside_tls() {
    let Some(server) = TlsServer::start("{}", CONFIG) else { return };
    for name in ["data/rfc9112.txt", "data/smuggling.txt"] {
        check(name, &server.daemon, || server.client(), true);
    }
}

#[test]
fn a_client_outside_the_acl_is_challenged_too() {
    let config = SERVER.replace("127.0.0.0/8", "192.0.2.0/24");
    let folder = Folder::new();
    let command = Command::new(PROGRAM);
    let daemon = Trackalert::start_with(folder, &config, command);
    let reply = daemon.client().reply();
    assert_eq!((reply.status, broken_rule(&reply, true)), (401, None));
}
