//! What an import reads: lines, where each of them ends, and what tells a file from others.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::net::crypto;
use crate::store::Mark;

/// Bytes of a line. What is longer is no report of wforce, and is not held in memory.
const LONGEST: u64 = 1 << 20;

/// Bytes of a file that are hashed: the first ones, and the last ones that were read.
const SAMPLE: u64 = 4096;

/// A file that is read line by line, or a stream.
pub struct Input {
    name: PathBuf,
    reader: BufReader<File>,
    /// The file again, if there is a way back in it.
    file: Option<File>,
    place: Place,
}

/// How far something was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub bytes: u64,
    pub lines: u64,
}

/// What was read instead of a line, or with it.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Line,
    /// The end comes before that of the line, which may still be written.
    Unfinished,
    /// It is left out.
    TooLong,
    End,
}

impl Input {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Input> {
        let open = || {
            let file = File::open(path)?;
            let is_file = file.metadata()?.is_file();
            let again = is_file.then(|| file.try_clone()).transpose()?;
            Ok(Input::new(path, file, again))
        };
        open().map_err(Error::io(path))
    }

    /// Reads standard input, of which nothing is remembered even if it is a file.
    pub fn standard() -> Result<Input> {
        let stream = io::stdin().as_fd().try_clone_to_owned().map_err(Error::io("stdin"))?;
        Ok(Input::new(Path::new("stdin"), stream.into(), None))
    }

    fn new(name: &Path, stream: File, file: Option<File>) -> Input {
        let reader = BufReader::with_capacity(1 << 18, stream);
        Input { name: name.to_path_buf(), reader, file, place: Place::default() }
    }

    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Where the next line begins.
    pub fn place(&self) -> Place {
        self.place
    }

    /// How long the file is; nothing for a stream.
    pub fn size(&self) -> Option<u64> {
        self.file.as_ref().and_then(|file| file.metadata().ok()).map(|about| about.len())
    }

    /// Reads the next line, without its end, into `line`.
    pub fn next(&mut self, line: &mut Vec<u8>) -> Result<Found> {
        line.clear();
        if !self.read_some(line)? {
            return Ok(Found::End);
        }
        self.place.lines += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
            return Ok(Found::Line);
        }
        if (line.len() as u64) < LONGEST {
            return Ok(Found::Unfinished);
        }
        while line.last() != Some(&b'\n') {
            line.clear();
            if !self.read_some(line)? {
                break;
            }
        }
        line.clear();
        Ok(Found::TooLong)
    }

    /// Reads to the end of the line, but not without end. Whether there was anything.
    fn read_some(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        let read = (&mut self.reader).take(LONGEST).read_until(b'\n', line);
        let read = read.map_err(Error::io(&self.name))?;
        self.place.bytes += read as u64;
        Ok(read > 0)
    }

    /// Goes to where the furthest of these marks says that this file was read to; its number, if there is one.
    pub fn go_on(&mut self, marks: &[Mark]) -> Result<Option<u32>> {
        let Some(size) = self.size() else { return Ok(None) };
        let mut furthest: Option<&Mark> = None;
        for mark in marks.iter().filter(|mark| mark.bytes <= size) {
            if furthest.is_none_or(|before| before.bytes < mark.bytes) && self.hash(mark.bytes)? == mark.hash
            {
                furthest = Some(mark);
            }
        }
        let Some(mark) = furthest else { return Ok(None) };
        self.reader.seek(SeekFrom::Start(mark.bytes)).map_err(Error::io(&self.name))?;
        self.place = Place { bytes: mark.bytes, lines: mark.lines };
        Ok(Some(mark.file))
    }

    /// What to remember of a file that was read to there; nothing of a stream.
    pub fn mark(&self, file: u32, place: Place) -> Result<Option<Mark>> {
        let Place { bytes, lines } = place;
        if self.file.is_none() {
            return Ok(None);
        }
        Ok(Some(Mark { file, bytes, lines, hash: self.hash(bytes)? }))
    }

    /// A hash of the beginning and the end of what was read, if that was so much.
    fn hash(&self, bytes: u64) -> Result<String> {
        let Some(file) = &self.file else { return Ok(String::new()) };
        let length = bytes.min(SAMPLE);
        let mut sample = vec![0; 2 * length as usize];
        let (first, last) = sample.split_at_mut(length as usize);
        let read = file.read_exact_at(first, 0).and_then(|()| file.read_exact_at(last, bytes - length));
        read.map_err(Error::io(&self.name))?;
        Ok(crypto::hash(&sample))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is removed at the end.
    struct Scrap(PathBuf);

    impl Scrap {
        fn new(name: &str, text: &str) -> Scrap {
            let path = std::env::temp_dir().join(format!("trackalert-input-{name}-{}", std::process::id()));
            std::fs::write(&path, text).unwrap();
            Scrap(path)
        }
    }

    impl Drop for Scrap {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn read_all(input: &mut Input) -> Vec<(Found, String, Place)> {
        let (mut all, mut line) = (Vec::new(), Vec::new());
        loop {
            match input.next(&mut line).unwrap() {
                Found::End => return all,
                read => all.push((read, String::from_utf8(line.clone()).unwrap(), input.place())),
            }
        }
    }

    #[test]
    fn lines_are_read_with_their_places() {
        let long = "x".repeat(3 << 20);
        let scrap = Scrap::new("lines", &format!("one\n\n{long}\nfour"));
        let at = |bytes, lines| Place { bytes, lines };
        assert_eq!(
            read_all(&mut Input::open(&scrap.0).unwrap()),
            [
                (Found::Line, "one".into(), at(4, 1)),
                (Found::Line, String::new(), at(5, 2)),
                (Found::TooLong, String::new(), at(6 + (3 << 20), 3)),
                (Found::Unfinished, "four".into(), at(10 + (3 << 20), 4)),
            ]
        );
        let longest = "x".repeat(LONGEST as usize - 1);
        let scrap = Scrap::new("longest", &format!("{longest}\n{longest}x\n{longest}"));
        let read: Vec<Found> =
            read_all(&mut Input::open(&scrap.0).unwrap()).into_iter().map(|(read, ..)| read).collect();
        assert_eq!(read, [Found::Line, Found::TooLong, Found::Unfinished]);
    }

    #[test]
    fn a_file_is_known_by_what_was_read_of_it() {
        let text: String = (0..10_000).map(|n| format!("line {n}\n")).collect();
        let scrap = Scrap::new("known", &text);
        let mark = |file, bytes| {
            let input = Input::open(&scrap.0).unwrap();
            input.mark(file, Place { bytes, lines: bytes / 10 }).unwrap().unwrap()
        };
        let marks =
            [mark(1, 7), mark(2, 50_000), mark(3, 20_000), Mark { bytes: u64::MAX, ..Mark::default() }];
        let go_on = |text: &str| {
            let other = Scrap::new("other", text);
            let mut input = Input::open(&other.0).unwrap();
            (input.go_on(&marks).unwrap(), input.place().bytes, read_all(&mut input).len())
        };
        let rest = text[50_000..].lines().count();
        assert_eq!(go_on(&text), (Some(2), 50_000, rest), "whatever its name");
        assert_eq!(go_on(&format!("{text}more\n")), (Some(2), 50_000, rest + 1), "even if it has grown");
        assert_eq!(go_on(&text[..50_000]), (Some(2), 50_000, 0));
        assert_eq!(go_on(&text[..49_999]).0, Some(3), "or was cut");
        assert_eq!(go_on(&format!("{}x{}", &text[..49_000], &text[49_001..])).0, Some(3), "or was changed");
        assert_eq!(go_on(&text.to_uppercase()), (None, 0, 10_000));
        assert_eq!(go_on(""), (None, 0, 0));
    }

    #[test]
    fn nothing_is_remembered_of_a_stream() {
        let mut input = Input::open(Path::new("/dev/null")).unwrap();
        assert_eq!(input.mark(1, input.place()).unwrap(), None);
        assert_eq!((input.size(), input.go_on(&[Mark::default()]).unwrap()), (None, None));
    }
}
