//! Passwords and keys: nothing that the program says or shows has one, and what clients send of them
//! does not stay in its memory.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::Shutdown;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem::Finder;
use nix::sys::signal::Signal;

use crate::support::console::{Site, client_config};
use crate::support::hook::{Answer, OK, Sink};
use crate::support::http::{basic, connect};
use crate::support::tls::folder;
use crate::support::{Folder, Nobody, PROGRAM, Trackalert, make_key, run, skipped, wait_for};

/// What is looked for: itself, and in base64 as a part of credentials.
fn forms(secret: &str) -> Vec<String> {
    // The user's name shifts it by nothing, one byte or two against the groups of base64.
    let shifted = |before: &str| {
        let text = STANDARD.encode(format!("{before}{secret}"));
        // The first and the last group also hold what is around it.
        text[4..text.len() - 4].to_owned()
    };
    vec![secret.into(), shifted(""), shifted("u"), shifted(":u")]
}

/// Asserts that none of the secrets is in a text.
fn assert_tells_nothing(what: &str, text: &str, secrets: &[String]) {
    for secret in secrets {
        for form in forms(secret) {
            assert!(!text.contains(&form), "{what} tells {secret} as {form}:\n{text}");
        }
    }
}

#[test]
fn no_output_has_a_secret_in_it() {
    let Some((folder, _)) = folder() else { return };
    let private = fs::read_to_string(folder.path("server.key")).unwrap();
    let private = private.lines().nth(1).unwrap().to_owned();
    let (taking, failing, nobody) =
        (Sink::start(|_| OK), Sink::start(|_| Answer::Status(500, "")), Nobody::new());
    let [key, wrong_key] = [make_key(), make_key()];
    let bare = |line: &str| line.split('"').nth(1).unwrap().to_owned();
    let hook = |name: &str, address: &str| {
        format!(
            "addCustomWebHook('{name}', {{ url = 'http://u:UrlPassw0rd-{name}@{address}/x?key=QueryKey-{name}',
                secret = 'SignSecret-{name}', ['api-key'] = 'ApiKey-{name}' }})
            addCustomWebHook('{name}2', {{ url = 'http://{address}/', ['basic-auth'] = 'u:BasicPassw0rd-{name}' }})\n"
        )
    };
    let addresses = [taking.address, failing.address, nobody.address()].map(|address| address.to_string());
    let names = ["good", "bad", "gone"];
    let hooks: String = names.iter().zip(&addresses).map(|(name, address)| hook(name, address)).collect();
    let config = format!(
        "addListener('127.0.0.1:0', false) setACL({{'127.0.0.0/8'}})
        setWebserverPassword('FirstPassw0rd')
        addListener('127.0.0.1:0', true, 'server.pem', 'server.key')
        {key}controlSocket('127.0.0.1:0')\n{hooks}
        setReport(function(lt)
            for _, name in ipairs({{'good', 'bad', 'gone'}}) do
                runCustomWebHook(name, '{{}}') runCustomWebHook(name .. '2', '{{}}')
            end
            error('on purpose')
        end)\n"
    );
    let mut secrets: Vec<String> =
        ["FirstPassw0rd", "NextPassw0rd", "WrongPassw0rd", "LostPassw0rd", "ApiKey-", "QueryKey-"]
            .map(String::from)
            .into();
    secrets.extend(["SignSecret-", "BasicPassw0rd-", "UrlPassw0rd-"].map(String::from));
    secrets.extend([bare(&key), bare(&wrong_key), private]);

    let mut command = Command::new(PROGRAM);
    command.args(["-v", "-l", "7"]);
    let site = Site::of(Trackalert::start_with(folder, &config, command), &key);
    let daemon = &site.daemon;
    let get = |path: &str, password: &str| {
        let mut client = daemon.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{}\r\n", basic("u", password)));
        client.reply()
    };
    let report = |password: &str| {
        let body = r#"{"login":"joe@example.com","remote":"192.0.2.1"}"#;
        let mut client = daemon.client();
        client.send(format!(
            "POST /command/report HTTP/1.1\r\nHost: x\r\n{}Content-Length: {}\r\n\r\n{body}",
            basic("u", password),
            body.len()
        ));
        client.reply().status
    };
    let mut shown = String::new();
    let show = |shown: &mut String, text: &str| shown.push_str(text);
    assert_eq!((report("WrongPassw0rd"), report("FirstPassw0rd")), (401, 200));
    taking.wait_for(2);
    failing.wait_for(2);
    daemon.wait_for_line("name=\"gone2\"");
    daemon.wait_for_line("on purpose");

    // The console: another key, a password that is good, one that is not, and what shows the state.
    let address = fs::read_to_string(&site.client).unwrap();
    let address = address.split('\'').nth(1).unwrap().parse().unwrap();
    let stranger = daemon.folder.write("stranger.conf", &client_config(address, &wrong_key));
    let refused = run(&["-C", stranger.to_str().unwrap(), "-e", "stats()"], "");
    assert_eq!(refused.status, 1);
    show(&mut shown, &refused.stderr);
    let from_pipe = run(
        &["-C", site.client.to_str().unwrap(), "-c"],
        "setWebserverPassword('NextPassw0rd')\nsetWebserverPassword({'LostPassw0rd'})\nsetKey('LostPassw0rd')\n",
    );
    assert_eq!(from_pipe.status, 1);
    show(&mut shown, &(from_pipe.stdout + &from_pipe.stderr));
    for command in ["showCustomWebHooks()", "stats()", "showCommandStats()", "showPerfStats()", "help()"] {
        let answer = site.execute(command);
        assert_eq!((answer.status, answer.stdout.is_empty()), (0, false), "{command}");
        show(&mut shown, &answer.stdout);
    }
    assert_eq!((report("FirstPassw0rd"), report("NextPassw0rd")), (401, 200));
    for path in ["/metrics", "/command/stats"] {
        let reply = get(path, "NextPassw0rd");
        assert_eq!(reply.status, 200);
        show(&mut shown, &reply.text());
    }

    // A configuration that can't be parsed, right at a password, and the good one again.
    let broken = config.replace("'FirstPassw0rd'", "'LostPassw0rd");
    for (text, expected) in [(&broken, "unfinished string"), (&config, "reloaded")] {
        let line = daemon.reload_with(text);
        assert!(line.contains(expected), "{line}");
        let checked = run(&["-t", "-C", daemon.folder.path("trackalert.conf").to_str().unwrap()], "");
        show(&mut shown, &(checked.stdout + &checked.stderr));
    }
    assert_eq!(report("FirstPassw0rd"), 200);
    daemon.signal(Signal::SIGUSR1);
    daemon.wait_for_line("perf stats");
    show(&mut shown, &fs::read_to_string(format!("/proc/{}/cmdline", daemon.pid())).unwrap());
    for text in ["trackalert_custom_webhook", "unfinished string", "another key"] {
        assert!(shown.contains(text), "{text} in {shown}");
    }
    assert_tells_nothing("what is shown", &shown, &secrets);
    assert_tells_nothing("the log", &site.daemon.stop().join("\n"), &secrets);
}

/// What of `secrets` is in the writable memory of a process; nothing where that can't be read.
fn found_in_memory(pid: u32, secrets: &[&str]) -> Option<Vec<String>> {
    let finders: Vec<(&str, Finder)> = secrets.iter().map(|text| (*text, Finder::new(*text))).collect();
    let mut memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).unwrap().starts_with("rw")) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|number| u64::from_str_radix(number, 16).unwrap());
        let mut bytes = vec![0; (end - start).try_into().unwrap()];
        // What the process has unmapped meanwhile is gone.
        if memory.seek(SeekFrom::Start(start)).is_ok() && memory.read_exact(&mut bytes).is_ok() {
            let hits = finders.iter().filter(|(_, finder)| finder.find(&bytes).is_some());
            found.extend(hits.map(|(text, _)| format!("{text} in {line}")));
        }
    }
    Some(found)
}

/// Waits until the memory holds no more of `secrets` than the last, which the configuration has; false
/// where that can't be seen.
fn wait_until_forgotten(daemon: &Trackalert, what: &str, secrets: &[&str]) -> bool {
    let control = secrets[secrets.len() - 1];
    // The end of a connection is seen before it is forgotten.
    let has_control = wait_for(&format!("{what}: memory without the password"), || {
        let found = found_in_memory(daemon.pid(), secrets);
        let is_known = |found: &String| found.starts_with(control);
        (found.as_ref().is_none_or(|found| found.iter().all(is_known)))
            .then(|| found.map(|all| !all.is_empty()))
    });
    match has_control {
        Some(has_control) => assert!(has_control, "the configuration itself is kept"),
        None => skipped("only root may read the memory of the daemon"),
    }
    has_control.is_some()
}

#[test]
fn a_password_that_came_too_late_is_not_kept() {
    let config = "addListener('127.0.0.1:0', false) setWebserverPassword('super') setACL({'127.0.0.0/8'})
        setHTTPLimits({ head_timeout = 1 }) setNumWorkerThreads(1)\n";
    let daemon = Trackalert::start_with(Folder::new(), config, Command::new(PROGRAM));
    let mut stream = connect(daemon.address);
    write!(stream, "GET /command/stats HTTP/1.1\r\nX-Password: WrongPassw0rd\r\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    // The client has not gone.
    wait_until_forgotten(&daemon, "too late", &["WrongPassw0rd", "setWebserverPassword('super')"]);
}

#[test]
fn a_password_that_was_sent_is_not_kept() {
    let config = "addListener('127.0.0.1:0', false) setWebserverPassword('super') setACL({'127.0.0.0/8'})
        setNumWorkerThreads(1) setNumReportThreads(1) setNumEndpointThreads(1)
        setCustomEndpoint('slow', function() local n = 0 for i = 1, 50000000 do n = n + i % 3 end return true, {} end)\n";
    let daemon = Trackalert::start_with(Folder::new(), config, Command::new(PROGRAM));
    let send = |parts: &[&str]| {
        let mut stream = connect(daemon.address);
        stream.set_nodelay(true).unwrap();
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                // The daemon is to read them apart.
                daemon.get("/livez");
            }
            stream.write_all(part.as_bytes()).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        // It may be closed with what it has sent unread.
        let _ = stream.read_to_string(&mut text);
        text
    };
    let field = basic("wforce", "WrongPassw0rd");
    let head = format!("GET /command/stats HTTP/1.1\r\nHost: x\r\n{field}X-Last: 1\r\n\r\n");
    let in_field = head.find(&field).unwrap() + field.len() - 4;
    let (first, second) = head.split_at(in_field);
    let large = head.replace("X-Last: 1\r\n\r\n", &"X-Long: long\r\n".repeat(6000));
    let bad = head.replace("X-Last: 1", "Content-Length: no");
    let auth = basic("u", "super");
    let slow = format!("POST /command/slow HTTP/1.1\r\nHost: x\r\n{auth}Content-Length: 2\r\n\r\n{{}}");
    let bytes: Vec<&str> = (0..head.len()).map(|at| &head[at..=at]).collect();
    // The password, what it is sent as, and the configuration's own as a control.
    let secrets = ["WrongPassw0rd", field.trim_end().rsplit(' ').next().unwrap()];
    let secrets = [secrets[0], &secrets[1][..secrets[1].len() - 4], "setWebserverPassword('super')"];
    for (what, parts, status) in [
        ("whole", &[head.as_str()][..], "HTTP/1.1 401"),
        ("in two parts", &[first, second], "HTTP/1.1 401"),
        ("byte by byte", &bytes, "HTTP/1.1 401"),
        ("never finished", &[first], ""),
        ("never finished, in two parts", &[&first[..40], &first[40..]], ""),
        ("too large", &[&large[..in_field], &large[in_field..]], "HTTP/1.1 431"),
        ("malformed", &[&bad], "HTTP/1.1 400"),
        ("behind another", &[&format!("{slow}{head}")], "HTTP/1.1 200"),
        ("behind another, in part", &[&format!("{slow}{first}"), second], "HTTP/1.1 200"),
        ("after another, in part", &[&slow, first, second], "HTTP/1.1 200"),
        ("with the end of a body", &[slow.trim_end_matches('}'), &format!("}}{head}")], "HTTP/1.1 200"),
    ] {
        let answer = send(parts);
        assert!(answer.starts_with(status) && answer.is_empty() == status.is_empty(), "{what}: {answer}");
        if !wait_until_forgotten(&daemon, what, &secrets) {
            return;
        }
    }
}
