//! Finds and reads the logs of stages: as a text, by lines, and as they grow.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use onceover_run::{
    log::{KeptLog, LineQuery, LogResume, count_lines},
    paths::Roots,
};
use onceover_store::Store;
use onceover_types::{NodeName, TaskId};
use onceover_wire::LogPage;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{ServiceError, folders::task_folder, foreign::HeldStages};

/// Bytes of a followed log that are read at a time.
const CHUNK: u64 = 64 * 1024;

/// Finds and opens the logs of stages.
pub struct StageLogs {
    store: Store,
    roots: Arc<Roots>,
}

/// The text of a log.
pub enum LogText {
    /// All of it is in this file, which has so many bytes of it.
    File(File, u64),
    /// Its beginning and its end, with a line between them.
    Kept(Bytes),
}

/// A log that is read as it grows.
pub struct FollowedLog {
    root: PathBuf,
    /// The folder of the log.
    dir: PathBuf,
    /// Bytes of the log that have been read.
    at: u64,
    /// Lines of it that have been read, where it is read from its beginning.
    lines: Option<u64>,
    /// The length of the log while its run goes on here.
    growing: Option<watch::Receiver<u64>>,
    stop: CancellationToken,
}

impl StageLogs {
    pub fn new(store: Store, roots: Arc<Roots>) -> Self {
        Self { store, roots }
    }

    /// Finds the folder of the log of a stage's newest run, whether or not there is one.
    pub async fn find_log(&self, task: &TaskId, node: &NodeName) -> Result<PathBuf, ServiceError> {
        let records = self.store.read_for_view(task).await?;
        if records.is_empty() {
            return Err(ServiceError::UnknownTask(task.clone()));
        }
        let folder = match records.stage(node) {
            Some(record) => record.run_folder(),
            None if HeldStages::now(&self.store, &records).stages.contains_key(node) => None,
            None => {
                return Err(ServiceError::UnknownStage {
                    task: task.clone(),
                    node: node.clone(),
                });
            }
        };
        let folder = folder.unwrap_or_else(|| "runs/none".into());
        Ok(task_folder(&self.roots, task).join(folder))
    }

    /// Opens the text of the log in a folder. Returns `None` if there is none, or something that a program has put
    /// there instead.
    pub async fn open_text(&self, dir: &Path) -> io::Result<Option<LogText>> {
        let text = |kept: KeptLog| match kept.into_whole() {
            Ok((file, length)) => Ok(LogText::File(file, length)),
            Err(split) => split.read_text().map(|text| LogText::Kept(text.into())),
        };
        self.read_kept(dir, text).await
    }

    /// Reads lines of the log in a folder. Returns `None` if there is no log.
    pub async fn read_lines(&self, dir: &Path, query: LineQuery) -> io::Result<Option<LogPage>> {
        self.read_kept(dir, move |kept| kept.read_lines(&query)).await
    }

    /// Begins to follow the log in a folder behind its first `from` bytes; `growing` is its length while its run goes
    /// on here. Returns `None` if there is no log.
    pub async fn follow_log(
        &self,
        dir: &Path,
        from: u64,
        growing: Option<watch::Receiver<u64>>,
        stop: CancellationToken,
    ) -> io::Result<Option<FollowedLog>> {
        let Some(length) = self.read_kept(dir, |kept| Ok(kept.length())).await? else {
            return Ok(None);
        };
        Ok(Some(FollowedLog {
            root: self.roots.tasks_dir().to_owned(),
            dir: dir.to_owned(),
            at: from.min(length),
            lines: (from == 0).then_some(0),
            growing,
            stop,
        }))
    }

    /// Opens the log in a folder, and reads from it on another thread.
    async fn read_kept<T: Send + 'static>(
        &self,
        dir: &Path,
        read: impl FnOnce(KeptLog) -> io::Result<T> + Send + 'static,
    ) -> io::Result<Option<T>> {
        let (root, dir) = (self.roots.tasks_dir().to_owned(), dir.to_owned());
        read_elsewhere(move || KeptLog::open(&root, &dir)?.map(read).transpose()).await
    }
}

impl FollowedLog {
    /// Follows the length that `find` returns, where none was known when the log was opened: its run may have begun
    /// meanwhile.
    pub fn grow_with(&mut self, find: impl FnOnce() -> Option<watch::Receiver<u64>>) {
        if self.growing.is_none() {
            self.growing = find();
        }
    }

    /// Reads what comes next, and waits for it while the run goes on. Returns `None` when the run has ended and all is
    /// read, or the daemon stops.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(growing) = &mut self.growing {
                growing.borrow_and_update();
            }
            if let Some(chunk) = self.read_on().await? {
                return Ok(Some(chunk));
            }
            let Some(growing) = &mut self.growing else {
                return Ok(None);
            };
            tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                // The writer has ended: what is left is read once more, then it is over.
                changed = growing.changed() => if changed.is_err() { self.growing = None },
            }
        }
    }

    /// Reads the next bytes there are, after a line for those that are not kept any more.
    async fn read_on(&mut self) -> io::Result<Option<Bytes>> {
        let (root, dir, at, lines) = (self.root.clone(), self.dir.clone(), self.at, self.lines);
        let read = read_elsewhere(move || {
            let resumed = KeptLog::open(&root, &dir)?.map(|kept| kept.resume(at, lines));
            let Some(resumed) = resumed.transpose()?.flatten() else {
                return Ok(None);
            };
            let LogResume {
                file,
                at,
                left,
                gap,
                lines,
            } = resumed;
            let mut chunk = Vec::new();
            let read = file.take(left.min(CHUNK)).read_to_end(&mut chunk)?;
            let lines = lines.map(|lines| lines + count_lines(&chunk));
            let text = match gap {
                Some(gap) => [gap.as_bytes(), &chunk].concat(),
                None => chunk,
            };
            Ok((read > 0).then(|| (Bytes::from(text), at + read as u64, lines)))
        });
        let Some((text, at, lines)) = read.await? else {
            return Ok(None);
        };
        self.at = at;
        self.lines = lines;
        Ok(Some(text))
    }
}

/// Reads files on another thread.
async fn read_elsewhere<T: Send + 'static>(read: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|error| Err(io::Error::other(error)))
}
