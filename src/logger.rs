//! The back end of `log`: lines for the local syslog daemon and for stdout, whose fields are
//! `key="value"` and whose control characters are escaped, so that no line can be forged.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::Local;
use log::{Level, LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;
use syslog::{Facility, LogFormat, Severity};

use crate::error::{Error, Result};

/// The target of messages between info and warning, where `log` has no level.
pub const NOTICE: &str = "notice";

/// Logs at syslog's level notice: what an operator wants to read although nothing is wrong.
macro_rules! notice {
    ($($arg:tt)+) => { log::info!(target: $crate::logger::NOTICE, $($arg)+) };
}
pub(crate) use notice;

/// Where log lines go.
#[derive(Debug, Default)]
pub struct Settings {
    /// The name of a syslog facility; `daemon` when there is none.
    pub facility: Option<String>,
    /// Whether lines go to stdout as well.
    pub stdout: bool,
    /// The highest of syslog's levels (0 to 7) on stdout; 6 when there is none, or 7 when verbose.
    pub level: Option<u8>,
    /// Whether lines on stdout begin with the local time.
    pub stamped: bool,
}

/// Where the local syslog daemon listens.
const SYSLOG: &str = if cfg!(target_os = "linux") { "/dev/log" } else { "/var/run/log" };

/// How long a line may wait for a syslog daemon that does not read.
const PATIENCE: Duration = Duration::from_millis(200);

/// Bytes of a line; syslog daemons cut sooner.
const MAX_LINE: usize = 32 << 10;

static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Installs the logger of this process. Done once, after the last fork.
pub fn init(settings: Settings) -> Result<()> {
    let facility = match &settings.facility {
        Some(name) => name.parse().map_err(|()| Error::Refused(format!("Bad log facility: {name}")))?,
        None => Facility::LOG_DAEMON,
    };
    let syslog = Path::new(SYSLOG).exists().then(|| {
        let format = Rfc3164 { facility, pid: std::process::id() };
        Mutex::new(syslog::Logger::new(Socket::new(SYSLOG), format))
    });
    // The journal gets each line once: through syslog, which knows the level.
    let stdout = settings.stdout && !(syslog.is_some() && is_journal());
    let logger = Logger { syslog, stdout: stdout.then_some(settings) };
    log::set_boxed_logger(Box::new(logger)).map_err(|e| Error::Refused(e.to_string()))?;
    set_verbose(is_verbose());
    Ok(())
}

/// Whether debug messages are logged.
pub fn is_verbose() -> bool {
    VERBOSE.load(Ordering::Relaxed)
}

/// Begins or ends the logging of debug messages.
pub fn set_verbose(verbose: bool) {
    VERBOSE.store(verbose, Ordering::Relaxed);
    log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Info });
}

/// Whether stdout is the stream that systemd connected to the journal: see systemd.exec(5),
/// `JOURNAL_STREAM`.
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stdout = std::fs::metadata("/dev/stdout");
    stdout.is_ok_and(|stdout| stream == format!("{}:{}", stdout.dev(), stdout.ino()))
}

struct Logger {
    syslog: Option<Mutex<syslog::Logger<Socket, Rfc3164>>>,
    stdout: Option<Settings>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        // Debug messages of libraries are about themselves. What rustls thinks of its peers would let
        // any client fill the log.
        let target = metadata.target();
        target.starts_with(env!("CARGO_CRATE_NAME"))
            || metadata.level() <= Level::Info && !target.starts_with("rustls")
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let severity = severity(record);
        let text = escape(&record.args().to_string());
        if let Some(syslog) = &self.syslog {
            send(&mut syslog.lock(), severity, &text);
        }
        if let Some(settings) = &self.stdout {
            let most = settings.level.unwrap_or(if is_verbose() { 7 } else { 6 });
            if severity as u8 <= most {
                print(settings.stamped, &text);
            }
        }
    }

    fn flush(&self) {}
}

fn severity(record: &Record) -> Severity {
    match record.level() {
        _ if record.target() == NOTICE => Severity::LOG_NOTICE,
        Level::Error => Severity::LOG_ERR,
        Level::Warn => Severity::LOG_WARNING,
        Level::Info => Severity::LOG_INFO,
        Level::Debug | Level::Trace => Severity::LOG_DEBUG,
    }
}

/// A daemon that is gone loses the line; there is nowhere to complain.
fn send(syslog: &mut syslog::Logger<Socket, Rfc3164>, severity: Severity, text: &str) {
    let _ = match severity {
        Severity::LOG_ERR => syslog.err(text),
        Severity::LOG_WARNING => syslog.warning(text),
        Severity::LOG_NOTICE => syslog.notice(text),
        Severity::LOG_DEBUG => syslog.debug(text),
        _ => syslog.info(text),
    };
}

/// One write for a line: two threads never mix theirs.
fn print(stamped: bool, text: &str) {
    let line = match stamped {
        true => format!("{}{text}\n", Local::now().format("[%Y-%m-%d %H:%M:%S,%3f] ")),
        false => format!("{text}\n"),
    };
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
}

/// Messages as RFC 3164 has them. The time comes from chrono because the crate's own format falls
/// back to UTC once there are threads.
struct Rfc3164 {
    facility: Facility,
    pid: u32,
}

impl LogFormat<&str> for Rfc3164 {
    fn format<W: Write>(&self, writer: &mut W, severity: Severity, text: &str) -> syslog::Result<()> {
        let priority = self.facility as u32 | severity as u32;
        let time = Local::now().format("%b %e %H:%M:%S");
        let message = format!("<{priority}>{time} trackalert[{}]: {text}", self.pid);
        writer.write_all(message.as_bytes()).map_err(syslog::Error::Write)
    }
}

/// The socket of the syslog daemon, connected anew when the daemon was.
struct Socket {
    path: PathBuf,
    connected: Option<UnixDatagram>,
}

impl Socket {
    fn new(path: impl Into<PathBuf>) -> Socket {
        Socket { path: path.into(), connected: None }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<usize> {
        if self.connected.is_none() {
            let socket = UnixDatagram::unbound()?;
            socket.connect(&self.path)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            self.connected = Some(socket);
        }
        match &self.connected {
            Some(socket) => socket.send(message),
            None => Ok(0),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        self.send(message).or_else(|e| {
            self.connected = None;
            // One that is slow has had its time.
            if e.kind() == io::ErrorKind::WouldBlock { Err(e) } else { self.send(message) }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A message with named values: `message: key="value" …`, the keys sorted. Quotes and backslashes
/// in values are escaped here, control characters wherever they are.
pub fn line<K: AsRef<str> + Ord, V: AsRef<str>>(message: &str, fields: &[(K, V)]) -> String {
    let mut fields: Vec<_> = fields.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
    fields.sort();
    let mut line = String::with_capacity(64 + 32 * fields.len());
    line.push_str(message);
    line.push_str(": ");
    for (key, value) in fields {
        line.push_str(key);
        line.push_str("=\"");
        for c in value.chars() {
            if c == '"' || c == '\\' {
                line.push('\\');
            }
            line.push(c);
        }
        line.push_str("\" ");
    }
    escape(&line)
}

/// `text` without control characters and of a bounded length.
fn escape(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if line.len() >= MAX_LINE {
            let _ = write!(line, "... ({} bytes)", text.len());
            break;
        }
        match c {
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            // U+2028 and U+2029 end a line for some readers.
            c if c.is_control() || c == '\u{2028}' || c == '\u{2029}' => {
                let _ = write!(line, "\\x{:02x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_can_forge_nothing() {
        for (value, expected) in [
            ("plain", "m: k=\"plain\" "),
            ("with \"quote\"", "m: k=\"with \\\"quote\\\"\" "),
            ("a\\b", "m: k=\"a\\\\b\" "),
            ("a\nb\tc\rd\0e\u{1b}f\u{85}g", "m: k=\"a\\nb\\tc\\x0dd\\x00e\\x1bf\\x85g\" "),
        ] {
            assert_eq!(line("m", &[("k", value)]), expected, "{value:?}");
        }
        assert_eq!(line("a\nb", &[("z", "1"), ("a", "2")]), "a\\nb: a=\"2\" z=\"1\" ");
        assert_eq!(line::<&str, &str>("m", &[]), "m: ");
    }

    #[test]
    fn an_escaped_line_stays_as_it_is() {
        let line = line("m", &[("k", "a\nb\"\\")]);
        assert_eq!(escape(&line), line);
    }

    #[test]
    fn a_long_line_is_cut_with_a_mark() {
        let cut = escape(&"é".repeat(MAX_LINE));
        assert!(cut.ends_with("... (65536 bytes)") && cut.len() < MAX_LINE + 32, "{}", cut.len());
    }

    #[test]
    fn a_syslog_daemon_may_come_back() {
        let folder = std::env::temp_dir().join(format!("trackalert-logger-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("log");
        let mut syslog =
            syslog::Logger::new(Socket::new(&path), Rfc3164 { facility: Facility::LOG_LOCAL0, pid: 7 });
        send(&mut syslog, Severity::LOG_INFO, "nobody is there");
        for round in ["first", "second"] {
            let daemon = UnixDatagram::bind(&path).unwrap();
            daemon.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            send(&mut syslog, Severity::LOG_NOTICE, round);
            let mut message = [0; 200];
            let length = daemon.recv(&mut message).unwrap();
            let message = str::from_utf8(&message[..length]).unwrap();
            // local0 is 16, notice is 5: RFC 3164, 4.1.1.
            assert!(message.starts_with("<133>"), "{message}");
            assert!(message.ends_with(&format!(" trackalert[7]: {round}")), "{message}");
            std::fs::remove_file(&path).unwrap();
        }
        std::fs::remove_dir(&folder).unwrap();
    }
}
