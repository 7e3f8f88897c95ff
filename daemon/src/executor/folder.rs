//! The folder of a run's files, and the link by which those of a stage's winner are found.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::log::{self, RunLog};
use crate::{
    paths::{self, Hold},
    store::{Fence, Measured, run_folder},
};

/// Holds the task's folder, makes the run's in it and opens its log, all in one visit to the file system. While the hold
/// lasts nobody collects the folder.
pub async fn open(task_folder: PathBuf, fence: &Fence) -> io::Result<(Hold, RunLog)> {
    let dir = task_folder.join(fence.folder());
    let opened = tokio::task::spawn_blocking(move || {
        let hold = Hold::take(&task_folder)?;
        fs::create_dir_all(&dir)?;
        Ok((hold, RunLog::create(&dir)?))
    });
    opened.await.map_err(io::Error::other)?
}

/// What the run left, and what earlier attempts of it did that were lost with their daemon.
pub async fn measure(share: PathBuf, fence: &Fence) -> Measured {
    let (task, run, attempt) = (fence.task.clone(), fence.run.clone(), fence.attempt);
    let measured = tokio::task::spawn_blocking(move || {
        let mut measured = Measured::default();
        for attempt in 1..=attempt {
            let folder = run_folder(run.as_str(), attempt);
            match paths::measure_folder(&share, &Path::new(task.as_str()).join(&folder)) {
                Ok(Some(content)) => measured.add(folder, content.bytes),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, task_id = %task, folder, "files not measured"),
            }
        }
        measured
    });
    measured.await.unwrap_or_default()
}

/// Points `<task>/nodes/<node>` to the winner's folder, swapped in one step; a winner that left no file has no link.
pub fn link_winner(task_folder: &Path, fence: &Fence) -> io::Result<()> {
    let nodes = task_folder.join("nodes");
    let link = nodes.join(fence.node.as_str());
    let folder = fence.folder();
    if !has_files(&task_folder.join(&folder))? {
        // What an earlier winner left is not the stage's any more.
        return match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    // Not with its parents: a task deleted a moment ago must not get a folder again.
    match fs::create_dir(&nodes) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let fresh = nodes.join(format!(".{}.{}", fence.node, fence.run));
    let _ = fs::remove_file(&fresh);
    std::os::unix::fs::symlink(Path::new("..").join(folder), &fresh)?;
    fs::rename(&fresh, link)
}

/// Whether a run's folder holds more than its log.
fn has_files(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        if entry?.file_name() != log::FILE_NAME {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use onceover_common::{NodeName, RunId, TaskId};

    use super::*;

    #[tokio::test]
    async fn the_link_leads_to_the_winners_files_whatever_the_attempt_and_goes_when_there_are_none() {
        let temp = tempfile::tempdir().unwrap();
        let link = temp.path().join("nodes/demo.node");
        let mut fence = Fence {
            task: TaskId::parse("t1").unwrap(),
            node: NodeName::parse("demo.node").unwrap(),
            run: RunId::generate(),
            attempt: 1,
            owner: "d1".into(),
            queue: "cpu".into(),
        };
        for attempt in [1, 2] {
            fence.attempt = attempt;
            let dir = temp.path().join(fence.folder());
            let (_hold, log) = open(temp.path().to_owned(), &fence).await.unwrap();
            log.line("begun");
            assert_eq!(log.path(), dir.join(log::FILE_NAME));
            fs::write(dir.join("made"), attempt.to_string()).unwrap();
            link_winner(temp.path(), &fence).unwrap();
            assert_eq!(fs::read_to_string(link.join("made")).unwrap(), attempt.to_string());
        }
        fence.run = RunId::generate();
        open(temp.path().to_owned(), &fence).await.unwrap().1.line("begun");
        link_winner(temp.path(), &fence).unwrap();
        assert!(
            fs::symlink_metadata(&link).is_err(),
            "it has no files, so there is no link"
        );
        link_winner(temp.path(), &fence).unwrap();
    }
}
