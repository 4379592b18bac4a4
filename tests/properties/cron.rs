//! What is scheduled is due after now, again after that, and at the times that crontab(5) says; and
//! durations are what their numbers say.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, TimeDelta, TimeZone, Timelike, Utc};
use trackalert::probe::{self, Expression};

use super::Random;
use super::clock::{Zone, time};

/// `data` is an expression or a duration.
pub fn cron(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert_eq!(probe::duration(text).map(|duration| duration.as_secs()), seconds(text), "{text:?}");
    let mut random = Random::of(data);
    let now = time(random.below(366 * 86_400) as u32);
    let Ok(expression) = Expression::parse(text, &now) else { return };
    let fields = fields(text);
    let next = follow(&expression, &now, text);
    if let Some(fields) = &fields {
        check(fields, &now, &next, text);
    }
    // Around the hour that summer time skips, the one that its end repeats, and elsewhere.
    for hour in [1_774_746_000, 1_792_890_000, now.timestamp()] {
        let start = DateTime::from_timestamp(hour - 7200 + random.below(4 * 3600) as i64, 0).unwrap();
        follow(&expression, &start.with_timezone(&Zone), text);
    }
}

/// The next time, from which it goes on.
fn follow<Tz: TimeZone<Offset: Copy>>(
    expression: &Expression,
    now: &DateTime<Tz>,
    text: &str,
) -> DateTime<Tz> {
    let mut last = *now;
    let mut first = None;
    for _ in 0..4 {
        let next = expression.next(&last).unwrap_or_else(|| panic!("{text:?} is due no more after {last:?}"));
        assert!(next > last, "{text:?} is due at {next:?}, before {last:?}");
        first.get_or_insert(next);
        last = next;
    }
    first.unwrap()
}

/// The values of each field, as far as this reads them: numbers, ranges, steps, lists, names.
struct Fields([BTreeSet<u32>; 5]);

fn fields(text: &str) -> Option<Fields> {
    const MONTHS: &str = "jan feb mar apr may jun jul aug sep oct nov dec";
    const DAYS: &str = "sun mon tue wed thu fri sat";
    let texts: Vec<&str> = text.split_ascii_whitespace().collect();
    let [minute, hour, day, month, weekday] = texts[..] else { return None };
    let mut weekdays = field(weekday, 0..=7, DAYS)?;
    if weekdays.remove(&7) {
        weekdays.insert(0);
    }
    Some(Fields([
        field(minute, 0..=59, "")?,
        field(hour, 0..=23, "")?,
        field(day, 1..=31, "")?,
        field(month, 1..=12, MONTHS)?,
        weekdays,
    ]))
}

fn field(text: &str, all: std::ops::RangeInclusive<u32>, names: &str) -> Option<BTreeSet<u32>> {
    let number = |text: &str| {
        let named = names.split(' ').position(|name| !name.is_empty() && text.eq_ignore_ascii_case(name));
        let named = named.map(|place| place as u32 + u32::from(all.contains(&12) && !all.contains(&0)));
        named.or_else(|| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())))
    };
    let mut values = BTreeSet::new();
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok()?),
            None => (part, 1),
        };
        let range = match range.split_once('-') {
            // The whole week has Sunday once.
            None if range == "*" => *all.start()..=if *all.end() == 7 { 6 } else { *all.end() },
            // A week may end with Sunday by its name, which is 0 elsewhere.
            Some((first, last)) if last.eq_ignore_ascii_case("sun") => number(first)?..=7,
            Some((first, last)) => number(first)?..=number(last)?,
            None if step == 1 && !part.contains('/') => number(range)?..=number(range)?,
            None => return None,
        };
        if step == 0 || !all.contains(range.start()) || !all.contains(range.end()) {
            return None;
        }
        values.extend(range.step_by(step));
    }
    Some(values)
}

impl Fields {
    fn match_at(&self, time: &DateTime<Utc>) -> bool {
        let parts =
            [time.minute(), time.hour(), time.day(), time.month(), time.weekday().num_days_from_sunday()];
        self.0.iter().zip(parts).all(|(values, part)| values.contains(&part))
    }
}

/// The next time matches, and none before it does.
fn check(fields: &Fields, now: &DateTime<Utc>, next: &DateTime<Utc>, text: &str) {
    assert!(fields.match_at(next) && next.second() == 0, "{text:?} does not match {next}");
    let mut minute = *now - TimeDelta::seconds(now.second().into()) + TimeDelta::minutes(1);
    let end = (*next).min(*now + TimeDelta::days(3));
    while minute < end {
        assert!(!fields.match_at(&minute), "{text:?} is due at {minute}, but was at {next}");
        minute += TimeDelta::minutes(1);
    }
}

/// The seconds of a duration.
fn seconds(text: &str) -> Option<u64> {
    let numbers: Option<Vec<u128>> = text
        .split(':')
        .map(|part| part.parse().ok().filter(|_| part.bytes().all(|byte| byte.is_ascii_digit())))
        .collect();
    let seconds = match numbers?[..] {
        [hours] => hours.checked_mul(3600),
        [hours, minutes @ 0..=59] => hours.checked_mul(3600).map(|sum| sum + minutes * 60),
        [hours, minutes @ 0..=59, seconds @ 0..=59] => {
            hours.checked_mul(3600).map(|sum| sum + minutes * 60 + seconds)
        }
        _ => None,
    };
    u64::try_from(seconds?).ok()
}
