//! The timer thread: background functions that are due become jobs of the scheduler's pool. A
//! function never runs twice at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Local, TimeZone};
use parking_lot::{Condvar, Mutex};

use crate::config::{Scheduled, When};
use crate::cron::Expression;
use crate::error::Result;
use crate::stats::Stats;
use crate::unix;
use crate::worker::{Job, Pools, Reply};

/// The longest sleep of the thread. Whoever sets the clock waits this long, at most, for functions
/// that are due by the new time.
const LONGEST: Duration = Duration::from_secs(10);

/// The timer thread.
pub struct Timer(Arc<Inner>);

struct Inner {
    stats: Arc<Stats>,
    plan: Mutex<Plan>,
    /// The plan has changed, or a function has returned.
    changed: Condvar,
}

/// What is to run, and where.
#[derive(Default)]
struct Plan {
    entries: Vec<Entry<Local>>,
    pools: Option<Arc<Pools>>,
    is_over: bool,
}

/// A function and when it is due.
struct Entry<Tz: TimeZone> {
    name: Arc<str>,
    next: Next<Tz>,
    run: Arc<Run>,
}

enum Next<Tz: TimeZone> {
    /// By the clock, if ever again.
    At { cron: Expression, time: Option<DateTime<Tz>>, looked_at: DateTime<Tz> },
    /// So long after the end of the last run.
    After { interval: Duration },
}

/// How the runs of a function go. A configuration that is read again goes on with it.
struct Run(Mutex<Progress>);

#[derive(Clone, Copy)]
struct Progress {
    is_running: bool,
    /// When the last run ended, or when the function was planned first.
    ended: Instant,
}

/// What there is to do about an entry.
#[derive(Debug, PartialEq)]
enum Due {
    Now,
    /// It is due, but still runs.
    Skipped,
    /// Not yet; look again after this time.
    In(Duration),
}

impl Timer {
    /// Starts the thread, with nothing to run.
    pub fn start(stats: Arc<Stats>) -> Result<Timer> {
        let inner = Arc::new(Inner { stats, plan: Mutex::default(), changed: Condvar::new() });
        let own = inner.clone();
        unix::spawn("timer", move || own.run())?;
        Ok(Timer(inner))
    }

    /// Runs these functions in these pools from now on, and no others.
    pub fn change(&self, scheduled: &[Scheduled], pools: Arc<Pools>) {
        let mut plan = self.0.plan.lock();
        let (clock, now) = (Local::now(), Instant::now());
        let mut entries: Vec<Entry<Local>> = Vec::new();
        for Scheduled { name, when, .. } in scheduled {
            let known = entries.iter().chain(&plan.entries).find(|entry| *entry.name == **name);
            let run = known.map_or_else(|| Arc::new(Run::new(now)), |entry| entry.run.clone());
            // Whoever reads the metrics sees an increase only of what was there before it.
            self.0.stats.metrics.background_skipped.with_label_values(&[name]);
            entries.push(Entry { name: Arc::from(name.as_str()), next: Next::new(when, &clock), run });
        }
        plan.entries = entries;
        plan.pools = Some(pools);
        self.0.changed.notify_all();
    }

    /// Starts no function any more. Those that run go on.
    pub fn stop(&self) {
        *self.0.plan.lock() = Plan { is_over: true, ..Plan::default() };
        self.0.changed.notify_all();
    }
}

impl Inner {
    fn run(self: Arc<Inner>) {
        let mut plan = self.plan.lock();
        while !plan.is_over {
            let (clock, now) = (Local::now(), Instant::now());
            let mut wait = LONGEST;
            let Plan { entries, pools, .. } = &mut *plan;
            for entry in entries {
                match entry.look(&clock, now) {
                    Due::In(time) => wait = wait.min(time),
                    Due::Skipped => self.skip(&entry.name),
                    Due::Now => {
                        pools.iter().for_each(|pools| self.start(pools, entry));
                        wait = Duration::ZERO;
                    }
                }
            }
            self.changed.wait_for(&mut plan, wait);
        }
    }

    fn start(self: &Arc<Inner>, pools: &Pools, entry: &Entry<Local>) {
        let Some(pool) = &pools.scheduler else { return };
        let (inner, run) = (self.clone(), entry.run.clone());
        let ended = move |_| {
            run.end(Instant::now());
            // With the lock: the thread is asleep then, or it will see the end.
            let _plan = inner.plan.lock();
            inner.changed.notify_all();
        };
        entry.run.begin();
        if pool.push(|| Job::Background { name: entry.name.clone(), reply: Reply::new(ended) }).is_err() {
            entry.run.end(Instant::now());
            self.skip(&entry.name);
        }
    }

    fn skip(&self, name: &str) {
        log::warn!("Lua background function [{name}] is due, but still runs: skipped");
        self.stats.metrics.background_skipped.with_label_values(&[name]).inc();
    }
}

impl<Tz: TimeZone> Next<Tz> {
    fn new(when: &When, clock: &DateTime<Tz>) -> Next<Tz> {
        match when {
            When::Cron(cron) => {
                Next::At { cron: cron.clone(), time: cron.next(clock), looked_at: clock.clone() }
            }
            When::Every(interval) => Next::After { interval: *interval },
        }
    }
}

impl<Tz: TimeZone> Entry<Tz> {
    fn look(&mut self, clock: &DateTime<Tz>, now: Instant) -> Due {
        let progress = *self.run.0.lock();
        match &mut self.next {
            Next::After { .. } if progress.is_running => Due::In(Duration::MAX),
            Next::After { interval } => match (progress.ended + *interval).checked_duration_since(now) {
                Some(left) if !left.is_zero() => Due::In(left),
                _ => Due::Now,
            },
            Next::At { cron, time, looked_at } => {
                // Somebody has put the clock back.
                if *clock < *looked_at {
                    *time = cron.next(clock);
                }
                *looked_at = clock.clone();
                let Some(due) = time else { return Due::In(Duration::MAX) };
                if let Ok(left) = due.clone().signed_duration_since(clock).to_std()
                    && !left.is_zero()
                {
                    return Due::In(left);
                }
                *time = cron.next(clock);
                if progress.is_running { Due::Skipped } else { Due::Now }
            }
        }
    }
}

impl Run {
    fn new(now: Instant) -> Run {
        Run(Mutex::new(Progress { is_running: false, ended: now }))
    }

    fn begin(&self) {
        self.0.lock().is_running = true;
    }

    fn end(&self, now: Instant) {
        *self.0.lock() = Progress { is_running: false, ended: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Utc;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(time: &str) -> DateTime<Utc> {
        format!("2026-11-24T{time}Z").parse().unwrap()
    }

    fn entry(when: &When, clock: &DateTime<Utc>, now: Instant) -> Entry<Utc> {
        Entry { name: "test".into(), next: Next::new(when, clock), run: Arc::new(Run::new(now)) }
    }

    #[test]
    fn by_the_clock_it_is_due_once_and_skipped_while_it_runs() {
        let (start, now) = (at("13:01:58"), Instant::now());
        let mut entry = entry(&When::Cron(Expression::parse("* * * * *", &start).unwrap()), &start, now);
        assert_eq!(entry.look(&start, now), Due::In(2 * SECOND));
        assert_eq!(entry.look(&at("13:02:00"), now), Due::Now);
        entry.run.begin();
        assert_eq!(entry.look(&at("13:02:00.5"), now), Due::In(SECOND * 119 / 2));
        assert_eq!(entry.look(&at("13:03:00"), now), Due::Skipped);
        entry.run.end(now);
        assert_eq!(entry.look(&at("13:03:01"), now), Due::In(59 * SECOND), "what was skipped is over");
        assert_eq!(entry.look(&at("13:09:30"), now), Due::Now, "asleep for minutes, but due once");
        assert_eq!(entry.look(&at("13:09:30"), now), Due::In(30 * SECOND));
        assert_eq!(entry.look(&at("12:30:59"), now), Due::In(SECOND), "the clock was put back");
    }

    #[test]
    fn an_interval_counts_from_the_end_of_the_last_run() {
        let (clock, now) = (at("13:00:00"), Instant::now());
        let mut entry = entry(&When::Every(5 * SECOND), &clock, now);
        assert_eq!(entry.look(&clock, now), Due::In(5 * SECOND));
        assert_eq!(entry.look(&clock, now + 5 * SECOND), Due::Now);
        entry.run.begin();
        assert_eq!(entry.look(&clock, now + 11 * SECOND), Due::In(Duration::MAX), "never stacked");
        entry.run.end(now + 12 * SECOND);
        assert_eq!(entry.look(&clock, now + 13 * SECOND), Due::In(4 * SECOND));
    }
}
