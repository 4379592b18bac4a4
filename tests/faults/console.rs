//! A daemon with a console, and questions to it.

use std::process::{Command, Stdio};

use crate::support::{Folder, PROGRAM, SERVER, Trackalert, make_key, run, skipped};

/// A daemon with a console.
pub struct Console {
    pub daemon: Trackalert,
}

impl Console {
    /// Starts one with a configuration, by a command of `sh` like `ulimit`, if there is one.
    pub fn start(config: &str, before: &str) -> Console {
        let config = format!("{SERVER}controlSocket('127.0.0.1:0')\n{}{config}", make_key());
        Console { daemon: Trackalert::start_with(Folder::new(), &config, shell(before)) }
    }

    /// What a command answers, or the error.
    pub fn ask(&self, command: &str) -> String {
        let line = self.daemon.wait_for_line("Accepting control connections on ");
        let address = line.rsplit(' ').next().unwrap();
        let config = std::fs::read_to_string(self.daemon.folder.path("trackalert.conf")).unwrap();
        let key = config.lines().find(|line| line.starts_with("setKey")).unwrap();
        let client = self.daemon.folder.write("client.conf", &format!("controlSocket('{address}')\n{key}\n"));
        let output = run(&["-C", client.to_str().unwrap(), "-e", command], "");
        output.stdout + &output.stderr
    }
}

/// The same with mounts of its own, where that is allowed.
pub fn shell_with_mounts(before: &str) -> Option<Command> {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &format!("set -e\n{before}\nexec \"$0\" \"$@\""), PROGRAM]);
    let is_allowed = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    if !is_allowed.is_ok_and(|status| status.success()) {
        skipped("unshare -m is not allowed here");
        return None;
    }
    Some(command)
}

/// The program, run by a shell that does something first.
pub fn shell(before: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before}\nexec \"$0\" \"$@\""), PROGRAM]);
    command
}
