//! Every report of a store as lines, the earliest first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::store::{Store, line};
use crate::transfer::progress::Progress;

/// Reports between two looks at the bar.
const SHOWN: u64 = 1000;

/// Where an export goes.
pub struct Output {
    name: PathBuf,
    stream: File,
    is_file: bool,
}

impl Output {
    /// Makes a file, which only its owner can read. One that is there is left alone.
    pub fn create(path: &Path) -> Result<Output> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        Ok(Output { name: path.to_path_buf(), stream: file.map_err(Error::io(path))?, is_file: true })
    }

    /// Writes to a stream that is open.
    pub fn to(name: &str, stream: File) -> Output {
        Output { name: name.into(), stream, is_file: false }
    }

    /// Removes a file that is not whole, so that nobody takes it for all there was.
    pub fn give_up(&self) {
        if self.is_file && fs::remove_file(&self.name).is_err() {
            log::warn!("{}: not whole, and can't be removed", self.name.display());
        }
    }
}

/// Writes every report of a store, and says to `out` how many they are.
pub fn export(store: &dyn Store, output: &Output, out: &mut dyn Write) -> Result<()> {
    let mut progress = Progress::of_reports(store.status()?.rows, out);
    let reports = write(store, output, &progress)?;
    progress.finish(&format!("{reports} reports written"));
    Ok(())
}

fn write(store: &dyn Store, output: &Output, progress: &Progress) -> Result<u64> {
    let failed = |e: io::Error| Error::io(&output.name)(e);
    let mut stream = BufWriter::with_capacity(1 << 18, &output.stream);
    let mut reports = 0;
    store.each_report(&mut |record| {
        line::write(record, &mut stream).map_err(failed)?;
        reports += 1;
        if reports % SHOWN == 0 {
            progress.at(reports, reports);
        }
        Ok(())
    })?;
    stream.flush().map_err(failed)?;
    drop(stream);
    if output.is_file {
        output.stream.sync_all().map_err(failed)?;
    }
    Ok(reports)
}
