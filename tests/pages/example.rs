//! What an example is, and what it needs around it to be run: the displays and display lines of a manual
//! page, and the blocks of Lua and shell of the README. Each begins like one case of its page's table,
//! which says what to do with it.

use std::fs;
use std::net::SocketAddr;
use std::panic::Location;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use regex::{Captures, Regex};
use serde_json::Value;

use super::read;
use crate::support::hook::{OK, Sink};
use crate::support::http::{Client, Reply, basic};
use crate::support::{Folder, Output, PROGRAM, SERVER, Trackalert, data, output, run, skipped, wait_for};

/// A text that readers copy, or compare with what they see.
pub struct Example {
    /// Where it stands.
    place: String,
    /// The heading above.
    pub section: String,
    pub text: String,
}

/// The beginning of an example, and what is done with it.
pub type Case = (&'static str, fn(&str));

/// Runs every example of a file of the project by its case.
#[track_caller]
pub fn run_all(file: &str, cases: &[Case]) {
    run_these(file, examples(file), cases);
}

/// The same with some of the examples.
#[track_caller]
pub fn run_these(file: &str, examples: Vec<Example>, cases: &[Case]) {
    let table = Location::caller().file();
    let mut unused: Vec<_> = cases.iter().map(|(start, _)| *start).collect();
    for Example { place, text, .. } in examples {
        let case = cases.iter().find(|(start, _)| text.starts_with(start));
        let missing = || panic!("{place} is run by no test: add it to the cases in {table}:\n{text}");
        let (start, check) = case.unwrap_or_else(missing);
        unused.retain(|unused| unused != start);
        if let Err(e) = std::panic::catch_unwind(|| check(&text)) {
            let said = e.downcast_ref::<String>().map(String::as_str);
            panic!("{place} does not do what it should: {}", said.unwrap_or("see above"));
        }
    }
    assert!(unused.is_empty(), "{file} has no examples that begin so: {unused:#?}");
}

/// The text of the example that begins so.
pub fn example(file: &str, start: &str) -> String {
    let found = examples(file).into_iter().find(|example| example.text.starts_with(start));
    found.unwrap_or_else(|| panic!("{file} has no example {start}")).text
}

/// The examples of a file, in their order.
pub fn examples(file: &str) -> Vec<Example> {
    let (text, is_page) = (read(file), file.starts_with("man/"));
    let found = if is_page { of_page(file, &text) } else { of_readme(file, &text) };
    assert!(!found.is_empty(), "{file} has no examples");
    found
}

fn of_page(file: &str, text: &str) -> Vec<Example> {
    let (mut found, mut section) = (Vec::<Example>::new(), "");
    let mut is_open = false;
    for (number, line) in (1..).zip(text.lines()) {
        let mut begin = |text| {
            found.push(Example { place: format!("{file}:{number}"), section: section.into(), text });
        };
        if line == ".Ed" {
            is_open = false;
        } else if is_open {
            assert!(!line.starts_with('.'), "{file}:{number}: a macro in an example");
            let example = found.last_mut().unwrap();
            example.text += &(unescaped(line) + "\n");
        } else if let Some(line) = line.strip_prefix(".Dl ") {
            begin(unescaped(line));
        } else if line.starts_with(".Bd -literal") {
            is_open = true;
            begin(String::new());
        } else if let Some(heading) = line.strip_prefix(".Sh ") {
            section = heading;
        }
    }
    found
}

/// A line of a page as it is shown.
pub fn unescaped(line: &str) -> String {
    let escape = Regex::new(r"\\(\(dq|[-&e]|.)").unwrap();
    let plain = |found: &Captures| match &found[1] {
        "(dq" => "\"",
        "-" => "-",
        "&" => "",
        "e" => "\\",
        other => panic!("what is \\{other} in {line}"),
    };
    escape.replace_all(line, plain).into_owned()
}

/// Blocks of other kinds are what is seen, or for other programs.
fn of_readme(file: &str, text: &str) -> Vec<Example> {
    let (mut found, mut section) = (Vec::new(), "");
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        section = line.strip_prefix("## ").unwrap_or(section);
        let Some(kind) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line.len() - line.trim_start().len();
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim_start() != "```");
        let text: String =
            inside.map(|line| line.get(indent..).unwrap_or_default().to_owned() + "\n").collect();
        if ["lua", "sh"].contains(&kind) {
            found.push(Example { place: format!("{file}:{number}"), section: section.into(), text });
        }
    }
    found
}

/// Lua of an example, with the databases, files and addresses that are here.
pub fn here(lua: &str) -> String {
    let listener = Regex::new(r#"addListener\("[^"]*""#).unwrap();
    listener
        .replace_all(lua, "addListener(\"127.0.0.1:0\"")
        .replace("/var/lib/GeoIP/GeoLite2-City.mmdb", &data("scenario-city.mmdb"))
        .replace("/var/lib/GeoIP/GeoLite2-ASN.mmdb", &data("scenario-asn.mmdb"))
        .replace("/var/lib/trackalert/reports.db", "reports.db")
}

/// What names the databases that options for the store speak of.
pub fn databases() -> String {
    format!(
        "newGeoIP2DB('City', '{}')\nnewGeoIP2DB('ASN', '{}')\n",
        data("scenario-city.mmdb"),
        data("scenario-asn.mmdb")
    )
}

/// A daemon with a whole configuration, which `-t` finds good.
pub fn daemon(config: &str) -> Trackalert {
    daemon_in(Folder::new(), config)
}

/// The same in a folder that may hold files.
pub fn daemon_in(folder: Folder, config: &str) -> Trackalert {
    let path = folder.write("trackalert.conf", config);
    let checked = run(&["-t", "-C", path.to_str().unwrap()], "");
    assert_eq!((checked.status, checked.stderr.as_str()), (0, ""), "{config}");
    Trackalert::start_with(folder, config, Command::new(PROGRAM))
}

/// The end of a daemon whose policy never failed.
pub fn stop(daemon: Trackalert) {
    let lines = daemon.stop();
    assert!(!lines.iter().any(|line| line.contains("exception")), "{}", lines.join("\n"));
}

/// Posts something with a password.
pub fn post(address: SocketAddr, password: &str, path: &str, body: &str) -> Reply {
    let (auth, length) = (basic("any", password), body.len());
    let mut client = Client::connect(address);
    client.send(format!("POST {path} HTTP/1.1\r\nHost: x\r\n{auth}Content-Length: {length}\r\n\r\n{body}"));
    client.reply()
}

/// Whether a program is there; otherwise a word to whoever reads along.
pub fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        skipped(&format!("{program} is not installed"));
    }
    found.is_ok()
}

/// A shell that will run the lines of an example in a folder, where `trackalert` is the program that is
/// tested.
pub fn shell(folder: &Path, lines: &str) -> Command {
    let program = Path::new(PROGRAM).parent().unwrap().display();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("sh");
    command.args(["-ec", lines]).current_dir(folder).env("PATH", format!("{program}:{path}"));
    command.stdin(Stdio::null());
    command
}

/// Runs them to their end.
pub fn sh(folder: &Path, lines: &str) -> Output {
    output(&mut shell(folder, lines))
}

/// Runs them, which must work, and gives what they print.
pub fn sh_ok(folder: &Path, lines: &str) -> String {
    let done = sh(folder, lines);
    assert_eq!(done.status, 0, "{lines}: {}{}", done.stdout, done.stderr);
    done.stdout
}

/// Runs requests of an example against a daemon, whatever address they name.
pub fn request(daemon: &Trackalert, lines: &str) -> String {
    let url = Regex::new(r"http://[0-9.]+:8084/").unwrap();
    let lines = url.replace_all(lines, format!("http://{}/", daemon.address));
    assert!(lines.contains(&daemon.address.to_string()), "{lines} asks nobody");
    sh_ok(&daemon.folder.path(""), &lines)
}

/// A line of the log without its values, and names it has.
pub fn shape(line: &str) -> String {
    let value = Regex::new(r#"="(?:[^"\\]|\\.)*""#).unwrap();
    value.replace_all(line.trim_end(), "=").into_owned()
}

/// Asserts that an alert comes to a webhook as the JSON of an example shows it.
pub fn alert_is_delivered(text: &str) {
    let shown: Value = serde_json::from_str(text).unwrap();
    let sink = Sink::start(|_| OK);
    let mut fields = String::new();
    for name in ["rule", "severity", "key", "login", "ip", "summary", "data"] {
        fields += &format!("{name} = {}, ", lua(&shown[name]));
    }
    let daemon = daemon(&format!(
        "{SERVER}addCustomWebHook('ops', {{ url = '{}' }}) addAlertSink{{ webhook = 'ops' }}
        setReport(function() alert{{ {fields} }} end)",
        sink.url("/")
    ));
    assert_eq!(daemon.report("{}").status, 200);
    let mut delivered: Value = serde_json::from_slice(&sink.wait_for(1)[0].body).unwrap();
    for name in ["id", "first", "last"] {
        assert!(delivered[name].is_number() && shown[name].is_number(), "{name} of {delivered}");
        delivered[name] = shown[name].clone();
    }
    assert_eq!(delivered, shown);
    stop(daemon);
}

/// JSON as Lua.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".into(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("[{name:?}] = {}", lua(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Lets `addWebHook` of an example for wforce post a report to a daemon.
pub fn wforce_reports(daemon: &Trackalert, lua: &str) {
    let wforce = "function addWebHook(events, options)
        assert(events[1] == 'report' and #events == 1 and options.secret)
        print(options.url, options['basic-auth'])
    end\n";
    let path = daemon.folder.write("wforce.conf", &format!("{wforce}{lua}"));
    let told = run(&["-C", path.to_str().unwrap()], "");
    let (url, credentials) =
        told.stdout.trim_end().split_once('\t').unwrap_or_else(|| panic!("{}", told.stderr));
    let (_, target) = url.split_once(":8084").unwrap();
    let (_, password) = credentials.split_once(':').unwrap();
    let report = read("tests/data/wforce-report.json");
    let reply = post(daemon.address, password, target, report.trim_end());
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"status":"ok"}"#));
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A line of a file of reports: a success of so many seconds ago.
pub fn report(login: &str, age: u64) -> String {
    let t = now() - age;
    format!("{{\"login\":\"{login}\",\"remote\":\"192.0.2.1\",\"success\":true,\"t\":{t}}}\n")
}

/// Waits until a file is there and not empty, and gives what is in it.
pub fn wait_for_file(path: &Path) -> String {
    let there = || fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'));
    wait_for(&path.display().to_string(), there)
}
