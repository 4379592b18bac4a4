//! Which networks many logins share, by what a week has brought from them.

use ipnet::IpNet;

use crate::error::Result;
use crate::store::query::{By, DAY, HOUR, MOST_ROWS, Reader, Source, TopQuery, Window};
use crate::store::record::Seconds;

/// Days that are looked at, and those of them with a success.
const WEEK: u32 = 7;
const DAYS: u32 = 5;

/// Distinct logins that succeed.
const LOGINS: u64 = 50;

/// The networks that many logins share in the week before and with `at`: they succeed from there on most
/// days, and more often than they fail, as they would not where passwords are guessed.
pub fn learn(reader: &mut dyn Reader, at: Seconds) -> Result<Vec<IpNet>> {
    // Counts of more than two days ago are by the hour.
    let end = (at / HOUR + 1) * HOUR;
    let top = TopQuery {
        by: By::Net,
        window: days_before(end, WEEK),
        success: Some(true),
        min_logins: LOGINS,
        limit: MOST_ROWS,
    };
    let mut shared = Vec::new();
    for row in reader.top(&top)? {
        if let Ok(net) = row.value.parse()
            && row.attempts < row.ok
            && is_used_daily(reader, net, end)?
        {
            shared.push(net);
        }
    }
    Ok(shared)
}

/// Whether a network had a success on most days of the week.
fn is_used_daily(reader: &mut dyn Reader, net: IpNet, end: Seconds) -> Result<bool> {
    let (mut used, mut missed) = (0, 0);
    for day in 0..WEEK {
        let window = days_before(end.saturating_sub(day * DAY), 1);
        match reader.source(Source::Net(net), window)?.ok {
            0 => missed += 1,
            _ => used += 1,
        }
        if used == DAYS || missed > WEEK - DAYS {
            break;
        }
    }
    Ok(used == DAYS)
}

fn days_before(end: Seconds, days: u32) -> Window {
    Window { start: end.saturating_sub(days * DAY), end }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::examination;
    use crate::store::model::Model;

    #[test]
    fn a_network_that_many_share_day_after_day_is_learned() {
        let end = 1_700_000_000;
        let (records, shared) = examination::crowds(end);
        let mut model = Model(records);
        assert_eq!(learn(&mut model, end).unwrap(), shared);
        assert_eq!(learn(&mut model, end + 30 * DAY).unwrap(), [], "that was a month ago");
    }
}
