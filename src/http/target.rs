//! What a request names: its target and its host. Nothing is looked up, and no percent-encoding undone.

use std::net::Ipv6Addr;

use tiny_http::Method;

/// The path and the query of a target in origin-form, absolute-form or, for OPTIONS, asterisk-form
/// (RFC 9112, section 3.2).
pub fn split<'a>(target: &'a str, method: &Method) -> Option<(&'a str, &'a str)> {
    let is_local = target.starts_with('/') || target == "*" && *method == Method::Options;
    let local = if is_local { target } else { after_authority(target)? };
    if memchr::memchr(b'#', local.as_bytes()).is_some() {
        return None;
    }
    let (path, query) = match memchr::memchr(b'?', local.as_bytes()) {
        Some(at) => (&local[..at], &local[at + 1..]),
        None => (local, ""),
    };
    Some((if path.is_empty() { "/" } else { path }, query))
}

/// What follows the authority of a target in absolute-form.
fn after_authority(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    let (authority, local) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    (is_http && !authority.is_empty() && is_host(authority.as_bytes())).then_some(local)
}

/// Whether a `Host` is a host, which may be empty, with a port or without (RFC 3986, section 3.2).
/// A comma is refused, although a name may have one: where it is, two fields may have been joined.
pub fn is_host(value: &[u8]) -> bool {
    let is_part = |c: &u8| c.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(c);
    let is_name = |mut name: &[u8]| loop {
        match name {
            [] => return true,
            [b'%', a, b, rest @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => name = rest,
            [c, rest @ ..] if is_part(c) => name = rest,
            _ => return false,
        }
    };
    let is_v6 = |text: &[u8]| str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
    let end = value.iter().rposition(|c| *c == b']').map_or(0, |at| at + 1);
    let (host, port) = match memchr::memchr(b':', &value[end..]) {
        Some(at) => (&value[..end + at], &value[end + at + 1..]),
        None => (value, &[][..]),
    };
    let is_valid = match host {
        [b'[', ip @ .., b']'] => is_v6(ip),
        name => is_name(name),
    };
    is_valid && port.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_path_and_a_query() {
        for (target, path, query) in [
            ("/command/report", "/command/report", ""),
            ("/?command=report&x=1", "/", "command=report&x=1"),
            ("http://localhost/command/stats?y", "/command/stats", "y"),
            ("HTTP://localhost", "/", ""),
            ("http://localhost?x=/y", "/", "x=/y"),
            ("*", "*", ""),
            ("/a://b", "/a://b", ""),
        ] {
            assert_eq!(split(target, &Method::Options), Some((path, query)), "{target}");
        }
    }

    #[test]
    fn a_target_that_is_none_is_refused() {
        for target in
            ["", "x", "a:80", "http://", "http:///x", "http://u@a/", "http://a:b/", "ftp://a/", "/a#b"]
        {
            assert_eq!(split(target, &Method::Options), None, "{target}");
        }
        assert_eq!(split("*", &Method::Get), None);
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port_or_without() {
        for (host, expected) in [
            ("", true),
            ("a", true),
            ("a:", true),
            ("a.example.com:8084", true),
            ("192.0.2.1:80", true),
            ("[2001:db8::1]:80", true),
            ("[::]", true),
            ("a_b-c~%41", true),
            ("a b", false),
            ("a,b", false),
            ("u@a", false),
            ("a/b", false),
            ("a:b", false),
            ("a:80:80", false),
            ("2001:db8::1", false),
            ("[a]", false),
            ("[::1", false),
            ("::1]", false),
            ("[::1]x", false),
            ("a%4", false),
            ("a%zz", false),
        ] {
            assert_eq!(is_host(host.as_bytes()), expected, "{host}");
        }
    }
}
