//! The pools whose threads own a Lua state each, and the jobs that they run. Who asks for a job and
//! who writes its answer is up to `http`; a job never waits for a thread but in the pool's queue.

mod job;
mod pool;
mod queue;
mod seat;
mod team;

use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::error::Result;

pub use job::{Job, Outcome, Reply};
pub use pool::Pool;
pub use queue::Urgency;
pub use team::Crew;

/// The pools of one configuration.
pub struct Pools {
    pub report: Pool,
    pub endpoint: Pool,
    /// None when nothing is scheduled.
    pub scheduler: Option<Pool>,
    /// Those of configurations before, which may have work left.
    pub earlier: Vec<Weak<Pools>>,
}

/// How much there is to do, in all pools.
pub struct Load {
    pub reports: usize,
    pub calls: usize,
    /// Threads whose call can't be interrupted.
    pub stuck: usize,
}

impl Pools {
    fn all(&self) -> impl Iterator<Item = &Pool> {
        [&self.report, &self.endpoint].into_iter().chain(&self.scheduler)
    }

    /// Looks after calls that take too long.
    pub fn watch(&self, now: Instant) {
        self.all().for_each(|pool| pool.watch(now));
    }

    /// Jobs that wait or run.
    pub fn unfinished(&self) -> usize {
        self.all().map(Pool::unfinished).sum()
    }

    /// How much there is to do, here and in the pools of configurations before.
    pub fn load(&self) -> Load {
        let earlier: Vec<Arc<Pools>> = self.earlier.iter().filter_map(Weak::upgrade).collect();
        let all = || earlier.iter().map(Arc::as_ref).chain([self]);
        Load {
            reports: all().map(|pools| pools.report.queued()).sum(),
            calls: all().map(|pools| pools.endpoint.queued()).sum(),
            stuck: all().flat_map(Pools::all).map(Pool::stuck).sum(),
        }
    }

    /// Why the pools can't work, if they can't.
    pub fn check(&self) -> Result<()> {
        self.all().try_for_each(Pool::check)
    }
}
