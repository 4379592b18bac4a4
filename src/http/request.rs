//! Requests by RFC 9112: where a head ends, what it says, and how long its body is. Whatever two
//! parsers could read differently is refused, so that nothing can be smuggled past a proxy.
//! Nothing here knows of sockets.

use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::str::FromStr;

use tiny_http::{HTTPVersion, Method};

use crate::config::HttpLimits;
use crate::http::target::{is_host, split};

/// Header fields that a request may have.
const MAX_FIELDS: usize = 100;

/// The head of a request, borrowed from the bytes that it was read from.
pub struct Head<'a> {
    pub method: Method,
    /// The path as it was sent, without the query: no percent-encoding is undone.
    pub path: &'a str,
    /// What follows the question mark.
    pub query: &'a str,
    pub version: HTTPVersion,
    /// The value of the `Authorization` field.
    pub authorization: Option<&'a [u8]>,
    /// What tells this delivery of a webhook from others, as wforce says it in `X-Wforce-Delivery`.
    pub delivery: Option<&'a [u8]>,
    pub framing: Framing,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the connection may serve another request.
    pub keeps_alive: bool,
    /// Whether the client wants to speak WebSocket instead.
    pub is_websocket: bool,
}

/// A password is not printed.
impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut head = f.debug_struct("Head");
        head.field("method", &self.method).field("path", &self.path).finish_non_exhaustive()
    }
}

/// How the end of a body is found (RFC 9112, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(usize),
    Chunked,
}

/// Why a request can't be served; the connection is closed after the answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub reason: &'static str,
}

const fn refuse(status: u16, reason: &'static str) -> Refusal {
    Refusal { status, reason }
}

/// What breaks the rules in no way that has words of its own.
const MALFORMED: Refusal = refuse(400, "Malformed request");
const TARGET_TOO_LONG: Refusal = refuse(414, "Request target too long");
const HEAD_TOO_LARGE: Refusal = refuse(431, "Request header fields too large");
const BODY_TOO_LARGE: Refusal = refuse(413, "Request body too large");

/// Finds the end of the head in `bytes`: the length of the head with its empty line. The first
/// `scanned` bytes were looked at before; they grow with each call, so that a head that comes byte
/// by byte costs no more than one that comes whole.
pub fn find_end(bytes: &[u8], scanned: &mut usize, limit: usize) -> Result<Option<usize>, Refusal> {
    // No method begins so: it may be TLS, whose client should not wait for an answer until it is late.
    if bytes.first().is_some_and(|first| !first.is_ascii_graphic()) {
        return Err(MALFORMED);
    }
    let window = &bytes[..bytes.len().min(limit)];
    for at in memchr::memchr_iter(b'\n', &window[(*scanned).min(window.len())..]) {
        let line_end = *scanned + at;
        if line_end == 0 || window[line_end - 1] != b'\r' {
            return Err(MALFORMED);
        }
        if line_end >= 3 && window[line_end - 3..line_end].ends_with(b"\n\r") {
            return Ok(Some(line_end + 1));
        }
    }
    *scanned = window.len();
    if bytes.len() < limit {
        return Ok(None);
    }
    let is_in_first_line = memchr::memchr(b'\n', window).is_none();
    Err(if is_in_first_line { TARGET_TOO_LONG } else { HEAD_TOO_LARGE })
}

impl<'a> Head<'a> {
    /// Reads a head that ends with `bytes`.
    pub fn parse(bytes: &'a [u8], limits: &HttpLimits) -> Result<Head<'a>, Refusal> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut fields) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(HEAD_TOO_LARGE),
            Err(httparse::Error::Version) if has_version(bytes) => {
                return Err(refuse(505, "HTTP version not supported"));
            }
            Ok(_) | Err(_) => return Err(MALFORMED),
        }
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
        else {
            return Err(MALFORMED);
        };
        let method = Method::from_str(method).map_err(|()| MALFORMED)?;
        let (path, query) = split(target, &method).ok_or(MALFORMED)?;
        let mut head = Head {
            method,
            path,
            query,
            version: HTTPVersion(1, minor),
            authorization: None,
            delivery: None,
            framing: Framing::Length(0),
            expects_continue: false,
            keeps_alive: minor == 1,
            is_websocket: false,
        };
        head.read_fields(request.headers, limits)?;
        Ok(head)
    }

    /// Where in `bytes`, which it was read from, the value of the `Authorization` field lies.
    pub fn credentials(&self, bytes: &[u8]) -> Range<usize> {
        let Some(field) = self.authorization else { return 0..0 };
        let start = field.as_ptr().addr() - bytes.as_ptr().addr();
        start..start + field.len()
    }

    fn read_fields(&mut self, fields: &[httparse::Header<'a>], limits: &HttpLimits) -> Result<(), Refusal> {
        let is_1_1 = self.version.1 == 1;
        let (mut hosts, mut length, mut coding, mut closes) = (0, None, None, false);
        for field in fields {
            let value = field.value;
            match field.name {
                name if name.eq_ignore_ascii_case("host") => {
                    hosts += 1;
                    if !is_host(value) {
                        return Err(MALFORMED);
                    }
                }
                name if name.eq_ignore_ascii_case("content-length") => {
                    once(&mut length, parse_length(value, limits.body)?, "Content-Length given twice")?;
                }
                name if name.eq_ignore_ascii_case("transfer-encoding") => {
                    once(&mut coding, value, "Transfer-Encoding given twice")?;
                }
                name if name.eq_ignore_ascii_case("connection") => {
                    closes |= has_token(value, b"close");
                    self.keeps_alive |= has_token(value, b"keep-alive");
                }
                name if name.eq_ignore_ascii_case("authorization") => {
                    // Of two, a proxy may have looked at the other one.
                    once(&mut self.authorization, value, "Authorization given twice")?;
                }
                name if name.eq_ignore_ascii_case("x-wforce-delivery") => self.delivery = Some(value),
                name if name.eq_ignore_ascii_case("expect") && is_1_1 => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(refuse(417, "Expectation failed"));
                    }
                    self.expects_continue = true;
                }
                name if name.eq_ignore_ascii_case("upgrade") => {
                    self.is_websocket |= has_token(value, b"websocket");
                }
                _ => {}
            }
        }
        if hosts > 1 || hosts == 0 && is_1_1 {
            return Err(refuse(400, "A request needs one Host field"));
        }
        self.keeps_alive &= !closes;
        self.framing = match (coding, length) {
            (None, length) => Framing::Length(length.unwrap_or(0)),
            (Some(_), _) if !is_1_1 => return Err(refuse(400, "Transfer-Encoding in HTTP/1.0")),
            (Some(_), Some(_)) => return Err(refuse(400, "Content-Length with Transfer-Encoding")),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
            (Some(codings), None) => return Err(refuse_codings(codings)),
        };
        Ok(())
    }
}

/// Sets what a request may say once.
fn once<T>(place: &mut Option<T>, value: T, reason: &'static str) -> Result<(), Refusal> {
    place.replace(value).map_or(Ok(()), |_| Err(refuse(400, reason)))
}

/// Whether a head begins with three words, of which the last is some version of HTTP.
fn has_version(head: &[u8]) -> bool {
    let line = head.split(|c| *c == b'\r').next().unwrap_or_default();
    let mut words = line.split(|c| *c == b' ').skip(2);
    let is_version = |word: &[u8]| {
        matches!(word, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit())
    };
    words.next().is_some_and(is_version) && words.next().is_none()
}

/// Why other codings than chunked alone are refused: a body whose last coding is not chunked, or that
/// has it twice, has no end that all agree on (RFC 9112, sections 6.1 and 6.3).
fn refuse_codings(codings: &[u8]) -> Refusal {
    let mut codings = codings.split(|c| *c == b',').map(<[u8]>::trim_ascii).rev().enumerate();
    let is_malformed = codings.any(|(from_last, coding)| {
        coding.is_empty() || from_last > 0 && coding.eq_ignore_ascii_case(b"chunked")
    });
    if is_malformed {
        return refuse(400, "Malformed Transfer-Encoding");
    }
    refuse(501, "Transfer-Encoding not supported")
}

/// A `Content-Length`: digits alone, and no more than `limit`.
fn parse_length(value: &[u8], limit: usize) -> Result<usize, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(refuse(400, "Malformed Content-Length"));
    }
    let length = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
    length.filter(|length| *length <= limit).ok_or(BODY_TOO_LARGE)
}

/// Whether a comma-separated list holds a token.
fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|c| *c == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

/// A chunked body as far as it has come (RFC 9112, section 7.1).
#[derive(Debug, Default)]
pub struct Chunks {
    /// The content so far.
    pub content: Vec<u8>,
    /// Bytes of the chunk that are still to come; its line end is not among them.
    left: usize,
    stage: Stage,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Size,
    Data,
    DataEnd,
    Trailer,
    Done,
}

/// Bytes of a chunk's size line or of a trailer line. Extensions and trailers say nothing here.
const MAX_CHUNK_LINE: usize = 256;

impl Chunks {
    /// Takes what it can of `bytes` and says how many bytes that was.
    pub fn take(&mut self, bytes: &[u8], limit: usize) -> Result<usize, Refusal> {
        let mut taken = 0;
        loop {
            let rest = &bytes[taken..];
            match self.stage {
                Stage::Done => return Ok(taken),
                Stage::Data => {
                    let part = &rest[..rest.len().min(self.left)];
                    self.content.extend_from_slice(part);
                    self.left -= part.len();
                    taken += part.len();
                    if self.left > 0 {
                        return Ok(taken);
                    }
                    self.stage = Stage::DataEnd;
                }
                Stage::DataEnd => {
                    let end = &rest[..rest.len().min(2)];
                    if !b"\r\n".starts_with(end) {
                        return Err(refuse(400, "Malformed chunk"));
                    }
                    if end.len() < 2 {
                        return Ok(taken);
                    }
                    taken += 2;
                    self.stage = Stage::Size;
                }
                Stage::Size | Stage::Trailer => {
                    let Some(line) = line(rest)? else { return Ok(taken) };
                    taken += line.len() + 2;
                    self.take_line(line, limit)?;
                }
            }
        }
    }

    /// Whether the last chunk and the trailers are in.
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    fn take_line(&mut self, line: &[u8], limit: usize) -> Result<(), Refusal> {
        self.stage = match self.stage {
            Stage::Size => {
                self.left = chunk_size(line)?;
                // The limit may have become less than what has come.
                if self.left > limit.saturating_sub(self.content.len()) {
                    return Err(BODY_TOO_LARGE);
                }
                if self.left == 0 { Stage::Trailer } else { Stage::Data }
            }
            Stage::Trailer if line.is_empty() => Stage::Done,
            Stage::Trailer if !is_field(line) => return Err(refuse(400, "Malformed trailer")),
            Stage::Trailer => {
                self.left += 1;
                if self.left > MAX_FIELDS {
                    return Err(HEAD_TOO_LARGE);
                }
                Stage::Trailer
            }
            Stage::Data | Stage::DataEnd | Stage::Done => return Err(refuse(400, "Malformed chunk")),
        };
        Ok(())
    }
}

/// The line that `bytes` begins with, without its end; `None` while it has no end.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Refusal> {
    let window = &bytes[..bytes.len().min(MAX_CHUNK_LINE)];
    match memchr::memchr2(b'\n', b'\0', window) {
        Some(at) if window[..=at].ends_with(b"\r\n") && !window[..at - 1].contains(&b'\r') => {
            Ok(Some(&window[..at - 1]))
        }
        Some(_) => Err(refuse(400, "Malformed chunk")),
        None if bytes.len() >= MAX_CHUNK_LINE => Err(refuse(400, "Malformed chunk")),
        None => Ok(None),
    }
}

/// The size that a chunk's first line gives; an extension after it is ignored, as RFC 9112 asks.
fn chunk_size(line: &[u8]) -> Result<usize, Refusal> {
    let digits = line.iter().take_while(|c| c.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at(digits);
    let size = str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
    match size {
        Some(size) if digits.len() <= 8 && is_extension(extension) => Ok(size),
        _ => Err(refuse(400, "Malformed chunk size")),
    }
}

/// Whether what follows a chunk's size is nothing or a list of extensions, with every quote closed.
fn is_extension(text: &[u8]) -> bool {
    let blanks = text.iter().take_while(|c| is_blank(**c)).count();
    let (mut is_quoted, mut is_escaped) = (false, false);
    for c in text {
        is_quoted ^= *c == b'"' && !is_escaped;
        is_escaped = *c == b'\\' && is_quoted && !is_escaped;
    }
    text.is_empty() || text.get(blanks) == Some(&b';') && !is_quoted && text.iter().all(is_text)
}

/// Whether a line of the trailer section is a field (RFC 9112, section 5): what is none could be the
/// start of another request for other readers.
fn is_field(line: &[u8]) -> bool {
    let name = line.iter().take_while(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(c));
    let length = name.count();
    length > 0 && line.get(length) == Some(&b':') && line.iter().all(is_text)
}

fn is_blank(c: u8) -> bool {
    c == b' ' || c == b'\t'
}

/// Whether a byte may be in a value.
fn is_text(c: &u8) -> bool {
    is_blank(*c) || !c.is_ascii_control()
}

#[cfg(test)]
mod tests;
