//! How far a transfer is: a bar if standard error is a terminal, and in any case what is to be said of it.

use std::io::Write;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::transfer::input::Input;

/// Lines that can't be read and are complained of one by one.
const COMPLAINTS: u64 = 10;

/// A bar that moves by bytes or by reports.
pub struct Progress<'o> {
    bar: ProgressBar,
    start: Instant,
    /// Where it is said, which is where the bar is.
    out: &'o mut dyn Write,
}

impl<'o> Progress<'o> {
    /// Counts bytes, `size` of them if that is known, of which `done` are done already.
    pub fn of_bytes(size: Option<u64>, done: u64, out: &'o mut dyn Write) -> Progress<'o> {
        let style = match size {
            Some(_) => "{wide_bar} {binary_bytes} of {binary_total_bytes}, {msg}, {eta} left",
            None => "{spinner} {binary_bytes}, {msg}",
        };
        Progress::new(size, style, done, out)
    }

    /// Counts so many reports.
    pub fn of_reports(number: u64, out: &'o mut dyn Write) -> Progress<'o> {
        Progress::new(
            Some(number),
            "{wide_bar} {human_pos} of {human_len} reports, {msg}, {eta} left",
            0,
            out,
        )
    }

    fn new(length: Option<u64>, style: &str, done: u64, out: &'o mut dyn Write) -> Progress<'o> {
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        // A template that is wrong would show as the usual bar.
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_position(done);
        bar.reset_eta();
        Progress { bar, start: Instant::now(), out }
    }

    /// It is at `position`, and `reports` have been read or written.
    pub fn at(&self, position: u64, reports: u64) {
        if !self.bar.is_hidden() {
            let rate = reports as f64 / self.start.elapsed().as_secs_f64().max(0.001);
            self.bar.set_message(format!("{rate:.0} reports/s"));
            self.bar.set_position(position);
        }
    }

    /// Says something, above the bar if there is one.
    pub fn say(&mut self, text: &str) {
        // There is nowhere else to say it.
        self.bar.suspend(|| drop(writeln!(self.out, "{text}")));
    }

    /// Says why the line of `input` that was read last is bad, and is the `number`th: of many, the first.
    pub fn complain(&mut self, input: &Input, number: u64, why: &str) {
        if number <= COMPLAINTS {
            self.say(&format!("{}: line {}: {why}", input.name().display(), input.place().lines));
        }
        if number == COMPLAINTS {
            self.say("further bad lines are only counted");
        }
    }

    /// Takes the bar away, and says what became of it.
    pub fn finish(&mut self, text: &str) {
        self.bar.finish_and_clear();
        self.say(text);
    }
}
