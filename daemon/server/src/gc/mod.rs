//! Collecting files that no task needs any more: the folders of tasks that have expired or were deleted, and the attempts
//! of living tasks that no result points to. It is asked for by `onceoverd gc`, or by `follow`
//! (`retention.files = "with_record"`).
//!
//! # Why no file is removed that is needed
//!
//! A run writes only while it holds its task's folder ([`onceover_run::paths::TaskLock`]), and it takes that hold after its stage is
//! RUNNING in Redis. A folder is removed only under a claim, which no hold can coexist with, and only when Redis, asked
//! *after* the claim was taken, knows nothing of the task. So, whatever is asked for at the same time:
//!
//! - A run that began before the claim has the hold (no claim is got), or its stage is in Redis (it is not removed).
//! - A submit that is decided before the question makes the task known. One decided after it is one to a task whose files
//!   have been collected: its run waits for the claim to end, finds that its folder's path leads elsewhere, and makes a new
//!   folder. What was renamed and removed is not what it got.
//! - Files that people put there for a task not yet submitted are younger than `retention.grace`, or lie in a folder that no
//!   run has ever written to; neither is touched.
//!
//! Attempts of a living task are listed *before* its records are read. One that is listed was begun before, so it is in
//! flight in those records (then nothing of the task is removed), it is the one that a record points to, or it has lost and
//! can never win again (R7).
//!
//! A Redis can be the wrong one, or empty after a loss. What was last changed before this Redis first knew the data folder
//! was never its to know, and stays unless asked for.

pub mod follow;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use onceover_types::{RunId, TaskId, Timestamp};

use crate::services::foreign::HeldStages;
use onceover_run::paths::{self, ClaimedFolder, FolderClaim, FolderContent};
use onceover_store::{Collectable, Store, StoreError, TaskRecords};

/// Looks at folders of one data directory.
#[derive(Clone)]
pub struct Collector {
    pub store: Store,
    /// The real path of the folder that every task has its folder in.
    pub share: PathBuf,
    /// Resource classes.
    pub queues: Arc<[String]>,
    /// What was changed within this time is left alone.
    pub grace: Duration,
    /// What was last changed before is left alone; None leaves nothing alone for that.
    pub since: Option<Timestamp>,
    /// Only tell what would be removed.
    pub dry_run: bool,
}

/// Something removed, or that would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    pub task: TaskId,
    /// Folder of the attempt below the task's; None for all of the task.
    pub attempt: Option<String>,
    pub files: u64,
    pub bytes: u64,
}

/// Why a task's folder stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// Redis knows the task.
    Known,
    /// It is the task of a registered video.
    Video,
    /// A run has it, or its processes are still ending.
    Held,
    /// A callback that tells of its files is still to be sent.
    Callbacks,
    /// It was changed too short a time ago: so much is left.
    Young(Duration),
    /// It was last changed before this Redis knew the data folder.
    Stranger,
    /// No run has ever written there.
    NoRuns,
}

/// What came of looking at one task's folder.
#[derive(Debug, Default)]
pub struct Looked {
    pub removed: Vec<Gone>,
    /// None when nothing of it is left.
    pub kept: Option<Kept>,
}

impl From<Kept> for Looked {
    fn from(kept: Kept) -> Self {
        Self {
            removed: Vec::new(),
            kept: Some(kept),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum GcError {
    #[error("{}: {source}", path.display())]
    Files { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a task's folder has in it.
struct Shape {
    /// Names in `runs` that are those of attempts.
    attempts: Vec<String>,
    /// A run of ours, or of an older system under the same id, wrote there.
    has_runs: bool,
}

impl Collector {
    /// The tasks that have folders. Blocks.
    pub fn tasks(&self) -> io::Result<Vec<TaskId>> {
        let mut tasks = Vec::new();
        for entry in std::fs::read_dir(&self.share)? {
            let name = entry?.file_name();
            tasks.extend(name.to_str().and_then(|name| TaskId::parse(name).ok()));
        }
        tasks.sort();
        Ok(tasks)
    }

    /// Removes what is not needed of one task's folder.
    pub async fn judge(&self, task: &TaskId) -> Result<Looked, GcError> {
        let folder = self.share.join(task.as_str());
        let Some(shape) = self.blocking(task, move || shape(&folder)).await? else {
            return Ok(Looked::default());
        };
        if !shape.has_runs {
            return Ok(Kept::NoRuns.into());
        }
        match self.store.collectable(task, &self.queues).await? {
            Collectable::Known(records) => self.attempts(task, shape.attempts, &records).await,
            Collectable::Free => self.whole(task).await,
            other => Ok(kept(&other).into()),
        }
    }

    async fn whole(&self, task: &TaskId) -> Result<Looked, GcError> {
        let (share, name) = (self.share.clone(), task.to_string());
        let measured = self
            .blocking(task, move || paths::measure_folder(&share, Path::new(&name)))
            .await?;
        let Some(content) = measured else {
            return Ok(Looked::default());
        };
        if let Some(kept) = self.too_new(&content) {
            return Ok(kept.into());
        }
        if self.since.is_some_and(|since| content.newest < since.as_millis()) {
            return Ok(Kept::Stranger.into());
        }
        let gone = |files, bytes| Looked {
            removed: vec![Gone {
                task: task.clone(),
                attempt: None,
                files,
                bytes,
            }],
            kept: None,
        };
        let (share, name) = (self.share.clone(), task.to_string());
        let claim = match self.blocking(task, move || FolderClaim::acquire(&share, &name)).await? {
            ClaimedFolder::Mine(claim) => claim,
            ClaimedFolder::Busy => return Ok(Kept::Held.into()),
            ClaimedFolder::Absent => return Ok(Looked::default()),
        };
        if self.dry_run {
            return Ok(gone(content.files, content.bytes));
        }
        match self.store.collectable(task, &self.queues).await? {
            Collectable::Free => {}
            other => return Ok(kept(&other).into()),
        }
        let removed = self
            .blocking(task, move || {
                // Something may have been put there while the rest was measured.
                if claim.changed_since(content.newest)? {
                    return Ok(Err(Kept::Young(Duration::ZERO)));
                }
                Ok(Ok(claim.remove()?))
            })
            .await?;
        match removed {
            Err(kept) => Ok(kept.into()),
            Ok(None) => Ok(Looked::default()),
            Ok(Some((files, bytes))) => {
                self.store.collected(task, None).await?;
                Ok(gone(files, bytes))
            }
        }
    }

    /// The attempts of a living task that no result points to.
    async fn attempts(&self, task: &TaskId, listed: Vec<String>, records: &TaskRecords) -> Result<Looked, GcError> {
        let mut looked = Looked::from(Kept::Known);
        if self.is_in_flight(records) {
            return Ok(looked);
        }
        for name in listed.into_iter().filter(|name| has_lost(name, records)) {
            let inside = Path::new(task.as_str()).join("runs").join(&name);
            let (share, path, dry_run) = (self.share.clone(), inside.clone(), self.dry_run);
            let Some(content) = self
                .blocking(task, move || paths::measure_folder(&share, &path))
                .await?
            else {
                continue;
            };
            if self.too_new(&content).is_some() {
                continue;
            }
            let (mut files, mut bytes) = (content.files, content.bytes);
            let attempt = format!("runs/{name}");
            if !dry_run {
                let share = self.share.clone();
                let removed = self
                    .blocking(task, move || paths::remove_beneath(&share, &inside))
                    .await?;
                (files, bytes) = removed.unwrap_or_default();
                self.store.collected(task, Some((&attempt, bytes))).await?;
            }
            looked.removed.push(Gone {
                task: task.clone(),
                attempt: Some(attempt),
                files,
                bytes,
            });
        }
        Ok(looked)
    }

    fn is_in_flight(&self, records: &TaskRecords) -> bool {
        let held = HeldStages::of(records, self.store.options().ttl.as_secs(), self.store.now());
        records.stages.iter().any(|(_, record)| record.state.in_flight()) || held.in_flight().next().is_some()
    }

    fn too_new(&self, content: &FolderContent) -> Option<Kept> {
        let age = Timestamp::now().as_millis() - content.newest;
        let left = i64::try_from(self.grace.as_millis())
            .unwrap_or(i64::MAX)
            .saturating_sub(age);
        u64::try_from(left)
            .ok()
            .filter(|left| *left > 0)
            .map(|left| Kept::Young(Duration::from_millis(left)))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        task: &TaskId,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, GcError> {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|source| GcError::Files {
                path: self.share.join(task.as_str()),
                source,
            })
    }
}

fn kept(why: &Collectable) -> Kept {
    match why {
        // Asked twice, and the second time it was not: a client has begun with it.
        Collectable::Free | Collectable::Known(_) => Kept::Known,
        Collectable::Held => Kept::Held,
        Collectable::Callbacks => Kept::Callbacks,
        Collectable::Video => Kept::Video,
    }
}

/// None where there is no folder.
fn shape(folder: &Path) -> io::Result<Option<Shape>> {
    let is_folder = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    if !is_folder(folder) {
        return Ok(None);
    }
    let runs = folder.join("runs");
    if !is_folder(&runs) {
        // The older system knew only the second.
        return Ok(Some(Shape {
            attempts: Vec::new(),
            has_runs: is_folder(&folder.join("nodes")),
        }));
    }
    let mut attempts = Vec::new();
    for entry in std::fs::read_dir(runs)? {
        let name = entry?.file_name();
        attempts.extend(name.to_str().filter(|name| is_attempt(name)).map(str::to_owned));
    }
    attempts.sort();
    Ok(Some(Shape {
        attempts,
        has_runs: true,
    }))
}

/// `<run_id>` or `<run_id>.<n>`.
fn is_attempt(name: &str) -> bool {
    let (run, attempt) = name.split_once('.').unwrap_or((name, "2"));
    RunId::parse(run).is_ok_and(|id| id.as_str() == run) && attempt.parse::<u32>().is_ok()
}

/// Neither the newest attempt of a stage, whose log is shown, nor one whose result stands, nor named in anything that is.
fn has_lost(name: &str, records: &TaskRecords) -> bool {
    let folder = format!("runs/{name}");
    let named = |text: &str| is_named(text, name);
    let of_stages = records.stages.iter().any(|(_, record)| {
        record.run_folder().as_ref() == Some(&folder)
            || record.result_folder().as_ref() == Some(&folder)
            || record.names(named)
    });
    !of_stages && !records.foreign.iter().any(|(_, json)| named(&json.json))
}

/// Whether a text has the name of an attempt's folder, and not only as the beginning of a later attempt's.
fn is_named(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let mut next = text[at + name.len()..].chars();
        match next.next() {
            Some('.') => !next.next().is_some_and(|digit| digit.is_ascii_digit()),
            Some(digit) => !digit.is_ascii_digit(),
            None => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_named_by_itself_and_not_by_a_later_one() {
        assert!(is_named(r#"{"a":"/t/runs/r1/x.wav"}"#, "r1"));
        assert!(is_named(r#"["/t/runs/r1"]"#, "r1"));
        assert!(is_named("/t/runs/r1.2/x", "r1.2"));
        assert!(!is_named(r#"{"a":"/t/runs/r1.2/x.wav"}"#, "r1"));
        assert!(!is_named("/t/runs/r1.23/x", "r1.2"));
        assert!(is_named("/t/runs/r1.2/x and /t/runs/r1/x", "r1"));
    }

    #[test]
    fn only_names_of_attempts_are_attempts() {
        let run = RunId::generate();
        assert!(is_attempt(run.as_str()) && is_attempt(&format!("{run}.2")));
        for other in ["tmp", "a.b", "..", &format!("{run}.x"), &format!("{run}.2.3")] {
            assert!(!is_attempt(other), "{other}");
        }
    }

    #[test]
    fn a_folder_that_no_run_wrote_to_has_no_runs() {
        let temp = tempfile::tempdir().unwrap();
        let task = temp.path().join("t1");
        assert!(shape(&task).unwrap().is_none());
        std::fs::create_dir(&task).unwrap();
        assert!(!shape(&task).unwrap().unwrap().has_runs);
        std::fs::create_dir(task.join("nodes")).unwrap();
        assert!(shape(&task).unwrap().unwrap().has_runs);
        std::os::unix::fs::symlink(&task, temp.path().join("t2")).unwrap();
        assert!(shape(&temp.path().join("t2")).unwrap().is_none());
    }
}
