//! The log of a run: one append-only file of bounded size, with a length that followers can wait for.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use onceover_limits::Limit;
use onceover_types::{Timestamp, humane};
use rustix::fs::OFlags;
use tokio::sync::watch;

/// Bytes after which a log is cut.
pub const DEFAULT_LIMIT: u64 = 8 * 1024 * 1024;

/// Name of the log in the run's folder.
pub const FILE_NAME: &str = "run.log";

/// Writes a run's log. Clones write to the same file.
#[derive(Debug, Clone)]
pub struct RunLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    limit: u64,
    file: Mutex<Sink>,
    length: watch::Sender<u64>,
}

#[derive(Debug)]
enum Sink {
    Open(File),
    /// The limit was reached, or the disk refused a line.
    Closed,
}

impl RunLog {
    /// Opens `run.log` in the run's folder, after what is already in it.
    pub fn create(dir: &Path) -> io::Result<Self> {
        Self::with_limit(&dir.join(FILE_NAME), DEFAULT_LIMIT)
    }

    /// Opens a log that is cut after `limit` bytes.
    pub fn with_limit(path: &Path, limit: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)?;
        let length = watch::Sender::new(file.metadata()?.len());
        Ok(Self(Arc::new(Shared {
            path: path.to_owned(),
            limit,
            file: Mutex::new(Sink::Open(file)),
            length,
        })))
    }

    /// Returns the path of the log.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Writes each line of the text with the time before it. A log that cannot be written never fails a run: what does
    /// not fit is dropped.
    pub fn line(&self, text: &str) {
        let mut sink = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        for line in text.lines() {
            let entry = format!("{} {line}\n", Timestamp::now());
            self.append(&mut sink, &entry);
        }
    }

    fn append(&self, sink: &mut Sink, entry: &str) {
        let Sink::Open(file) = sink else { return };
        let before = *self.0.length.borrow();
        let full = before + entry.len() as u64 > self.0.limit;
        let cut;
        let bytes = if full {
            cut = format!(
                "{} the log is cut here: it reached its limit of {}\n",
                Timestamp::now(),
                humane::bytes(self.0.limit)
            );
            &cut
        } else {
            entry
        };
        // Written without a buffer, so that what the length announces can be read.
        let written = file.write_all(bytes.as_bytes());
        if written.is_ok() {
            self.0.length.send_replace(before + bytes.len() as u64);
        }
        if full {
            Limit::RunLog.reached();
        }
        if full || written.is_err() {
            *sink = Sink::Closed;
        }
    }

    /// Returns how many bytes can be read from the file. The value changes after each line, so a follower need not
    /// poll.
    pub fn length(&self) -> watch::Receiver<u64> {
        self.0.length.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_line_carries_the_time_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let log = RunLog::create(dir.path()).unwrap();
        log.line("one\ntwo");
        log.clone().line("three");
        let text = fs::read_to_string(log.path()).unwrap();
        let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap()).collect();
        assert_eq!(
            lines.iter().map(|line| line.1).collect::<Vec<_>>(),
            ["one", "two", "three"]
        );
        for (time, _) in lines {
            assert_eq!(time.parse::<Timestamp>().unwrap().to_string(), time);
        }
    }

    #[test]
    fn a_flooded_log_stops_at_its_limit_and_says_so_once() {
        let dir = tempfile::tempdir().unwrap();
        let log = RunLog::with_limit(&dir.path().join("run.log"), 1000).unwrap();
        for _ in 0..100 {
            log.line("a line of some words");
        }
        let text = fs::read_to_string(log.path()).unwrap();
        assert!(text.len() < 1100, "{}", text.len());
        assert_eq!(text.matches("the log is cut here").count(), 1);
        assert!(text.lines().last().unwrap().contains("the log is cut here"));
    }

    #[tokio::test]
    async fn a_follower_is_woken_by_each_line_and_can_read_that_far() {
        let dir = tempfile::tempdir().unwrap();
        let log = RunLog::create(dir.path()).unwrap();
        let mut length = log.length();
        let follower = tokio::spawn(async move {
            length.changed().await.unwrap();
            *length.borrow()
        });
        log.line("hello");
        let length = follower.await.unwrap();
        assert_eq!(length, fs::metadata(log.path()).unwrap().len());
    }
}
