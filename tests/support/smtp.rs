//! A mail server: it keeps what it is sent, and answers as the test wants.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::wait_for;

/// The server.
pub struct MailServer {
    pub address: SocketAddr,
    messages: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
}

impl MailServer {
    /// Starts one that answers what ends a message with what `answer` says of it, such as `250 taken`. A
    /// message counts as taken if that begins with 2.
    pub fn start(answer: impl Fn(&str) -> &'static str + Send + Sync + 'static) -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (messages, is_over): (Arc<Mutex<Vec<String>>>, Arc<AtomicBool>) = Default::default();
        let (record, end, answer) = (messages.clone(), is_over.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let (record, answer) = (record.clone(), answer.clone());
                thread::spawn(move || serve(stream, &record, &*answer));
            }
        });
        MailServer { address, messages, is_over }
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// The messages that it took.
    pub fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap().clone()
    }

    /// Waits until it has taken as many.
    pub fn wait_for(&self, count: usize) -> Vec<String> {
        wait_for(&format!("{count} messages"), || {
            (self.messages.lock().unwrap().len() >= count).then_some(())
        });
        self.messages()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Speaks with a client until it has had enough.
fn serve(
    stream: TcpStream,
    record: &Mutex<Vec<String>>,
    answer: &(dyn Fn(&str) -> &'static str + Send + Sync),
) {
    stream.set_nodelay(true).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let mut stream = stream;
    let mut say = |text: &str| write!(stream, "{text}\r\n").is_ok();
    if !say("220 mail.example.com") {
        return;
    }
    while let Some(line) = lines.next() {
        let is_said = match line.split(' ').next().unwrap() {
            "EHLO" => say("250-mail.example.com\r\n250 8BITMIME"),
            "DATA" => {
                say("354 go on");
                let message: String =
                    lines.by_ref().take_while(|line| line != ".").map(|line| line + "\n").collect();
                let answer = answer(&message);
                if answer.starts_with('2') {
                    record.lock().unwrap().push(message);
                }
                say(answer)
            }
            "QUIT" => {
                say("221 bye");
                return;
            }
            _ => say("250 ok"),
        };
        if !is_said {
            return;
        }
    }
}

/// The value of a field of a message.
pub fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}
