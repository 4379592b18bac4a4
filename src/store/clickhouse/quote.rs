//! Texts in statements. A server of 2018 takes no parameters, so this is the one place that makes a text
//! of strangers a part of a statement.

use std::fmt;

/// A text as a literal.
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'")?;
        let mut rest = self.0;
        while let Some(at) = rest.find(['\'', '\\', '\0']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'\'' => "\\'",
                b'\\' => "\\\\",
                // A statement ends with the first of them.
                _ => "\\0",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)?;
        f.write_str("'")
    }
}

/// Texts as the literals of a set, which must not be empty.
pub fn set<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let texts: Vec<String> = texts.into_iter().map(|text| Quoted(text).to_string()).collect();
    format!("({})", texts.join(", "))
}

/// What somebody could call himself who means harm.
#[cfg(test)]
pub const HOSTILE: [&str; 12] = [
    "",
    "'",
    "''; DROP TABLE report --",
    "\\",
    "\\' OR 1 = 1 --",
    "a\\\\'b",
    "\0",
    "a\0'b\\0",
    "\r\n\t\x08\x0c",
    "*/ ` \" ? {a:String} %s $1 @x",
    "\u{fffd}\u{202e}ü\u{10ffff}",
    "FORMAT Null",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_a_literal_is_escaped() {
        for (text, expected) in [
            ("", "''"),
            ("joe@example.com", "'joe@example.com'"),
            ("o'neill", r"'o\'neill'"),
            (r"a\'b", r"'a\\\'b'"),
            ("a\0b", r"'a\0b'"),
        ] {
            assert_eq!(Quoted(text).to_string(), expected);
        }
        assert_eq!(set(["a", "'"]), r"('a', '\'')");
    }

    #[test]
    fn every_literal_ends_where_it_should() {
        for text in HOSTILE {
            let quoted = Quoted(text).to_string();
            let mut inner = quoted[1..quoted.len() - 1].chars();
            while let Some(c) = inner.next() {
                assert!(c != '\'' && c != '\0', "{text:?}");
                assert!(c != '\\' || inner.next().is_some_and(|next| r"\'0".contains(next)), "{text:?}");
            }
        }
    }
}
