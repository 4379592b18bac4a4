//! What libsodium does for the program: keys and comparison in constant time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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

#[cfg(test)]
mod tests {
    use super::*;

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
