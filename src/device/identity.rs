//! What kind of device it is, in one text that stays the same when the device gets new software:
//! `web/Windows/Firefox`, `imap/Mac OS X/Mac OS X Mail`, `mobile/Android/Mail/Pixel 2`. By it the report
//! store knows whether an account was used with such a device before.

use compact_str::CompactString;

use crate::device::cut;

/// Bytes of an identity. What is longer is cut: the devices that people have are shorter.
const LONGEST: usize = 100;

/// Systems that went by other names in other versions.
const SYSTEMS: [(&str, &str); 9] = [
    ("macOS", "Mac OS X"),
    ("OS X", "Mac OS X"),
    ("iPadOS", "iOS"),
    ("iPhone OS", "iOS"),
    ("Windows NT", "Windows"),
    ("Windows ME", "Windows"),
    ("Windows XP", "Windows"),
    ("Windows Vista", "Windows"),
    ("Windows RT", "Windows"),
];

/// The identity of a device with these attributes that was used with `protocol`; empty where nothing is
/// known of it.
///
/// The parts are the kind of protocol, the system, the program and the device. One that is not known is
/// empty, or left out at the end. A slash within a part is written `%2F`, and a percent sign `%25`.
pub fn identity<'a>(protocol: &str, attrs: impl Iterator<Item = (&'a str, &'a str)>) -> CompactString {
    let (mut system, mut browser, mut mailer, mut app, mut device) = ("", "", "", "", "");
    for (name, value) in attrs {
        match name {
            "os.family" => system = value,
            "browser.family" => browser = value,
            "imapc.family" => mailer = value,
            "app.name" => app = value,
            "device.family" => device = value,
            _ => {}
        }
    }
    let programs = [browser, mailer, app].map(|program| without_version(known(program)));
    let program = programs.into_iter().find(|program| !program.is_empty()).unwrap_or_default();
    let parts = [system_name(known(system)), program, model(known(device))];
    let Some(last) = parts.iter().rposition(|part| !part.is_empty()) else {
        return CompactString::default();
    };
    let mut text = CompactString::default();
    add(&mut text, kind(&protocol.to_ascii_lowercase()));
    for part in &parts[..=last] {
        text.push('/');
        add(&mut text, part);
    }
    text.truncate(cut(&text, LONGEST).len());
    text
}

/// The kind of a protocol: with TLS from the start or without, it is the same program that logs in.
fn kind(protocol: &str) -> &str {
    match protocol {
        "http" | "https" => "web",
        "imap" | "imaps" => "imap",
        "pop3" | "pop3s" => "pop3",
        "smtp" | "smtps" | "submission" | "submissions" => "smtp",
        "mobileapi" => "mobile",
        other => other,
    }
}

/// A value, empty if it says that nothing is known.
fn known(value: &str) -> &str {
    let value = value.trim();
    if value.eq_ignore_ascii_case("Other") { "" } else { value }
}

/// The name of a system in all its versions.
fn system_name(value: &str) -> &str {
    let name = without_version(value);
    SYSTEMS.iter().find(|(other, _)| name.eq_ignore_ascii_case(other)).map_or(name, |(_, name)| name)
}

/// A device, unless it is no more than its system: newer patterns say "Mac" of each Mac, older ones
/// "Other", and wforce may have either.
fn model(value: &str) -> &str {
    if value == "Mac" { "" } else { value }
}

/// A name without the version that clients write after it: `Outlook-iOS-Android/1.0`, `Windows 8.1`,
/// `iOS 10.3.1 (14E304)`. A device has none, because `iPhone 7` and `iPhone 8` are two.
fn without_version(name: &str) -> &str {
    let mut name = name;
    while let Some((rest, word)) = name.rsplit_once([' ', '/'])
        && is_version(word)
        && !rest.trim_end().is_empty()
    {
        name = rest.trim_end();
    }
    name
}

/// Whether a word is a version, such as "10", "v2", "45.8.0b1", or a build in parentheses.
fn is_version(word: &str) -> bool {
    let inner = word.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let number = inner.unwrap_or(word).trim_start_matches(['v', 'V']);
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
    number.starts_with(|c: char| c.is_ascii_digit()) && (is_plain || number.contains('.') || inner.is_some())
}

fn add(text: &mut CompactString, part: &str) {
    for c in part.chars() {
        match c {
            '/' => text.push_str("%2F"),
            '%' => text.push_str("%25"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests;
