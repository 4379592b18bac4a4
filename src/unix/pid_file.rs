//! The pid file, which admits one daemon.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A file with the number of this process, locked while the process lives and removed at the end.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Its lock is the one that counts; the number is for people.
    file: File,
}

impl PidFile {
    /// Writes and locks `path`; fails when another process holds it.
    pub fn create(path: &Path) -> Result<PidFile> {
        let path = std::path::absolute(path).map_err(Error::io(path))?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o644);
        let mut file = options.open(&path).map_err(Error::io(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Refused(format!("{}: another instance is running", path.display())));
            }
            Err(TryLockError::Error(e)) => return Err(Error::Io(path, e)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(Error::io(&path))?;
        Ok(PidFile { path, file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // In a folder of root's, whoever root has become can at least see to it that the number, which
        // another process may get, is not there any more.
        if std::fs::remove_file(&self.path).is_err() {
            let _ = self.file.set_len(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_admits_one_and_goes_away() {
        let path = std::env::temp_dir().join(format!("trackalert-{}.pid", std::process::id()));
        std::fs::write(&path, "99999999 left by a crash").unwrap();
        let held = PidFile::create(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        let error = PidFile::create(&path).unwrap_err();
        assert!(error.to_string().ends_with("another instance is running"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(held);
        assert!(!path.exists());
        let missing = PidFile::create(Path::new("/nonexistent/x.pid")).unwrap_err();
        assert_eq!(missing.to_string(), "/nonexistent/x.pid: no such file or directory");
    }
}
