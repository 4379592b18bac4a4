//! The file: making it, bringing an older one up to date, and the connections to it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use crate::error::{Error, Result};
use crate::net::crypto::HashKey;

/// What a file is.
pub struct Form {
    /// What says so in its header.
    pub application: i32,
    /// What makes version n+1 of version n; the first makes version 1 of nothing, with a table "meta" that
    /// gets a key for hashes.
    pub migrations: &'static [&'static str],
    /// For messages.
    pub what: &'static str,
}

/// Pages of the write-ahead log, 32 MiB of them, after which they are moved into the file: until then those
/// that change with every commit are written once.
const LOG_PAGES: i64 = 8000;

/// How long a connection waits for another one, or for another program that looks into the file.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// KiB of the file that a connection keeps in memory: the writer's, and a reader's.
const WRITER_CACHE: i64 = 64 << 10;
const READER_CACHE: i64 = 2 << 10;

/// A store's file, which no other process has.
pub struct StoreFile {
    path: PathBuf,
    _lock: Flock<File>,
}

impl StoreFile {
    /// Takes the file, and makes it if there is none. The folder must be there.
    pub fn open(path: &Path, form: &Form) -> Result<StoreFile> {
        let path = std::path::absolute(path).map_err(Error::io(path))?;
        let lock = StoreFile::lock(&path)?;
        // SQLite would make it readable for everybody.
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        file.map_err(Error::io(&path))?;
        let file = StoreFile { path, _lock: lock };
        file.bring_up_to_date(form)?;
        Ok(file)
    }

    /// Keeps other processes from the store in this file.
    pub fn lock(path: &Path) -> Result<Flock<File>> {
        let lock = with_suffix(path, "-lock");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&lock);
        let file = file.map_err(Error::io(&lock))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => Error::Refused(format!("{}: another process has it", path.display())),
            errno => Error::io(&lock)(errno.into()),
        })
    }

    fn bring_up_to_date(&self, form: &Form) -> Result<()> {
        let mut connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let failed = |e| self.failed(e);
        let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
        let (application, version) =
            (number("application_id").map_err(failed)?, number("user_version").map_err(failed)?);
        let is_new = application == 0 && version == 0 && is_empty(&connection).map_err(failed)?;
        if !is_new && application != form.application {
            return Err(Error::Refused(format!("{}: not a {}", self.path.display(), form.what)));
        }
        let known = form.migrations.len();
        let version = usize::try_from(version).unwrap_or(usize::MAX);
        if version > known {
            let path = self.path.display();
            return Err(Error::Refused(format!(
                "{path}: made by a later version of trackalert (its form is {version}, this one knows {known})"
            )));
        }
        if is_new {
            // Decided before the first table is made, and for good: deleted rows give space back.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(failed)?;
        }
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        let key = HashKey::new()?;
        for (number, migration) in (version + 1..).zip(&form.migrations[version..]) {
            let mut migrate = || {
                let step = connection.transaction()?;
                step.execute_batch(migration)?;
                if is_new && number == 1 {
                    step.execute("INSERT INTO meta VALUES ('key', ?1)", [key.as_bytes()])?;
                }
                step.pragma_update(None, "application_id", form.application)?;
                step.pragma_update(None, "user_version", number as i64)?;
                step.commit()
            };
            migrate().map_err(failed)?;
        }
        Ok(())
    }

    /// The connection that writes. `is_durable` says that what is committed has reached the disk.
    pub fn writer(&self, is_durable: bool) -> Result<Connection> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let set_up = || {
            connection.pragma_update(None, "synchronous", if is_durable { "FULL" } else { "NORMAL" })?;
            connection.pragma_update(None, "cache_size", -WRITER_CACHE)?;
            overwrite(&connection, false)?;
            connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
            // The file for what has been committed shrinks again after a large one.
            connection.pragma_update(None, "journal_size_limit", 64 << 20)
        };
        set_up().map_err(|e| self.failed(e))?;
        Ok(connection)
    }

    /// Moves what was committed into the file, so that the write-ahead log has nothing of what was before.
    pub fn empty_log(&self) -> Result<()> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(|e| self.failed(e))
    }

    /// Waits until what was committed is on the disk.
    pub fn sync_log(&self) -> Result<()> {
        // SQLite has its locks on the other files: they would go with any handle that is closed.
        let log = with_suffix(&self.path, "-wal");
        File::open(&log).and_then(|file| file.sync_data()).map_err(Error::io(&log))
    }

    /// The key of its hashes.
    pub fn key(&self, connection: &Connection) -> Result<HashKey> {
        let find = "SELECT value FROM meta WHERE name = 'key'";
        let key: Vec<u8> = connection.query_row(find, [], |row| row.get(0)).map_err(|e| self.failed(e))?;
        let damaged = || Error::Store(format!("{}: damaged: no key", self.path.display()));
        HashKey::from_bytes(&key).ok_or_else(damaged)
    }

    /// A connection that only reads.
    pub fn reader(&self) -> Result<Connection> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.pragma_update(None, "cache_size", -READER_CACHE).map_err(|e| self.failed(e))?;
        Ok(connection)
    }

    /// How large the files are together.
    pub fn bytes(&self) -> u64 {
        let files = [self.path.clone(), with_suffix(&self.path, "-wal"), with_suffix(&self.path, "-shm")];
        files.iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum()
    }

    fn connect(&self, mode: OpenFlags) -> Result<Connection> {
        // Each connection is one thread's.
        let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connect = || {
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(PATIENCE)?;
            connection.set_prepared_statement_cache_capacity(64);
            Ok(connection)
        };
        connect().map_err(|e| self.failed(e))
    }

    /// What SQLite said, as an error.
    pub fn failed(&self, e: rusqlite::Error) -> Error {
        self.failed_as(&e)
    }

    pub fn failed_as(&self, e: &rusqlite::Error) -> Error {
        Error::Store(self.complaint(e))
    }

    /// What SQLite said, and what to do about a file that is damaged.
    pub fn complaint(&self, e: &rusqlite::Error) -> String {
        let path = self.path.display();
        // A value that is none is in a page that SQLite has no reason to doubt.
        let is_no_value = matches!(
            e,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
        );
        let code = e.sqlite_error_code();
        if is_no_value || matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) {
            return format!(
                "{path}: damaged ({e}); trackalert --repair-store {path} saves what can be saved"
            );
        }
        format!("{path}: {e}")
    }
}

/// Gives up to so many pages that are free back to the file system.
pub fn give_back(connection: &Connection, pages: u32) -> rusqlite::Result<()> {
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    if free > 0 {
        // Each step of the statement gives one page back.
        let mut vacuum = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut pages = vacuum.query([])?;
        while pages.next()?.is_some() {}
    }
    Ok(())
}

/// What is no longer kept is overwritten where that costs no further page, or everywhere.
pub fn overwrite(connection: &Connection, everywhere: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "secure_delete", if everywhere { "ON" } else { "FAST" })
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let first = connection.query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(()));
    first.optional().map(|found| found.is_none())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
