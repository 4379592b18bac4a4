//! What libsodium does for the program: the console's encryption, keys, hashes, and comparison in
//! constant time. Nothing else uses it, so that another library could take its place here.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use sodiumoxide::crypto::auth::hmacsha256;
use sodiumoxide::crypto::hash::sha256;
use sodiumoxide::crypto::secretbox;
use sodiumoxide::crypto::shorthash;

use crate::error::{Error, Result};

/// Bytes of a nonce.
pub const NONCE: usize = secretbox::NONCEBYTES;

/// By how much a sealed text is longer than the text.
pub const OVERHEAD: usize = secretbox::MACBYTES;

/// A secret key that both sides of the console have.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(secretbox::Key);

impl Key {
    /// Seals a text (XSalsa20 and Poly1305, `crypto_secretbox_easy`). A nonce must never be used for
    /// a second text.
    pub fn seal(&self, text: &[u8], nonce: &[u8; NONCE]) -> Vec<u8> {
        secretbox::seal(text, &secretbox::Nonce(*nonce), &self.0)
    }

    /// The text that was sealed with this key and nonce, unless it was not.
    pub fn open(&self, sealed: &[u8], nonce: &[u8; NONCE]) -> Option<Zeroizing<Vec<u8>>> {
        secretbox::open(sealed, &secretbox::Nonce(*nonce), &self.0).ok().map(Zeroizing::new)
    }
}

impl FromStr for Key {
    type Err = Error;

    /// Reads 32 bytes in base64, as `setKey` takes them.
    fn from_str(text: &str) -> Result<Key> {
        let bytes = STANDARD.decode(text).ok().map(Zeroizing::new);
        let key = bytes.and_then(|bytes| secretbox::Key::from_slice(&bytes));
        // The text may be a key that was mistyped: it is not repeated.
        key.map(Key).ok_or_else(|| Error::Refused("the key is not 32 bytes in base64".into()))
    }
}

/// A secret is not printed.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A new console key: 32 random bytes in base64.
pub fn new_key() -> Result<String> {
    init()?;
    Ok(STANDARD.encode(secretbox::gen_key().as_ref()))
}

/// Random bytes, never the same twice.
pub fn new_nonce() -> Result<[u8; NONCE]> {
    init()?;
    Ok(secretbox::gen_nonce().0)
}

/// The version of the library that runs, as it says it.
pub fn version() -> &'static str {
    sodiumoxide::version::version_string()
}

/// Seeds the generator of random numbers; without it, its output could be that of another process.
fn init() -> Result<()> {
    sodiumoxide::init().map_err(|()| Error::Refused("the system has no random numbers".into()))
}

/// Whether two secrets are equal. The time tells their lengths at most, never where they differ.
pub fn is_same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && sodiumoxide::utils::memcmp(left, right)
}

/// The SHA-256 of a message, in base64.
pub fn hash(message: &[u8]) -> String {
    STANDARD.encode(sha256::hash(message))
}

/// The HMAC-SHA256 of a message with a secret of any length, in base64.
pub fn sign(secret: &[u8], message: &[u8]) -> String {
    let mut state = hmacsha256::State::init(secret);
    state.update(message);
    STANDARD.encode(state.finalize())
}

/// Makes hashes (SipHash-2-4) that nobody can foresee who does not have it.
#[derive(Clone)]
pub struct HashKey(shorthash::Key);

impl HashKey {
    pub fn new() -> Result<HashKey> {
        init()?;
        Ok(HashKey(shorthash::gen_key()))
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<HashKey> {
        shorthash::Key::from_slice(bytes).map(HashKey)
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    pub fn hash(&self, message: &[u8]) -> u64 {
        u64::from_le_bytes(shorthash::shorthash(message, &self.0).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_and_signatures_are_those_of_the_standards() {
        // FIPS 180-2, B.1; RFC 4231, test cases 2 and 6.
        assert_eq!(hash(b"abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        for (secret, message, expected) in [
            (
                &b"Jefe"[..],
                &b"what do ya want for nothing?"[..],
                "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=",
            ),
            (&[0xaa; 131], long, "YOQxWR7gtn8Niiaqy/W3f44LxiE3KMUUBUYEDw7jf1Q="),
        ] {
            assert_eq!(sign(secret, message), expected);
        }
    }

    #[test]
    fn keys_are_32_bytes_and_differ() {
        let (one, other) = (new_key().unwrap(), new_key().unwrap());
        assert_eq!(STANDARD.decode(&one).unwrap().len(), 32);
        assert_ne!(one, other);
        assert_ne!(new_nonce().unwrap(), new_nonce().unwrap());
        assert!(one.parse::<Key>().is_ok());
        for bad in ["", "zzz", "bad!", "c2hvcnQ=", &one[..43], &format!("{one}AAAA")] {
            let error = bad.parse::<Key>().unwrap_err().to_string();
            assert_eq!(error, "the key is not 32 bytes in base64", "{bad}");
        }
    }

    #[test]
    fn only_the_key_and_the_nonce_open_what_they_sealed() {
        let [key, other]: [Key; 2] = [1, 2].map(|_| new_key().unwrap().parse().unwrap());
        let [nonce, another] = [new_nonce().unwrap(), new_nonce().unwrap()];
        let sealed = key.seal(b"text", &nonce);
        assert_eq!(sealed.len(), 4 + OVERHEAD);
        assert_eq!(key.open(&sealed, &nonce).unwrap().as_slice(), b"text");
        assert_eq!(other.open(&sealed, &nonce), None);
        assert_eq!(key.open(&sealed, &another), None);
        assert_eq!(key.open(&sealed[1..], &nonce), None);
        assert_eq!(key.open(b"", &nonce), None);
        assert_eq!(key.open(&key.seal(b"", &nonce), &nonce).unwrap().as_slice(), b"");
    }

    #[test]
    fn secrets_are_compared_whole() {
        for (left, right, expected) in
            [("super", "super", true), ("super", "super\0", false), ("super", "supes", false), ("", "", true)]
        {
            assert_eq!(is_same(left.as_bytes(), right.as_bytes()), expected, "{left} {right}");
        }
    }
}
