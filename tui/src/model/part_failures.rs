//! Which tasks have failed in part: a stage of them has failed, and their status is another one, since a later stage has
//! ended otherwise or is under way.

use std::{collections::HashSet, sync::Arc};

use onceover_types::{StageState, TaskId, TaskStatus};

use super::{
    store::TaskStore,
    task::{Standing, Task},
};

/// The tasks that have failed in part, as far as the changes of the store are taken in.
#[derive(Debug, Default)]
pub struct PartFailures {
    tasks: HashSet<Arc<TaskId>>,
    /// How far that is; `None` before the first time.
    seen: Option<u64>,
}

impl PartFailures {
    pub fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Takes in what has changed in the store.
    pub fn settle(&mut self, store: &TaskStore) {
        let end = store.changes_end();
        if self.seen == Some(end) {
            return;
        }
        match self.seen.and_then(|seen| store.changes_since(seen)) {
            Some(changed) => {
                for task in changed {
                    if store.get(task).is_some_and(has_failed_in_part) {
                        self.tasks.insert(task.clone());
                    } else {
                        self.tasks.remove(task);
                    }
                }
            }
            None => {
                let failed = store.tasks_unordered().filter(|task| has_failed_in_part(task));
                self.tasks = failed.map(|task| task.id.clone()).collect();
            }
        }
        self.seen = Some(end);
    }
}

/// Whether a row of the task has failed and its status does not say so.
fn has_failed_in_part(task: &Task) -> bool {
    let has_failed = |state| state == StageState::Failed;
    task.status != TaskStatus::Failed
        && task.stages.values().any(|stage| has_failed(stage.status))
        // A stage of an earlier processing of the pipeline is not shown.
        && task.rows().any(|(node, _)| task.standing(node).and_then(Standing::state).is_some_and(has_failed))
}
