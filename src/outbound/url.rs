//! URLs of web servers: whether one is, and who it says that the client is. Nothing here repeats a URL
//! in a message, since it may hold a password.

use secrecy::zeroize::Zeroizing;
use ureq::http::Uri;
use ureq::http::uri::{Authority, Scheme};

/// What stands before an `@` in a URL, without its escapes. It need not be text.
pub struct User {
    pub name: Zeroizing<Vec<u8>>,
    pub password: Zeroizing<Vec<u8>>,
}

/// A URL without the user in it, and that user; nothing if it has no scheme.
pub fn split_user(url: &str) -> Option<(String, Option<User>)> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let user = user.map(|user| {
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        User { name: unescape(name), password: unescape(password) }
    });
    Some((format!("{scheme}://{host}{path}"), user))
}

/// Whether a URL without a user is one of a web server, and if so, whether of HTTPS.
pub fn is_https(uri: &Uri) -> Option<bool> {
    let is_https = uri.scheme() == Some(&Scheme::HTTPS);
    let is_host = |at: &Authority| !at.host().is_empty() && (at.as_str() == at.host() || at.port().is_some());
    let is_web = is_https || uri.scheme() == Some(&Scheme::HTTP);
    (is_web && uri.authority().is_some_and(is_host)).then_some(is_https)
}

/// Bytes in which `%` escapes what has a meaning in a URL.
fn unescape(text: &str) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let [first, left @ ..] = rest {
        let escaped = left.first_chunk::<2>().filter(|_| *first == b'%').and_then(|digits| {
            let digits = str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
            u8::from_str_radix(digits, 16).ok()
        });
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &left[2..] } else { left };
    }
    bytes
}
