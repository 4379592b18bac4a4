//! A login as wforce reports it: read from JSON straight into owned fields, without a tree in
//! between. What a field means to a sender is in trackalert_api(7), to a policy in
//! trackalert.conf(5).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use compact_str::CompactString;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::logger;
use crate::net::addr::Address;

/// Text that needs no memory of its own while it is short, as most of a report's is.
pub type Text = CompactString;

/// Free-form attributes: names with one value each, and names with a list of values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes {
    /// Attributes that were given as a string.
    pub single: BTreeMap<Text, Text>,
    /// Attributes that were given as an array.
    pub multiple: BTreeMap<Text, Vec<Text>>,
}

/// One report: who logged in, from where, how and with what result.
#[derive(Clone, Debug, PartialEq)]
pub struct LoginTuple {
    /// When, in seconds since the epoch.
    pub t: f64,
    /// Where the client is, never an IPv4-mapped address.
    pub remote: Address,
    pub login: Text,
    /// A hash of the password, comparable within one login only.
    pub pwhash: Text,
    pub success: bool,
    /// Whether the login was refused by policy, whatever the password.
    pub policy_reject: bool,
    pub tls: bool,
    pub protocol: Text,
    /// What the client said of itself: a User-Agent, an IMAP ID.
    pub device_id: Text,
    /// What `device_id` was parsed into (`os.family` …); `None` until a report thread does what the
    /// sender did not.
    pub device_attrs: Option<Arc<BTreeMap<Text, Text>>>,
    pub session_id: Text,
    pub fail_type: Text,
    pub attrs: Attributes,
}

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
        let mut login: LoginTuple = serde_json::from_str(&text(body))?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        if !(EARLIEST..=now + AHEAD).contains(&login.t) {
            login.t = now;
        }
        Ok(login)
    }

    /// The report as a log line.
    pub fn line(&self) -> String {
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut add = |name: &str, value: &dyn Display| fields.push((name.to_owned(), value.to_string()));
        add("t", &format_args!("{:.3}", self.t));
        add("remote", &self.remote);
        add("success", &self.success);
        add("policy_reject", &self.policy_reject);
        add("tls", &self.tls);
        add("login", &self.login);
        add("pwhash", &self.pwhash);
        add("protocol", &self.protocol);
        add("device_id", &self.device_id);
        add("session_id", &self.session_id);
        add("fail_type", &self.fail_type);
        for (name, text) in &self.attrs.single {
            add(&format!("attrs.{name}"), text);
        }
        for (name, list) in &self.attrs.multiple {
            add(&format!("attrs.{name}"), &list.join(","));
        }
        for (name, text) in self.device_attrs.iter().flat_map(|attrs| attrs.iter()) {
            add(&format!("device_attrs.{name}"), text);
        }
        logger::line("report", &fields)
    }
}

impl Attributes {
    /// Reads the body of a call of a custom endpoint, `{"attrs": {…}}`. Attributes that are no
    /// object count as none, as in the original.
    pub fn from_json(body: &[u8]) -> serde_json::Result<Attributes> {
        let call: Call = serde_json::from_str(&text(body))?;
        Ok(call.0)
    }
}

/// A body as text; invalid UTF-8 becomes U+FFFD. That there is none is found fast.
fn text(body: &[u8]) -> Cow<'_, str> {
    str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed)
}

impl Default for LoginTuple {
    fn default() -> Self {
        LoginTuple {
            t: 0.0,
            remote: Address::UNSPECIFIED,
            login: Text::default(),
            pwhash: Text::default(),
            success: false,
            policy_reject: false,
            tls: false,
            protocol: Text::default(),
            device_id: Text::default(),
            device_attrs: None,
            session_id: Text::default(),
            fail_type: Text::default(),
            attrs: Attributes::default(),
        }
    }
}

/// Written by hand because a repeated key is no error (the last one wins) and an error names the
/// field, neither of which a derived implementation does. `null` counts as absent.
impl<'de> Deserialize<'de> for LoginTuple {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<LoginTuple, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = LoginTuple;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LoginTuple, A::Error> {
                let mut login = LoginTuple::default();
                while let Some(Borrowed(name)) = map.next_key()? {
                    let name = name.as_ref();
                    match name {
                        "login" => login.login = field(&mut map, name)?.unwrap_or_default(),
                        "pwhash" => login.pwhash = field(&mut map, name)?.unwrap_or_default(),
                        "protocol" => login.protocol = field(&mut map, name)?.unwrap_or_default(),
                        "device_id" => login.device_id = field(&mut map, name)?.unwrap_or_default(),
                        "session_id" => login.session_id = field(&mut map, name)?.unwrap_or_default(),
                        "fail_type" => login.fail_type = field(&mut map, name)?.unwrap_or_default(),
                        "success" => login.success = field(&mut map, name)?.unwrap_or_default(),
                        "policy_reject" => login.policy_reject = field(&mut map, name)?.unwrap_or_default(),
                        "tls" => login.tls = field(&mut map, name)?.unwrap_or_default(),
                        "attrs" => login.attrs = field(&mut map, name)?.unwrap_or_default(),
                        "device_attrs" => {
                            login.device_attrs =
                                field(&mut map, name)?.map(|attrs: Attributes| Arc::new(attrs.single));
                        }
                        "t" => login.t = field(&mut map, name)?.unwrap_or_default(),
                        "remote" => login.remote = remote(field(&mut map, name)?)?,
                        _ => drop(map.next_value::<Value>()?),
                    }
                }
                Ok(login)
            }
        }

        json.deserialize_map(Fields)
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

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Attributes, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Attributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
                let mut attrs = Attributes::default();
                while let Some(name) = map.next_key::<Text>()? {
                    attrs.insert(name, map.next_value()?);
                }
                Ok(attrs)
            }
        }

        json.deserialize_map(Pairs)
    }
}

impl Attributes {
    /// Keeps strings and arrays and skips everything else.
    fn insert(&mut self, name: Text, value: Value) {
        match value {
            Value::One(text) => drop(self.single.insert(name, text)),
            Value::Many(list) => {
                let texts = list.into_iter().map(Value::into_text).collect();
                self.multiple.insert(name, texts);
            }
            Value::Object(_) | Value::Other => {}
        }
    }
}

/// The body of a call of a custom endpoint.
struct Call(Attributes);

impl<'de> Deserialize<'de> for Call {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Call, D::Error> {
        let Value::Object(fields) = Value::deserialize(json)? else {
            return Err(D::Error::custom("a call must be a JSON object"));
        };
        let mut call = Call(Attributes::default());
        for (name, value) in fields {
            if let ("attrs", Value::Object(attrs)) = (name.as_str(), value) {
                for (name, value) in attrs {
                    call.0.insert(name, value);
                }
            }
        }
        Ok(call)
    }
}

/// Any JSON value. Unlike serde's `IgnoredAny` it stops at the depth that serde_json allows (128),
/// wherever the nesting is.
enum Value {
    One(Text),
    Many(Vec<Value>),
    Object(BTreeMap<Text, Value>),
    Other,
}

impl Value {
    fn into_text(self) -> Text {
        match self {
            Value::One(text) => text,
            _ => Text::default(),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Value, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::One(text.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Value::Many(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    fields.insert(name, value);
                }
                Ok(Value::Object(fields))
            }
        }

        json.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!(login.login, "full");
        assert_eq!(login.remote.with_port(), "198.51.100.7");
        assert_eq!((login.pwhash.as_str(), login.fail_type.as_str()), ("ab12", "policy"));
        assert_eq!((login.success, login.policy_reject, login.tls), (true, true, true));
        assert_eq!((login.protocol.as_str(), login.session_id.as_str()), ("imap", "s-1"));
        assert_eq!(login.device_id, r#""name" "Mail""#);
        assert_eq!(*login.device_attrs.unwrap(), BTreeMap::from([("os.family".into(), "Mac OS X".into())]));
        assert_eq!(login.t, 1_700_000_000.25);
        assert_eq!(login.attrs.single.into_iter().collect::<Vec<_>>(), [("z".into(), "1".into())]);
        let lists: Vec<(Text, String)> =
            login.attrs.multiple.into_iter().map(|(name, list)| (name, list.join("|"))).collect();
        assert_eq!(
            lists,
            [("empty".into(), "".into()), ("list".into(), "x|y".into()), ("mix".into(), "s|||".into())]
        );
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
        let nothing = LoginTuple { t: NOW, ..LoginTuple::default() };
        assert_eq!(parse("{}").unwrap(), nothing);
        let nulls = r#"{"login":null,"remote":null,"success":null,"t":null,"attrs":null,"device_attrs":null,"tls":null}"#;
        assert_eq!(parse(nulls).unwrap(), nothing);
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
            assert_eq!(parse(&format!(r#"{{"t":{t}}}"#)).unwrap().t, expected, "{t}");
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
        assert_eq!((login.login.as_str(), login.attrs.single["k"].as_str()), ("b", "2"));
    }

    #[test]
    fn a_mapped_address_becomes_ipv4() {
        assert_eq!(parse(r#"{"remote":"::ffff:192.0.2.1"}"#).unwrap().remote.to_string(), "192.0.2.1");
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        assert_eq!(parse_bytes(b"{\"login\":\"a\xffb\"}").unwrap().login, "a\u{fffd}b");
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
        for (body, expected) in
            [("{}", 0), (r#"{"attrs":5}"#, 0), (r#"{"attrs":{"a":"1","b":["x"],"c":7}}"#, 2)]
        {
            let attrs = Attributes::from_json(body.as_bytes()).unwrap();
            assert_eq!(attrs.single.len() + attrs.multiple.len(), expected, "{body}");
        }
        for body in ["null", "[]", "{bad", ""] {
            assert!(Attributes::from_json(body.as_bytes()).is_err(), "{body}");
        }
    }
}
