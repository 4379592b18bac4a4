//! What libsodium does for the program: keys, hashes, and comparison in constant time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sodiumoxide::crypto::auth::hmacsha256;
use sodiumoxide::crypto::hash::sha256;
use sodiumoxide::crypto::secretbox;

use crate::error::{Error, Result};

/// A new console key: 32 random bytes in base64.
pub fn new_key() -> Result<String> {
    // Seeds the generator; without it its output could be that of another process.
    sodiumoxide::init().map_err(|()| Error::Refused("the system has no random numbers".into()))?;
    Ok(STANDARD.encode(secretbox::gen_key().as_ref()))
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
