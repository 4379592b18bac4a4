//! The back end of `log`: lines for the local syslog daemon and for stdout, whose fields are
//! `key="value"` and whose control characters are escaped, so that no line can be forged.

mod limit;
mod sink;
mod writer;

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};
use syslog::{Facility, Severity};

use crate::error::{Error, Result};
pub use limit::Limit;
use sink::{Entry, Out, Sink, Syslog};
use writer::Writer;

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

/// Bytes of a line; syslog daemons cut sooner.
const MAX_LINE: usize = 32 << 10;

static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Installs the logger of this process. Done once, after the last fork.
pub fn init(settings: Settings) -> Result<()> {
    let facility = match &settings.facility {
        Some(name) => name.parse().map_err(|()| Error::Refused(format!("Bad log facility: {name}")))?,
        None => Facility::LOG_DAEMON,
    };
    let syslog = Syslog::find(facility);
    // The journal gets each line once: through syslog, which knows the level.
    let has_out = settings.stdout && !(syslog.is_there() && is_journal());
    let Settings { level, stamped, .. } = settings;
    let out = has_out.then(|| Out { to: Box::new(io::stdout()), level, stamped });
    let logger = Logger(Writer::start(Sink { syslog, out })?);
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

/// How long the end of the program waits for its last lines to be taken.
const LAST: Duration = Duration::from_secs(1);

struct Logger(Arc<Writer>);

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        // Debug messages of libraries are about themselves. What rustls thinks of its peers would let
        // any client fill the log.
        let target = metadata.target();
        target.starts_with(env!("CARGO_CRATE_NAME"))
            || metadata.level() <= Level::Info && !target.starts_with("rustls")
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            self.0.push(Entry::new(severity(record), escape(&record.args().to_string())));
        }
    }

    fn flush(&self) {
        self.0.flush(LAST);
    }
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

/// A message with named values: `message: key="value" …`, the keys sorted. Quotes and backslashes
/// in values are escaped here, and so is all in a key that could end it: a report's attributes may
/// have any name. Control characters are escaped wherever they are.
pub fn line<K: AsRef<str> + Ord, V: AsRef<str>>(message: &str, fields: &[(K, V)]) -> String {
    let mut fields: Vec<_> = fields.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
    fields.sort();
    let mut line = String::with_capacity(64 + 32 * fields.len());
    line.push_str(message);
    line.push_str(": ");
    for (key, value) in fields {
        for c in key.chars() {
            match c {
                '"' | '\\' | '=' | ' ' => drop(write!(line, "\\x{:02x}", u32::from(c))),
                c => line.push(c),
            }
        }
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
    fn keys_can_forge_nothing() {
        for (key, expected) in [
            ("attrs.é-1", "m: attrs.é-1=\"v\" "),
            ("a=\"x\" success", "m: a\\x3d\\x22x\\x22\\x20success=\"v\" "),
            ("a\\x3d", "m: a\\x5cx3d=\"v\" "),
            ("a\nb", "m: a\\nb=\"v\" "),
        ] {
            assert_eq!(line("m", &[(key, "v")]), expected, "{key:?}");
        }
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
}
