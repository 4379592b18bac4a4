//! The program on a terminal of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};

use crate::support::{PROGRAM, Running, wait_for};

/// Which stream of the program a terminal shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Runs the program to its end with one stream on a terminal and the others on pipes. Gives what the
/// terminal shows, and what comes from the other of stdout and stderr.
pub fn run_on(stream: Stream, args: &[&str], input: &str) -> (String, String) {
    let pty = openpty(None, None).unwrap();
    let (mut other, side) = std::io::pipe().unwrap();
    let (stdout, stderr) = match stream {
        Stream::Stdout => (Stdio::from(pty.slave), Stdio::from(side)),
        Stream::Stderr => (Stdio::from(side), Stdio::from(pty.slave)),
    };
    let (commands, mut typed) = std::io::pipe().unwrap();
    typed.write_all(input.as_bytes()).unwrap();
    drop(typed);
    // Once the command is gone, the program alone holds the other sides.
    let child =
        Running::start(Command::new(PROGRAM).args(args).stdin(commands).stdout(stdout).stderr(stderr));
    let mut screen = Vec::new();
    // A terminal that nobody else has open ends with an error.
    let _ = File::from(pty.master).read_to_end(&mut screen);
    let mut rest = String::new();
    other.read_to_string(&mut rest).unwrap();
    drop(child);
    (String::from_utf8(screen).unwrap(), rest)
}

/// The program on a terminal of its own.
pub struct Terminal {
    child: Running,
    side: OwnedFd,
    keys: File,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    /// Runs the program and waits for its prompt.
    pub fn start(args: &[&str]) -> Terminal {
        let pty = openpty(None, None).unwrap();
        let side = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = Command::new(PROGRAM);
        command.args(args).env("TERM", "xterm").stdin(side()).stdout(side()).stderr(side());
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
        let terminal = Terminal { child, side: pty.slave, keys: File::from(pty.master), screen };
        terminal.wait_for("> ");
        terminal
    }

    /// What has been shown so far.
    pub fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    pub fn wait_for(&self, text: &str) {
        wait_for(text, || self.screen().contains(text).then_some(()));
    }

    /// Whether it shows what is typed, as it does for a shell.
    pub fn echoes(&self) -> bool {
        tcgetattr(&self.side).unwrap().local_flags.contains(LocalFlags::ECHO)
    }

    pub fn type_keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Types what a prompt answers alike, of the daemon or of its client, and waits for the answers.
    pub fn use_as_every_prompt(&mut self) {
        self.type_keys("6 * 7\r");
        self.wait_for("\n42\r\n");
        // What the terminal would obey is shown instead.
        self.type_keys("print('a\\27[2J\\155b')\r");
        self.wait_for("\na\\x1b[2J\u{fffd}b\r\n");
        // A name is completed, and what takes no arguments is closed.
        self.type_keys("showVer\t\r");
        self.wait_for(concat!("\ntrackalert ", env!("CARGO_PKG_VERSION"), "\r\n"));
        self.type_keys("nosuch()\r");
        self.wait_for("Error: console:1: attempt to call global 'nosuch' (a nil value)");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait()
    }
}
