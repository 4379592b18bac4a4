//! Learning once a day which networks many logins share, in a thread that nobody waits for.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, SystemTime};

use crate::error::Result;
use crate::logger::notice;
use crate::store::query::{DAY, HOUR};
use crate::store::record::{Seconds, seconds};
use crate::store::{Egress, Store};
use crate::unix;

/// How long it waits at most before it looks at the clock, which may be put forward or back.
const LOOK: Duration = Duration::from_secs(60);

/// The thread, which ends when this goes.
pub struct Learning {
    _alive: Sender<()>,
}

impl Learning {
    /// Starts the thread.
    pub fn start(store: Arc<dyn Store>, egress: Arc<Egress>) -> Result<Learning> {
        let (alive, end) = mpsc::channel();
        unix::spawn("learn", move || run(&*store, &egress, &end))?;
        Ok(Learning { _alive: alive })
    }
}

fn run(store: &dyn Store, egress: &Egress, end: &Receiver<()>) {
    let mut last = egress.learned_at();
    let mut failed = None;
    loop {
        let now = seconds(SystemTime::now());
        if is_due(last, failed, now) {
            match egress.learn(store, now) {
                Ok(count) => {
                    (last, failed) = (Some(now), None);
                    // A small platform has none, and need not hear it every day.
                    if count > 0 {
                        notice!("{count} networks are known to be shared by many logins");
                    }
                }
                // It is closed at the end.
                Err(_) if has_ended(end, Duration::ZERO) => return,
                Err(e) => {
                    failed = Some(now);
                    log::warn!("which networks many logins share is not learned: {e}");
                }
            }
        }
        if has_ended(end, LOOK) {
            return;
        }
    }
}

/// Whether it is time: a day after the last one, or an hour after one that failed. A clock that is behind
/// was put back.
fn is_due(last: Option<Seconds>, failed: Option<Seconds>, now: Seconds) -> bool {
    let is_over = |since: Option<Seconds>, time| since.is_none_or(|since| since > now || now - since >= time);
    is_over(last, DAY) && is_over(failed, HOUR)
}

fn has_ended(end: &Receiver<()>, wait: Duration) -> bool {
    end.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_time_once_a_day_and_an_hour_after_a_failure() {
        let now = 1_000_000_000;
        for (last, failed, expected) in [
            (None, None, true),
            (Some(now), None, false),
            (Some(now - DAY + 1), None, false),
            (Some(now - DAY), None, true),
            (Some(now + 5), None, true),
            (None, Some(now - 5), false),
            (Some(now - DAY), Some(now - HOUR), true),
        ] {
            assert_eq!(is_due(last, failed, now), expected, "{last:?} {failed:?}");
        }
    }
}
