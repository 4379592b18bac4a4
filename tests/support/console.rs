//! A daemon whose console is asked, and how its clients find it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::{Folder, Output, PROGRAM, SERVER, Trackalert, make_key, run};

/// A daemon with a console.
pub struct Site {
    pub daemon: Trackalert,
    /// The configuration of its clients.
    pub client: PathBuf,
}

impl Site {
    pub fn start(config: &str) -> Site {
        Site::start_with(config, Command::new(PROGRAM))
    }

    /// The same by a command that takes the program's options.
    pub fn start_with(config: &str, command: Command) -> Site {
        let key = make_key();
        let config = format!("{SERVER}controlSocket('127.0.0.1:0')\n{key}{config}");
        Site::of(Trackalert::start_with(Folder::new(), &config, command), &key)
    }

    /// A daemon that runs already, with the line of its key.
    pub fn of(daemon: Trackalert, key: &str) -> Site {
        let client = daemon.folder.write("client.conf", &client_config(address(&daemon), key));
        Site { daemon, client }
    }

    /// Has the daemon run a command.
    pub fn execute(&self, command: &str) -> Output {
        run(&["-C", self.client.to_str().unwrap(), "-e", command], "")
    }

    /// What the command answers, and the error.
    pub fn ask(&self, command: &str) -> String {
        let output = self.execute(command);
        output.stdout + &output.stderr
    }
}

/// Where its console listens.
pub fn address(daemon: &Trackalert) -> SocketAddr {
    let line = daemon.wait_for_line("Accepting control connections on ");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// What a client reads; the custom endpoint made the original's end with a segmentation fault.
pub fn client_config(address: SocketAddr, key: &str) -> String {
    format!(
        "controlSocket('{address}')\n{key}setCustomEndpoint('custom', function() return true, {{}} end)\n"
    )
}
