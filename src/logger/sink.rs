//! Where log lines end up: the local syslog daemon (RFC 3164), stdout, or both.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Local};
use syslog::{Facility, LogFormat, Severity};

use crate::logger::is_verbose;

/// What names another place where the local syslog daemon listens.
const VARIABLE: &str = "SYSLOG_SOCKET";

/// Where it listens otherwise.
const SYSLOG: &str = if cfg!(target_os = "linux") { "/dev/log" } else { "/var/run/log" };

/// How long a line may wait for a syslog daemon that does not read.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long such a daemon is left alone then.
const PAUSE: Duration = Duration::from_secs(1);

/// Bytes that reach a pipe in one piece (pipe(7), `PIPE_BUF`): lines of ours are not mixed with what
/// Lua prints.
const PIECE: usize = 4096;

/// A line of the log.
pub struct Entry {
    severity: Severity,
    time: SystemTime,
    pub text: String,
}

impl Entry {
    /// A line, of this moment.
    pub fn new(severity: Severity, text: String) -> Entry {
        Entry { severity, time: SystemTime::now(), text }
    }

    /// What to say of lines that were lost, if any were.
    pub fn of_lost(count: u64) -> Option<Entry> {
        let text = format!("{count} lines were lost: the log did not take them");
        (count > 0).then(|| Entry::new(Severity::LOG_ERR, text))
    }
}

/// Where lines go.
pub struct Sink {
    pub syslog: Syslog,
    pub out: Option<Out>,
}

/// Stdout, or what stands for it.
pub struct Out {
    pub to: Box<dyn Write + Send>,
    /// The highest of syslog's levels (0 to 7); 6 when there is none, or 7 when verbose.
    pub level: Option<u8>,
    /// Whether lines begin with the local time.
    pub stamped: bool,
}

impl Sink {
    /// A sink where there is no syslog daemon.
    #[cfg(test)]
    pub fn to(to: Box<dyn Write + Send>) -> Sink {
        let syslog = Syslog::at("/nonexistent/log", Facility::LOG_DAEMON);
        Sink { syslog, out: Some(Out { to, level: None, stamped: false }) }
    }

    /// Writes lines, as far as they are taken.
    pub fn write(&mut self, entries: &[Entry]) {
        if let Some(out) = &mut self.out {
            out.write(entries);
        }
        entries.iter().for_each(|entry| self.syslog.send(entry));
    }
}

impl Out {
    fn write(&mut self, entries: &[Entry]) {
        let most = self.level.unwrap_or(if is_verbose() { 7 } else { 6 });
        let mut piece = String::new();
        for entry in entries.iter().filter(|entry| entry.severity as u8 <= most) {
            if piece.len() + entry.text.len() + "[2026-01-31 03:14:15,926] \n".len() > PIECE {
                self.put(&mut piece);
            }
            if self.stamped {
                let time = DateTime::<Local>::from(entry.time);
                piece.push_str(&time.format("[%Y-%m-%d %H:%M:%S,%3f] ").to_string());
            }
            piece.push_str(&entry.text);
            piece.push('\n');
        }
        self.put(&mut piece);
    }

    /// Whoever reads may have gone: there is nowhere to complain.
    fn put(&mut self, piece: &mut String) {
        let _ = self.to.write_all(piece.as_bytes()).and_then(|()| self.to.flush());
        piece.clear();
    }
}

/// The local syslog daemon.
pub struct Syslog {
    socket: Socket,
    format: Rfc3164,
    lost: u64,
    /// Until when nothing is sent to a daemon that does not read, or was never there.
    pause: Option<Instant>,
    /// Whether there has been a daemon.
    was_there: bool,
}

impl Syslog {
    /// The daemon of this system. It may come later.
    pub fn find(facility: Facility) -> Syslog {
        Syslog::at(std::env::var_os(VARIABLE).unwrap_or_else(|| SYSLOG.into()), facility)
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.was_there
    }

    fn at(path: impl Into<PathBuf>, facility: Facility) -> Syslog {
        let socket = Socket { path: path.into(), connected: None };
        let (format, was_there) = (Rfc3164 { facility, pid: std::process::id() }, socket.path.exists());
        Syslog { socket, format, lost: 0, pause: None, was_there }
    }

    fn send(&mut self, entry: &Entry) {
        if self.pause.is_some_and(|end| Instant::now() < end) {
            self.lost += 1;
            return;
        }
        self.pause = None;
        let lost = Entry::of_lost(self.lost);
        for entry in lost.iter().chain([entry]) {
            let mut message = Vec::new();
            let result = self
                .format
                .format(&mut message, entry.severity, entry)
                .map_err(io::Error::other)
                .and_then(|()| self.socket.send(&message));
            match result {
                Ok(()) => (self.lost, self.was_there) = (0, true),
                Err(e) => {
                    self.lost += 1;
                    // One that is gone costs no time, and is expected back.
                    let is_slow = e.kind() == io::ErrorKind::WouldBlock;
                    self.pause = (is_slow || !self.was_there).then(|| Instant::now() + PAUSE);
                    return;
                }
            }
        }
    }
}

/// Messages as RFC 3164 has them. The time comes from chrono because the crate's own format falls
/// back to UTC once there are threads.
struct Rfc3164 {
    facility: Facility,
    pid: u32,
}

impl LogFormat<&Entry> for Rfc3164 {
    fn format<W: Write>(&self, writer: &mut W, severity: Severity, entry: &Entry) -> syslog::Result<()> {
        let priority = self.facility as u32 | severity as u32;
        let time = DateTime::<Local>::from(entry.time).format("%b %e %H:%M:%S");
        let message = format!("<{priority}>{time} trackalert[{}]: {}", self.pid, entry.text);
        writer.write_all(message.as_bytes()).map_err(syslog::Error::Write)
    }
}

/// The socket of the syslog daemon, connected anew when the daemon was.
struct Socket {
    path: PathBuf,
    connected: Option<UnixDatagram>,
}

impl Socket {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.try_send(message).or_else(|e| {
            self.connected = None;
            // One that is slow has had its time.
            if e.kind() == io::ErrorKind::WouldBlock { Err(e) } else { self.try_send(message) }
        })
    }

    fn try_send(&mut self, message: &[u8]) -> io::Result<()> {
        let socket = match self.connected.take() {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(&self.path)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                socket
            }
        };
        self.connected.insert(socket).send(message).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("trackalert-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn receive(daemon: &UnixDatagram) -> String {
        let mut message = [0; 200];
        let length = daemon.recv(&mut message).unwrap();
        str::from_utf8(&message[..length]).unwrap().to_owned()
    }

    #[test]
    fn a_syslog_daemon_may_come_back() {
        let folder = folder("sink");
        let path = folder.join("log");
        let mut syslog = Syslog::at(&path, Facility::LOG_LOCAL0);
        syslog.send(&Entry::new(Severity::LOG_INFO, "nobody is there".into()));
        assert!(syslog.pause.take().is_some(), "a system without one is not asked for every line");
        for (round, before) in [("first", Some(1)), ("second", None)] {
            let daemon = UnixDatagram::bind(&path).unwrap();
            daemon.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            syslog.send(&Entry::new(Severity::LOG_NOTICE, round.into()));
            if let Some(lost) = before {
                let text = format!("]: {lost} lines were lost: the log did not take them");
                assert!(receive(&daemon).ends_with(&text));
            }
            let message = receive(&daemon);
            // local0 is 16, notice is 5: RFC 3164, 4.1.1.
            assert!(message.starts_with("<133>"), "{message}");
            assert!(message.ends_with(&format!(" trackalert[{}]: {round}", std::process::id())), "{message}");
            std::fs::remove_file(&path).unwrap();
        }
        std::fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn a_syslog_daemon_that_does_not_read_is_left_alone() {
        let folder = folder("slow");
        let path = folder.join("log");
        let _daemon = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::at(&path, Facility::LOG_LOCAL0);
        let start = Instant::now();
        while syslog.pause.is_none() {
            assert!(start.elapsed() < Duration::from_secs(60), "it is never full");
            syslog.send(&Entry::new(Severity::LOG_INFO, "x".repeat(1000)));
        }
        let start = Instant::now();
        (0..100_000).for_each(|_| syslog.send(&Entry::new(Severity::LOG_INFO, "x".into())));
        assert!(syslog.lost > 1000 && start.elapsed() < Duration::from_secs(60));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
