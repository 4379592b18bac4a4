//! Custom endpoints.

use serde_json::{Value, json};

use crate::support::{Folder, Trackalert, run};

#[test]
fn what_the_function_returns_is_the_answer() {
    let daemon = Trackalert::start(
        r#"
        local answers = {
            plain = function(args) return true, { login = args.attrs.login, n = 1, f = 1.5 } end,
            no = function() return false, { why = "because" } end,
            array = function() return true, { "a", "b" } end,
            multi = function(args) return true, { list = table.concat(args.attrs_mv.list, "|") } end,
            bytes = function() return true, { k = 'quote" nl\n nul\0 bad\255' } end,
            empty = function() return true, {} end,
            nothing = function() end,
            onlytrue = function() return true end,
            text = function() return "yes", {} end,
            boolean = function() return true, { b = true } end,
            nested = function() return true, { t = {} } end,
            boom = function() error('a "quoted" boom') end,
        }
        setCustomEndpoint("custom", function(args) return answers[args.attrs.login](args) end)
        "#,
    );
    let mut client = daemon.client();
    let mut call = |login: &str| {
        let body = json!({ "attrs": { "login": login, "list": ["x", "y"] } }).to_string();
        let reply = client.post("/command/custom", &body);
        (reply.status, reply.json())
    };
    let ok = |success: bool, attrs: Value| (200, json!({ "success": success, "r_attrs": attrs }));
    for (login, expected) in [
        ("plain", ok(true, json!({ "login": "plain", "n": "1", "f": "1.5" }))),
        ("no", ok(false, json!({ "why": "because" }))),
        ("array", ok(true, json!({ "1": "a", "2": "b" }))),
        ("multi", ok(true, json!({ "list": "x|y" }))),
        ("bytes", ok(true, json!({ "k": "quote\" nl\n nul\0 bad\u{fffd}" }))),
        ("empty", ok(true, json!({}))),
    ] {
        assert_eq!(call(login), expected, "{login}");
    }
    for (login, reason) in [
        ("nothing", "must return a boolean and a table"),
        ("onlytrue", "must return a table after the boolean"),
        ("text", "must return a boolean and a table"),
        ("boolean", "b: "),
        ("nested", "t: "),
        ("boom", "a \"quoted\" boom"),
    ] {
        let (status, body) = call(login);
        assert_eq!((status, &body["success"]), (500, &Value::Bool(false)), "{login}");
        assert!(body["reason"].as_str().unwrap().contains(reason), "{login}: {body}");
        assert!(!body["reason"].as_str().unwrap().contains("traceback"), "{login}: {body}");
    }
    daemon.wait_for_line("Lua custom function [custom] exception: trackalert.conf:");
    assert_eq!(daemon.metric("trackalert_lua_errors_total{kind=\"endpoint\"}"), 6);
    assert_eq!(daemon.metric("trackalert_commands_total{cmd=\"custom\"}"), 12);
}

#[test]
fn only_its_own_name_calls_an_endpoint() {
    let daemon = Trackalert::start("setCustomEndpoint('My-end_point1', function() return true, {} end)");
    let mut client = daemon.client();
    for (path, expected) in [
        ("/command/My-end_point1", 200),
        ("/?command=My-end_point1", 200),
        ("/command/my-end_point1", 404),
        ("/command/MyXend_point1", 404),
        ("/command/", 404),
    ] {
        assert_eq!(client.post(path, "{}").status, expected, "{path}");
    }
    let reply = client.get("/command/My-end_point1");
    assert_eq!((reply.status, reply.header("Allow")), (405, Some("POST")));
}

#[test]
fn a_name_that_could_not_be_called_or_is_taken_is_refused() {
    for (name, reason) in [
        ("report", "name: \"report\" is a built-in command"),
        ("livez", "name: \"livez\" is a built-in command"),
        ("a.b", "name: \"a.b\" may hold letters, digits, - and _ only"),
        ("", "name: \"\" may hold letters, digits, - and _ only"),
    ] {
        let folder = Folder::new();
        let config = folder.write("x.conf", &format!("setCustomEndpoint('{name}', function() end)"));
        let output = run(&["-t", "-C", config.to_str().unwrap()], "");
        assert_eq!(output.status, 78, "{name}");
        let expected = format!("x.conf:1: setCustomEndpoint(name, function): {reason}");
        assert!(output.stderr.contains(&expected), "{}", output.stderr);
    }
}
