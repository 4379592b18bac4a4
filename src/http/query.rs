//! What a query says: names with values, percent-encoded as forms do it.

use std::borrow::Cow;

/// The value of a name, the first if there are several; nothing if it is not there or not UTF-8.
pub fn value(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut values = pairs.filter_map(|(key, value)| (decode(key)? == name).then_some(value));
    values.next().and_then(|value| decode(value).map(Cow::into_owned))
}

/// The first name that is none of these.
pub fn unknown<'q>(query: &'q str, known: &[&str]) -> Option<&'q str> {
    let names = query.split('&').filter(|pair| !pair.is_empty());
    let mut names = names.map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    names.find(|name| decode(name).is_none_or(|name| !known.contains(&&*name)))
}

/// Text in which `%` escapes a byte and `+` stands for a blank.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, left @ ..] = rest {
        rest = left;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits =
                    left.first_chunk::<2>().filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
                bytes.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
                rest = &left[2..];
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_knows_is_found() {
        for (query, expected) in [
            ("", None),
            ("&&a=1&b", None),
            ("%61=1", None),
            ("a=1&c=2", Some("c")),
            ("=null", Some("")),
            ("a%=1", Some("a%")),
        ] {
            assert_eq!(unknown(query, &["a", "b"]), expected, "{query}");
        }
    }

    #[test]
    fn a_value_is_found_and_decoded() {
        for (query, expected) in [
            ("login=joe", Some("joe")),
            ("a=1&login=joe%40example.com&login=x", Some("joe@example.com")),
            ("lo%67in=a+b%2Bc", Some("a b+c")),
            ("login=%C3%A9", Some("é")),
            ("login=a=b", Some("a=b")),
            ("login", Some("")),
            ("login=", Some("")),
            ("", None),
            ("logins=x", None),
            ("login=%f", None),
            ("login=%+1", None),
            ("login=%ff", None),
        ] {
            assert_eq!(value(query, "login").as_deref(), expected, "{query}");
        }
    }
}
