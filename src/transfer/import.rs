//! Reports of the past into a store. Several thousand are stored together, with how far their file was read,
//! so that whatever ends an import, the next one goes on from there.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::device::Devices;
use crate::error::{Error, Result};
use crate::store::query::DAY;
use crate::store::record::Record;
use crate::store::{Egress, Enrich, History, Store};
use crate::transfer::input::{Found, Input, Place};
use crate::transfer::progress::Progress;
use crate::transfer::reading::{Line, Reading};

/// Reports that are stored together.
const ROWS: usize = 5000;

/// How long it waits until a store that is elsewhere has what was read, to learn from it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What makes records of lines, and where they go.
pub struct Import<'a> {
    pub store: &'a dyn Store,
    pub enrich: &'a Enrich,
    /// Learns on the way what the daemon would have learned.
    pub egress: &'a Egress,
    pub devices: &'a Devices,
    /// Whether it is to end early.
    pub stop: Arc<AtomicBool>,
}

/// What became of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub lines: u64,
    pub stored: u64,
    /// No reports.
    pub skipped: u64,
    /// Can't be read, or have no usable time.
    pub bad: u64,
}

/// One import under way.
struct Run<'i> {
    input: &'i mut Input,
    progress: Progress<'i>,
    tally: Tally,
    /// The file's number.
    file: u32,
    records: Vec<Record>,
    /// Up to where every line is in the tally.
    done: Place,
    /// The latest day of the reports so far.
    day: Option<u32>,
    /// Whether nothing has gone wrong with that.
    can_learn: bool,
    /// The reports that are being stored, and how many they are.
    waits: Option<(Receiver<Result<()>>, u64)>,
}

impl Import<'_> {
    /// Reads lines from where an earlier import of the same file ended, and stores what is in them. Says to
    /// `out` what is wrong with them and what became of them.
    pub fn run<'i>(&self, input: &'i mut Input, out: &'i mut dyn Write) -> Result<Tally> {
        let marks = self.store.marks()?;
        let known = input.go_on(&marks)?;
        let next = marks.iter().map(|mark| mark.file).max().unwrap_or_default() + 1;
        let (done, file) = (input.place(), known.unwrap_or(next));
        let mut progress = Progress::of_bytes(input.size(), done.bytes, out);
        if known.is_some() {
            progress.say(&format!("{}: going on after line {}", input.name().display(), done.lines));
        }
        let (tally, records) = (Tally::default(), Vec::with_capacity(ROWS));
        let (day, can_learn) = (None, true);
        let mut run = Run { input, progress, tally, file, records, done, day, can_learn, waits: None };
        let result = self.read(&mut run);
        // What is on its way when something else fails may be stored all the same.
        let last = run.wait();
        let text = run.tally.to_string();
        run.progress.finish(&text);
        result.and(last).map(|()| run.tally)
    }

    fn read(&self, run: &mut Run) -> Result<()> {
        let (mut line, reading) =
            (Vec::new(), Reading { enrich: self.enrich, devices: self.devices, origin: None });
        while !self.stop.load(Ordering::Relaxed) {
            let found = run.input.next(&mut line)?;
            match found {
                Found::End => return self.finish(run),
                Found::TooLong => run.complain("too long"),
                Found::Line | Found::Unfinished => match self.line_in_time(run, &reading, &line)? {
                    Line::Report(report) => run.records.push(report.record),
                    Line::Other => run.tally.skipped += 1,
                    Line::Bad(why) if found == Found::Unfinished => {
                        run.complain(&format!("not finished: {why}"));
                        run.tally.lines += 1;
                        // When there is more of it, it is read again.
                        return self.finish(run);
                    }
                    Line::Bad(why) => run.complain(&why),
                },
            }
            run.tally.lines += 1;
            run.done = run.input.place();
            if run.records.len() >= ROWS {
                self.store(run)?;
            }
        }
        self.finish(run)?;
        Err(interrupted(run))
    }

    /// What a line is by what was known when it was written.
    fn line_in_time(&self, run: &mut Run, reading: &Reading, line: &[u8]) -> Result<Line> {
        let read = reading.line(line);
        let day =
            if let Line::Report(report) = &read { report.record.seconds() / DAY } else { return Ok(read) };
        if !run.begins(day) {
            return Ok(read);
        }
        self.learn(run, day)?;
        Ok(reading.line(line))
    }

    /// Before a day, learns from the week before it.
    fn learn(&self, run: &mut Run, day: u32) -> Result<()> {
        self.store(run)?;
        run.wait()?;
        let learned = if self.store.settle(PATIENCE) {
            self.egress.learn(self.store, day * DAY - 1)
        } else {
            Err(Error::Store("the server does not have what was read so far".into()))
        };
        if let Err(e) = learned {
            run.can_learn = false;
            let text = format!("which networks many logins share is not learned from here on: {e}");
            run.progress.say(&text);
        }
        Ok(())
    }

    /// Has what was read stored, once what was read before it is. Meanwhile more is read.
    fn store(&self, run: &mut Run) -> Result<()> {
        run.wait()?;
        let (send, answers) = mpsc::channel();
        let answer = Box::new(move |result| drop(send.send(result)));
        let mark = run.input.mark(run.file, run.done)?;
        let records = std::mem::replace(&mut run.records, Vec::with_capacity(ROWS));
        run.waits = Some((answers, records.len() as u64));
        self.store.load(History { records, mark, answer });
        run.progress.at(run.done.bytes, run.tally.stored);
        Ok(())
    }

    fn finish(&self, run: &mut Run) -> Result<()> {
        if run.done.bytes > 0 {
            self.store(run)?;
        }
        run.wait()
    }
}

impl Run<'_> {
    fn wait(&mut self) -> Result<()> {
        let Some((answers, reports)) = self.waits.take() else { return Ok(()) };
        answers.recv().unwrap_or_else(|_| Err(Error::Store("it was given up".into())))?;
        self.tally.stored += reports;
        Ok(())
    }

    /// Whether a day begins with a report of it.
    fn begins(&mut self, day: u32) -> bool {
        let is_next = self.day.is_some_and(|before| day > before);
        self.day = self.day.max(Some(day));
        is_next && self.can_learn
    }

    fn complain(&mut self, why: &str) {
        self.tally.bad += 1;
        self.progress.complain(self.input, self.tally.bad, why);
    }
}

fn interrupted(run: &Run) -> Error {
    let (name, lines) = (run.input.name().display(), run.done.lines);
    let next = match run.input.size() {
        Some(_) => "the same command goes on from there",
        None => "nothing remembers that",
    };
    Error::Refused(format!("{name}: interrupted after line {lines}: {next}"))
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { lines, stored, skipped, bad } = self;
        write!(f, "{lines} lines read, {stored} reports stored, {skipped} lines skipped, {bad} bad")
    }
}
