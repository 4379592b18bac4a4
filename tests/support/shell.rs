//! The program as a shell starts it that has done something before, like `ulimit`.

use std::process::{Command, Stdio};

use crate::support::{PROGRAM, skipped};

/// The program, run by a shell that does something first.
pub fn shell(before: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before}\nexec \"$0\" \"$@\""), PROGRAM]);
    command
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
