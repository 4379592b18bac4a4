//! The encrypted messages between a console and the daemon, as weakforced's consoles and daemons
//! exchange them. Each side sends 24 random bytes, from which both make a nonce for each direction;
//! then every message is two bytes of length and a sealed text.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use secrecy::zeroize::Zeroizing;

use crate::error::Error;
use crate::net::crypto::{self, Key, NONCE, OVERHEAD};

/// How long the other side may take for what it has begun to send, and to read what it is sent.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest text of a message.
pub const LONGEST: usize = u16::MAX as usize - OVERHEAD;

/// An encrypted connection.
pub struct Channel {
    stream: TcpStream,
    key: Key,
    reading: [u8; NONCE],
    writing: [u8; NONCE],
}

/// Why a message did not come.
#[derive(Debug)]
pub enum Lost {
    /// The other side has closed the connection in between two messages.
    Closed,
    /// It does not have the same key.
    Undecipherable,
    Io(io::Error),
}

impl From<io::Error> for Lost {
    fn from(e: io::Error) -> Lost {
        Lost::Io(e)
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lost::Closed => f.write_str("the connection was closed"),
            Lost::Undecipherable => f.write_str("a message can't be decrypted: the keys differ"),
            Lost::Io(e) if e.kind() == ErrorKind::WouldBlock => f.write_str("timed out"),
            Lost::Io(e) => write!(f, "{}", Error::io("connection")(io::Error::new(e.kind(), e.to_string()))),
        }
    }
}

impl Channel {
    /// Exchanges the random bytes. It makes no difference which side is which.
    pub fn open(stream: TcpStream, key: Key) -> Result<Channel, Lost> {
        let ours = crypto::new_nonce().map_err(|e| Lost::Io(io::Error::other(e.to_string())))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut channel = Channel { stream, key, reading: [0; NONCE], writing: [0; NONCE] };
        channel.stream.write_all(&ours)?;
        let mut theirs = [0; NONCE];
        channel.read_exact(&mut theirs, Instant::now() + TIMEOUT)?;
        // Who sends back what it gets would otherwise pass our own messages off as its answers.
        if theirs == ours {
            return Err(Lost::Undecipherable);
        }
        // Half of each side's bytes: neither can make the other use a nonce again by repeating its own.
        channel.reading = merge(&ours, &theirs);
        channel.writing = merge(&theirs, &ours);
        Ok(channel)
    }

    /// The next text, which must begin within `patience`.
    pub fn read(&mut self, patience: Duration) -> Result<Zeroizing<Vec<u8>>, Lost> {
        let mut length = [0; 2];
        self.read_exact(&mut length[..1], Instant::now() + patience).map_err(|e| match e {
            Lost::Io(e) if e.kind() == ErrorKind::UnexpectedEof => Lost::Closed,
            e => e,
        })?;
        let deadline = Instant::now() + TIMEOUT;
        self.read_exact(&mut length[1..], deadline)?;
        let mut sealed = vec![0; u16::from_be_bytes(length).into()];
        self.read_exact(&mut sealed, deadline)?;
        let text = self.key.open(&sealed, &self.reading).ok_or(Lost::Undecipherable)?;
        increment(&mut self.reading);
        Ok(text)
    }

    /// Sends a text, which must not be longer than [`LONGEST`].
    pub fn write(&mut self, text: &[u8]) -> Result<(), Lost> {
        let sealed = self.key.seal(text, &self.writing);
        let length = u16::try_from(sealed.len())
            .map_err(|_| io::Error::new(ErrorKind::InvalidInput, "the text is too long for a message"))?;
        increment(&mut self.writing);
        self.stream.write_all(&[&length.to_be_bytes()[..], &sealed].concat())?;
        Ok(())
    }

    /// Whether the other side has closed the connection, or sent what nobody has asked for.
    pub fn is_over(&self) -> bool {
        let peek = || {
            self.stream.set_nonblocking(true)?;
            let peeked = self.stream.peek(&mut [0]);
            self.stream.set_nonblocking(false)?;
            peeked
        };
        !peek().is_err_and(|e| e.kind() == ErrorKind::WouldBlock)
    }

    fn read_exact(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<(), Lost> {
        let mut filled = 0;
        while filled < buffer.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Lost::Io(ErrorKind::WouldBlock.into()));
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => return Err(Lost::Io(ErrorKind::UnexpectedEof.into())),
                Ok(length) => filled += length,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

/// The first half of one and the second half of the other.
fn merge(first: &[u8; NONCE], second: &[u8; NONCE]) -> [u8; NONCE] {
    let mut merged = *first;
    merged[NONCE / 2..].copy_from_slice(&second[NONCE / 2..]);
    merged
}

/// Adds one to the big-endian number in the first four bytes.
fn increment(nonce: &mut [u8; NONCE]) {
    let [a, b, c, d, ..] = *nonce;
    nonce[..4].copy_from_slice(&u32::from_be_bytes([a, b, c, d]).wrapping_add(1).to_be_bytes());
}

/// A text that fits into a message: what is too much is cut between two characters, and the end says
/// so.
pub fn fit(mut text: String) -> String {
    if text.len() > LONGEST {
        let mark = format!("\n... truncated ({} bytes in all)\n", text.len());
        let mut end = LONGEST - mark.len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(&mark);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair(keys: [Key; 2]) -> [Channel; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let [key, other] = keys;
        let client = std::thread::spawn(move || Channel::open(stream, key).unwrap());
        let server = Channel::open(listener.accept().unwrap().0, other).unwrap();
        [client.join().unwrap(), server]
    }

    fn key() -> Key {
        crypto::new_key().unwrap().parse().unwrap()
    }

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let shared = key();
        let [mut client, mut server] = pair([shared.clone(), shared]);
        let texts = [Vec::new(), b"stats()".to_vec(), vec![b'x'; LONGEST]];
        for text in &texts {
            client.write(text).unwrap();
            assert_eq!(*server.read(TIMEOUT).unwrap(), *text);
            server.write(text).unwrap();
            assert_eq!(*client.read(TIMEOUT).unwrap(), *text);
        }
        assert!(client.write(&vec![b'x'; LONGEST + 1]).is_err());
        assert!(!client.is_over());
        drop(server);
        assert!(matches!(client.read(TIMEOUT), Err(Lost::Closed)) && client.is_over());
    }

    #[test]
    fn another_key_is_noticed() {
        let [mut client, mut server] = pair([key(), key()]);
        client.write(b"stats()").unwrap();
        assert!(matches!(server.read(TIMEOUT), Err(Lost::Undecipherable)));
    }

    #[test]
    fn an_echo_is_no_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let echo = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut copy = stream.try_clone().unwrap();
            // The client hangs up.
            let _ = io::copy(&mut copy, &mut stream);
        });
        assert!(matches!(Channel::open(stream, key()), Err(Lost::Undecipherable)));
        echo.join().unwrap();
    }

    #[test]
    fn what_is_never_finished_is_given_up() {
        let shared = key();
        let [client, mut server] = pair([shared.clone(), shared]);
        let soon = Duration::from_millis(20);
        assert_eq!(server.read(soon).unwrap_err().to_string(), "timed out");
        drop(client);
    }

    #[test]
    fn a_nonce_counts_in_its_first_four_bytes() {
        let mut nonce = [0xff; NONCE];
        increment(&mut nonce);
        assert_eq!((&nonce[..4], nonce[4]), (&[0, 0, 0, 0][..], 0xff));
        increment(&mut nonce);
        assert_eq!(nonce[..4], [0, 0, 0, 1]);
    }

    #[test]
    fn a_long_text_is_cut_with_a_mark() {
        let short = "é".repeat(LONGEST / 2);
        assert_eq!(fit(short.clone()), short);
        let cut = fit("é".repeat(100_000));
        assert!(cut.len() <= LONGEST && cut.ends_with("é\n... truncated (200000 bytes in all)\n"));
    }
}
