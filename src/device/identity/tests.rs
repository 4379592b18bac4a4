use super::*;
use crate::device::{Devices, Patterns};

/// The identity of a device that the sender has parsed.
fn sent(protocol: &str, attrs: &[(&str, &str)]) -> CompactString {
    identity(protocol, attrs.iter().copied())
}

/// The identity of a device that says this of itself.
fn parsed(protocol: &str, text: &str) -> CompactString {
    let attrs = Devices::new(Some(Patterns::example())).parse(protocol, text);
    identity(protocol, attrs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

#[test]
fn a_device_has_an_identity_without_versions() {
    for (protocol, texts, expected) in [
        (
            "http",
            &[
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/133.0",
                "Mozilla/5.0 (Windows NT 6.1; WOW64) Firefox/115.0",
            ][..],
            "web/Windows/Firefox",
        ),
        (
            "https",
            &["Mozilla/5.0 (iPad; CPU OS 16_7 like Mac OS X) CriOS/130.0", "(iPad; CPU OS 17_0) CriOS/131.1"],
            "web/iOS/Chrome Mobile iOS/iPad",
        ),
        ("http", &["Mozilla/5.0 (compatible; Googlebot/2.1)", "Googlebot/3.0"], "web//Googlebot/Spider"),
        ("http", &["NOKIA N8000/1.0", "NOKIA N8000/2.0"], "web///Nokia N8000"),
        ("http", &["", "curl/8.5.0", "x"], ""),
        (
            "imap",
            &[
                r#""name" "Mac OS X Mail" "version" "10.0 (3226)" "os" "Mac OS X" "os-version" "10.12""#,
                r#""name" "Mac OS X Mail" "version" "16.0" "os" "macOS" "os-version" "13.4""#,
                r#""os" "Mac OS X 10.15.7" "name" "Mac OS X Mail""#,
            ],
            "imap/Mac OS X/Mac OS X Mail",
        ),
        (
            "IMAPS",
            &[r#""name" "Outlook-iOS-Android/1.0""#, r#""name" "Outlook-iOS-Android/2.1""#],
            "imap//Outlook-iOS-Android",
        ),
        ("imap", &[r#""name" "K-9 Mail" "version" "5.207""#, r#""name" "K-9 Mail""#], "imap//K-9 Mail"),
        ("imap", &[r#""os" "iOS" "os-version" "17.4""#, r#""os" "iPadOS 17.4 (21E219)""#], "imap/iOS"),
        ("imap", &["", "NIL", r#""name" NIL"#, r#""vendor" "Apple""#], ""),
        (
            "mobileapi",
            &[
                "OpenXchange.Android.Mail/1.0.3 (OS: 10.0.3; device: Samsung/GT9700)",
                "OpenXchange.Android.Mail/2.1 (OS: 14; device: Samsung/GT9700)",
            ],
            "mobile/Android/Mail/Samsung%2FGT9700",
        ),
        ("mobileapi", &["OpenXchange.iOS.Mail/1.0", "OpenXchange.iOS.Mail"], "mobile/iOS/Mail"),
        ("mobileapi", &["", "foo"], ""),
        ("pop3", &["", "Mozilla/5.0 (Windows NT 10.0) Firefox/133.0"], ""),
        ("smtp", &["mail.example.com"], ""),
    ] {
        for text in texts {
            assert_eq!(parsed(protocol, text), expected, "{protocol} {text}");
        }
    }
}

#[test]
fn it_does_not_matter_who_parsed_the_device() {
    let attrs = [
        ("browser.family", "Firefox"),
        ("browser.major", "133"),
        ("device.brand", ""),
        ("device.family", "Other"),
        ("os.family", "Windows"),
        ("os.major", "10"),
    ];
    let here = parsed("http", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/133.0");
    assert_eq!(sent("http", &attrs), here);
    // Patterns of other years.
    for (name, value) in
        [("os.family", "Windows 10"), ("os.family", "Windows XP"), ("device.family", "other")]
    {
        let attrs = attrs.map(|(old, text)| (old, if old == name { value } else { text }));
        assert_eq!(sent("http", &attrs), here, "{value}");
    }
    let mac = |device| [("os.family", "Mac OS X"), ("browser.family", "Safari"), ("device.family", device)];
    assert_eq!(sent("http", &mac("Mac")), "web/Mac OS X/Safari");
    assert_eq!(sent("http", &mac("Other")), "web/Mac OS X/Safari");
}

#[test]
fn the_protocol_counts_by_its_kind() {
    for (protocol, expected) in [
        ("http", "web/x"),
        ("HTTPS", "web/x"),
        ("imap", "imap/x"),
        ("imaps", "imap/x"),
        ("pop3", "pop3/x"),
        ("POP3S", "pop3/x"),
        ("smtp", "smtp/x"),
        ("smtps", "smtp/x"),
        ("submission", "smtp/x"),
        ("submissions", "smtp/x"),
        ("mobileapi", "mobile/x"),
        ("ManageSieve", "managesieve/x"),
        ("a/b", "a%2Fb/x"),
        ("", "/x"),
    ] {
        assert_eq!(sent(protocol, &[("os.family", "x")]), expected, "{protocol}");
        assert_eq!(sent(protocol, &[("os.family", "Other"), ("device.family", "")]), "", "{protocol}");
        assert_eq!(sent(protocol, &[]), "", "{protocol}");
    }
}

#[test]
fn different_devices_differ() {
    let devices: &[&[(&str, &str)]] = &[
        &[("os.family", "a")],
        &[("browser.family", "a")],
        &[("device.family", "a")],
        &[("os.family", "a"), ("browser.family", "b")],
        &[("os.family", "a/b")],
        &[("os.family", "a%2Fb")],
        &[("os.family", "a"), ("browser.family", "b"), ("device.family", "c")],
        &[("os.family", "a"), ("browser.family", "b/c")],
        &[("os.family", "a"), ("browser.family", "/c")],
        &[("os.family", "a"), ("device.family", "c")],
        &[("os.family", "a"), ("device.family", "/c")],
        &[("device.family", "iPhone 7")],
        &[("device.family", "iPhone 8")],
        &[("os.family", "Windows")],
        &[("os.family", "Windows Phone")],
        &[("os.family", "Windows"), ("imapc.family", "Thunderbird")],
        &[("os.family", "Windows"), ("imapc.family", "Outlook")],
    ];
    let mut seen: Vec<CompactString> = devices.iter().map(|attrs| sent("http", attrs)).collect();
    seen.extend(devices.iter().map(|attrs| sent("imap", attrs)));
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 2 * devices.len(), "{seen:?}");
}

#[test]
fn the_program_is_whichever_is_known() {
    for (attrs, expected) in [
        (&[("imapc.family", "b"), ("browser.family", "a")][..], "web//a"),
        (&[("imapc.family", "b"), ("browser.family", "Other")], "web//b"),
        (&[("app.name", "c"), ("imapc.family", ""), ("browser.family", " ")], "web//c"),
        // The last of a name counts.
        (&[("app.name", "a"), ("app.name", "b")], "web//b"),
        (&[("app.brand", "a"), ("app.major", "1"), ("os.major", "1"), ("App.Name", "x")], ""),
    ] {
        assert_eq!(sent("http", attrs), expected, "{attrs:?}");
    }
}

#[test]
fn a_version_after_a_name_is_left_out() {
    for (name, expected) in [
        ("Windows 8.1", "Windows"),
        ("iOS 10.3.1 (14E304)", "iOS"),
        ("Linux 5.4.0-generic", "Linux"),
        ("Mail/1.0", "Mail"),
        ("Mail v2", "Mail"),
        ("Mail 45.8.0b1", "Mail"),
        ("Mail 1 2  3", "Mail"),
        ("Mail (3.1)", "Mail"),
        ("K-9 Mail", "K-9 Mail"),
        ("Mail 3D", "Mail 3D"),
        ("Mail (beta)", "Mail (beta)"),
        ("Mail v", "Mail v"),
        ("Mail/", "Mail/"),
        ("14E304", "14E304"),
        ("10.1", "10.1"),
        ("10 1", "10"),
        ("/1.0", "/1.0"),
        ("Почта 2", "Почта"),
        ("", ""),
    ] {
        assert_eq!(without_version(name), expected, "{name}");
    }
}

#[test]
fn a_long_identity_is_cut_between_letters() {
    for (letter, length) in [("x", 100), ("é", 99), ("€", 98), ("/", 100)] {
        let long = "x".to_owned() + &letter.repeat(10_000);
        let text = sent("http", &[("os.family", &long), ("device.family", "x")]);
        assert_eq!(text.len(), length, "{text}");
        let text = sent(&long, &[("os.family", "x")]);
        assert!((LONGEST - 2..=LONGEST).contains(&text.len()), "{text}");
    }
    let numbers = "1 ".repeat(10_000);
    assert_eq!(sent("http", &[("os.family", &numbers), ("device.family", "x")]), "web/1//x");
}
