//! Which tasks have files on their way to the store, for those who must wait until none is.

use std::sync::Arc;

use onceover_types::TaskId;
use tokio::sync::watch;

/// Tasks whose files are on their way just now in this daemon.
#[derive(Debug, Clone)]
pub struct Uploading(Arc<watch::Sender<Vec<TaskId>>>);

impl Default for Uploading {
    fn default() -> Self {
        Self(Arc::new(watch::channel(Vec::new()).0))
    }
}

impl Uploading {
    /// Notes that files of the task are on their way until the answer is dropped.
    pub fn begin(&self, task: &TaskId) -> OnItsWay {
        self.0.send_modify(|tasks| tasks.push(task.clone()));
        OnItsWay(self.clone(), task.clone())
    }

    /// Waits until nothing of the task is on its way.
    pub async fn ended(&self, task: &TaskId) {
        let mut tasks = self.0.subscribe();
        // Its sender lives as long as this does.
        let _ = tasks.wait_for(|tasks| !tasks.contains(task)).await;
    }
}

/// Files of one task, on their way.
#[must_use = "they are on their way until it is dropped"]
pub struct OnItsWay(Uploading, TaskId);

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.0.send_modify(|tasks| {
            if let Some(at) = tasks.iter().position(|task| *task == self.1) {
                tasks.swap_remove(at);
            }
        });
    }
}
