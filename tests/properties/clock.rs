//! A time zone with summer time, without the machine's.

use chrono::{
    DateTime, FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc,
};

/// An hour ahead of UTC, two in the summer of 2026, as central Europe is.
#[derive(Clone, Copy, Debug)]
pub struct Zone;

#[derive(Clone, Copy, Debug)]
pub struct Hours(i32);

impl Offset for Hours {
    fn fix(&self) -> FixedOffset {
        FixedOffset::east_opt(self.0 * 3600).unwrap()
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.fix().fmt(f)
    }
}

fn hours(utc: &NaiveDateTime) -> Hours {
    let at = |month, day| NaiveDate::from_ymd_opt(2026, month, day).unwrap().and_hms_opt(1, 0, 0).unwrap();
    Hours(if (at(3, 29)..at(10, 25)).contains(utc) { 2 } else { 1 })
}

impl TimeZone for Zone {
    type Offset = Hours;

    fn from_offset(_: &Hours) -> Zone {
        Zone
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<Hours> {
        self.offset_from_local_datetime(&local.and_hms_opt(0, 0, 0).unwrap())
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<Hours> {
        let fits = |number: i32| hours(&(*local - TimeDelta::hours(number.into()))).0 == number;
        match (fits(2), fits(1)) {
            (true, true) => MappedLocalTime::Ambiguous(Hours(2), Hours(1)),
            (true, false) => MappedLocalTime::Single(Hours(2)),
            (false, true) => MappedLocalTime::Single(Hours(1)),
            (false, false) => MappedLocalTime::None,
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> Hours {
        hours(&utc.and_hms_opt(0, 0, 0).unwrap())
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> Hours {
        hours(utc)
    }
}

/// A time of 2026 by its seconds, in UTC.
pub fn time(seconds: u32) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600 + i64::from(seconds), 0).unwrap()
}
