//! The functions and methods with a store behind them that writes down what it is asked.

mod fake;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::login::LoginTuple;
use crate::lua::{Failure, Role, Script, State};
use crate::manual;
use crate::shared::Shared;
use crate::store::Known;

use fake::{Before, Fake};

/// Writes tables as text, sorted by key.
const SHOW: &str = "
function show(value)
    if type(value) ~= 'table' then return tostring(value) end
    local keys, parts = {}, {}
    for key in pairs(value) do keys[#keys + 1] = key end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for i, key in ipairs(keys) do
        parts[i] = (type(key) == 'number' and '' or key .. '=') .. show(value[key])
    end
    return '{' .. table.concat(parts, ' ') .. '}'
end
function all(...)
    local texts = {}
    for i = 1, select('#', ...) do texts[i] = show((select(i, ...))) end
    return table.concat(texts, ', ')
end
";

fn state(role: Role, config: &str) -> (State, Fake) {
    state_of(Arc::default(), role, config)
}

fn state_of(shared: Arc<Shared>, role: Role, config: &str) -> (State, Fake) {
    let fake = Fake::default();
    shared.set_store(Arc::new(fake.clone()));
    let state = State::new(shared, role, Some(&Script::of(&format!("{SHOW}{config}")))).unwrap();
    (state, fake)
}

/// What a call of a method answers, or its error.
fn call(state: &State, call: &str) -> String {
    let chunk = format!("local s = reportStore()\nreturn all(s:{call})");
    let result = state.lua.load(chunk).set_name("=x").eval::<String>();
    result.unwrap_or_else(|e| Failure::new(&e.into()).message)
}

fn with_before() -> Known {
    Known { record: Arc::default(), before: Some(Arc::new(Before)) }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[test]
fn a_question_reaches_the_store_and_its_answer_the_policy() {
    let shared = Arc::<Shared>::default();
    shared.egress.trust(&["192.0.2.0/24".into()]).unwrap();
    let (state, fake) = state_of(shared, Role::Worker, "");
    let window = "hours = 1, at = 1000000000";
    let ranked = "window: Window { start: 999996300, end: 1000000001 }";
    for (question, asked, answer) in [
        (
            "profile('joe')".to_owned(),
            "profile joe".to_owned(),
            "{days=2 first=1 last=2 places={{asn=64500 country=DE device=imap/Mail lat=0 lon=10.5 \
             net=192.0.2.0/24 radius=20 t=2} {t=1}} pwhashes={{first=1 last=2 pwhash=ab12}} since=1 \
             since_days=2}",
        ),
        ("profile('stranger')".into(), "profile stranger".into(), "nil"),
        (
            "seen('joe', 'country', 'DE')".into(),
            "seen joe Country DE".into(),
            "{days=1 fail=2 first=9 last=9 ok=1}",
        ),
        ("seen('joe', 'country', 'XX')".into(), "seen joe Country XX".into(), "nil"),
        (
            "seen('joe', 'asn', 4200000000)".into(),
            "seen joe Asn 4200000000".into(),
            "{days=1 fail=2 first=9 last=9 ok=1}",
        ),
        (
            "seen('joe', 'net', newNetmask('192.0.2.77/24'))".into(),
            "seen joe Net 192.0.2.0/24".into(),
            "{days=1 fail=2 first=9 last=9 ok=1}",
        ),
        (
            "seen('joe', 'net', '2001:DB8::1/64')".into(),
            "seen joe Net 2001:db8::/64".into(),
            "{days=1 fail=2 first=9 last=9 ok=1}",
        ),
        ("seen('joe', 'hour', 7)".into(), "seen joe Hour 04".into(), "{days=1 fail=2 first=9 last=9 ok=1}"),
        (
            "seen('joe', 'hour', '00')".into(),
            "seen joe Hour 00".into(),
            "{days=1 fail=2 first=9 last=9 ok=1}",
        ),
        ("seen('joe', 'device', '')".into(), String::new(), "nil"),
        (
            "values('joe', 'country')".into(),
            "values joe Country".into(),
            "{{days=1 fail=2 first=9 last=9 ok=1 value=FR} {days=1 fail=2 ok=1 value=DE}}",
        ),
        (
            format!("failures{{ login = 'joe', {window} }}"),
            "failures joe 999996300-1000000001".into(),
            "{asns=3 attempts=5 countries=2 nets=4 pwhashes=1}",
        ),
        (
            format!("failures{{ ip = newCA('::ffff:192.0.2.1'), {window} }}"),
            "failures 192.0.2.1 999996300-1000000001".into(),
            "{attempts=9 logins=3 ok=1 ok_logins=1 spread={2 0 0 1 0} unknown=2}",
        ),
        (
            format!("failures{{ ip = '2001:db8::1', {window} }}"),
            "failures 2001:db8::1 999996300-1000000001".into(),
            "{attempts=9 logins=3 ok=1 ok_logins=1 spread={2 0 0 1 0} unknown=2}",
        ),
        (
            format!("failures{{ net = newNetmask('192.0.2.9/24'), {window} }}"),
            "failures 192.0.2.0/24 999996300-1000000001".into(),
            "{attempts=9 logins=3 ok=1 ok_logins=1 spread={2 0 0 1 0} unknown=2}",
        ),
        (
            format!("usual{{ ip = '192.0.2.1', {window} }}"),
            "usual 192.0.2.1 998791200-999997200 by 3600".into(),
            "7",
        ),
        (
            "usual{ net = newNetmask('192.0.2.0/24'), hours = 168, at = 1000000000 }".into(),
            "usual 192.0.2.0/24 998791200-999396000 by 604800".into(),
            "7",
        ),
        (
            "reports{ login = 'joe', since = 1.5, success = false, limit = 2 }".into(),
            "ReportQuery { whose: Login(\"joe\"), since: 1.5, success: Some(false), limit: 2 }".into(),
            "{{asn=7 country=DE device=imap/Mail device_id= fail_type= lat=52.5 login=joe lon=13.4 \
             net=192.0.2.0/24 policy_reject=false protocol=imap pwhash= radius=5 region=BE remote=192.0.2.1 \
             session_id= shared=true success=true t=1.5 tls=false} {device_id= fail_type= login= \
             policy_reject=false protocol= pwhash= session_id= success=false t=0 tls=false}}",
        ),
        (
            format!("top{{ by = 'ip', {window} }}"),
            format!("TopQuery {{ by: Ip, {ranked}, success: None, min_logins: 0, limit: 100 }}"),
            "{{attempts=9 logins=5 ok=0 value=192.0.2.1}}",
        ),
        (
            format!("top{{ by = 'device', success = true, min_logins = 50, limit = 10000, {window} }}"),
            format!("TopQuery {{ by: Device, {ranked}, success: Some(true), min_logins: 50, limit: 10000 }}"),
            "{{attempts=9 logins=5 ok=0 value=192.0.2.1}}",
        ),
        (
            format!("platform{{ {window} }}"),
            "platform All  999996300-1000000001".into(),
            "{fail=3 ips=1 logins=2 ok=4}",
        ),
        (
            format!("platform{{ by = 'asn', value = 64500, {window} }}"),
            "platform Asn 64500 999996300-1000000001".into(),
            "{fail=3 ips=1 logins=2 ok=4}",
        ),
        ("isShared('192.0.2.1')".into(), String::new(), "true"),
        ("isShared(newCA('::ffff:192.0.2.1'))".into(), String::new(), "true"),
        ("isShared(newNetmask('192.0.2.128/25'))".into(), String::new(), "true"),
        ("isShared('192.0.0.0/16')".into(), String::new(), "false"),
        ("isShared('203.0.113.1')".into(), String::new(), "false"),
        ("forget('joe')".into(), "forget joe".into(), "3"),
    ] {
        assert_eq!(call(&state, &question), answer, "{question}");
        let questions = fake.asked().into_iter().filter(|asked| asked != "open").collect::<Vec<_>>();
        assert_eq!(questions.concat(), asked, "{question}");
    }
    call(&state, "reports{ ip = '192.0.2.1' }");
    assert!(fake.asked().concat().contains("Ip(192.0.2.1), since: 0.0, success: None, limit: 100"));
}

#[test]
fn a_wrong_argument_is_an_error_that_says_what_is_allowed() {
    let (state, fake) = state(Role::Worker, "");
    for (question, error) in [
        ("profile()", "profile(login): login: string expected, got nil"),
        ("profile('joe', 1)", "profile(login): too many arguments"),
        (
            "seen('joe', 'planet', 'Mars')",
            "seen(login, dimension, value): \"planet\" is not country, asn, net, device, protocol or hour",
        ),
        (
            "seen('joe', 'country')",
            "seen(login, dimension, value): value: string or Netmask expected, got nil",
        ),
        ("seen('joe', 'net', 'home')", "seen(login, dimension, value): value: \"home\" is not a netmask"),
        ("seen('joe', 'hour', 24)", "seen(login, dimension, value): value: hour from 0 to 23 expected"),
        (
            "seen('joe', 'country', newNetmask('192.0.2.0/24'))",
            "seen(login, dimension, value): value: string expected, got Netmask",
        ),
        (
            "seen('joe', 'net', newCA('192.0.2.1'))",
            "seen(login, dimension, value): value: string or Netmask expected, got userdata",
        ),
        (
            "values('joe', '')",
            "values(login, dimension): \"\" is not country, asn, net, device, protocol or hour",
        ),
        (
            "familiar('joe', 'planet', '')",
            "familiar(login, dimension, value): \
             \"planet\" is not country, asn, net, device, protocol or hour",
        ),
        ("failures('joe')", "failures(query): query: table expected, got string"),
        ("failures{ hours = 1 }", "failures(query): one of login, ip and net expected"),
        (
            "failures{ login = 'joe', ip = '192.0.2.1', hours = 1 }",
            "failures(query): one of login, ip and net expected",
        ),
        (
            "failures{ user = 'joe', hours = 1 }",
            "failures(query): no key named \"user\": there are login, ip, net, hours and at",
        ),
        (
            "failures{ login = 'joe' }",
            "failures(query): hours: more than 0 and at most 2160 expected, got nil",
        ),
        (
            "failures{ login = 'joe', hours = 2161 }",
            "failures(query): hours: more than 0 and at most 2160 expected, got 2161",
        ),
        ("failures{ login = 'joe', hours = {} }", "failures(query): hours: number expected, got table"),
        (
            "failures{ ip = '192.0.2.1', hours = 337 }",
            "failures(query): hours: more than 0 and at most 336 expected, got 337",
        ),
        (
            "failures{ ip = 'home', hours = 1 }",
            "failures(query): ip: ComboAddress or IP address expected, got string",
        ),
        (
            "failures{ net = 'home', hours = 1 }",
            "failures(query): net: Netmask or text of one expected, got string",
        ),
        ("failures{ login = 'joe', hours = 1, at = -1 }", "failures(query): at: seconds since 1970 expected"),
        (
            "failures{ login = 'joe', hours = 1, at = 0/0 }",
            "failures(query): at: seconds since 1970 expected",
        ),
        (
            "usual{ login = 'joe', hours = 1 }",
            "usual(query): no key named \"login\": there are ip, net, hours and at",
        ),
        ("usual{ hours = 1 }", "usual(query): one of ip and net expected"),
        ("usual{ ip = '192.0.2.1' }", "usual(query): hours: from 1 to 168 expected, got nil"),
        ("usual{ ip = '192.0.2.1', hours = 169 }", "usual(query): hours: from 1 to 168 expected, got 169"),
        ("usual{ ip = '192.0.2.1', hours = 0.5 }", "usual(query): hours: whole number expected, got number"),
        ("reports{}", "reports(query): one of login and ip expected"),
        (
            "reports{ login = 'joe', limit = 10001 }",
            "reports(query): limit: from 1 to 10000 expected, got 10001",
        ),
        ("reports{ login = 'joe', success = 1 }", "reports(query): success: boolean expected, got number"),
        (
            "reports{ login = 'joe', hours = 1 }",
            "reports(query): no key named \"hours\": there are login, ip, since, success and limit",
        ),
        (
            "isShared('home')",
            "isShared(source): source: ComboAddress, Netmask or text of one expected, got string",
        ),
        ("top{ hours = 1 }", "top(query): by: string expected, got nil"),
        ("top{ by = 'x', hours = 1 }", "top(query): \"x\" is not ip, net, login, asn, country or device"),
        (
            "top{ by = 'net', hours = 337 }",
            "top(query): hours: more than 0 and at most 336 expected, got 337",
        ),
        ("top{ by = 'asn', hours = 0 }", "top(query): hours: more than 0 and at most 2160 expected, got 0"),
        (
            "top{ by = 'asn', hour = 1 }",
            "top(query): no key named \"hour\": there are by, hours, at, success, min_logins and limit",
        ),
        (
            "top{ by = 'login', hours = 1 }",
            "top(query): success: false expected: of logins, only failures are ranked",
        ),
        (
            "top{ by = 'login', hours = 1, success = true }",
            "top(query): success: false expected: of logins, only failures are ranked",
        ),
        ("platform{ by = 'country', hours = 1 }", "platform(query): value: string expected, got nil"),
        ("platform{ value = 'DE', hours = 1 }", "platform(query): value: none expected without a by"),
        (
            "platform{ by = 'net', hours = 1 }",
            "platform(query): \"net\" is not all, country, asn, protocol or device",
        ),
        (
            "platform{ part = 'all' }",
            "platform(query): no key named \"part\": there are by, value, hours and at",
        ),
    ] {
        assert_eq!(call(&state, question), format!("x:2: ReportStore:{error}"), "{question}");
    }
    assert_eq!(fake.asked(), Vec::<String>::new(), "the store is not asked what is wrong");
}

#[test]
fn a_store_that_can_not_answer_is_no_error() {
    let (state, fake) = state(Role::Worker, "");
    let questions = [
        "profile('joe')",
        "seen('joe', 'country', 'DE')",
        "values('joe', 'country')",
        "established('joe')",
        "familiar('joe', 'country', 'DE')",
        "failures{ login = 'joe', hours = 1 }",
        "failures{ ip = '192.0.2.1', hours = 1 }",
        "usual{ net = '192.0.2.0/24', hours = 24 }",
        "reports{ login = 'joe' }",
        "top{ by = 'ip', hours = 1 }",
        "platform{ hours = 1 }",
    ];
    fake.0.lock().closed = Some("no such file");
    for question in questions {
        assert_eq!(call(&state, question), "nil, store unavailable: no such file", "{question}");
        assert_eq!(fake.asked(), ["open"], "{question}");
    }
    fake.0.lock().closed = None;
    let errors: [(fn() -> Error, _); 2] = [
        (|| Error::Store("too slow".into()), "nil, store unavailable: too slow"),
        (|| Error::Refused("a bad row".into()), "nil, store unavailable: a bad row"),
    ];
    for (error, answer) in errors {
        fake.0.lock().broken = Some(error);
        for question in questions.into_iter().chain(["forget('joe')"]) {
            assert_eq!(call(&state, question), answer, "{question}");
        }
    }
    fake.0.lock().broken = None;
    assert_eq!(call(&state, "forget('joe')"), "3");
    let opened = fake.asked().into_iter().filter(|asked| asked == "open").count();
    assert_eq!(opened, 1, "the reader is kept");
}

#[test]
fn a_report_sees_what_was_known_before_it() {
    let config = "setReport(function(lt)
        local s = reportStore()
        seen = all(s:profile(lt.login).days, s:seen(lt.login, 'country', 'FR'),
            #s:values(lt.login, 'country'), s:established(lt.login),
            s:familiar(lt.login, 'country', 'DE'), s:familiar(lt.login, 'country', 'FR'),
            s:familiar(lt.login, 'device', ''), s:profile('ann').days)
        s:failures{ login = lt.login, hours = 1 }
        s:platform{ hours = 1, at = 7200 }
    end)";
    let (state, fake) = state(Role::Worker, config);
    let login = LoginTuple::from_json(br#"{"login":"joe","t":1000000000.5}"#, std::time::SystemTime::now());
    let login = login.unwrap();
    let seen = || state.lua.globals().get::<_, String>("seen").unwrap();
    state.report(&login, Some(&with_before()), soon()).unwrap();
    assert_eq!(seen(), "7, nil, 1, true, true, false, false, 2");
    let asked = ["open", "profile ann", "failures joe 999996300-1000000001", "platform All  3600-7201"];
    assert_eq!(fake.asked(), asked);
    state.report(&login, None, soon()).unwrap();
    let anew = "2, {days=1 fail=2 first=9 last=9 ok=1}, 2, false, false, false, false, 2";
    assert_eq!(seen(), anew, "without a memory the store answers");
    fake.asked();
    assert!(call(&state, "profile('joe')").starts_with("{days=2 "), "the report is over");
    call(&state, "platform{ hours = 1 }");
    assert!(!fake.asked().concat().contains("-1000000001"), "a window ends now");
}

#[test]
fn an_error_of_a_report_ends_what_came_with_it() {
    let (state, _) = state(Role::Worker, "setReport(function() error('x') end)");
    assert!(state.report(&LoginTuple::default(), Some(&with_before()), soon()).is_err());
    assert!(call(&state, "profile('joe')").starts_with("{days=2 "));
}

#[test]
fn a_file_can_keep_the_store_that_it_asks_for() {
    let config = "newReportStore{ path = '/tmp/x.db' }
        kept = reportStore()
        answer, reason = kept:profile('joe')";
    let state = State::new(Arc::<Shared>::default(), Role::Config, Some(&Script::of(config))).unwrap();
    let found: String = state.lua.load("tostring(answer) .. ', ' .. reason").eval().unwrap();
    assert_eq!(found, "nil, store unavailable: it opens when the configuration has run");
    state.context.shared.set_store(Arc::new(Fake::default()));
    assert!(state.lua.load("kept:profile('joe').days == 2").eval::<bool>().unwrap());
    let without =
        State::new(Arc::<Shared>::default(), Role::Worker, Some(&Script::of("kept = reportStore()")));
    assert!(without.unwrap().lua.load("kept == nil and reportStore() == nil").eval::<bool>().unwrap());
}

#[test]
fn the_file_asks_for_one_store() {
    let run = |role, config: &str| -> Result<Config> {
        let state = State::new(Arc::<Shared>::default(), role, Some(&Script::of(config)))?;
        Ok(state.config())
    };
    let config = "newReportStore{ path = '/tmp/x.db' }";
    assert!(run(Role::Config, config).unwrap().store.is_some());
    assert!(run(Role::Worker, config).unwrap().store.is_none());
    for (config, error) in [
        ("newReportStore()", "test.conf:1: newReportStore(options): options: table expected, got nil"),
        (
            "newReportStore{ path = 'x' }\nnewReportStore{ path = 'y' }",
            "test.conf:2: newReportStore(options): there is a report store already, and can be only one",
        ),
        (
            "newReportStore{ clickhouse = 'ch1://u:secret@x' }",
            "test.conf:1: newReportStore(options): clickhouse: http or https URL of a server and a database \
             expected",
        ),
    ] {
        let error_found = run(Role::Config, config).unwrap_err();
        assert_eq!(Failure::new(&error_found).message, error);
    }
}

#[test]
fn the_console_looks_after_the_store() {
    let (state, fake) = state(Role::Config, "");
    state.become_console().unwrap();
    for (command, answer, asked) in [
        ("showStore", "rows=5\nbytes=4096\noldest=2001-09-09T01:46:40Z\nqueue=2\nlag=0.012\n", "status"),
        ("forgetLogin('joe')", "3 rows removed\n", "forget joe"),
        (
            "backupStore('/tmp/b.db')",
            "being written to /tmp/b.db: the log says when it is done\n",
            "backup /tmp/b.db",
        ),
        ("return reportStore():profile('stranger')", "nil", "open profile stranger"),
    ] {
        assert_eq!(state.command(command, soon()).unwrap(), answer, "{command}");
        assert_eq!(fake.asked().join(" "), asked);
    }
    fake.0.lock().broken = Some(|| Error::Store("disk full".into()));
    for command in ["showStore()", "forgetLogin('joe')", "backupStore('/tmp/b.db')"] {
        let error = state.command(command, soon()).unwrap_err();
        assert!(Failure::new(&error).message.ends_with(": store unavailable: disk full"), "{command}");
    }
    let without = State::new(Arc::<Shared>::default(), Role::Config, Some(&Script::of(""))).unwrap();
    without.become_console().unwrap();
    let error = without.command("showStore()", soon()).unwrap_err();
    let expected = "showStore(): there is no newReportStore() in the configuration";
    assert_eq!(Failure::new(&error).message, expected);
}

#[test]
fn what_is_usual_is_asked_once_an_hour() {
    let (state, fake) = state(Role::Worker, "");
    for (at, asked) in [(1_000_000_000, 1), (1_000_000_799, 0), (1_000_000_800, 1), (1_000_000_799, 0)] {
        let question = format!("usual{{ ip = '192.0.2.1', hours = 1, at = {at} }}");
        assert_eq!(call(&state, &question), "7");
        assert_eq!(fake.asked().iter().filter(|asked| *asked != "open").count(), asked, "{at}");
    }
}

#[test]
fn a_configuration_names_networks_that_are_shared() {
    let config = "setTrustedNets({ '192.0.2.0/25' })
        local group = newNetmaskGroup()
        group:addMask('198.51.100.0/24')
        group:addMask('!198.51.100.128/25')
        setTrustedNets(group)";
    let shared = Arc::<Shared>::default();
    state_of(shared.clone(), Role::Config, config);
    let is_shared = |ip: &str| shared.egress.contains(ip.parse().unwrap());
    let ips = ["192.0.2.1", "192.0.2.200", "198.51.100.1", "198.51.100.200"];
    assert_eq!(ips.map(is_shared), [true, false, true, false]);
    for (nets, error) in [
        ("{ 'home' }", "setTrustedNets(nets): \"home\" is not a netmask"),
        (
            "'192.0.2.0/24'",
            "setTrustedNets(nets): nets: list of strings or NetmaskGroup expected, got string",
        ),
    ] {
        let script = Script::of(&format!("setTrustedNets({nets})"));
        let error_of = State::new(Arc::<Shared>::default(), Role::Config, Some(&script)).err().unwrap();
        assert!(Failure::new(&error_of).message.ends_with(error), "{nets}");
    }
}

#[test]
fn the_example_of_the_manual_works() {
    let example = manual::example("trackalert_store.7");
    let (worker, fake) = state(Role::Worker, &example);
    let report = br#"{"login":"joe","remote":"192.0.2.1","success":true,"t":1000000000}"#;
    let login = LoginTuple::from_json(report, std::time::SystemTime::now()).unwrap();
    worker.report(&login, Some(&with_before()), soon()).unwrap();
    assert_eq!(fake.asked(), ["open", "failures 192.0.2.1 999913500-1000000001"]);
    fake.0.lock().broken = Some(|| Error::Store("disk full".into()));
    worker.report(&login, None, soon()).unwrap();
}
