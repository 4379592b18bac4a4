//! A receiver of webhooks: it records what it is sent, and answers as the test wants.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::wait_for;

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// The number of its connection, from 0.
    pub connection: usize,
    /// Its place on this connection, from 0.
    pub number: usize,
    pub time: Instant,
    /// Method, target and version.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }
}

/// What becomes of a request.
pub enum Answer {
    /// A status, and fields that end with line ends.
    Status(u16, &'static str),
    /// A status, and a body.
    Body(u16, &'static str),
    /// The status 200 after a while.
    Late(Duration),
    /// The connection is closed.
    Close,
    /// There is none, however long the sender waits.
    Never,
}

pub const OK: Answer = Answer::Status(200, "");

/// The receiver.
pub struct Sink {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Sink {
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Sink {
        Sink::listen(None, answer)
    }

    /// The same with TLS.
    pub fn start_tls(
        config: ServerConfig,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Sink {
        Sink::listen(Some(Arc::new(config)), answer)
    }

    fn listen(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, is_over): (Arc<Mutex<Vec<Request>>>, Arc<AtomicBool>) = Default::default();
        let (record, end, answer) = (requests.clone(), is_over.clone(), Arc::new(answer));
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let (record, answer, tls) = (record.clone(), answer.clone(), tls.clone());
                let stream: TcpStream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                thread::spawn(move || {
                    let stream: Box<dyn Stream> = match tls {
                        Some(config) => {
                            Box::new(StreamOwned::new(ServerConnection::new(config).unwrap(), stream))
                        }
                        None => Box::new(stream),
                    };
                    serve(BufReader::new(stream), connection, &record, &*answer);
                });
            }
        });
        Sink { address, requests, is_over }
    }

    /// The URL of a path of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it was sent so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits for as many requests.
    pub fn wait_for(&self, count: usize) -> Vec<Request> {
        wait_for(&format!("{count} requests"), || {
            (self.requests.lock().unwrap().len() >= count).then_some(())
        });
        self.requests()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Answers the requests of a connection, until it ends.
fn serve(
    mut stream: BufReader<Box<dyn Stream>>,
    connection: usize,
    record: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&Request) -> Answer + Send + Sync),
) {
    for number in 0.. {
        let Some(request) = read(&mut stream, connection, number) else { return };
        record.lock().unwrap().push(request.clone());
        let (status, fields, body) = match answer(&request) {
            Answer::Status(status, fields) => (status, fields, "ok"),
            Answer::Body(status, body) => (status, "", body),
            Answer::Late(wait) => {
                thread::sleep(wait);
                (200, "", "ok")
            }
            Answer::Close => return,
            Answer::Never => {
                let _ = stream.read_to_end(&mut Vec::new());
                return;
            }
        };
        let length =
            if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let body = if status == 204 { "" } else { body };
        let text = format!("HTTP/1.1 {status} X\r\n{fields}{length}\r\n{body}");
        if stream.get_mut().write_all(text.as_bytes()).and_then(|()| stream.get_mut().flush()).is_err() {
            return;
        }
    }
}

/// The next request of a connection, unless it ends before that is whole.
fn read(stream: &mut impl BufRead, connection: usize, number: usize) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
        match line.strip_suffix("\r\n")? {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines.remove(0);
    let headers: Vec<_> = lines
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut request = Request { connection, number, time: Instant::now(), line, headers, body: Vec::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    request.body.resize(length, 0);
    stream.read_exact(&mut request.body).ok()?;
    Some(request)
}
