//! When scheduled functions are due: cron expressions in local time, and durations. Nothing here
//! looks at a clock.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeZone};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::error::{Error, Result};

/// A cron expression, `minute hour day-of-month month day-of-week` as crontab(5) has it, but that
/// both days must match when both are given.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression(Arc<Cron>);

impl Expression {
    /// Reads an expression which matches some time after `now`.
    pub fn parse<Tz: TimeZone>(text: &str, now: &DateTime<Tz>) -> Result<Expression> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .dom_and_dow(true)
            .build();
        let refused = |e: &dyn std::fmt::Display| {
            Error::Refused(format!("cron: \"{text}\" is not a cron expression: {e}"))
        };
        // `croner` takes what is not there for no value. A field without values it looks for in every
        // year to come.
        if text.split_whitespace().flat_map(|field| field.split(',')).any(str::is_empty) {
            return Err(refused(&"a list lacks an item"));
        }
        let expression = Expression(Arc::new(parser.parse(text).map_err(|e| refused(&e))?));
        match expression.next(now) {
            Some(_) => Ok(expression),
            None => Err(Error::Refused(format!("cron: \"{text}\" is never due"))),
        }
    }

    /// The first time after `now` that it matches. What a change to summer time skips is due right
    /// after it; what is repeated when summer time ends is due once.
    pub fn next<Tz: TimeZone>(&self, now: &DateTime<Tz>) -> Option<DateTime<Tz>> {
        self.0.find_next_occurrence(now, false).ok()
    }
}

/// Reads `h[h…][:mm][:ss]`: hours, and minutes and seconds that may be left out.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let bad = || Error::Bad { what: "a duration, hours[:minutes[:seconds]]", value: text.into() };
    let mut seconds: u64 = 0;
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return Err(bad());
    }
    for (part, unit) in parts.into_iter().zip([3600, 60, 1]) {
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = part.parse().ok().filter(|_| is_number).ok_or_else(bad)?;
        if unit < 3600 && number > 59 {
            return Err(bad());
        }
        seconds = number.checked_mul(unit).and_then(|part| seconds.checked_add(part)).ok_or_else(bad)?;
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{FixedOffset, Utc};

    fn at(text: &str) -> DateTime<Utc> {
        format!("{text}Z").parse().unwrap()
    }

    #[test]
    fn an_expression_matches_as_crontab_has_it() {
        // 2026-11-24 is a Tuesday.
        for (text, expected) in [
            ("* * * * *", "2026-11-24T13:02:00"),
            ("30 4 * * *", "2026-11-25T04:30:00"),
            ("*/15 * * * *", "2026-11-24T13:15:00"),
            ("5,10 13 * * *", "2026-11-24T13:05:00"),
            ("0 8-10 * * *", "2026-11-25T08:00:00"),
            ("0 20-23/3 * * *", "2026-11-24T20:00:00"),
            ("0 0 1 jan *", "2027-01-01T00:00:00"),
            ("0 0 * * 0", "2026-11-29T00:00:00"),
            ("0 0 * * 7", "2026-11-29T00:00:00"),
            ("0 0 * * sun", "2026-11-29T00:00:00"),
            ("0 0 * * Mon-Fri", "2026-11-25T00:00:00"),
            ("0 0 29 * Mon-sun", "2026-11-29T00:00:00"),
            // Both days are given, so both must match.
            ("0 0 13 * 5", "2027-08-13T00:00:00"),
            ("0 0 29 2 *", "2028-02-29T00:00:00"),
            (" 0  0 * * * ", "2026-11-25T00:00:00"),
        ] {
            let now = at("2026-11-24T13:01:00.5");
            let next = Expression::parse(text, &now).unwrap().next(&now);
            assert_eq!(next, Some(at(expected)), "{text}");
        }
    }

    #[test]
    fn a_bad_expression_is_refused() {
        for text in [
            "",
            "bad cron",
            "* * * *",
            "* * * * * *",
            "61 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "a * * * *",
            "5- * * * *",
            "*/0 * * * *",
            "10-5 * * * *",
            ", * * * *",
            "* 1, * * *",
            "* * * 1,,2 *",
            "0 0 30 2 *",
        ] {
            let error = Expression::parse(text, &at("2026-11-24T13:01:00")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("cron: \"{text}\" is ")), "{error}");
        }
    }

    #[test]
    fn local_time_counts() {
        let now = at("2026-11-24T13:01:00").with_timezone(&FixedOffset::east_opt(5 * 3600).unwrap());
        let next = Expression::parse("0 19 * * *", &now).unwrap().next(&now).unwrap();
        assert_eq!(next.with_timezone(&Utc), at("2026-11-24T14:00:00"));
    }

    #[test]
    fn a_duration_has_hours_first() {
        for (text, expected) in [
            ("24", Some(86_400)),
            ("5:01", Some(18_060)),
            ("00:00:01", Some(1)),
            ("00:30:00", Some(1800)),
            ("100:00:00", Some(360_000)),
            ("", None),
            ("abc", None),
            ("-1:00:00", None),
            ("+1", None),
            ("1:", None),
            ("1:2:3:4", None),
            ("00:99:00", None),
            ("00:00:01.5", None),
            (" 1:00", None),
            ("99999999999999999999", None),
            ("9999999999999999999", None),
        ] {
            assert_eq!(parse_duration(text).ok().map(|found| found.as_secs()), expected, "{text}");
        }
    }
}
