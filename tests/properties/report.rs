//! A report is read or refused; what is read has valid values, survives being written and read again,
//! is one line of the log that says what it holds, and reaches Lua as it is.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use trackalert::probe::{Attributes, LoginTuple, Policy, Value, address};

/// Seconds since the epoch at which reports arrive here.
const NOW: f64 = 1_700_000_000.0;

/// Puts what it is called with into one table of strings.
const CONFIG: &str = "
    local seen
    local function put(name, value)
        seen[name] = type(value) .. ' ' .. tostring(value)
    end
    local function put_texts(field, texts)
        for name, text in pairs(texts) do put(field .. ' ' .. name, text) end
    end
    -- The length says where a name ends.
    local function put_lists(lists)
        for name, list in pairs(lists) do
            local field = 'attrs_mv ' .. #name .. ' ' .. name .. ' '
            put(field .. '#', #list)
            for i, text in ipairs(list) do put(field .. i, text) end
        end
    end
    setReport(function(lt)
        seen = {}
        for name, value in pairs(lt) do
            if type(value) == 'number' then seen[name] = string.format('%.17g', value)
            elseif type(value) == 'userdata' then seen[name] = value:tostringWithPort()
            elseif type(value) ~= 'table' then put(name, value)
            elseif name == 'attrs_mv' then put_lists(value)
            else put_texts(name, value) end
        end
    end)
    setCustomEndpoint('seen', function() return true, seen end)
    setCustomEndpoint('attrs', function(args)
        seen = {}
        put_texts('attrs', args.attrs)
        put_lists(args.attrs_mv)
        return true, seen
    end)";

thread_local! {
    static POLICY: Policy = Policy::new(CONFIG).unwrap();
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs_f64(NOW)
}

/// `data` is the body of a report, and of a call of a custom endpoint.
pub fn report(data: &[u8]) {
    POLICY.with(|policy| {
        if let Ok(login) = LoginTuple::from_json(data, now()) {
            check(policy, &login);
        }
        if let Ok(attrs) = Attributes::from_json(data) {
            let answer = policy.endpoint("attrs", &attrs).unwrap();
            assert_eq!(answer, (true, attributes(attrs.iter()).into_iter().collect()));
        }
        if let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) {
            // Printed again, for a key may have been there twice.
            let result = LoginTuple::from_json(value.to_string().as_bytes(), now());
            assert_eq!(result.is_ok(), is_report(&value), "{value}: {result:?}");
        }
    });
}

/// Whether a value is a report by the types of its fields.
fn is_report(value: &serde_json::Value) -> bool {
    let Some(fields) = value.as_object() else { return false };
    let mut given = fields.iter().filter(|(_, value)| !value.is_null());
    given.all(|(name, value)| match name.as_str() {
        "success" | "policy_reject" | "tls" => value.is_boolean(),
        "t" => value.is_number(),
        "remote" => value.as_str().is_some_and(|text| address(text).is_some()),
        "attrs" | "device_attrs" => value.is_object(),
        "login" | "pwhash" | "protocol" | "device_id" | "session_id" | "fail_type" => value.is_string(),
        _ => true,
    })
}

fn check(policy: &Policy, login: &LoginTuple) {
    assert!((946_684_800.0..=NOW + 86_400.0).contains(&login.t), "{}", login.t);
    assert!(!login.remote.is_mapped_ipv4() && login.remote.port().is_none(), "{:?}", login.remote);
    let again = LoginTuple::from_json(json(login).as_bytes(), now()).unwrap();
    assert_eq!(json(&again), json(login));
    check_line(login);
    policy.report(login).unwrap();
    let (_, seen) = policy.endpoint("seen", &Attributes::default()).unwrap();
    let mut seen: BTreeMap<String, String> = seen.into_iter().collect();
    assert_eq!(seen.remove("t").unwrap().parse(), Ok(login.t));
    assert_eq!(seen, fields(login));
}

/// The report as a sender writes it.
fn json(login: &LoginTuple) -> String {
    let mut fields = json!({
        "t": login.t,
        "remote": login.remote.to_string(),
        "login": login.login(),
        "pwhash": login.pwhash(),
        "success": login.success,
        "policy_reject": login.policy_reject,
        "tls": login.tls,
        "protocol": login.protocol(),
        "device_id": login.device_id(),
        "session_id": login.session_id(),
        "fail_type": login.fail_type(),
    });
    if !login.is_device_unknown() {
        fields["device_attrs"] =
            login.device_attrs().map(|(name, text)| (name.to_owned(), json!(text))).collect();
    }
    // A name may have a text and a list, which is more than a value of serde_json can say.
    let attrs = login.attrs().map(|(name, value)| {
        let value = match value {
            Value::One(text) => json!(text),
            Value::Many(items) => items.iter().collect(),
        };
        format!("{}:{value}", json!(name))
    });
    let fields = fields.to_string();
    format!("{},\"attrs\":{{{}}}}}", fields.strip_suffix('}').unwrap(), attrs.collect::<Vec<_>>().join(","))
}

/// Reads the log line as an operator's program does: `name="value"`, the quotes of values escaped.
fn check_line(login: &LoginTuple) {
    let line = login.line();
    assert!(!line.chars().any(char::is_control), "{line:?}");
    let mut names = Vec::new();
    let Some(mut rest) = line.strip_prefix("report: ") else { panic!("{line}") };
    // One that is too long for a line is cut.
    while !rest.is_empty() && line.len() < 30_000 {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        let mut is_escaped = false;
        let end = value.bytes().position(|byte| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        });
        rest = value[end.unwrap_or_else(|| panic!("{line}")) + 1..].strip_prefix(' ').unwrap();
        names.push(name);
    }
    if line.len() < 30_000 {
        assert_eq!(names.len(), 11 + login.attrs().count() + login.device_attrs().count(), "{line}");
        for name in names {
            let is_forged = name.contains(['"', ' ', '=']);
            assert!(!is_forged, "{name:?} in {line}");
        }
    }
}

/// What Lua must see.
fn fields(login: &LoginTuple) -> BTreeMap<String, String> {
    let mut fields = attributes(login.attrs());
    let mut put = |name: &str, text: String| drop(fields.insert(name.to_owned(), text));
    put("remote", login.remote.to_string());
    for (name, text) in [
        ("login", login.login()),
        ("pwhash", login.pwhash()),
        ("protocol", login.protocol()),
        ("device_id", login.device_id()),
        ("session_id", login.session_id()),
        ("fail_type", login.fail_type()),
    ] {
        put(name, format!("string {text}"));
    }
    for (name, is_so) in
        [("success", login.success), ("policy_reject", login.policy_reject), ("tls", login.tls)]
    {
        put(name, format!("boolean {is_so}"));
    }
    for (name, text) in login.device_attrs() {
        put(&format!("device_attrs {name}"), format!("string {text}"));
    }
    fields
}

/// Of a name that comes twice, the last value counts.
fn attributes<'a>(attrs: impl Iterator<Item = (&'a str, Value<'a>)>) -> BTreeMap<String, String> {
    let (mut fields, mut lists) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in attrs {
        match value {
            Value::One(text) => drop(fields.insert(format!("attrs {name}"), format!("string {text}"))),
            Value::Many(items) => drop(lists.insert(name, items)),
        }
    }
    for (name, items) in lists {
        let field = format!("attrs_mv {} {name}", name.len());
        fields.insert(format!("{field} #"), format!("number {}", items.len()));
        for (number, text) in (1..).zip(items.iter()) {
            fields.insert(format!("{field} {number}"), format!("string {text}"));
        }
    }
    fields
}
