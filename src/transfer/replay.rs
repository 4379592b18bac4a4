//! The policies, run over reports of the past at the time of these: what would have been raised. Nothing is
//! sent, and nothing but a store of its own is written.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use chrono::{Local, TimeZone};

use crate::config::{Scheduled, When};
use crate::device::Devices;
use crate::error::{Error, Result};
use crate::lua::State;
use crate::shared::Shared;
use crate::store::query::DAY;
use crate::store::{Answer, Arrival, Enrich, Fate, Store};
use crate::transfer::input::{Found, Input};
use crate::transfer::progress::Progress;
use crate::transfer::reading::{Line, Reading, Report};

/// Lines after which the bar moves.
const LOOK: u64 = 500;

/// What the policies are run with.
pub struct Stage {
    pub state: State,
    pub shared: Arc<Shared>,
    pub store: Arc<dyn Store>,
    pub scheduled: Vec<Scheduled>,
}

/// Runs the policies of a stage in the time of the reports.
pub struct Player {
    stage: Stage,
    plan: Vec<Turn>,
    /// The day of the latest report, since the epoch.
    day: Option<u32>,
}

/// When a policy is due.
struct Turn {
    scheduled: Scheduled,
    /// In seconds since the epoch; nothing before the first report.
    next: Option<f64>,
}

impl Player {
    pub fn new(mut stage: Stage) -> Player {
        let scheduled = std::mem::take(&mut stage.scheduled).into_iter();
        let plan = scheduled.map(|scheduled| Turn { scheduled, next: None }).collect();
        Player { stage, plan, day: None }
    }

    /// Stores a report and shows it to the policies, after those that were due before it.
    pub fn play(&mut self, report: Report) -> Result<()> {
        let t = report.record.t;
        self.begin(report.record.seconds() / DAY)?;
        self.advance(t)?;
        let (send, answers) = mpsc::channel();
        let Stage { state, store, shared, .. } = &self.stage;
        shared.clock.set(t);
        store.push(Arrival {
            record: Arc::new(report.record),
            login: Arc::new(report.login),
            body: Vec::new(),
            delivery: None,
            answer: Answer::new(move |fate| drop(send.send(fate))),
        });
        let fate = answers.recv().unwrap_or_else(|_| Err(Error::Store("it was given up".into())))?;
        if let Fate::Stored(ticket) = fate {
            let result = state.replay(&ticket.login, &ticket.known);
            store.has_run(ticket.id);
            result?;
        }
        Ok(())
    }

    /// Before a day, learns from the week before it which networks many logins share, as the daemon does.
    fn begin(&mut self, day: u32) -> Result<()> {
        if self.day.is_some_and(|before| before >= day) {
            return Ok(());
        }
        if self.day.replace(day).is_some() {
            let Stage { shared, store, .. } = &self.stage;
            shared.egress.learn(&**store, day * DAY - 1)?;
        }
        Ok(())
    }

    /// Runs the policies that are due until a time, each at its own.
    pub fn advance(&mut self, until: f64) -> Result<()> {
        let Player { stage, plan, .. } = self;
        for turn in plan.iter_mut().filter(|turn| turn.next.is_none()) {
            turn.next = turn.scheduled.when.after(until);
        }
        loop {
            let due = plan.iter_mut().filter(|turn| turn.next.is_some_and(|next| next <= until));
            let Some(turn) =
                due.min_by(|a, b| a.next.unwrap_or_default().total_cmp(&b.next.unwrap_or_default()))
            else {
                return Ok(());
            };
            let now = turn.next.unwrap_or_default();
            turn.next = turn.scheduled.when.after(now);
            stage.shared.clock.set(now);
            stage.state.run_policy_now(&turn.scheduled.name)?;
        }
    }
}

impl When {
    /// When it is due for the first time after a time, both in seconds since the epoch.
    fn after(&self, t: f64) -> Option<f64> {
        match self {
            When::Every(pause) => Some(t + pause.as_secs_f64()),
            When::Cron(cron) => {
                let clock = Local.timestamp_opt(t as i64, 0).single()?;
                cron.next(&clock).map(|next| next.timestamp() as f64)
            }
        }
    }
}

/// Reads reports from a file and plays them.
pub struct Replay<'a> {
    pub player: Player,
    pub enrich: &'a Enrich,
    pub devices: &'a Devices,
    /// Whether it is to end early.
    pub stop: Arc<AtomicBool>,
}

impl Replay<'_> {
    /// Plays every report of a file, and calls `after` after each; how many lines were bad. `now` is what
    /// negative times count from.
    pub fn run(
        &mut self,
        input: &mut Input,
        now: f64,
        out: &mut dyn Write,
        after: &mut dyn FnMut() -> Result<()>,
    ) -> Result<u64> {
        let mut progress = Progress::of_bytes(input.size(), 0, out);
        let reading = Reading { enrich: self.enrich, devices: self.devices, origin: Some(now) };
        let (mut line, mut reports, mut bad) = (Vec::new(), 0, 0);
        let result = loop {
            if self.stop.load(Ordering::Relaxed) {
                break Err(Error::Refused(format!("{}: interrupted", input.name().display())));
            }
            let found = match input.next(&mut line) {
                Ok(Found::End) => break Ok(()),
                Ok(Found::TooLong) => Line::Bad("too long".into()),
                Ok(Found::Line | Found::Unfinished) => reading.line(&line),
                Err(e) => break Err(e),
            };
            match found {
                Line::Report(report) => {
                    if let Err(e) = self.player.play(*report).and_then(|()| after()) {
                        break Err(e);
                    }
                    reports += 1;
                }
                Line::Other => {}
                Line::Bad(why) => {
                    bad += 1;
                    progress.complain(input, bad, &why);
                }
            }
            if input.place().lines.is_multiple_of(LOOK) {
                progress.at(input.place().bytes, reports);
            }
        };
        progress.finish(&format!("{reports} reports replayed, {bad} bad lines"));
        result.map(|()| bad)
    }
}
