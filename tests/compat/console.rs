//! The console over the network: our client and the original's, our daemon and the original's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use crate::support::console::{Site, address, client_config};
use crate::support::terminal::Terminal;
use crate::support::{Folder, Nobody, Running, Trackalert, make_key, original, output};
use crate::support::{run, skipped, wait_for};

const VERSION: &str = concat!("trackalert ", env!("CARGO_PKG_VERSION"), "\n");

/// Every command of the manual, with what it answers.
const COMMANDS: &[(&str, &str)] = &[
    ("stats()", "0 reports\n"),
    ("showACL()", "127.0.0.0/8\n"),
    (
        "showPerfStats()",
        "WTW_0_1=0\nWTW_1_10=0\nWTW_10_100=0\nWTW_100_1000=0\nWTW_Slow=0\nWTR_0_1=0\nWTR_1_10=0\nWTR_10_100=0\nWTR_100_1000=0\nWTR_Slow=0\n",
    ),
    (
        "showCommandStats()",
        "ackAlert=0\nalerts=0\ncloseAlert=0\ncustom=0\nlivez=0\nmetrics=0\nreadyz=0\nreport=0\nsilence=0\nstats=0\n",
    ),
    ("showCustomStats()", "astat2=0\ncstat1=0\n"),
    ("showCustomEndpoints()", "Custom Endpoint                \ncustom                         \n"),
    ("reloadGeoIPDBs()", "reloadGeoIPDBs() successful\n"),
    ("reloadGeoIPDBs", "reloadGeoIPDBs() successful\n"),
    ("reloadGeoIP2DBs()", "reloadGeoIP2DBs() successful\n"),
    ("showVersion()", VERSION),
    ("testCrypto(\"hello\")", "Everything is ok!\n"),
    ("return stats()", "0 reports\n"),
    ("return \"a string\"", "a string"),
    ("return 5", "5"),
    ("return newCA(\"192.0.2.4\"):tostring()", "192.0.2.4"),
    ("return", ""),
    (" ", ""),
    ("return \"a\", \"b\"", "a"),
    ("x = 5", ""),
    ("return tostring(x)", "5"),
    ("showACL() stats()", "127.0.0.0/8\n0 reports\n"),
];

const POLICY: &str = "addCustomStat('cstat1') addCustomStat('astat2')
    setCustomEndpoint('custom', function() return true, {} end)";

/// An answer as our client prints it.
fn whole(answer: &str) -> String {
    if answer.is_empty() || answer.ends_with('\n') { answer.into() } else { format!("{answer}\n") }
}

#[test]
fn every_command_answers_its_client() {
    let site = Site::start(POLICY);
    for (command, answer) in COMMANDS {
        let output = site.execute(command);
        assert_eq!((output.status, output.stdout), (0, whole(answer)), "{command}: {}", output.stderr);
        assert!(output.stderr.starts_with("Read configuration from 'client.conf'\nConnecting to 127.0.0.1:"));
        assert_eq!(output.stderr.lines().count(), 2, "{}", output.stderr);
    }
    let key = site.execute("makeKey()").stdout;
    assert!(key.starts_with("setKey(\"") && key.len() == 44 + 11, "{key}");
    for command in ["nosuch()", "testCrypto()", "error('boom')", "error({})", "foo bar", "return ("] {
        let output = site.execute(command);
        assert_eq!(output.status, 1, "{command}");
        assert!(output.stdout.starts_with("Error: "), "{command}: {}", output.stdout);
        assert!(output.stderr.ends_with("\ntrackalert: the command failed\n"), "{}", output.stderr);
    }
    // Each of these ended the original's daemon.
    for command in ["addACL(\"foo\")", "addACL(5)", "setACL({\"x\"})"] {
        let output = site.execute(command);
        assert!(output.stdout.contains("is not a netmask"), "{command}: {}", output.stdout);
    }
    let output = site.execute("return string.rep('é', 100000)");
    assert_eq!(output.status, 0);
    assert!(
        output.stdout.len() <= 65519 && output.stdout.ends_with("é\n... truncated (200000 bytes in all)\n")
    );
    assert!(site.execute("print('all')").stdout == "all\n" && site.execute("").stdout.is_empty());
    site.daemon.stop();
}

#[test]
fn a_command_takes_effect_everywhere_at_once() {
    let site = Site::start("setReport(function() while true do pcall(function() end) end end)");
    assert_eq!(site.daemon.report("{}").status, 200);
    // The console waits for no thread that runs Lua.
    assert_eq!(site.execute("setReport(function(lt) infoLog('new', {login = lt.login}) end)").status, 0);
    assert_eq!(site.daemon.report(r#"{"login":"joe"}"#).status, 200);
    site.daemon.wait_for_line("new: login=\"joe\"");
    assert_eq!(site.execute("addACL('10.0.0.0/8') showACL()").stdout, "127.0.0.0/8\n10.0.0.0/8\n");
}

#[test]
fn asking_costs_nothing_however_often() {
    let site = Site::start("");
    let commands = "stats\nreturn stats()\nshowVersion()\n".repeat(4000);
    let output = run(&["-c", site.client.to_str().unwrap()], &commands);
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert_eq!(site.execute("setReport(function() infoLog('changed') end)").status, 0);
    site.daemon.report("{}");
    site.daemon.wait_for_line("changed");
}

#[test]
fn what_the_configuration_prints_is_no_answer() {
    let site = Site::start("");
    let config = std::fs::read_to_string(&site.client).unwrap();
    std::fs::write(&site.client, format!("print('hello', 1)\n{config}")).unwrap();
    let output = site.execute("stats()");
    assert_eq!(output.stdout, "0 reports\n");
    assert!(output.stderr.contains("hello\t1\n"), "{}", output.stderr);
}

#[test]
fn shutdown_is_answered_before_the_end() {
    let mut site = Site::start("");
    let output = site.execute("print('bye') shutdown()");
    assert_eq!((output.status, output.stdout.as_str()), (0, "bye\n"), "{}", output.stderr);
    assert!(site.daemon.wait().success());
    let output = site.execute("stats()");
    assert_eq!((output.status, output.stdout.as_str()), (1, ""));
    assert!(output.stderr.contains("connection refused"), "{}", output.stderr);
}

#[test]
fn without_the_key_there_is_no_console() {
    let key = make_key();
    let site = Site::start("");
    let wrong = client_config(address(&site.daemon), &key);
    let wrong = site.daemon.folder.write("wrong.conf", &wrong);
    let output = run(&["-C", wrong.to_str().unwrap(), "-e", "stats()"], "");
    assert_eq!((output.status, output.stdout.as_str()), (1, ""));
    assert!(output.stderr.contains("does the daemon have another key?"), "{}", output.stderr);
    site.daemon.wait_for_line("a message can't be decrypted: the keys differ");

    // A client without a key at all: garbage, and sixteen bytes that the original took for an empty
    // command.
    for bytes in [vec![0x55; 70_000], [vec![0; 24], vec![0, 16], vec![0; 16]].concat()] {
        let mut client = TcpStream::connect(address(&site.daemon)).unwrap();
        let _ = client.write_all(&bytes);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        assert!(answer.len() <= 24, "nothing but the nonce");
    }
    assert_eq!(site.execute("stats()").stdout, "0 reports\n");
    let log = site.daemon.stop();
    assert!(log.iter().all(|line| !line.contains(&key[8..20])), "{log:?}");

    for (config, problem) in [
        ("controlSocket('127.0.0.1:0')", "controlSocket() opens no console"),
        (
            "controlSocket('127.0.0.1:0') setKey('bad!')",
            "trackalert.conf:5: setKey(key): the key is not 32 bytes",
        ),
    ] {
        let daemon = Trackalert::start(config);
        daemon.wait_for_line(problem);
        assert_eq!(daemon.count_lines("Accepting control connections"), 0, "{config}");
    }
}

#[test]
fn the_client_needs_two_functions_of_its_configuration() {
    let folder = Folder::new();
    let key = make_key();
    let nobody = Nobody::new();
    let address = nobody.address();
    for (config, problem) in [
        (key.clone(), "x.conf: there is no controlSocket()"),
        (format!("controlSocket('{address}')"), "x.conf: there is no setKey() with a key"),
        (format!("controlSocket('{address}') setKey('short')"), "x.conf: there is no setKey() with a key"),
        ("nosuch()".into(), "x.conf:1: attempt to call global 'nosuch' (a nil value)"),
        ("controlSocket('localhost:1')".into(), "\"localhost:1\" is not an IP address with an optional port"),
        (format!("controlSocket('{address}') {key} error('later')"), "later\n"),
        (format!("controlSocket('{address}') {key}"), "connection refused"),
    ] {
        let path = folder.write("x.conf", &config);
        for args in
            [["-C", path.to_str().unwrap(), "-e", "stats()"].as_slice(), &["-c", path.to_str().unwrap()]]
        {
            let output = run(args, "stats()\n");
            assert!(output.status != 0 && output.stderr.contains(problem), "{config}: {}", output.stderr);
        }
    }
}

#[test]
fn commands_come_from_a_pipe_or_a_terminal() {
    let site = Site::start("");
    let client = site.client.to_str().unwrap();
    let output = run(&["-c", client], "x = 20\nx + 22\nnosuch()\nstats()\nquit\nx\n");
    assert_eq!(output.status, 1);
    let connecting = format!("Connecting to {}\n", address(&site.daemon));
    assert!(output.stdout.ends_with(&format!("{connecting}42\n0 reports\n")), "{}", output.stdout);
    assert!(output.stderr.contains("Error: console:1: attempt to call global 'nosuch'"), "{}", output.stderr);
    assert_eq!(run(&["--client", client], "stats()\nexit\n").status, 0);

    let mut terminal = Terminal::start(&["-C", client, "-c"]);
    terminal.use_as_every_prompt();
    site.daemon.stop();
    terminal.type_keys("stats()\r");
    terminal.wait_for("onnection refused");
    terminal.type_keys("stats()\r");
    assert_eq!(terminal.wait().code(), Some(1));
}

/// A port that was free a moment ago: the original can't choose one.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn the_client_of_the_original_drives_our_daemon() {
    let Some(original) = original() else { return skipped("the original is not installed") };
    let site = Site::start(POLICY);
    let client = site.client.to_str().unwrap();
    for (command, answer) in COMMANDS {
        let mut process = Command::new(&original);
        process.args(["run", "-C", client, "-e", command]).stdin(Stdio::null());
        let output = output(&mut process);
        let (_, shown) = output.stdout.split_once("Connecting to ").unwrap();
        let (_, shown) = shown.split_once('\n').unwrap();
        assert_eq!(shown, format!("{answer}\n"), "{command}: {}", output.stderr);
    }
    let mut process = Command::new(&original);
    process.args(["run", "-C", client, "-e", "return string.rep('x', 200000)"]).stdin(Stdio::null());
    assert!(output(&mut process).stdout.ends_with("x\n... truncated (200000 bytes in all)\n\n"));
    site.daemon.stop();
}

#[test]
fn our_client_drives_the_daemon_of_the_original() {
    let Some(original) = original() else { return skipped("the original is not installed") };
    let folder = Folder::new();
    let (address, web) = (free_port(), free_port());
    let config = client_config(address, &make_key());
    let client = folder.write("client.conf", &config);
    let server = format!("addListener('{web}', false, '', '', {{}})\naddCustomStat('cstat1')\n{config}");
    let server = folder.write("server.conf", &server);
    let mut command = Command::new(original);
    command.args(["run", "-s", "-C", server.to_str().unwrap()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _daemon = Running::start(&mut command);
    wait_for("the original's console", || TcpStream::connect(address).ok());
    let execute = |command: &str| run(&["-C", client.to_str().unwrap(), "-e", command], "");
    for (command, status, answer) in [
        ("stats()", 0, "0 reports\n"),
        ("showCustomStats()", 0, "cstat1=0\n"),
        ("testCrypto(\"x\")", 0, "Everything is ok!\n"),
        ("reloadGeoIPDBs()", 0, "reloadGeoIPDBs() successful\n"),
        ("return \"a string\"", 0, "a string\n"),
        ("return 5", 0, "5\n"),
        ("x=5", 0, ""),
        ("showCustomEndpoints()", 0, "Custom Endpoint                \ncustom                         \n"),
    ] {
        let output = execute(command);
        assert_eq!((output.status, output.stdout.as_str()), (status, answer), "{command}: {}", output.stderr);
    }
    assert!(execute("showVersion()").stdout.starts_with("trackalert 3."));
    assert!(execute("showACL()").stdout.contains("127.0.0.0/8\n"));
    assert!(execute("showPerfStats()").stdout.starts_with("WTW_0_1="));
    assert!(execute("showCommandStats()").stdout.contains("report=0\n"));
    assert!(execute("showCustomWebHooks()").stdout.starts_with("ID        Name "));
    assert!(execute("makeKey()").stdout.starts_with("setKey(\""));
    let output = execute("nosuch()");
    assert!(output.status == 1 && output.stdout.starts_with("Error: "), "{}", output.stdout);
    let output = run(&["-c", client.to_str().unwrap()], "stats()\nstats()\n");
    assert!(output.status == 0 && output.stdout.ends_with("0 reports\n0 reports\n"), "{}", output.stdout);
}

#[test]
fn a_client_that_is_silent_or_slow_keeps_no_other_from_working() {
    let site = Site::start("");
    let silent: Vec<TcpStream> =
        (0..31).map(|_| TcpStream::connect(address(&site.daemon)).unwrap()).collect();
    wait_for("all of them", || (site.daemon.count_lines(" connected") >= 31).then_some(()));
    assert_eq!(site.execute("stats()").stdout, "0 reports\n");
    // Those who have not begun within ten seconds are gone.
    site.daemon.wait_for_line(": timed out");
    wait_for("the end of all", || (site.daemon.count_lines(": timed out") == 31).then_some(()));
    drop(silent);
    site.daemon.stop();
}
