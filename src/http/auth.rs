//! Basic authentication (RFC 7617). The user name is ignored.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use secrecy::zeroize::Zeroizing;

use crate::net::crypto::is_same;

/// What a browser is asked for.
pub const CHALLENGE: &str = "basic realm=\"wforce\"";

/// Base64 whether or not its padding was left out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether an `Authorization` field holds the password: everything after the first colon.
pub fn is_authorized(field: Option<&[u8]>, password: Option<&str>) -> bool {
    let (Some(field), Some(password)) = (field, password) else { return false };
    let Some(given) = credentials(field) else { return false };
    let Some(colon) = memchr::memchr(b':', &given) else { return false };
    is_same(&given[colon + 1..], password.as_bytes())
}

/// The user's name, a colon and the password.
fn credentials(field: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, credentials) = field.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    BASE64.decode(credentials.trim_ascii()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_what_follows_the_first_colon() {
        for (field, password, expected) in [
            ("Basic d2ZvcmNlOnN1cGVy", Some("super"), true),
            ("BASIC d2ZvcmNlOnN1cGVy", Some("super"), true),
            ("Basic  d2ZvcmNlOnN1cGVy ", Some("super"), true),
            ("Basic OnN1cGVy", Some("super"), true),
            ("Basic dTpzdTpwZXI=", Some("su:per"), true),
            ("Basic dTpzdTpwZXI", Some("su:per"), true),
            ("Basic d2ZvcmNlOnN1cGVyAA==", Some("super"), false),
            ("Basic d2ZvcmNlOnN1cGVy", Some("Super"), false),
            ("Basic d2ZvcmNlOnN1cGVy", None, false),
            ("Basic d2ZvcmNlc3VwZXI=", Some("wforcesuper"), false),
            ("Bearer d2ZvcmNlOnN1cGVy", Some("super"), false),
            ("Basic", Some("super"), false),
            ("Basic !", Some("super"), false),
            ("", Some(""), false),
        ] {
            assert_eq!(is_authorized(Some(field.as_bytes()), password), expected, "{field} {password:?}");
        }
        assert!(!is_authorized(None, Some("")));
    }
}
