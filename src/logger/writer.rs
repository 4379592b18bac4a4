//! The thread that writes log lines. Whoever logs leaves a line and goes on, so that a log which
//! nobody takes costs lines, not reports. How many were lost is a line itself.

use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};
use crate::logger::sink::{Entry, Sink};

/// Bytes of lines that may wait.
const MOST: usize = 1 << 20;

/// How long a thread waits for room, once: as long as the log does not move on, others do not wait.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long the thread waits for further lines after the first.
const LINGER: Duration = Duration::from_millis(1);

/// Where lines are left for the thread.
pub struct Writer {
    state: Mutex<State>,
    /// There are lines.
    work: Condvar,
    /// There is room again, or nothing is left.
    room: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<Entry>,
    bytes: usize,
    /// Lines for which there was no room.
    lost: u64,
    is_writing: bool,
    is_stalled: bool,
}

impl Writer {
    /// Starts the thread.
    pub fn start(sink: Sink) -> Result<Arc<Writer>> {
        let writer = Arc::new(Writer { state: Mutex::default(), work: Condvar::new(), room: Condvar::new() });
        let own = writer.clone();
        let thread = thread::Builder::new().name("log".into());
        thread.spawn(move || own.run(sink)).map_err(Error::io("thread"))?;
        Ok(writer)
    }

    /// Leaves a line. It is lost if there is no room for it and no hope for any.
    pub fn push(&self, entry: Entry) {
        let mut state = self.state.lock();
        if state.bytes >= MOST && !state.is_stalled {
            let deadline = Instant::now() + PATIENCE;
            while state.bytes >= MOST && !state.is_stalled {
                state.is_stalled = self.room.wait_until(&mut state, deadline).timed_out();
            }
        }
        if state.bytes >= MOST {
            state.lost += 1;
            return;
        }
        let is_first = state.lines.is_empty();
        state.bytes += entry.text.len();
        state.lines.push(entry);
        if is_first && !state.is_writing {
            self.work.notify_one();
        }
    }

    /// Waits until every line is written, but no longer than `patience`.
    pub fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.state.lock();
        while (state.is_writing || !state.lines.is_empty())
            && !self.room.wait_until(&mut state, deadline).timed_out()
        {}
    }

    fn run(&self, mut sink: Sink) {
        let mut lines = Vec::new();
        let mut state = self.state.lock();
        loop {
            if state.lines.is_empty() {
                state.is_writing = false;
                self.room.notify_all();
                while state.lines.is_empty() {
                    self.work.wait(&mut state);
                }
                // A thread that is woken for every line costs more than the line.
                state.is_writing = true;
                drop(state);
                thread::sleep(LINGER);
                state = self.state.lock();
            }
            mem::swap(&mut state.lines, &mut lines);
            let lost = mem::take(&mut state.lost);
            (state.bytes, state.is_writing, state.is_stalled) = (0, true, false);
            self.room.notify_all();
            drop(state);
            sink.write(&lines);
            sink.write(Entry::of_lost(lost).as_slice());
            lines.clear();
            state = self.state.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use syslog::Severity;

    /// Writes nothing while the gate is closed.
    struct Held {
        gate: Arc<Mutex<()>>,
        output: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.gate.lock();
            self.output.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_nobody_takes_costs_lines_and_little_time() {
        let (gate, output) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(Vec::new())));
        let held = Held { gate: gate.clone(), output: output.clone() };
        let writer = Writer::start(Sink::to(Box::new(held))).unwrap();
        let closed = gate.lock();
        let text = "x".repeat(10_000);
        let lines = 4 * MOST / text.len();
        let start = Instant::now();
        (0..lines).for_each(|_| writer.push(Entry::new(Severity::LOG_INFO, text.clone())));
        // One wait, not one for each line.
        assert!(start.elapsed() < PATIENCE * 50);
        drop(closed);
        writer.push(Entry::new(Severity::LOG_INFO, "after".into()));
        writer.flush(Duration::from_secs(60));
        let output = String::from_utf8(output.lock().clone()).unwrap();
        let written = output.lines().filter(|line| **line == text).count();
        let lost: usize = output
            .lines()
            .filter_map(|line| line.strip_suffix(" lines were lost: the log did not take them"))
            .map(|count| count.parse::<usize>().unwrap())
            .sum();
        let after = output.lines().filter(|line| *line == "after").count();
        assert_eq!(written + after + lost, lines + 1);
        assert!(lost > 0 && written > 0, "{lost} {written}");
    }
}
