//! What an IMAP client says with the ID command (RFC 2971): strings in pairs of a name and a value,
//! `"name" "Mac OS X Mail" "version" "10.0 (3226)"`. Clients differ in the order and the case of the
//! names, and servers in what they make of the list before they pass it on.

use std::borrow::Cow;

use compact_str::CompactString;

use crate::device::{Attributes, version};

/// The client and its system; what the client does not say is "".
pub fn parse(text: &str) -> Attributes {
    let (mut name, mut number, mut os, mut os_number) = (None, None, None, None);
    let mut strings = Strings(text);
    while let Some(key) = strings.next() {
        let known =
            [("name", &mut name), ("version", &mut number), ("os", &mut os), ("os-version", &mut os_number)];
        let value = strings.next().unwrap_or_default();
        if let Some((_, place)) = known.into_iter().find(|(known, _)| key.eq_ignore_ascii_case(known)) {
            place.get_or_insert(value);
        }
    }
    let (number, os_number) = (number.unwrap_or_default(), os_number.unwrap_or_default());
    let ((major, minor), (os_major, os_minor)) = (version(&number), version(&os_number));
    Attributes::from(
        [
            ("imapc.family", name.unwrap_or_default().trim()),
            ("imapc.major", major),
            ("imapc.minor", minor),
            ("os.family", os.unwrap_or_default().trim()),
            ("os.major", os_major),
            ("os.minor", os_minor),
        ]
        .map(|(name, value)| (CompactString::const_new(name), value.into())),
    )
}

/// The strings of a list: quoted, bare or NIL, which is an empty one.
struct Strings<'a>(&'a str);

impl<'a> Iterator for Strings<'a> {
    type Item = Cow<'a, str>;

    fn next(&mut self) -> Option<Cow<'a, str>> {
        let rest = self.0.trim_start_matches(is_between);
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = closing_quote(quoted);
            self.0 = quoted.get(end + 1..).unwrap_or_default();
            return Some(unescape(&quoted[..end]));
        }
        let end = rest.find(|c| is_between(c) || c == '"').unwrap_or(rest.len());
        let (bare, rest) = rest.split_at(end);
        self.0 = rest;
        match bare {
            "" => None,
            bare if bare.eq_ignore_ascii_case("NIL") => Some(Cow::Borrowed("")),
            bare => Some(Cow::Borrowed(bare)),
        }
    }
}

/// Whether a character stands between strings.
fn is_between(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | ',' | ';')
}

/// Where a quoted string ends: at a quote without a backslash, or with the text.
fn closing_quote(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.unwrap_or(text.len())
}

/// A backslash stands for the character after it.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut letters = text.chars();
    let next = || letters.next().map(|c| if c == '\\' { letters.next().unwrap_or(c) } else { c });
    Cow::Owned(std::iter::from_fn(next).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_however_it_is_written() {
        for (text, expected) in [
            (
                r#""name" "Mac OS X Mail" "version" "10.0 (3226)" "os" "Mac OS X" "os-version" "10.12 (16A323)" "vendor" "Apple Inc.""#,
                ["Mac OS X Mail", "10", "0", "Mac OS X", "10", "12"],
            ),
            (
                r#"("name" "iPhone Mail" "version" "14E304" "os" "iOS" "os-version" "10.3.1 (14E304)")"#,
                ["iPhone Mail", "", "", "iOS", "10", "3"],
            ),
            (
                r#"("vendor" "Apple" "os-version" "10.12" "os" "Mac OS X" "version" "10.0" "name" "Mail")"#,
                ["Mail", "10", "0", "Mac OS X", "10", "12"],
            ),
            (
                r#""name" "com.samsung.android.email.provider" "os" "android" "os-version" "7.0; NRD90M" "version" "4.2.14""#,
                ["com.samsung.android.email.provider", "4", "2", "android", "7", "0"],
            ),
            (r#""NAME" "Thunderbird" "Version" "45.8.0""#, ["Thunderbird", "45", "8", "", "", ""]),
            (r#""Name" "Mail" "OS-Version" "1.2" "OS" "X""#, ["Mail", "", "", "X", "1", "2"]),
            (r#""os" "Windows" "os-version" "10.0.14393""#, ["", "", "", "Windows", "10", "0"]),
            (r#""name" "K-9 Mail" "version" "5.207""#, ["K-9 Mail", "5", "207", "", "", ""]),
            (r#""name" "Outlook-iOS-Android/1.0""#, ["Outlook-iOS-Android/1.0", "", "", "", "", ""]),
            (r#""name" NIL "version" "1.2""#, ["", "1", "2", "", "", ""]),
            (r#""name" nil "version" nil"#, ["", "", "", "", "", ""]),
            (r#""name" "NIL""#, ["NIL", "", "", "", "", ""]),
            (r#"name "Mail" version "1.2""#, ["Mail", "1", "2", "", "", ""]),
            ("name Mail version 1.2", ["Mail", "1", "2", "", "", ""]),
            (r#""name" "Mail"#, ["Mail", "", "", "", "", ""]),
            (r#""name" "a\"b\\c" "version" "1.2""#, ["a\"b\\c", "1", "2", "", "", ""]),
            (r#""name" "a\"#, ["a\\", "", "", "", "", ""]),
            (r#""name" "a" "name" "b""#, ["a", "", "", "", "", ""]),
            (r#""name"  "two spaces"  "version"  "1.2""#, ["two spaces", "1", "2", "", "", ""]),
            (r#""name""x""version""1.2""#, ["x", "1", "2", "", "", ""]),
            (r#""name" "x", "version" "1.2""#, ["x", "1", "2", "", "", ""]),
            ("(\"name\"\t\"x\";\r\n\"version\" \"1.2\")", ["x", "1", "2", "", "", ""]),
            (r#""name" "  pad  " "version" "  9.1  ""#, ["pad", "9", "1", "", "", ""]),
            (r#""name" "(paren)" "os" "a, b; c""#, ["(paren)", "", "", "a, b; c", "", ""]),
            (r#""command" "name" "name" "x" "version" "3.4""#, ["x", "3", "4", "", "", ""]),
            (r#""x-name" "y" "name" "z""#, ["z", "", "", "", "", ""]),
            (r#""name" "" "name" "z""#, ["", "", "", "", "", ""]),
            (r#""name" "Почта" "version" "1.2""#, ["Почта", "1", "2", "", "", ""]),
            (r#""name""#, ["", "", "", "", "", ""]),
            ("NIL", ["", "", "", "", "", ""]),
            ("()", ["", "", "", "", "", ""]),
            ("\"", ["", "", "", "", "", ""]),
            ("", ["", "", "", "", "", ""]),
        ] {
            let attrs = parse(text);
            assert_eq!(attrs.values().collect::<Vec<_>>(), expected, "{text}");
            let names = ["imapc.family", "imapc.major", "imapc.minor", "os.family", "os.major", "os.minor"];
            assert_eq!(attrs.keys().collect::<Vec<_>>(), names);
        }
    }
}
