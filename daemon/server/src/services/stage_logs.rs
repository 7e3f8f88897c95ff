//! Finds and opens the logs of stages.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use onceover_run::paths::{self, Opened, Roots};
use onceover_store::Store;
use onceover_types::{NodeName, TaskId};

use super::{ServiceError, folders::task_folder, foreign::HeldStages};

/// Finds and opens the logs of stages.
pub struct StageLogs {
    store: Store,
    roots: Arc<Roots>,
}

impl StageLogs {
    pub fn new(store: Store, roots: Arc<Roots>) -> Self {
        Self { store, roots }
    }

    /// Finds the place of the log of a stage's newest run, whether or not there is one.
    pub async fn find_log(&self, task: &TaskId, node: &NodeName) -> Result<PathBuf, ServiceError> {
        let (records, _) = self.store.read_for_view(task).await?;
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
        Ok(task_folder(&self.roots, task).join(folder).join("run.log"))
    }

    /// Opens a log. Returns `None` if there is none, or something that a program has put there instead.
    pub async fn open_log(&self, path: &Path) -> io::Result<Option<File>> {
        let (root, of) = (self.roots.tasks_dir().to_owned(), path.to_owned());
        let opened = tokio::task::spawn_blocking(move || {
            let opened = Opened::in_root(&root, &of)?;
            (!opened.is_folder()).then(|| opened.reader()).transpose()
        });
        match opened.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Err(error) if paths::leads_nowhere(&error) => Ok(None),
            opened => opened,
        }
    }
}
