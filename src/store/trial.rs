//! What tests of both stores need: a folder of their own, and reports on their way in.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, SystemTime};

use crate::error::Result;
use crate::store::record::{Record, Seconds, seconds};
use crate::store::{Answer, Arrival, Fate, Limits, Retention, Store};

/// A folder that goes when a test ends.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("trackalert-store-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        Folder(folder)
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the configuration says when it says nothing, but for the time that the disk takes.
pub const LIMITS: Limits = Limits { wait: Duration::from_millis(10), rows: 2000, is_durable: false };
pub const RETENTION: Retention = Retention { raw_days: 30, profile_days: 180 };

pub fn now() -> Seconds {
    seconds(SystemTime::now())
}

pub fn push(store: &dyn Store, record: Record, delivery: Option<&str>) -> Receiver<Result<Fate>> {
    let (send, answers) = mpsc::channel();
    store.push(Arrival {
        record: Arc::new(record),
        login: Arc::default(),
        body: b"{}".to_vec(),
        delivery: delivery.map(|delivery| delivery.as_bytes().into()),
        answer: Answer::new(move |fate| drop(send.send(fate))),
    });
    answers
}

/// Pushes reports and waits until the last one is in.
pub fn fill(store: &dyn Store, records: &[Record]) {
    let answers: Vec<_> = records.iter().map(|record| push(store, record.clone(), None)).collect();
    for answer in answers {
        assert!(matches!(answer.recv().unwrap().unwrap(), Fate::Stored(_)));
    }
}
