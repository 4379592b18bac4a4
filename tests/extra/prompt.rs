//! The Lua prompt, and errors, on a terminal.

use crate::support::console::Site;
use crate::support::http::Client;
use crate::support::terminal::{Stream, Terminal, run_on};
use crate::support::{Folder, SERVER};

fn start() -> (Folder, Terminal) {
    let folder = Folder::new();
    let config = folder.write("x.conf", SERVER);
    let terminal = Terminal::start(&["-C", config.to_str().unwrap()]);
    (folder, terminal)
}

#[test]
fn what_is_typed_takes_effect_everywhere() {
    let (folder, mut terminal) = start();
    terminal.use_as_every_prompt();
    terminal
        .type_keys("setReport(function(lt) warnLog('typed', { login = lt.login }) end) print(1, 'done')\r");
    terminal.wait_for("\n1\tdone\r\n");
    terminal.type_keys("stats()\r");
    terminal.wait_for("\n0 reports\r\n");
    let address = {
        let screen = terminal.screen();
        let (_, rest) = screen.split_once("listening on ").unwrap();
        rest.lines().next().unwrap().trim().parse().unwrap()
    };
    for number in 0..20 {
        let body = format!(r#"{{"login":"user{number}"}}"#);
        assert_eq!(Client::connect(address).post("/command/report", &body).status, 200);
        terminal.wait_for(&format!("typed: login=\"user{number}\""));
    }
    terminal.type_keys("setWebserverPassword('forgotten') print('changed', 1)\r");
    terminal.wait_for("\nchanged\t1\r\n");
    terminal.type_keys("quit\r");
    let status = terminal.wait();
    assert!(status.success(), "{}", terminal.screen());
    let lines = std::fs::read_to_string(folder.path(".history")).unwrap();
    assert!(lines.contains("stats()") && !lines.contains("forgotten"), "{lines}");
    let history = std::fs::metadata(folder.path(".history")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&history.permissions()) & 0o777, 0o600);
}

#[test]
fn shutdown_at_the_prompt_ends_it() {
    let (_folder, mut terminal) = start();
    assert!(!terminal.echoes(), "it edits the line itself");
    terminal.type_keys("shutdown()\r");
    let status = terminal.wait();
    assert!(status.success() && terminal.echoes());
}

#[test]
fn no_error_makes_a_terminal_obey() {
    let (folder, site) = (Folder::new(), Site::start(""));
    let config = folder.write("x.conf", SERVER);
    let bad = folder.write("bad.conf", "error('a\\27[2Jb', 0)");
    let (config, bad, client) =
        (config.to_str().unwrap(), bad.to_str().unwrap(), site.client.to_str().unwrap());
    for (args, input) in [
        (vec!["-C", config], "error('a\\27[2Jb', 0)\n"),
        (vec!["-C", client, "-c"], "error('a\\27[2Jb', 0)\n"),
        (vec!["-C", bad, "-t"], ""),
    ] {
        let (screen, _) = run_on(Stream::Stderr, &args, input);
        assert!(screen.contains("a\\x1b[2Jb") && !screen.contains('\x1b'), "{args:?}: {screen:?}");
        // Whatever shows the answers: a file of errors gets what they are.
        let (_, errors) = run_on(Stream::Stdout, &args, input);
        assert!(errors.contains("a\x1b[2Jb"), "{args:?}: {errors:?}");
    }
}
