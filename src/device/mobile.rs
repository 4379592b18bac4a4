//! What a mobile app says of itself: `OpenXchange.iOS.Mail/1.0.3 (OS: 10.0.3; device: iPhone 7 Plus)`,
//! that is the maker, the system, the app and its version, then details by name.

use compact_str::CompactString;

use crate::device::{Attributes, version};

/// The app, its system and its device; what the app does not say is "".
pub fn parse(text: &str) -> Attributes {
    let (product, details) = text.split_once('(').unwrap_or((text, ""));
    let (names, number) = product.split_once('/').unwrap_or((product, ""));
    let names: Vec<&str> = names.splitn(3, '.').map(str::trim).collect();
    // Fewer names are of something else.
    let ((brand, os, app), (major, minor)) = match names[..] {
        [brand, os, app] => ((brand, os, app), version(number)),
        _ => Default::default(),
    };
    let details = inside(details);
    let (os_major, os_minor) = version(detail(details, "OS"));
    Attributes::from(
        [
            ("app.brand", brand),
            ("app.major", major),
            ("app.minor", minor),
            ("app.name", app),
            ("device.family", detail(details, "device")),
            ("os.family", os),
            ("os.major", os_major),
            ("os.minor", os_minor),
        ]
        .map(|(name, value)| (CompactString::const_new(name), value.into())),
    )
}

/// What is before the parenthesis that closes the details; a device may have some in its name.
fn inside(details: &str) -> &str {
    let mut depth = 1;
    let end = details.find(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    &details[..end.unwrap_or(details.len())]
}

fn detail<'a>(details: &'a str, name: &str) -> &'a str {
    let mut pairs = details.split(';').filter_map(|pair| pair.split_once(':'));
    let value = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    value.map_or("", |(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_read_however_it_is_written() {
        for (text, expected) in [
            (
                "OpenXchange.iOS.Mail/1.0.3 (OS: 10.0.3; device: iPhone 7 Plus)",
                ["OpenXchange", "1", "0", "Mail", "iPhone 7 Plus", "iOS", "10", "0"],
            ),
            (
                "OpenXchange.Android.Drive/2.1.0 (OS: 8.1; device: Pixel 2)",
                ["OpenXchange", "2", "1", "Drive", "Pixel 2", "Android", "8", "1"],
            ),
            (
                "OpenXchange.iOS.Mail/1 (OS: 10; device: iPhone)",
                ["OpenXchange", "1", "", "Mail", "iPhone", "iOS", "10", ""],
            ),
            (
                "Open-Xchange.iOS.Mail Pro/1.0.3+4711 (OS: 10.0.3; device: iPad Pro (12.9-inch))",
                ["Open-Xchange", "1", "0", "Mail Pro", "iPad Pro (12.9-inch)", "iOS", "10", "0"],
            ),
            (
                "OpenXchange.iOS.Mail.Beta/1.0.3 (device:iPhone ;os:10.0) extra (OS: 9.1)",
                ["OpenXchange", "1", "0", "Mail.Beta", "iPhone", "iOS", "10", "0"],
            ),
            (
                "openxchange.ios.mail/1.0.3-beta (DEVICE: iPhone; OS: iOS 10.0)",
                ["openxchange", "1", "0", "mail", "iPhone", "ios", "", ""],
            ),
            ("OpenXchange.iOS.Mail/1.0.3", ["OpenXchange", "1", "0", "Mail", "", "iOS", "", ""]),
            ("OpenXchange.iOS.Mail", ["OpenXchange", "", "", "Mail", "", "iOS", "", ""]),
            ("OpenXchange.iOS.Mail/v1.0 (OS: 10.1", ["OpenXchange", "", "", "Mail", "", "iOS", "10", "1"]),
            ("OpenXchange.iOS/1.0.3 (OS: 10.0.3; device: x)", ["", "", "", "", "x", "", "10", "0"]),
            ("..Mail/1.0", ["", "1", "0", "Mail", "", "", "", ""]),
            ("a.b.c/1.2 (OS 10.0.3; device iPhone)", ["a", "1", "2", "c", "", "b", "", ""]),
            ("a.b.c/1.2 (device: ; OS:)", ["a", "1", "2", "c", "", "b", "", ""]),
            ("Mozilla/5.0 (Linux; Android 9)", ["", "", "", "", "", "", "", ""]),
            (")(", ["", "", "", "", "", "", "", ""]),
            ("foo", ["", "", "", "", "", "", "", ""]),
            ("", ["", "", "", "", "", "", "", ""]),
        ] {
            let attrs = parse(text);
            assert_eq!(attrs.values().collect::<Vec<_>>(), expected, "{text}");
            let names = ["brand", "major", "minor", "name"].map(|name| format!("app.{name}"));
            assert_eq!(attrs.keys().take(4).collect::<Vec<_>>(), names.each_ref());
            assert_eq!(
                attrs.keys().skip(4).collect::<Vec<_>>(),
                ["device.family", "os.family", "os.major", "os.minor"]
            );
        }
    }
}
