//! The thread that writes, for those who have something for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::store::Aside;
use crate::store::arrival::Arrival;
use crate::store::deliveries::Deliveries;
use crate::store::journal::desk::Desk;
use crate::store::journal::file::StoreFile;
use crate::store::journal::writer::{Chores, Intake, Limits, Message, Order, Progress, Writer};
use crate::unix;

/// The thread, until it is closed.
pub struct Journal<I> {
    desk: Arc<Desk>,
    messages: Sender<Message<I>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<I: Intake> Journal<I> {
    /// Starts the thread. `known` are the deliveries of the last hour.
    pub fn start(
        file: Arc<StoreFile>,
        intake: I,
        known: Deliveries,
        chores: impl Chores<I>,
        desk: Arc<Desk>,
        limits: Limits,
    ) -> Result<Journal<I>> {
        let (messages, receiver) = mpsc::channel();
        let writer = Writer::new(file, intake, known, chores, desk.clone(), limits, receiver);
        let watch = desk.clone();
        let run = move || {
            if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
                watch.failed("its thread has panicked".into());
            }
        };
        let thread = unix::spawn("store", run)?;
        Ok(Journal { desk, messages, thread: Mutex::new(Some(thread)) })
    }

    /// Has a report written, and its `answer` called.
    pub fn push(&self, arrival: Arrival) {
        self.desk.sent();
        let message = Message::Arrival(arrival);
        if let Err(mpsc::SendError(Message::Arrival(arrival))) = self.messages.send(message) {
            arrival.answer.send(Err(closed()));
        }
    }

    /// Has rows changed, and `answer` called.
    pub fn hand(
        &self,
        work: impl FnOnce(&mut I) -> rusqlite::Result<Progress> + Send + 'static,
        answer: impl FnOnce(Result<Progress>) + Send + 'static,
    ) {
        let order = Order { work: Box::new(work), answer: Box::new(answer) };
        if let Err(mpsc::SendError(Message::Order(order))) = self.messages.send(Message::Order(order)) {
            (order.answer)(Err(closed()));
        }
    }

    /// Has rows changed, and waits for it. As often as there is more to do.
    pub fn order(
        &self,
        work: impl Fn(&mut I) -> rusqlite::Result<Progress> + Clone + Send + 'static,
    ) -> Result<u64> {
        let mut changed = 0;
        loop {
            let (send, answers) = mpsc::channel();
            self.hand(work.clone(), move |result| drop(send.send(result)));
            // If nobody hears it, nobody answers either.
            let (rows, has_more) = answers.recv().map_err(|_| closed())??;
            changed += rows;
            if !has_more {
                return Ok(changed);
            }
        }
    }

    /// Has tables beside the reports changed, and waits for it.
    pub fn aside(&self, work: Aside) -> Result<()> {
        let (send, answers) = mpsc::channel();
        self.hand(|intake| work(intake.file()).map(|()| (0, false)), move |result| drop(send.send(result)));
        answers.recv().map_err(|_| closed())?.map(drop)
    }

    /// Writes what has come in, and ends.
    pub fn close(&self) {
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.lock().take() {
            // It has said why, if it could not end well.
            let _ = thread.join();
        }
    }
}

fn closed() -> Error {
    Error::Store("it is closed".into())
}
