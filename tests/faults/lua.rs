//! Policies that use up stack or memory, raise what is no message, or break what is around them.

use crate::support::console::Site;
use crate::support::http::request;
use crate::support::{Trackalert, wait_for};

/// What a policy does wrong, and what the log says of it; nothing if that is up to Lua.
const MISTAKES: &[(&str, &str, &str)] = &[
    // Recursion, through Lua, through C, and through coroutines.
    ("recursion", "local function f() return 1 + f() end f()", "stack overflow"),
    ("gsub", "local function f() return (string.gsub('x', 'x', f)) end f()", "stack overflow"),
    (
        "sort",
        "local function f() table.sort({ 1, 2 }, function(a, b) f() return a < b end) end f()",
        "stack overflow",
    ),
    (
        "tostring",
        "local t = setmetatable({}, {}) getmetatable(t).__tostring = function() return string.format('%s', t) end tostring(t)",
        "stack overflow",
    ),
    (
        "log",
        "local t = setmetatable({}, {}) getmetatable(t).__tostring = function() infoLog('x', { t = t }) return '' end infoLog('x', { t = t })",
        "",
    ),
    ("load", "local function f() load(f) end f()", ""),
    (
        "wrap",
        "local function f() return coroutine.wrap(function() return f() end)() end f()",
        "C stack overflow",
    ),
    ("resume", "local function f() coroutine.resume(coroutine.create(f)) end f()", ""),
    ("itself", "local c c = coroutine.wrap(function() return c() end) c()", "cannot resume"),
    ("yield", "coroutine.yield()", "attempt to yield"),
    ("parser", "assert(loadstring('return ' .. string.rep('{', 1e5)))", "too many syntax levels"),
    // What takes too much at once.
    ("pattern", "string.find(string.rep('a', 1e5), string.rep('a?', 1e5) .. 'b')", "pattern too complex"),
    ("balance", "string.find(string.rep('(', 1e5), string.rep('%b()', 1e5))", ""),
    ("captures", "string.find('x', string.rep('(', 100))", "too many captures"),
    ("unpack", "local t = { unpack({}, 1, 1e8) }", "too many results"),
    ("format", "local s = string.format('%99999d', 1)", "invalid option"),
    ("rep", "local s = string.rep('x', 1e10) .. 'x'", ""),
    ("concat", "local s = table.concat({ {} })", "invalid value"),
    (
        "order",
        "local t = {} for i = 1, 1000 do t[i] = i end table.sort(t, function() return true end)",
        "invalid order",
    ),
    // Errors that are no messages.
    ("table", "error({ code = 1 })", "table: 0x"),
    ("nil", "error(nil)", "exception: nil"),
    ("none", "error()", "exception: nil"),
    ("function", "error(print)", "function: "),
    ("thread", "error(coroutine.create(print))", "thread: "),
    ("object", "error(newCA('192.0.2.1'))", ""),
    ("unprintable", "error(setmetatable({}, { __tostring = function() error('again') end }))", ""),
    ("bytes", "error('a\\0b\\255\\n')", "exception: "),
    ("long", "error(string.rep('x', 1e6))", "xxx... ("),
    // What is around a policy.
    ("hook", "debug.sethook(function() error('hooked') end, '', 1)", "hooked"),
    ("finalizer", "getmetatable(newproxy(true)).__gc = function() error('x') end collectgarbage()", ""),
    ("collector", "collectgarbage('stop')", ""),
    ("strings", "getmetatable('').__index = nil local s = ('x'):rep(2)", "attempt to index"),
    ("objects", "getmetatable(newCA('192.0.2.1')).__index = nil", "attempt to index"),
    (
        "globals",
        "setmetatable(_G, { __index = function(_, name) error('no ' .. name) end, __newindex = error }) new = 1",
        "",
    ),
];

#[test]
fn a_mistake_of_the_policy_costs_its_report() {
    let cases: String = MISTAKES
        .iter()
        .map(|(name, code, _)| format!("mistakes['{name}'] = function() {code} end\n"))
        .collect();
    // Each is made in a state of its own: endpoints and reports have one thread.
    let daemon = Trackalert::start(&format!(
        "setNumReportThreads(1) local mistakes, infoLog = {{}}, infoLog
        {cases}
        setReport(function(lt)
            if mistakes[lt.login] then mistakes[lt.login]() end
            infoLog('ran', {{ login = lt.login }})
        end)"
    ));
    let mut client = daemon.client();
    for (name, _, message) in MISTAKES {
        for login in [(*name).to_owned(), format!("after {name}")] {
            assert_eq!(client.post("/command/report", &format!(r#"{{"login":"{login}"}}"#)).status, 200);
        }
        daemon.wait_for_line(&format!("ran: login=\"after {name}\""));
        let lines = daemon.lines();
        let is_said = |line: &String| {
            line.contains("exception")
                && line.contains(message)
                && line.contains(&format!("login=\"{name}\""))
        };
        // A line that is cut ends before its values.
        let is_cut = |line: &String| line.contains(message) && line.contains("... (");
        assert!(
            message.is_empty() || lines.iter().any(|line| is_said(line) || is_cut(line)),
            "{name}: {lines:?}"
        );
    }
    daemon.stop();
}

#[test]
fn memory_without_end_costs_the_report_and_its_state() {
    let daemon = Trackalert::start(
        "setNumReportThreads(1) setNumEndpointThreads(1) setLuaMemoryLimit(32) kept = {}
        local function grow(t) while true do t[#t + 1] = string.rep('x', 1000) .. #t end end
        setReport(function(lt)
            if lt.login == 'local' then grow({}) end
            if lt.login == 'global' then grow(kept) end
            if lt.login == 'caught' then while true do pcall(grow, {}) end end
            if lt.login == 'little' then for i = 1, 3e5 do kept[#kept + 1] = 'x' .. #kept end end
            infoLog('ran', { login = lt.login, kept = #kept })
        end)
        setCustomEndpoint('grow', function() grow({}) end)",
    );
    for (number, login) in ["local", "global", "caught"].iter().enumerate() {
        daemon.report(&format!(r#"{{"login":"{login}"}}"#));
        wait_for("its end", || {
            (daemon.count_lines("more than 32 MiB and is made anew") > number).then_some(())
        });
        daemon.report(&format!(r#"{{"login":"after {login}"}}"#));
        daemon.wait_for_line(&format!("ran: kept=\"0\" login=\"after {login}\""));
    }
    assert_eq!(daemon.count_lines("not enough memory, see setLuaMemoryLimit: login="), 3);
    let reply = daemon.client().post("/command/grow", "{}");
    assert_eq!(reply.status, 500);
    daemon.wait_for_line("a Lua state of the endpoint pool had more than 32 MiB");
    // What many reports leave behind comes to an end as well.
    for _ in 0..4 {
        daemon.report(r#"{"login":"little"}"#);
    }
    daemon.report(r#"{"login":"last"}"#);
    daemon.wait_for_line("login=\"last\"");
    assert!(daemon.count_lines("made anew") > 4, "{:?}", daemon.lines());
    assert!(daemon.status("VmRSS") < 512 << 10, "{} KiB", daemon.status("VmRSS"));
    daemon.stop();
}

#[test]
fn the_console_survives_its_own_commands() {
    let console = Site::start("setReport(function() end) setLuaMemoryLimit(32)");
    for (command, expected) in [
        ("local function f() return (string.gsub('x', 'x', f)) end f()", "stack overflow"),
        ("local function f() return coroutine.wrap(function() return f() end)() end f()", "C stack overflow"),
        ("local t = {} while true do t[#t + 1] = string.rep('x', 1000) .. #t end", "not enough memory"),
        ("error(setmetatable({}, { __tostring = error }))", "Error: "),
        ("return 5 + 1", "6"),
    ] {
        let answer = console.ask(command);
        assert!(answer.contains(expected), "{command}: {answer}");
    }
    let mut client = console.daemon.client();
    client.send(request("POST", "/command/report", "{}"));
    assert_eq!(client.reply().status, 200);
    console.daemon.stop();
}
