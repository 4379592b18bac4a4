//! Reports and calls of custom endpoints as JSON, read straight into their places without a tree in
//! between. Written by hand because a repeated key is no error (the last one wins) and an error names
//! the field, neither of which a derived implementation does. `null` counts as absent.

use std::borrow::Cow;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::login::attributes::{Attributes, Entry};
use crate::login::text::{self, Place, Texts};
use crate::login::{Device, LoginTuple};
use crate::net::addr::Address;

/// 2000-01-01 in seconds since the epoch: a report from before it has no usable time.
const EARLIEST: f64 = 946_684_800.0;
/// How far a sender's clock may be ahead, in seconds.
const AHEAD: f64 = 86_400.0;

impl LoginTuple {
    /// Reads the body of a report that arrived at `now`; the error names the field.
    ///
    /// Invalid UTF-8 becomes U+FFFD. A time before 2000 or more than a day ahead of `now` is
    /// replaced by `now`.
    pub fn from_json(body: &[u8], now: SystemTime) -> serde_json::Result<LoginTuple> {
        let mut login = LoginTuple::from_history(body)?;
        if !login.has_usable_time(now) {
            login.t = since_epoch(now);
        }
        Ok(login)
    }

    /// Reads the body of a report of the past, with the time that it says, usable or not.
    pub fn from_history(body: &[u8]) -> serde_json::Result<LoginTuple> {
        read(body, Report)
    }

    /// Whether it may be of the time that it says, if it is read `now`.
    pub fn has_usable_time(&self, now: SystemTime) -> bool {
        (EARLIEST..=since_epoch(now) + AHEAD).contains(&self.t)
    }
}

fn since_epoch(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

impl Attributes {
    /// Reads the body of a call of a custom endpoint, `{"attrs": {…}}`. Attributes that are no
    /// object count as none, as in the original.
    pub fn from_json(body: &[u8]) -> serde_json::Result<Attributes> {
        read(body, Call)
    }
}

/// Reads a body as what `make` wants, given room for its texts.
fn read<'a, S, T>(body: &'a [u8], make: fn(Texts) -> S) -> serde_json::Result<T>
where
    S: for<'de> DeserializeSeed<'de, Value = T>,
{
    // That there is no invalid UTF-8 is found fast.
    let body: Cow<'a, str> =
        str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
    if body.len() > text::MOST {
        return Err(serde_json::Error::custom("too long"));
    }
    let mut json = serde_json::Deserializer::from_str(&body);
    // Most of a report is names, of which few are kept.
    let value = make(Texts::with_capacity(body.len() / 2)).deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// A report.
struct Report(Texts);

impl<'de> DeserializeSeed<'de> for Report {
    type Value = LoginTuple;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<LoginTuple, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Report {
    type Value = LoginTuple;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LoginTuple, A::Error> {
        let mut login = LoginTuple { texts: self.0, ..LoginTuple::default() };
        while let Some(Borrowed(name)) = map.next_key()? {
            let name = name.as_ref();
            match name {
                "login" => login.login = text(&mut map, &mut login.texts, name)?,
                "pwhash" => login.pwhash = text(&mut map, &mut login.texts, name)?,
                "protocol" => login.protocol = text(&mut map, &mut login.texts, name)?,
                "device_id" => login.device_id = text(&mut map, &mut login.texts, name)?,
                "session_id" => login.session_id = text(&mut map, &mut login.texts, name)?,
                "fail_type" => login.fail_type = text(&mut map, &mut login.texts, name)?,
                "success" => login.success = field(&mut map, name)?.unwrap_or_default(),
                "policy_reject" => login.policy_reject = field(&mut map, name)?.unwrap_or_default(),
                "tls" => login.tls = field(&mut map, name)?.unwrap_or_default(),
                "attrs" => login.attrs = pairs(&mut map, &mut login.texts, name)?.unwrap_or_default(),
                "device_attrs" => {
                    let attrs = pairs(&mut map, &mut login.texts, name)?;
                    login.device = attrs.map_or(Device::Unknown, Device::Sent);
                }
                "t" => login.t = field(&mut map, name)?.unwrap_or_default(),
                "remote" => login.remote = remote(field(&mut map, name)?)?,
                _ => map.next_value_seed(Any::skip(&mut login.texts, &mut Vec::new()))?,
            }
        }
        Ok(login)
    }
}

/// The value of the field `name`, `None` when it is `null`.
fn field<'de, A, T>(map: &mut A, name: &str) -> Result<Option<T>, A::Error>
where
    A: MapAccess<'de>,
    T: Deserialize<'de>,
{
    map.next_value().map_err(|e| A::Error::custom(format_args!("{name}: {e}")))
}

/// The text of the field `name`, empty when it is `null`.
fn text<'de, A: MapAccess<'de>>(map: &mut A, texts: &mut Texts, name: &str) -> Result<Place, A::Error> {
    let text: Option<Borrowed> = field(map, name)?;
    Ok(text.map_or_else(Place::default, |Borrowed(text)| texts.add(&text)))
}

/// The attributes in the field `name`, `None` when it is `null`.
fn pairs<'de, A: MapAccess<'de>>(
    map: &mut A,
    texts: &mut Texts,
    name: &str,
) -> Result<Option<Vec<Entry>>, A::Error> {
    map.next_value_seed(Pairs(texts)).map_err(|e| A::Error::custom(format_args!("{name}: {e}")))
}

/// The address in `text`, without the port that may follow it.
fn remote<E: serde::de::Error>(text: Option<Borrowed<'_>>) -> Result<Address, E> {
    let Some(Borrowed(text)) = text else { return Ok(Address::UNSPECIFIED) };
    let address: Address = text.parse().map_err(|_| E::custom("remote: not an IP address"))?;
    Ok(Address::from(address.unmapped().ip()))
}

/// Text that is borrowed from the body where it holds no escapes.
struct Borrowed<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Borrowed<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Borrowed<'de>, D::Error> {
        struct Words;

        impl<'de> Visitor<'de> for Words {
            type Value = Borrowed<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Borrowed<'de>, E> {
                Ok(Borrowed(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Borrowed<'de>, E> {
                Ok(Borrowed(Cow::Owned(text.to_owned())))
            }
        }

        json.deserialize_str(Words)
    }
}

/// An object of attributes, or `null`. Strings and arrays are kept, everything else is skipped.
struct Pairs<'t>(&'t mut Texts);

impl<'de> DeserializeSeed<'de> for Pairs<'_> {
    type Value = Option<Vec<Entry>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pairs<'_> {
    type Value = Option<Vec<Entry>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        collect(map, self.0).map(Some)
    }
}

fn collect<'de, A: MapAccess<'de>>(mut map: A, texts: &mut Texts) -> Result<Vec<Entry>, A::Error> {
    let mut entries = Vec::new();
    while let Some(Borrowed(name)) = map.next_key()? {
        if entries.is_empty() {
            entries.reserve(USUAL);
        }
        let part = Part::Value(texts.add(&name));
        map.next_value_seed(Any { texts, entries: &mut entries, part })?;
    }
    Ok(entries)
}

/// Room for what wforce says of a device.
const USUAL: usize = 10;

/// The body of a call.
struct Call(Texts);

impl<'de> DeserializeSeed<'de> for Call {
    type Value = Attributes;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Attributes, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Call {
    type Value = Attributes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
        let mut attrs = Attributes { texts: self.0, entries: Vec::new() };
        while let Some(Borrowed(name)) = map.next_key()? {
            let part = if name == "attrs" { Part::Attributes } else { Part::Nothing };
            map.next_value_seed(Any { texts: &mut attrs.texts, entries: &mut attrs.entries, part })?;
        }
        Ok(attrs)
    }
}

/// Any JSON value. Unlike serde's `IgnoredAny` it stops at the depth that serde_json allows (128),
/// wherever the nesting is.
struct Any<'t> {
    texts: &'t mut Texts,
    entries: &'t mut Vec<Entry>,
    part: Part,
}

/// What a value is wanted for.
#[derive(Clone, Copy)]
enum Part {
    /// The value or the values of an attribute with this name.
    Value(Place),
    /// One of several values.
    Item,
    /// The attributes themselves.
    Attributes,
    Nothing,
}

impl Any<'_> {
    fn skip<'t>(texts: &'t mut Texts, entries: &'t mut Vec<Entry>) -> Any<'t> {
        Any { texts, entries, part: Part::Nothing }
    }

    /// What is neither a text nor a list nor an object.
    fn other<E>(self) -> Result<(), E> {
        match self.part {
            Part::Item => self.entries.push(Entry::Item(Place::default())),
            Part::Attributes => self.entries.clear(),
            Part::Value(_) | Part::Nothing => {}
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.other()
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.other()
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.other()
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.other()
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.other()
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        match self.part {
            Part::Value(name) => self.entries.push(Entry::One(name, self.texts.add(text))),
            Part::Item => self.entries.push(Entry::Item(self.texts.add(text))),
            Part::Attributes | Part::Nothing => return self.other(),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Any { texts, entries, part } = self;
        let Part::Value(name) = part else {
            while list.next_element_seed(Any::skip(texts, entries))?.is_some() {}
            return Any { texts, entries, part }.other();
        };
        let start = entries.len();
        entries.push(Entry::Many(name, 0));
        while list.next_element_seed(Any { texts, entries, part: Part::Item })?.is_some() {}
        // A body is not as long as it would have to be for the count to be too large.
        let count = u32::try_from(entries.len() - start - 1).unwrap_or(u32::MAX);
        entries[start] = Entry::Many(name, count);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Any { texts, entries, part } = self;
        if let Part::Attributes = part {
            *entries = collect(map, texts)?;
            return Ok(());
        }
        while map.next_key_seed(Any::skip(texts, entries))?.is_some() {
            map.next_value_seed(Any::skip(texts, entries))?;
        }
        Any { texts, entries, part }.other()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::Value;
    use std::time::Duration;

    const NOW: f64 = 1_700_000_000.0;

    fn parse(body: &str) -> Result<LoginTuple, String> {
        parse_bytes(body.as_bytes())
    }

    fn parse_bytes(body: &[u8]) -> Result<LoginTuple, String> {
        LoginTuple::from_json(body, UNIX_EPOCH + Duration::from_secs_f64(NOW)).map_err(|e| e.to_string())
    }

    #[test]
    fn every_field_of_a_report_arrives() {
        let login = parse(
            r#"{"login":"full","remote":"198.51.100.7:99","pwhash":"ab12","success":true,"policy_reject":true,
                "fail_type":"policy","protocol":"imap","tls":true,"device_id":"\"name\" \"Mail\"",
                "device_attrs":{"os.family":"Mac OS X","n":5},"session_id":"s-1","t":1700000000.25,"type":"x",
                "attrs":{"z":"1","list":["x","y"],"num":5,"nul":null,"obj":{"a":1},"mix":["s",1,null,["t"]],"empty":[]}}"#,
        )
        .unwrap();
        assert_eq!(login.login(), "full");
        assert_eq!(login.remote.with_port(), "198.51.100.7");
        assert_eq!((login.pwhash(), login.fail_type()), ("ab12", "policy"));
        assert_eq!((login.success, login.policy_reject, login.tls), (true, true, true));
        assert_eq!((login.protocol(), login.session_id()), ("imap", "s-1"));
        assert_eq!(login.device_id(), r#""name" "Mail""#);
        assert_eq!(login.device_attrs().collect::<Vec<_>>(), [("os.family", "Mac OS X")]);
        assert!(!login.is_device_unknown());
        assert_eq!(login.t, 1_700_000_000.25);
        let attrs: Vec<(&str, Vec<&str>)> = login.attrs().map(|(name, value)| (name, texts(value))).collect();
        assert_eq!(
            attrs,
            [("z", vec!["1"]), ("list", vec!["x", "y"]), ("mix", vec!["s", "", "", ""]), ("empty", vec![]),]
        );
    }

    fn texts(value: Value<'_>) -> Vec<&str> {
        match value {
            Value::One(text) => vec![text],
            Value::Many(items) => items.iter().collect(),
        }
    }

    #[test]
    fn a_report_is_a_line_of_the_log() {
        let login = parse(
            r#"{"login":"a\"b","remote":"192.0.2.1","t":1700000000.25,"attrs":{"k":"v","l":["x","y"]},
                "device_attrs":{"os":"z"}}"#,
        );
        assert_eq!(
            login.unwrap().line(),
            "report: attrs.k=\"v\" attrs.l=\"x,y\" device_attrs.os=\"z\" device_id=\"\" fail_type=\"\" \
             login=\"a\\\"b\" policy_reject=\"false\" protocol=\"\" pwhash=\"\" remote=\"192.0.2.1\" \
             session_id=\"\" success=\"false\" t=\"1700000000.250\" tls=\"false\" "
        );
    }

    #[test]
    fn absent_and_null_are_the_same() {
        let nothing = LoginTuple { t: NOW, ..LoginTuple::default() }.line();
        assert_eq!(parse("{}").unwrap().line(), nothing);
        let nulls = r#"{"login":null,"remote":null,"success":null,"t":null,"attrs":null,"device_attrs":null,"tls":null}"#;
        let login = parse(nulls).unwrap();
        assert_eq!(login.line(), nothing);
        assert!(login.is_device_unknown());
    }

    #[test]
    fn an_unusable_time_becomes_the_time_of_arrival() {
        for (t, expected) in [
            ("0", NOW),
            ("-5", NOW),
            ("946684799", NOW),
            ("946684800", 946_684_800.0),
            ("1700086400", 1_700_086_400.0),
            ("1700086401", NOW),
            ("9007199254740993", NOW),
            ("1.6954908018920851e9", 1_695_490_801.892_085),
        ] {
            let body = format!(r#"{{"t":{t}}}"#);
            assert_eq!(parse(&body).unwrap().t, expected, "{t}");
            let login = LoginTuple::from_history(body.as_bytes()).unwrap();
            assert_eq!(login.t.to_string(), t.parse::<f64>().unwrap().to_string(), "as it is");
            let now = UNIX_EPOCH + Duration::from_secs_f64(NOW);
            assert_eq!(login.has_usable_time(now), login.t == expected, "{t}");
        }
    }

    #[test]
    fn a_bad_field_is_named() {
        for (body, reason) in [
            (r#"{"login":1}"#, "login: invalid type: integer `1`, expected a string"),
            (r#"{"success":"true"}"#, "success: invalid type: string \"true\", expected a boolean"),
            (r#"{"t":"abc"}"#, "t: invalid type: string \"abc\", expected f64"),
            (r#"{"attrs":"x"}"#, "attrs: invalid type: string \"x\", expected an object"),
            (r#"{"device_attrs":[1]}"#, "device_attrs: invalid type: sequence, expected an object"),
            (r#"{"remote":2}"#, "remote: invalid type: integer `2`, expected a string"),
            (r#"{"remote":"foo"}"#, "remote: not an IP address"),
            (r#"{"remote":""}"#, "remote: not an IP address"),
            ("5", "invalid type: integer `5`, expected a JSON object"),
            ("[]", "invalid type: sequence, expected a JSON object"),
            ("", "EOF while parsing a value"),
            ("{} x", "trailing characters"),
        ] {
            let error = parse(body).unwrap_err();
            assert!(error.starts_with(reason), "{body}: {error}");
        }
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        let login = parse(r#"{"login":"a","attrs":{"k":"1","k":"2"},"login":"b"}"#).unwrap();
        assert_eq!(login.login(), "b");
        let last = |name| login.attrs().filter(|(other, _)| *other == name).last();
        assert!(matches!(last("k"), Some((_, Value::One("2")))));
    }

    #[test]
    fn a_mapped_address_becomes_ipv4() {
        assert_eq!(parse(r#"{"remote":"::ffff:192.0.2.1"}"#).unwrap().remote.to_string(), "192.0.2.1");
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        assert_eq!(parse_bytes(b"{\"login\":\"a\xffb\"}").unwrap().login(), "a\u{fffd}b");
    }

    #[test]
    fn deep_nesting_is_refused_wherever_it_is() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for name in ["unknown", "attrs"] {
            assert!(parse(&format!(r#"{{"{name}":{}}}"#, deep(200))).is_err(), "{name}");
        }
        assert!(parse(&format!(r#"{{"unknown":{}}}"#, deep(120))).is_ok());
    }

    #[test]
    fn a_call_may_lack_attributes() {
        for (body, expected) in [
            ("{}", 0),
            (r#"{"attrs":5}"#, 0),
            (r#"{"attrs":{"a":"1"},"attrs":[]}"#, 0),
            (r#"{"attrs":{"a":"1"},"attrs":{"b":"2"}}"#, 1),
            (r#"{"attrs":{"a":"1","b":["x"],"c":7}}"#, 2),
        ] {
            let attrs = Attributes::from_json(body.as_bytes()).unwrap();
            assert_eq!(attrs.iter().count(), expected, "{body}");
        }
        for body in ["null", "[]", "{bad", ""] {
            assert!(Attributes::from_json(body.as_bytes()).is_err(), "{body}");
        }
    }
}
