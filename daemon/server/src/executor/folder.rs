//! The folder of a run's files, and the link by which those of a stage's winner are found.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use onceover_limits::Limit;
use onceover_run::log::{self, RunLog};
use onceover_run::paths::{self, FolderContent, TaskLock};
use onceover_store::{DiskUsage, Fence, run_folder};

/// What becomes of what is in an attempt's folder already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormerContent {
    /// It is not a part of the new result.
    Removed,
    /// A worker goes on writing there.
    Kept,
}

/// Holds the task's folder, makes the run's in it and opens its log, all in one visit to the file system. While the hold
/// lasts nobody collects the folder.
pub async fn open(task_folder: PathBuf, fence: &Fence, former: FormerContent) -> io::Result<(TaskLock, RunLog)> {
    let dir = task_folder.join(fence.folder());
    let opened = crate::blocking::run(move || {
        let hold = TaskLock::acquire(&task_folder)?;
        match former {
            FormerContent::Removed => make_empty(&dir)?,
            FormerContent::Kept => fs::create_dir_all(&dir)?,
        }
        Ok((hold, RunLog::create(&dir)?))
    });
    opened.await.map_err(io::Error::other)?
}

/// Makes the folder of an attempt. One that is there already is of an attempt whose end Redis has lost, and which begins
/// again: its log goes on, and what it left is not a part of the new result.
fn make_empty(dir: &Path) -> io::Result<()> {
    if let Some(runs) = dir.parent() {
        fs::create_dir_all(runs)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => paths::remove_content(dir, log::FILE_NAME),
        made => made,
    }
}

/// Removes all that a run's folder holds but its log.
pub async fn clear(dir: &Path) -> io::Result<()> {
    let dir = dir.to_owned();
    let cleared = crate::blocking::run(move || paths::remove_content(&dir, log::FILE_NAME));
    cleared.await.map_err(io::Error::other)?
}

/// How much a run may leave in its folder.
#[derive(Debug, Clone, Copy)]
pub struct MostLeft {
    pub depth: u64,
    pub files: u64,
}

impl MostLeft {
    /// What is wrong with what a run left.
    fn judge(&self, left: &FolderContent) -> Option<String> {
        let number = left.files + left.folders;
        if left.depth > self.depth {
            Limit::FolderDepth.reached();
            Some(format!(
                "it left folders {} deep in its folder, and runs.max_depth allows {}",
                left.depth, self.depth
            ))
        } else if number > self.files {
            Limit::FilesOfRun.reached();
            Some(format!(
                "it left {number} files and folders in its folder, and runs.max_files allows {}",
                self.files
            ))
        } else {
            None
        }
    }
}

/// What a run left.
#[derive(Debug, Default)]
pub struct Left {
    pub measured: DiskUsage,
    /// Why that makes it FAILED.
    pub too_much: Option<String>,
    /// Whether there is anything beside its log.
    pub has_files: bool,
}

/// What the run left, and what earlier attempts of it did that were lost with their daemon.
pub async fn measure(share: PathBuf, fence: &Fence, most: MostLeft) -> Left {
    if let Some(left) = measure_log_alone(&share, fence, most) {
        return left;
    }
    let (task, run, newest) = (fence.task.clone(), fence.run.clone(), fence.attempt);
    let measured = crate::blocking::run(move || {
        let mut left = Left::default();
        for attempt in 1..=newest {
            let folder = run_folder(run.as_str(), attempt);
            let inside = Path::new(task.as_str()).join(&folder);
            match paths::measure_folder(&share, &inside) {
                Ok(Some(content)) => {
                    left.measured.add(folder, content.bytes);
                    if attempt == newest {
                        left.too_much = most.judge(&content);
                        let names = paths::list_names(&share, &inside).unwrap_or_default();
                        left.has_files = names.iter().any(|name| !log::is_log_file(name.as_os_str()));
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, task_id = %task, folder, "files not measured"),
            }
        }
        left
    });
    measured.await.unwrap_or_default()
}

/// Measures a first attempt that left nothing but its log, as those of small programs do. Like writing a line of the log, that
/// takes too little time for another thread; a walk over files may take long.
fn measure_log_alone(share: &Path, fence: &Fence, most: MostLeft) -> Option<Left> {
    if fence.attempt > 1 {
        return None;
    }
    let folder = fence.folder();
    let inside = Path::new(fence.task.as_str()).join(&folder);
    let bytes = paths::size_of_only_file(share, &inside, log::FILE_NAME).ok()??;
    let content = FolderContent {
        files: 1,
        bytes,
        ..FolderContent::default()
    };
    let mut left = Left {
        too_much: most.judge(&content),
        ..Left::default()
    };
    left.measured.add(folder, bytes);
    Some(left)
}

/// Points `<task>/nodes/<node>` to the winner's folder, swapped in one step; a winner that left no file has no link.
pub fn link_winner(task_folder: &Path, fence: &Fence, has_files: bool) -> io::Result<()> {
    // What an earlier winner left is not the stage's any more.
    let target = has_files.then(|| Path::new("..").join(fence.folder()));
    paths::set_link(task_folder, "nodes", fence.node.as_str(), target.as_deref())
}

#[cfg(test)]
mod tests {
    use onceover_types::{NodeName, RunId, TaskId};

    use super::*;

    fn first_attempt(queue: &str) -> Fence {
        Fence {
            task: TaskId::parse("t1").unwrap(),
            node: NodeName::parse("demo.node").unwrap(),
            run: RunId::generate(),
            attempt: 1,
            owner: "d1".into(),
            queue: queue.into(),
        }
    }

    /// Measures what the run left below the folder of tasks, and links it if it wins.
    async fn link(share: &Path, fence: &Fence) {
        let most = MostLeft { depth: 8, files: 8 };
        let left = measure(share.to_owned(), fence, most).await;
        link_winner(&share.join(fence.task.as_str()), fence, left.has_files).unwrap();
    }

    #[tokio::test]
    async fn an_attempt_that_begins_again_finds_its_log_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let task = temp.path().join("t1");
        let fence = first_attempt("cpu");
        let dir = task.join(fence.folder());
        let (_hold, log) = open(task.clone(), &fence, FormerContent::Removed).await.unwrap();
        log.line("begun");
        fs::create_dir(dir.join("parts")).unwrap();
        fs::write(dir.join("parts/made"), "one").unwrap();
        let (_hold, log) = open(task, &fence, FormerContent::Removed).await.unwrap();
        log.line("begun again");
        let names: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, [log::FILE_NAME]);
        assert_eq!(fs::read_to_string(log.path()).unwrap().lines().count(), 2);
    }

    #[tokio::test]
    async fn an_attempt_that_is_joined_keeps_what_its_worker_has_written() {
        let temp = tempfile::tempdir().unwrap();
        let task = temp.path().join("t1");
        let fence = first_attempt("celery:demo_queue");
        drop(open(task.clone(), &fence, FormerContent::Removed).await.unwrap());
        let made = task.join(fence.folder()).join("made");
        fs::write(&made, "one").unwrap();
        let (_hold, log) = open(task, &fence, FormerContent::Kept).await.unwrap();
        log.line("joined");
        assert_eq!(fs::read_to_string(&made).unwrap(), "one");
    }

    #[tokio::test]
    async fn the_link_leads_to_the_winners_files_whatever_the_attempt_and_goes_when_there_are_none() {
        let temp = tempfile::tempdir().unwrap();
        let task = temp.path().join("t1");
        let path = task.join("nodes/demo.node");
        let mut fence = first_attempt("cpu");
        for attempt in [1, 2] {
            fence.attempt = attempt;
            let dir = task.join(fence.folder());
            let (_hold, log) = open(task.clone(), &fence, FormerContent::Removed).await.unwrap();
            log.line("begun");
            assert_eq!(log.path(), dir.join(log::FILE_NAME));
            fs::write(dir.join("made"), attempt.to_string()).unwrap();
            link(temp.path(), &fence).await;
            assert_eq!(fs::read_to_string(path.join("made")).unwrap(), attempt.to_string());
        }
        fence.run = RunId::generate();
        open(task.clone(), &fence, FormerContent::Removed)
            .await
            .unwrap()
            .1
            .line("begun");
        link(temp.path(), &fence).await;
        assert!(
            fs::symlink_metadata(&path).is_err(),
            "it has no files, so there is no link"
        );
        link(temp.path(), &fence).await;
        // A program may remove its log: what is there beside it counts.
        let dir = task.join(fence.folder());
        fs::remove_file(dir.join(log::FILE_NAME)).unwrap();
        fs::write(dir.join("made"), "one").unwrap();
        link(temp.path(), &fence).await;
        assert_eq!(fs::read_to_string(path.join("made")).unwrap(), "one");
    }
}
