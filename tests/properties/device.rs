//! What clients say of themselves, by protocol: each has its attributes whatever the text, with the
//! patterns of tests/data as if they were tried one by one.

use trackalert::probe::Devices;

use super::rules::Rules;

thread_local! {
    static PATTERNS: (Devices, Rules) = {
        let text = include_str!("../data/regexes.yaml");
        (Devices::new(text).unwrap(), Rules::new(text).unwrap())
    };
}

/// The attributes of an IMAP client and of a mobile app.
const IMAP: [&str; 6] = ["imapc.family", "imapc.major", "imapc.minor", "os.family", "os.major", "os.minor"];
const MOBILE: [&str; 8] =
    ["app.brand", "app.major", "app.minor", "app.name", "device.family", "os.family", "os.major", "os.minor"];

/// `data` is what a client says.
pub fn device(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    PATTERNS.with(|(devices, rules)| {
        // A longer one is cut, between two letters.
        let cut = (0..=text.len().min(512)).rev().find(|end| text.is_char_boundary(*end)).unwrap();
        assert_eq!(devices.parse("http", &text), rules.parse(&text[..cut]));
        for (protocol, names) in [("imap", &IMAP[..]), ("mobileapi", &MOBILE)] {
            let attrs = devices.parse(protocol, &text);
            assert!(attrs.keys().eq(names), "{attrs:?}");
            for (name, value) in &attrs {
                assert_eq!(value.trim(), value, "{name}");
                assert!(text.contains(value.as_str()) || text.contains('\\'), "{name}: {value:?}");
                let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
                let is_part = name.ends_with(".major") || name.ends_with(".minor");
                assert!(is_number || !is_part, "{name}: {value:?}");
            }
        }
        assert!(devices.parse("pop3", &text).is_empty());
    });
}
