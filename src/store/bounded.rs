//! The texts of a report as long as the store keeps them, so that a sender fills it with reports alone.
//! Whoever asks the store for one of them by its text makes it as long first.

use std::borrow::Cow;

use compact_str::CompactString;

use crate::device::cut;
use crate::net::crypto;

/// Bytes up to which a text is kept as it is.
pub const LOGIN: usize = 256;
pub const PROTOCOL: usize = 32;
pub const PWHASH: usize = 128;
pub const SESSION_ID: usize = 128;
pub const FAIL_TYPE: usize = 64;

/// What stands between the beginning of a longer text and the hash of the whole.
const MARK: char = '…';

/// Bytes of the mark and the hash.
const HASHED: usize = 3 + 44;

/// A text of at most `most` bytes as it is, a longer one as its beginning and its hash.
///
/// Two texts stay two: what has a hash is longer than `most`, so nobody can send it as a text of its own.
pub fn bounded(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}{MARK}{}", cut(text, most), crypto::hash(text.as_bytes())))
}

/// A text that was made as long as that before: what has a hash stays as it is.
pub fn rebounded(text: &str, most: usize) -> CompactString {
    if text.len() <= most + HASHED { text.into() } else { bounded(text, most).into() }
}

/// A login as the store knows it.
pub fn kept_login(login: &str) -> Cow<'_, str> {
    bounded(login, LOGIN)
}

/// A protocol as the store knows it: senders differ in how they write one.
pub fn kept_protocol(protocol: &str) -> String {
    bounded(&protocol.to_ascii_lowercase(), PROTOCOL).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_stays_as_it_is() {
        for text in ["", "joe@example.com", &"x".repeat(LOGIN), &"é".repeat(LOGIN / 2)] {
            assert!(matches!(bounded(text, LOGIN), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn a_long_text_is_cut_between_letters_and_stays_apart_from_others() {
        let long = "x".repeat(LOGIN + 1);
        let cut = bounded(&long, LOGIN);
        assert_eq!(cut, format!("{}…{}", &long[1..], crypto::hash(long.as_bytes())));
        assert_eq!(cut, bounded(&long, LOGIN), "the same whenever it comes");
        assert_eq!((cut.len(), rebounded(&cut, LOGIN)), (LOGIN + HASHED, (*cut).into()));
        for other in [&long[1..], &format!("{long}x"), &format!("{}y", &long[1..]), &cut] {
            assert_ne!(cut, bounded(other, LOGIN), "{other}");
        }
        // The letter that would be cut takes more bytes than the mark.
        for odd in ["é", "€", "𝄞"] {
            for start in 0..4 {
                let text = "x".repeat(start) + &odd.repeat(LOGIN);
                let cut = bounded(&text, LOGIN);
                let (beginning, hash) = cut.split_once(MARK).unwrap();
                assert!(text.starts_with(beginning) && hash == crypto::hash(text.as_bytes()));
                assert!((LOGIN + 1..LOGIN + 50).contains(&cut.len()), "{}", cut.len());
            }
        }
    }
}
