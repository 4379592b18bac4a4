//! Statements to the server, over its HTTP interface.

use std::fmt::Display;
use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use serde::de::DeserializeOwned;
use ureq::http::Request;
use ureq::http::header::{AUTHORIZATION, HeaderValue};

use crate::config::ClickHouse;
use crate::error::{Error, Result};
use crate::outbound::{self, Tls};

/// How long the server may work on a question.
const QUESTION: Duration = Duration::from_secs(2);

/// How long an answer may take, connection and all: the server is to have time to say that a question
/// took too long, since that is no reason to think that it is down.
const ANSWER: Duration = Duration::from_millis(2300);

/// The same for statements that nobody waits for.
const WORK: Duration = Duration::from_secs(60);

/// Has each table take in everything that comes of an INSERT as one block, which is one part of each
/// partition, whatever the server's settings are.
const ONE_BLOCK: &str = "&max_insert_block_size=1000000&min_insert_block_size_rows=1000000\
    &min_insert_block_size_bytes=1000000000&max_block_size=1000000&group_by_two_level_threshold=0\
    &group_by_two_level_threshold_bytes=0";

/// Connections that are kept for questions.
const CONNECTIONS: usize = 32;

/// Bytes of an answer that are read.
const MOST: u64 = 64 << 20;

/// Characters of the server's complaint that are repeated.
const COMPLAINT: usize = 300;

/// Why there is no answer to a statement.
#[derive(Debug)]
pub enum Failure {
    /// The server did not say anything.
    Silence(String),
    /// It said this.
    Complaint(String),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Silence(text) | Failure::Complaint(text) => Error::Store(text),
        }
    }
}

type Answer<T> = std::result::Result<T, Failure>;

/// A server, as one user of one database.
pub struct Client {
    questions: outbound::Client,
    /// Keeps no connection: on one that is kept, a request can be sent twice without anybody knowing.
    inserts: outbound::Client,
    /// Without credentials, and without the database.
    server: String,
    database: String,
    authorization: Option<HeaderValue>,
}

impl Client {
    /// There is no connection yet.
    pub fn new(server: &ClickHouse, tls: &Tls) -> Result<Client> {
        let authorization = server.user.as_ref().map(|user| {
            let pair = Zeroizing::new(format!("{user}:{}", server.password.expose_secret()));
            let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair.as_bytes())))?;
            value.set_sensitive(true);
            Ok::<_, ureq::http::header::InvalidHeaderValue>(value)
        });
        let tls = server.url.starts_with("https:").then_some(tls);
        Ok(Client {
            questions: outbound::Client::new(tls, CONNECTIONS)?,
            inserts: outbound::Client::new(tls, 0)?,
            server: format!("{}/", server.url),
            database: server.database.clone(),
            authorization: authorization.transpose().map_err(|e| Error::Refused(e.to_string()))?,
        })
    }

    /// The server and the database, for messages.
    pub fn name(&self) -> String {
        format!("{}{}", self.server, self.database)
    }

    pub fn database(&self) -> &str {
        &self.database
    }

    /// The rows that a SELECT gives, a JSON object on each line.
    pub fn ask(&self, statement: &str) -> Answer<String> {
        let settings = format!("&readonly=2&max_execution_time={}", QUESTION.as_secs());
        let statement = format!("{statement}\nFORMAT JSONEachRow");
        self.send(&self.questions, &self.database, &settings, statement.as_bytes(), ANSWER)
    }

    /// Has something changed where it does no harm if that happens twice.
    pub fn change(&self, statement: &str) -> Answer<()> {
        self.send(&self.questions, &self.database, "", statement.as_bytes(), WORK).map(drop)
    }

    /// Makes the database.
    pub fn make_database(&self) -> Answer<()> {
        let statement = format!("CREATE DATABASE IF NOT EXISTS {}", self.database);
        self.send(&self.questions, "", "", statement.as_bytes(), ANSWER).map(drop)
    }

    /// Sends an INSERT, which is sent once and no more. While the server works on it, it has this name
    /// in `system.processes`.
    pub fn insert(&self, statement: &[u8], name: &str) -> Answer<()> {
        let settings = format!("&query_id={name}{ONE_BLOCK}");
        self.send(&self.inserts, &self.database, &settings, statement, WORK).map(drop)
    }

    /// Sends a statement, and gives what the server says to it.
    fn send(
        &self,
        client: &outbound::Client,
        database: &str,
        settings: &str,
        statement: &[u8],
        timeout: Duration,
    ) -> Answer<String> {
        let text = |e: &dyn Display| format!("{}: {e}", self.name());
        let silence = |e: &dyn Display| Failure::Silence(text(e));
        // The status is to come after the whole answer, so that an error is not taken for the end of it.
        let common = "wait_end_of_query=1&output_format_json_quote_64bit_integers=0";
        let uri = format!("{}?{common}&database={database}{settings}", self.server);
        let request = Request::post(uri).body(statement);
        let mut request = request.map_err(|e| silence(&e))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let answer = client.send(&request, timeout).map_err(|e| silence(&e))?;
        let status = answer.status();
        let mut body = String::new();
        let read = answer.into_body().into_reader().take(MOST + 1).read_to_string(&mut body);
        read.map_err(|e| {
            silence(&e.to_string().split(" (os error").next().unwrap_or_default().to_lowercase())
        })?;
        if !status.is_success() {
            return Err(Failure::Complaint(text(&complaint(status.as_u16(), &body))));
        }
        if body.len() as u64 > MOST {
            return Err(Failure::Complaint(text(&format!("an answer of more than {} MiB", MOST >> 20))));
        }
        Ok(body)
    }
}

/// The rows of an answer to [`Client::ask`].
pub fn rows<T: DeserializeOwned>(answer: &str) -> Result<Vec<T>> {
    let rows = answer.lines().map(serde_json::from_str).collect::<serde_json::Result<_>>();
    rows.map_err(|e| Error::Store(format!("an answer that makes no sense: {e}")))
}

/// What the server complains of, on one line.
fn complaint(status: u16, text: &str) -> String {
    // What follows is the version of the server.
    let text = text.split(", e.what()").next().unwrap_or_default();
    let text = text.split(" (version").next().unwrap_or_default();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(COMPLAINT) {
        _ if line.is_empty() => format!("status {status}"),
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::store::clickhouse::quote::{HOSTILE, Quoted};
    use crate::store::clickhouse::server::Server;

    fn client(url: &str) -> Client {
        Client::new(&ClickHouse::parse(url).unwrap(), &Tls::default()).unwrap()
    }

    fn said(answer: Answer<String>) -> String {
        Error::from(answer.unwrap_err()).to_string()
    }

    #[derive(Deserialize)]
    struct Text {
        x: String,
        n: u64,
    }

    #[test]
    fn any_text_comes_back_as_it_was() {
        let Some(server) = Server::start() else { return };
        let client = client(&server.url());
        client.make_database().unwrap();
        for text in HOSTILE {
            let answer = client.ask(&format!("SELECT {} AS x, 18446744073709551615 AS n", Quoted(text)));
            let found: Vec<Text> = rows(&answer.unwrap()).unwrap();
            assert_eq!((found[0].x.as_str(), found[0].n), (text, u64::MAX));
        }
        assert!(rows::<Text>(&client.ask("SELECT 1 AS x WHERE 0").unwrap()).unwrap().is_empty());
    }

    #[test]
    fn a_complaint_of_the_server_is_an_error_without_the_password() {
        let Some(mut server) = Server::start() else { return };
        let client = client(&server.url());
        let error = said(client.ask("SELECT 1"));
        let name = client.name();
        let expected = format!("store unavailable: {name}: Code: 81");
        assert!(error.starts_with(&expected), "{error}");
        client.make_database().unwrap();
        for (statement, code) in
            [("SELECT * FROM none", "Code: 60"), ("SELECT sleep(3)", ""), ("DROP TABLE x", "")]
        {
            let error = said(client.ask(statement));
            assert!(error.contains(code) && !error.contains("s'ec"), "{error}");
        }
        server.kill();
        let error = said(client.ask("SELECT 1"));
        assert_eq!(error, format!("store unavailable: {name}: connection refused"));
    }

    #[test]
    fn a_complaint_is_short() {
        assert_eq!(complaint(503, " "), "status 503");
        assert_eq!(
            complaint(500, "Code: 1, e.displayText() = x\ny, e.what() = x\n"),
            "Code: 1, e.displayText() = x y"
        );
        assert_eq!(complaint(500, &"ü".repeat(1000)).chars().count(), COMPLAINT + 1);
    }
}
