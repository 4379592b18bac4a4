//! A client that sends what a test wants, well-formed or not, and reads what comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What a client reads from and writes to.
pub trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A connection to the program.
pub struct Client {
    stream: Box<dyn Stream>,
    socket: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {}", self.text()))
    }

    /// The value of a field, without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// The `Authorization` field of a user with a password.
pub fn basic(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
}

/// A whole request with the password of the tests.
pub fn request(method: &str, path: &str, body: &str) -> String {
    let (auth, length) = (basic("wforce", "super"), body.len());
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{auth}Content-Length: {length}\r\n\r\n{body}")
}

/// A socket whose peer may take its time, but not for ever.
pub fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.set_write_timeout(Some(LIMIT)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let socket = connect(address);
        Client::over(socket.try_clone().unwrap(), socket)
    }

    /// A client that speaks through `stream`, which has `socket` below it.
    pub fn over(stream: impl Stream + 'static, socket: TcpStream) -> Client {
        Client { stream: Box::new(stream), socket, buffer: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends what may be too much for a server that has closed already.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    pub fn post(&mut self, path: &str, body: &str) -> Reply {
        self.send(request("POST", path, body));
        self.reply()
    }

    pub fn get(&mut self, path: &str) -> Reply {
        self.send(request("GET", path, ""));
        self.reply()
    }

    pub fn close_writing(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// The next answer.
    pub fn reply(&mut self) -> Reply {
        self.try_reply().expect("an answer")
    }

    /// The next answer, or nothing if the connection ends before it is whole.
    pub fn try_reply(&mut self) -> Option<Reply> {
        self.read_reply(true)
    }

    /// The next answer to a HEAD, which has no body whatever it says.
    pub fn reply_without_body(&mut self) -> Reply {
        self.read_reply(false).expect("an answer")
    }

    fn read_reply(&mut self, has_body: bool) -> Option<Reply> {
        let end = loop {
            match self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.read_more()?,
            }
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: Vec::new() };
        let length = match reply.header("Content-Length") {
            Some(length) if has_body => length.parse().unwrap(),
            _ => 0,
        };
        while self.buffer.len() < length {
            self.read_more()?;
        }
        reply.body = self.buffer.drain(..length).collect();
        Some(reply)
    }

    /// What was read and belongs to no answer.
    pub fn leftover(&self) -> &[u8] {
        &self.buffer
    }

    /// Whether the server has closed the connection: nothing comes any more.
    pub fn is_closed(&mut self) -> bool {
        self.read_more().is_none()
    }

    /// Reads once; nothing at the end of the stream.
    fn read_more(&mut self) -> Option<()> {
        let mut bytes = [0; 65536];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(length) => {
                    self.buffer.extend_from_slice(&bytes[..length]);
                    return Some(());
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return None;
                }
                Err(e) => panic!("no answer: {e}"),
            }
        }
    }
}
