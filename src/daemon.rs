//! The order of starting and stopping, and the main thread's loop: it owns the Lua state that ran
//! the configuration, hears the signals, and looks after the pools.

mod client;
mod event;
mod generation;
mod learning;
mod reload;
mod replay;
mod start;
mod store;
mod transfer;
mod version;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::cli::{Mode, Options};
use crate::console::{self, Execute, Server};
use crate::error::{Error, Result};
use crate::http::Front;
use crate::logger::{self, notice};
use crate::schedule::Timer;
use crate::shared::Shared;
use crate::stats::{SLOT, SPAN, Stats};
use crate::unix::{self, PidFile, Request, Terminal};
use crate::worker::{Job, Pools};

pub use client::connect;
use event::Event;
use generation::Generation;
use learning::Learning;
pub use replay::replay;
pub use transfer::{export, import};
pub use version::version;

/// Everything that runs.
struct Daemon {
    /// What the command line says.
    options: Options,
    /// The configuration's file.
    home: PathBuf,
    current: Generation,
    /// Pools of earlier configurations, which finish what they were given.
    retired: Vec<Arc<Pools>>,
    /// Whether more memory may have been needed than now.
    has_spare_memory: bool,
    /// Whether a reload was asked for that has not begun.
    reloads: Arc<AtomicBool>,
    front: Front,
    timer: Timer,
    console: Option<Server>,
    learning: Option<Learning>,
    /// Has the main thread run a command.
    execute: Execute,
    events: Receiver<Event>,
    sender: Sender<Event>,
    _pid_file: Option<PidFile>,
}

/// Runs the configuration in the two roles that it has, and starts nothing.
pub fn check(options: &Options) -> Result<()> {
    init_log(options, true)?;
    start::check(options).map(drop)
}

/// Runs the daemon until it is told to stop.
pub fn run(options: &Options) -> Result<()> {
    if options.mode == Mode::Daemon {
        let Some(starting) = unix::daemonize()? else { return Ok(()) };
        return match start(options) {
            Ok(daemon) => {
                starting.up();
                daemon.run()
            }
            Err(e) => {
                starting.failed(&e);
                Err(e)
            }
        };
    }
    if options.mode == Mode::Prompt && !io::stdin().is_terminal() {
        init_log(options, false)?;
        let (state, shared) = start::load_for_commands(options)?;
        let result = console::filter(console::local(&state, &shared));
        return asked_exit(&shared).and(result);
    }
    let daemon = start(options)?;
    // The daemon may end while a line is edited.
    let _terminal = (options.mode == Mode::Prompt).then(Terminal::keep);
    if options.mode == Mode::Prompt {
        daemon.start_prompt()?;
    }
    daemon.run()
}

fn init_log(options: &Options, stdout: bool) -> Result<()> {
    logger::set_verbose(options.verbose);
    logger::init(logger::Settings {
        facility: options.facility.clone(),
        stdout,
        level: options.level,
        stamped: options.mode == Mode::Docker,
    })
}

fn start(options: &Options) -> Result<Daemon> {
    init_log(options, options.mode != Mode::Daemon)?;
    std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
    let daemon = options.pid_file.as_deref().map(PidFile::create).transpose();
    daemon.and_then(|pid_file| Daemon::start(options, pid_file)).inspect_err(|e| log::error!("{e}"))
}

/// How often the pools are looked after.
const TICK: Duration = Duration::from_secs(1);

/// Reports that wait when it is worth it to give their memory back, once they have run.
const BACKLOG: usize = 1000;

/// How long consoles may take to read their last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How often the end of the work is looked for while stopping.
const DRAIN_TICK: Duration = Duration::from_millis(10);

/// Longer than any line of the log is kept back.
const LAST_COMPLAINTS: Duration = Duration::from_secs(60);

/// How long alerts may take to be delivered after that.
const ALERT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long webhooks may take to be delivered after the last report has run.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

impl Daemon {
    /// Serves until there is a reason to stop, then finishes what was accepted. An `os.exit` of the
    /// policy is an error that has its status.
    fn run(mut self) -> Result<()> {
        unix::notify_ready();
        notice!("ready");
        self.work();
        let shared = self.current.shared.clone();
        self.stop();
        asked_exit(&shared)
    }

    /// The main loop.
    fn work(&mut self) {
        let stats = self.current.shared.stats.clone();
        let (mut tick, mut slot, mut span) = (Every::new(TICK), Every::new(SLOT), Every::new(SPAN));
        let mut watchdog = unix::watchdog_interval().map(|interval| Every::new(interval / 2));
        let mut finished = self.current.pools.report.finished();
        let mut reports = stats.reports();
        loop {
            match self.events.recv_timeout(tick.left(Instant::now())) {
                Ok(Event::Request(Request::Stop)) => return,
                Ok(Event::Request(Request::LogStats)) => log_stats(&stats),
                Ok(Event::Request(Request::Reload)) => self.reload(),
                Ok(Event::Command(line, answer)) => self.command(&line, &answer),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if self.current.state.stops() || self.current.shared.exit_asked().is_some() {
                return;
            }
            let now = Instant::now();
            if tick.is_due(now) {
                self.look_after_pools(now);
                self.front.tidy();
                self.current.shared.watch(now);
            }
            if slot.is_due(now) {
                stats.rotate();
                let count = stats.reports();
                unix::notify_status(&format!(
                    "{:.1} reports/s",
                    (count - reports) as f64 / SLOT.as_secs_f64()
                ));
                reports = count;
            }
            if span.is_due(now) {
                log_stats(&stats);
                self.has_spare_memory = true;
            }
            if let Some(watchdog) = &mut watchdog
                && watchdog.is_due(now)
            {
                // A pool that is busy shows it by its work, one that is not by the probe.
                let pool = &self.current.pools.report;
                let count = pool.finished();
                if count != finished {
                    unix::notify_watchdog();
                }
                finished = count;
                let _ = pool.push(|| Job::Probe);
            }
        }
    }

    fn command(&self, line: &str, answer: &Sender<String>) {
        let Generation { state, shared, .. } = &self.current;
        let text = console::execute(state, shared, line).unwrap_or_else(|e| format!("Error: {e}\n"));
        // Whoever asked may have gone.
        let _ = answer.send(text);
    }

    fn all_pools(&self) -> impl Iterator<Item = &Arc<Pools>> {
        self.retired.iter().chain([&self.current.pools])
    }

    /// Looks for calls that take too long, and lets go of pools that nobody uses any more.
    fn look_after_pools(&mut self, now: Instant) {
        for pools in &self.retired {
            if pools.report.check().is_err() {
                pools.report.hand_over(&self.current.pools.report);
            }
        }
        let retired = self.retired.len();
        self.retired.retain(|pools| Arc::strong_count(pools) > 1 || pools.unfinished() > 0);
        self.all_pools().for_each(|pools| pools.watch(now));
        let queued = self.current.pools.load().reports;
        let is_quiet = queued < BACKLOG / 2;
        if self.has_spare_memory && is_quiet {
            unix::trim_memory();
        }
        // The threads of a pool that was let go of just now free their Lua states before the next look.
        let has_more = self.retired.len() < retired || queued >= BACKLOG;
        self.has_spare_memory = has_more || self.has_spare_memory && !is_quiet;
    }

    fn unfinished(&self) -> usize {
        self.all_pools().map(|pools| pools.unfinished()).sum()
    }

    /// Closes the listeners and finishes what was accepted, within the time that the configuration
    /// gives, then the webhooks that came of it. A second request to stop ends it at once.
    fn stop(mut self) {
        unix::notify_stopping();
        notice!("stopping, {} jobs to finish", self.unfinished());
        let deadline = Instant::now() + self.current.config.shutdown_timeout;
        self.timer.stop();
        self.learning.take();
        self.front.stop();
        // Whoever has typed `shutdown()` hears that it was done.
        self.console.take().into_iter().for_each(|console| console.stop(Instant::now() + LAST_ANSWERS));
        // No more jobs come once the front has ended.
        let (webhooks, alerts) = (self.current.shared.webhooks.clone(), self.current.shared.alerts.clone());
        if self.wait_until(deadline, |daemon| daemon.front.has_ended() && daemon.unfinished() == 0)
            && self.wait_until(Instant::now() + DELIVERY_TIMEOUT, |_| webhooks.unfinished() == 0)
        {
            alerts.finish();
            self.wait_until(Instant::now() + ALERT_TIMEOUT, |_| alerts.has_finished());
        }
        alerts.close();
        // There is no later for what is kept back now.
        self.current.shared.watch(Instant::now() + LAST_COMPLAINTS);
        // What has not run by now does so at the next start.
        self.current.shared.store().into_iter().for_each(|store| store.close());
        let left = webhooks.unfinished();
        if left > 0 {
            log::error!("{left} webhooks were not delivered");
        }
        match self.unfinished() {
            0 => notice!("stopped"),
            left => log::error!("stopped, {left} jobs were not finished"),
        }
    }

    /// Waits until something is done or time is up; false when there is a second request to stop.
    fn wait_until(&mut self, deadline: Instant, is_done: impl Fn(&Daemon) -> bool) -> bool {
        while !is_done(self) && Instant::now() < deadline {
            if let Ok(Event::Request(Request::Stop)) = self.events.recv_timeout(DRAIN_TICK) {
                return false;
            }
            self.look_after_pools(Instant::now());
        }
        true
    }

    /// Lets a thread read commands from the terminal and send them to the main thread.
    fn start_prompt(&self) -> Result<()> {
        let (execute, events) = (self.execute.clone(), self.sender.clone());
        let run = move || {
            if let Err(e) = console::prompt(Path::new(".history"), |line| Ok(execute(line))) {
                log::error!("{e}");
            }
            let _ = events.send(Event::Request(Request::Stop));
        };
        unix::spawn("prompt", run).map(drop)
    }
}

/// The error that an `os.exit` is.
fn asked_exit(shared: &Shared) -> Result<()> {
    shared.exit_asked().map_or(Ok(()), |(status, text)| Err(Error::Exit(*status, text.clone())))
}

fn log_stats(stats: &Stats) {
    for line in stats.log_lines() {
        notice!("{line}");
    }
}

/// Something that is due again and again.
struct Every {
    interval: Duration,
    next: Instant,
}

impl Every {
    fn new(interval: Duration) -> Every {
        Every { interval, next: Instant::now() + interval }
    }

    fn left(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    /// Whether it is due. What was missed, because the machine slept, is not made up for.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.next;
        if is_due {
            self.next += self.interval;
            if self.next < now {
                self.next = now + self.interval;
            }
        }
        is_due
    }
}
