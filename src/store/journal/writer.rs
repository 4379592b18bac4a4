//! The thread that writes: it takes what has come in, commits it together, and says so to whoever waits.
//! In between it gives back what is no longer kept.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, Result};

use crate::error::Error;
use crate::net::crypto::HashKey;
use crate::store::arrival::{Arrival, Fate, Known, Ticket};
use crate::store::deliveries::Deliveries;
use crate::store::journal::ReportId;
use crate::store::journal::desk::Desk;
use crate::store::journal::file::{PATIENCE, StoreFile};
use crate::store::journal::kept;
use crate::store::query::Memory;
use crate::store::record::seconds;

/// What the thread is told.
pub enum Message<I> {
    Arrival(Arrival),
    /// Work in a transaction of its own, for whoever waits.
    Order(Order<I>),
    /// Write everything and end.
    Stop,
}

/// Work in a transaction of its own, and who hears what came of it.
pub struct Order<I> {
    pub work: Work<I>,
    pub answer: Hear,
}

/// How many rows were changed, and whether there is more to do.
pub type Progress = (u64, bool);

/// Changes rows.
pub type Work<I> = Box<dyn FnOnce(&mut I) -> Result<Progress> + Send>;

/// Hears the same, or why it could not be done.
pub type Hear = Box<dyn FnOnce(crate::error::Result<Progress>) + Send>;

/// What takes reports in. Everything but [`transaction`](Intake::transaction) happens in one.
pub trait Intake: Sized + Send + 'static {
    fn file(&self) -> &Connection;
    /// The key of the hashes of deliveries.
    fn key(&self) -> &HashKey;
    /// Why no report can be taken in, if that is not the file's fault.
    fn refusal(&self) -> Option<String> {
        None
    }
    /// Takes a report in, which is kept until it has run: its number, and what was known before.
    fn take(&mut self, arrival: &Arrival) -> Result<(ReportId, Option<Arc<dyn Memory>>)>;
    /// What belongs to the reports of a transaction.
    fn after_reports(&mut self) -> Result<()>;
    /// Whoever reads the file finds what was written.
    fn committed(&mut self) {}
    /// After a transaction that has failed, what is in memory may be wrong.
    fn begin_again(&mut self) -> Result<()>;
    /// What is to be written at the end.
    fn before_end(&mut self) -> Result<()>;

    /// Runs `work` in a transaction. If that fails, whoever calls this begins again.
    fn transaction<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.file().execute_batch("BEGIN IMMEDIATE")?;
        let done = work(self).and_then(|done| self.file().execute_batch("COMMIT").map(|()| done));
        if done.is_ok() {
            self.committed();
        }
        if done.is_err() && !self.file().is_autocommit() {
            // It fails if SQLite has done it already.
            let _ = self.file().execute_batch("ROLLBACK");
        }
        done
    }
}

/// What is to be done beside taking in reports.
pub trait Chores<I>: Send + 'static {
    /// Reports were committed.
    fn after_commit(&mut self);
    /// A little of everything, in a transaction.
    fn step(&mut self, intake: &mut I) -> Result<()>;
}

/// How often there is a look at what is to be done without a report.
const TICK: Duration = Duration::from_millis(100);

/// Ticks from one look at the size of the files to the next.
const MEASURE: u32 = 600;

/// After a failure, how long reports are refused before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a try after a failure waits for another program that has locked the file.
const HASTE: Duration = Duration::from_millis(50);

/// How often the same failure is logged.
const COMPLAINT: Duration = Duration::from_secs(60);

/// How long what was committed may not be on the disk, where commits do not wait for it. With a tick, it is
/// less than a second.
const SYNC: Duration = Duration::from_millis(800);

/// How much may come together.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a commit takes in further reports while they keep coming.
    pub wait: Duration,
    /// Reports of one commit.
    pub rows: usize,
    /// Whether a commit waits until it is on the disk.
    pub is_durable: bool,
}

/// The thread's own.
pub struct Writer<I, C> {
    file: Arc<StoreFile>,
    intake: I,
    deliveries: Deliveries,
    chores: C,
    desk: Arc<Desk>,
    limits: Limits,
    messages: Receiver<Message<I>>,
    /// Since when something is committed that may not be on the disk.
    unsynced: Option<Instant>,
    /// When it is tried again after a failure.
    next_try: Option<Instant>,
    complained: Option<Instant>,
    /// Whether the last try has failed.
    is_hasty: bool,
    ticks: u32,
}

impl<I: Intake, C: Chores<I>> Writer<I, C> {
    pub fn new(
        file: Arc<StoreFile>,
        intake: I,
        deliveries: Deliveries,
        chores: C,
        desk: Arc<Desk>,
        limits: Limits,
        messages: Receiver<Message<I>>,
    ) -> Writer<I, C> {
        let (unsynced, next_try, complained, is_hasty, ticks) = (None, None, None, false, 0);
        Writer {
            file,
            intake,
            deliveries,
            chores,
            desk,
            limits,
            messages,
            unsynced,
            next_try,
            complained,
            is_hasty,
            ticks,
        }
    }

    /// Works until it is told to stop, or nobody is left to tell it.
    pub fn run(mut self) {
        let mut tick = Instant::now() + TICK;
        let mut next = None;
        loop {
            let message = match next.take() {
                Some(message) => Ok(message),
                None => self.messages.recv_timeout(tick.saturating_duration_since(Instant::now())),
            };
            match message {
                Ok(Message::Arrival(first)) => {
                    let arrivals;
                    (arrivals, next) = self.collect(first);
                    self.commit(arrivals);
                }
                Ok(Message::Order(order)) => self.obey(order),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= tick {
                self.tidy();
                self.sync();
                tick = Instant::now() + TICK;
            }
        }
        self.close();
    }

    /// The reports that have come by now, with the first of them, and what came after them. Those that
    /// come during a commit are for the next one, so that there are more of them the more there is to do.
    fn collect(&self, first: Arrival) -> (Vec<Arrival>, Option<Message<I>>) {
        let (mut arrivals, start) = (vec![first], Instant::now());
        while arrivals.len() < self.limits.rows && start.elapsed() < self.limits.wait {
            match self.messages.try_recv() {
                Ok(Message::Arrival(arrival)) => arrivals.push(arrival),
                Ok(other) => return (arrivals, Some(other)),
                Err(_) => break,
            }
        }
        (arrivals, None)
    }

    /// Commits what has come in.
    fn commit(&mut self, arrivals: Vec<Arrival>) {
        self.desk.taken(arrivals.len());
        if let Err(e) = self.stand_up().and_then(|()| self.intake.refusal().map_or(Ok(()), Err)) {
            for arrival in arrivals {
                arrival.answer.send(Err(Error::Store(e.clone())));
            }
            return;
        }
        let start = Instant::now();
        let now = seconds(SystemTime::now());
        let mut done = self.desk.done();
        let (deliveries, mut fates, mut noted) = (&mut self.deliveries, Vec::new(), Vec::new());
        let result = self.intake.transaction(|intake| {
            for arrival in &arrivals {
                let hash = arrival.delivery.as_deref().map(|delivery| intake.key().hash(delivery));
                if let Some(hash) = hash {
                    if !deliveries.insert(hash, now) {
                        fates.push(None);
                        continue;
                    }
                    noted.push(hash);
                }
                let (id, before) = intake.take(arrival)?;
                if let Some(hash) = hash {
                    kept::note_delivery(intake.file(), id, hash, now)?;
                }
                fates.push(Some((id, before)));
            }
            kept::let_go(intake.file(), &mut done)?;
            intake.after_reports()
        });
        match result {
            Ok(()) => {
                self.wrote();
                self.desk.committed(fates.iter().flatten().count(), start.elapsed());
                self.be_patient();
                for (Arrival { record, login, answer, .. }, fate) in arrivals.into_iter().zip(fates) {
                    let stored =
                        |(id, before)| Fate::Stored(Ticket { login, known: Known { record, before }, id });
                    answer.send(Ok(fate.map_or(Fate::Known, stored)));
                }
                self.chores.after_commit();
            }
            Err(e) => {
                noted.into_iter().for_each(|hash| self.deliveries.take_back(hash));
                self.desk.undone(done);
                self.fail(&e);
                for arrival in arrivals {
                    arrival.answer.send(Err(self.file.failed_as(&e)));
                }
            }
        }
    }

    fn obey(&mut self, order: Order<I>) {
        let result = match self.stand_up() {
            Ok(()) => match self.intake.transaction(order.work) {
                Ok(done) => {
                    self.wrote();
                    Ok(done)
                }
                Err(e) => {
                    self.fail(&e);
                    Err(self.file.failed(e))
                }
            },
            Err(e) => Err(Error::Store(e)),
        };
        (order.answer)(result);
    }

    /// What is to be done without a report.
    fn tidy(&mut self) {
        if self.stand_up().is_err() {
            return;
        }
        let mut done = self.desk.done();
        let chores = &mut self.chores;
        let is_trial = self.desk.trouble().is_some();
        let result = self.intake.transaction(|intake| {
            kept::let_go(intake.file(), &mut done)?;
            if is_trial {
                kept::try_to_write(intake.file())?;
            }
            kept::forget_deliveries(intake.file(), seconds(SystemTime::now()))?;
            chores.step(intake)
        });
        if self.ticks.is_multiple_of(MEASURE) {
            self.desk.measured(self.file.bytes());
        }
        self.ticks = self.ticks.wrapping_add(1);
        match result {
            // Reports may not come before somebody hears that they can.
            Ok(()) if is_trial => {
                self.desk.recovered();
                self.be_patient();
            }
            Ok(()) => {}
            Err(e) => {
                self.desk.undone(done);
                self.fail(&e);
            }
        }
    }

    /// Something was committed that must be on the disk soon. Chores are not: what they do is done again.
    fn wrote(&mut self) {
        if !self.limits.is_durable {
            self.unsynced.get_or_insert_with(Instant::now);
        }
    }

    /// Has the disk keep what was committed, if that has waited long enough: the system itself may take
    /// half a minute.
    fn sync(&mut self) {
        if self.unsynced.is_some_and(|since| since.elapsed() >= SYNC) {
            match self.file.sync_log() {
                Ok(()) => self.unsynced = None,
                Err(e) => {
                    self.complain(e.to_string());
                    self.unsynced = Some(Instant::now());
                }
            }
        }
    }

    /// After a failure, begins again with what the file has, if it is time to.
    fn stand_up(&mut self) -> std::result::Result<(), String> {
        let Some(next_try) = self.next_try else { return Ok(()) };
        if Instant::now() < next_try {
            return Err(self.desk.trouble().unwrap_or_default());
        }
        match self.intake.begin_again() {
            Ok(()) => {
                self.next_try = None;
                Ok(())
            }
            Err(e) => {
                self.fail(&e);
                Err(e.to_string())
            }
        }
    }

    /// The file can't be written. What was counted for it is forgotten before the next try.
    fn fail(&mut self, e: &rusqlite::Error) {
        self.complain(self.file.complaint(e));
        // Whoever has locked the file must not hold up reports again and again.
        let _ = self.intake.file().busy_timeout(HASTE);
        self.is_hasty = true;
        self.next_try = Some(Instant::now() + PAUSE);
    }

    /// Says why the file can't be written, but not again and again.
    fn complain(&mut self, text: String) {
        if self.complained.is_none_or(|when| when.elapsed() >= COMPLAINT) {
            log::error!("the store can't be written: {text}");
            self.complained = Some(Instant::now());
        }
        self.desk.failed(text);
    }

    /// After a success, waits again for whoever locks the file for a moment.
    fn be_patient(&mut self) {
        if std::mem::take(&mut self.is_hasty) {
            let _ = self.intake.file().busy_timeout(PATIENCE);
        }
    }

    /// Writes everything, so that the next start has nothing to count again.
    fn close(mut self) {
        let mut done = self.desk.done();
        let result = self.stand_up().map_err(|_| ()).and_then(|()| {
            let work = |intake: &mut I| {
                kept::let_go(intake.file(), &mut done)?;
                intake.before_end()
            };
            self.intake.transaction(work).map_err(|e| self.fail(&e))
        });
        if result.is_ok() {
            // Not said: what is in the write-ahead log is as safe.
            let _ = self.intake.file().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
    }
}
