//! Where the files of tasks are.

use std::path::PathBuf;

use onceover_run::paths::Roots;
use onceover_types::TaskId;

/// Returns the folder of a task's files.
pub fn task_folder(roots: &Roots, task: &TaskId) -> PathBuf {
    roots.tasks_dir().join(task.as_str())
}
