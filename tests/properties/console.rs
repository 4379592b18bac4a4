//! The console's messages: what one side seals arrives, nothing that was changed on the way does, and
//! no bytes from the network do harm. The other side is written anew here.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use sodiumoxide::crypto::secretbox;
use trackalert::probe::console::{self, Channel, LONGEST, Loss};

use super::Random;

const KEY: [u8; 32] = [7; 32];
const KEY_TEXT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// Nothing waits: what is to come has come when it is read.
const PATIENCE: Duration = Duration::from_secs(10);

/// `data` is what the other side sends, as it is and as the texts of good messages; a text for the
/// terminal; and the commands of a pipe.
pub fn console(data: &[u8]) {
    send_raw(data);
    send_sealed(data);
    answer(data);
    run(data);
    let text = String::from_utf8_lossy(data);
    if console::is_key(&text) {
        assert_eq!(text.len(), 44);
    }
    let harmless = console::harmless(&text);
    assert!(!harmless.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
    assert_eq!(console::harmless(&harmless), harmless);
    assert_eq!(harmless == text, !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
    let (start, names) = console::candidates(&text);
    assert!(text.is_char_boundary(start));
    assert!(names.iter().all(|name| name.starts_with(&text[start..])));
    let fitted = console::fit(text.repeat(1 + 100_000 / (text.len() + 1)));
    assert!(fitted.len() <= LONGEST);
}

/// The other side of a connection.
struct Peer {
    stream: UnixStream,
    /// The nonces of what it sends and of what it is sent.
    sending: secretbox::Nonce,
    receiving: secretbox::Nonce,
}

impl Peer {
    /// A connection whose other side has sent `theirs`.
    fn open(theirs: [u8; 24]) -> (Channel, Peer) {
        let (ours, mut stream) = UnixStream::pair().unwrap();
        stream.write_all(&theirs).unwrap();
        let channel = Channel::open(TcpStream::from(OwnedFd::from(ours)), KEY_TEXT).unwrap();
        let mut ours = [0; 24];
        stream.read_exact(&mut ours).unwrap();
        let merge = |first: [u8; 24], second: [u8; 24]| {
            let mut nonce = first;
            nonce[12..].copy_from_slice(&second[12..]);
            secretbox::Nonce(nonce)
        };
        (channel, Peer { stream, sending: merge(ours, theirs), receiving: merge(theirs, ours) })
    }

    /// A text as a message.
    fn seal(&mut self, text: &[u8]) -> Vec<u8> {
        let sealed = secretbox::seal(text, &self.sending, &secretbox::Key(KEY));
        count(&mut self.sending);
        [&u16::try_from(sealed.len()).unwrap().to_be_bytes()[..], &sealed].concat()
    }

    fn send_last(mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

fn count(nonce: &mut secretbox::Nonce) {
    for byte in nonce.0[..4].iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return;
        }
    }
}

/// Nobody without the key gets a text in.
fn send_raw(data: &[u8]) {
    let (mut channel, peer) = Peer::open([1; 24]);
    peer.send_last(data);
    let loss = channel.read(PATIENCE).unwrap_err();
    let length = data.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)));
    let expected = match length {
        _ if data.is_empty() => Loss::Closed,
        Some(length) if data.len() >= length + 2 => Loss::Undecipherable,
        _ => Loss::Io(std::io::ErrorKind::UnexpectedEof),
    };
    assert_eq!(loss, expected);
}

/// Good messages arrive up to the one that is damaged, which does not, nor what follows it.
fn send_sealed(data: &[u8]) {
    let mut random = Random::of(data);
    let theirs: [u8; 24] = std::array::from_fn(|_| [0, 0xff, 1][random.below(3)]);
    let (mut channel, mut peer) = Peer::open(theirs);
    let texts = random.pieces(data, 1 + data.len() / 3);
    let messages: Vec<Vec<u8>> = texts.iter().map(|text| peer.seal(text)).collect();
    let damaged = random.below(messages.len() + 1);
    let mut sent = messages.concat();
    let mut is_cut = false;
    if let Some(message) = messages.get(damaged) {
        let at = messages[..damaged].concat().len();
        match random.below(3) {
            // Any bit but those of the length: what that makes of the message is another matter.
            0 => sent[at + 2 + random.below(message.len() - 2)] ^= 1 << random.below(8),
            1 => {
                sent.truncate(at + random.below(message.len()));
                is_cut = true;
            }
            // One that was sent before.
            _ => drop(sent.splice(at..at + message.len(), messages[random.below(damaged.max(1))].clone())),
        }
    }
    // The first message in its own place is no damage.
    let is_whole = sent == messages.concat();
    peer.send_last(&sent);
    for text in &texts[..if is_whole { texts.len() } else { damaged }] {
        assert_eq!(channel.read(PATIENCE).unwrap(), *text);
    }
    let loss = channel.read(PATIENCE).unwrap_err();
    match loss {
        Loss::Closed => assert!(is_whole || is_cut),
        Loss::Undecipherable => assert!(!is_whole && !is_cut),
        Loss::Io(kind) => assert!(is_cut && kind == std::io::ErrorKind::UnexpectedEof),
    }
}

/// What the program writes, the other side reads.
fn answer(data: &[u8]) {
    let (mut channel, mut peer) = Peer::open([3; 24]);
    for text in [data, b"", data] {
        channel.write(text).unwrap();
        let mut length = [0; 2];
        peer.stream.read_exact(&mut length).unwrap();
        let mut sealed = vec![0; u16::from_be_bytes(length).into()];
        peer.stream.read_exact(&mut sealed).unwrap();
        let opened = secretbox::open(&sealed, &peer.receiving, &secretbox::Key(KEY));
        assert_eq!(opened.as_deref(), Ok(text));
        count(&mut peer.receiving);
    }
}

/// Every line that is a command is run, until one ends it.
fn run(data: &[u8]) {
    let mut lines = Vec::new();
    let (answers, errors) = console::run(data, |line| {
        lines.push(line.to_owned());
        Ok(if line.contains("shutdown") { None } else { Some(format!("<{line}>")) })
    });
    assert!(errors.is_empty());
    let text = String::from_utf8_lossy(data);
    let commands = text.split('\n').filter(|line| !line.trim().is_empty());
    let mut expected = Vec::new();
    for line in commands.take_while(|line| !["quit", "exit"].contains(&line.trim())) {
        expected.push(line.to_owned());
        if line.contains("shutdown") {
            break;
        }
    }
    assert_eq!(lines, expected);
    let answered = expected.iter().filter(|line| !line.contains("shutdown"));
    let answered: String = answered.map(|line| format!("<{line}>\n")).collect();
    assert_eq!(String::from_utf8(answers).unwrap(), answered);
}
