//! What a line of the past is: a report, something else, or bad.

use std::time::SystemTime;

use crate::device::Devices;
use crate::login::LoginTuple;
use crate::store::Enrich;
use crate::store::line::Kept;
use crate::store::record::Record;

/// What makes reports of lines.
pub struct Reading<'a> {
    pub enrich: &'a Enrich,
    pub devices: &'a Devices,
    /// Which time a negative one counts from, if it is to be one, in seconds since the epoch.
    pub origin: Option<f64>,
}

/// What a line is.
pub enum Line {
    Report(Box<Report>),
    Other,
    Bad(String),
}

/// A report of the past.
pub struct Report {
    pub login: LoginTuple,
    pub record: Record,
}

impl Reading<'_> {
    pub fn line(&self, line: &[u8]) -> Line {
        if line.trim_ascii().is_empty() {
            return Line::Other;
        }
        let read = || Ok((LoginTuple::from_history(line)?, Kept::of(line)?));
        let (mut login, kept) = match read() {
            Ok(read) => read,
            Err(e) => return Line::Bad(reason(&e)),
        };
        // A store also keeps reports that name nobody.
        if login.login().is_empty() && kept.is_none() {
            return Line::Other;
        }
        if let Some(origin) = self.origin.filter(|_| login.t < 0.0) {
            login.t += origin;
        }
        if !login.has_usable_time(SystemTime::now()) {
            return Line::Bad("t: seconds since 1970 expected, from 2000 to now".into());
        }
        login.parse_device(|protocol, text| self.devices.parse(protocol, text));
        let record = match kept {
            Some(kept) => kept.record(&login, self.enrich),
            None => self.enrich.record(&login),
        };
        Line::Report(Box::new(Report { login, record }))
    }
}

/// What is wrong with a line; where in it only if its syntax is.
fn reason(e: &serde_json::Error) -> String {
    let text = e.to_string();
    let Some((what, place)) = text.rsplit_once(" at line ") else { return text };
    match place.split_once(" column ") {
        Some((_, column)) if !e.is_data() => format!("{what} at column {column}"),
        _ => what.to_owned(),
    }
}
