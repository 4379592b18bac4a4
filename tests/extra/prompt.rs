//! The Lua prompt on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::pty::openpty;

use crate::support::http::Client;
use crate::support::{Folder, PROGRAM, Running, SERVER, wait_for};

/// The program on a terminal of its own.
struct Terminal {
    child: Running,
    keys: File,
    screen: Arc<Mutex<String>>,
    folder: Folder,
}

impl Terminal {
    fn start() -> Terminal {
        let folder = Folder::new();
        let config = folder.write("x.conf", SERVER);
        let pty = openpty(None, None).unwrap();
        let side = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = Command::new(PROGRAM);
        command.arg("-C").arg(config).env("TERM", "xterm").stdin(side()).stdout(side()).stderr(side());
        let child = Running::start(&mut command);
        let screen = Arc::new(Mutex::new(String::new()));
        let mut output = File::from(pty.master.try_clone().unwrap());
        let text = screen.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                text.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        let terminal = Terminal { child, keys: File::from(pty.master), screen, folder };
        terminal.wait_for("> ");
        terminal
    }

    fn wait_for(&self, text: &str) {
        wait_for(text, || self.screen.lock().unwrap().contains(text).then_some(()));
    }

    fn type_keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }
}

#[test]
fn what_is_typed_takes_effect_everywhere() {
    let mut terminal = Terminal::start();
    terminal.type_keys("6 * 7\r");
    terminal.wait_for("\n42\r\n");
    // A name is completed, and what takes no arguments is closed.
    terminal.type_keys("showVer\t\r");
    terminal.wait_for(concat!("\ntrackalert ", env!("CARGO_PKG_VERSION"), "\r\n"));
    terminal.type_keys("nosuch()\r");
    terminal.wait_for("Error: console:1: attempt to call global 'nosuch' (a nil value)");
    terminal
        .type_keys("setReport(function(lt) warnLog('typed', { login = lt.login }) end) print(1, 'done')\r");
    terminal.wait_for("\n1\tdone\r\n");
    terminal.type_keys("stats()\r");
    terminal.wait_for("\n0 reports\r\n");
    let address = {
        let screen = terminal.screen.lock().unwrap();
        let (_, rest) = screen.split_once("listening on ").unwrap();
        rest.lines().next().unwrap().trim().parse().unwrap()
    };
    for number in 0..20 {
        let body = format!(r#"{{"login":"user{number}"}}"#);
        assert_eq!(Client::connect(address).post("/command/report", &body).status, 200);
        terminal.wait_for(&format!("typed: login=\"user{number}\""));
    }
    terminal.type_keys("quit\r");
    let status = terminal.child.wait();
    assert!(status.success(), "{}", terminal.screen.lock().unwrap());
    let history = std::fs::metadata(terminal.folder.path(".history")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&history.permissions()) & 0o777, 0o600);
}

#[test]
fn shutdown_at_the_prompt_ends_it() {
    let mut terminal = Terminal::start();
    terminal.type_keys("shutdown()\r");
    let status = terminal.child.wait();
    assert!(status.success());
}
