//! A copy of the file, written by a thread of its own while reports come in.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::{Connection, InterruptHandle};

use crate::error::{Error, Result};
use crate::logger::notice;
use crate::unix;

/// How often one that is to end is told so: it does not hear that between two statements.
const LOOK: Duration = Duration::from_millis(10);

/// Writes a copy, one at a time.
#[derive(Default)]
pub struct Backup(Mutex<Option<Running>>);

struct Running {
    thread: JoinHandle<()>,
    interrupt: InterruptHandle,
}

impl Backup {
    /// Begins to write what a connection reads to a file that is not there yet. The log says what came of
    /// it.
    pub fn begin(&self, source: Connection, path: &Path) -> Result<()> {
        let mut running = self.0.lock();
        if running.as_ref().is_some_and(|running| !running.thread.is_finished()) {
            return Err(Error::Refused("another backup is being written".into()));
        }
        let path = std::path::absolute(path).map_err(Error::io(path))?;
        let bad = || Error::Bad { what: "a path", value: format!("{path:?}") };
        let text = path.to_str().ok_or_else(bad)?.to_owned();
        // SQLite writes to an empty file as well, but would make one that everybody can read.
        let new = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
        new.map_err(Error::io(&path))?;
        let interrupt = source.get_interrupt_handle();
        let unfinished = path.clone();
        let thread = unix::spawn("backup", move || {
            let start = Instant::now();
            match write(&source, &path, &text) {
                Ok(bytes) => {
                    let seconds = start.elapsed().as_secs_f64();
                    notice!("backup of the report store: {text}: {bytes} bytes in {seconds:.1} s");
                }
                Err(e) => {
                    remove(&path);
                    log::error!("backup of the report store: {e}");
                }
            }
        });
        let thread = thread.inspect_err(|_| remove(&unfinished))?;
        *running = Some(Running { thread, interrupt });
        Ok(())
    }

    /// Gives up the one that is being written.
    pub fn end(&self) {
        let Some(Running { thread, interrupt }) = self.0.lock().take() else { return };
        while !thread.is_finished() {
            interrupt.interrupt();
            thread::sleep(LOOK);
        }
        if thread.join().is_err() {
            log::error!("the thread that writes a backup has panicked");
        }
    }

    /// Waits for the one that is being written.
    #[cfg(test)]
    pub fn wait(&self) {
        self.0.lock().take().unwrap().thread.join().unwrap();
    }
}

/// Writes the file; how large it is.
fn write(source: &Connection, path: &Path, text: &str) -> Result<u64> {
    source.execute("VACUUM INTO ?1", [text]).map_err(|e| Error::Store(format!("{text}: {e}")))?;
    let file = fs::File::open(path).map_err(Error::io(path))?;
    file.sync_all().map_err(Error::io(path))?;
    file.metadata().map(|metadata| metadata.len()).map_err(Error::io(path))
}

/// What is not whole is not left there.
fn remove(path: &Path) {
    let journal = PathBuf::from(format!("{}-journal", path.display()));
    for path in [path, &journal] {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::trial::Folder;

    /// A connection that waits until another one lets go of the file.
    fn source(folder: &Folder) -> (Connection, Connection) {
        let path = folder.join("source.db");
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1); BEGIN EXCLUSIVE").unwrap();
        let source = Connection::open(&path).unwrap();
        source.busy_timeout(Duration::from_secs(100)).unwrap();
        (writer, source)
    }

    #[test]
    fn there_is_one_at_a_time() {
        let (folder, backup) = (Folder::new("one-backup"), Backup::default());
        let ((writer, first), other) = (source(&folder), folder.join("other.db"));
        backup.begin(first, &folder.join("copy.db")).unwrap();
        let second = || Connection::open(folder.join("source.db")).unwrap();
        let refused = backup.begin(second(), &other).unwrap_err();
        assert_eq!(refused.to_string(), "another backup is being written");
        assert!(!other.exists());
        writer.execute_batch("ROLLBACK").unwrap();
        backup.wait();
        let copy = Connection::open(folder.join("copy.db")).unwrap();
        assert_eq!(copy.query_row("SELECT x FROM t", [], |row| row.get::<_, u8>(0)).unwrap(), 1);
        backup.begin(second(), &other).unwrap();
        backup.wait();
        assert!(other.exists());
    }

    #[test]
    fn one_that_is_not_finished_leaves_nothing() {
        let (folder, backup) = (Folder::new("no-backup"), Backup::default());
        let ((writer, first), copy) = (source(&folder), folder.join("copy.db"));
        first.busy_timeout(Duration::from_millis(1)).unwrap();
        backup.begin(first, &copy).unwrap();
        backup.wait();
        assert!(!copy.exists(), "it has failed");
        drop(writer);
        let large = Connection::open_in_memory().unwrap();
        let rows = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 1000000)
            INSERT INTO t SELECT x FROM n";
        large.execute_batch(&format!("CREATE TABLE t (x); {rows}")).unwrap();
        backup.begin(large, &copy).unwrap();
        backup.end();
        assert!(!copy.exists(), "it was given up");
    }
}
