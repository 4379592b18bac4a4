//! A syslog daemon.

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::Folder;

/// What it was sent, line by line.
pub struct Receiver(UnixDatagram);

impl Receiver {
    pub fn bind(folder: &Folder) -> Receiver {
        let path = folder.path("log");
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Receiver(socket)
    }

    /// Waits for a line that contains `text`.
    pub fn wait_for(&self, text: &str) -> String {
        let mut seen = Vec::new();
        let mut line = [0; 65536];
        loop {
            let length = self.0.recv(&mut line).unwrap_or_else(|e| panic!("{e}: no {text:?} in {seen:#?}"));
            let line = String::from_utf8_lossy(&line[..length]).into_owned();
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
    }

    pub fn wait_for_address(&self) -> SocketAddr {
        self.wait_for("listening on ").rsplit(' ').next().unwrap().parse().unwrap()
    }
}
