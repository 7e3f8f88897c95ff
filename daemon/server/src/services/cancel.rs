//! Cancels runs, and waits until their processes have ended.

use std::{sync::Arc, time::Duration};

use onceover_store::Store;
use onceover_types::{NodeName, TaskId, TaskStatus};
use onceover_wire::CancelResponse;

use super::{ServiceError, foreign::HeldStages};
use crate::events::EventBus;

/// Cancels runs. Cheap to clone.
#[derive(Clone)]
pub struct Cancellations {
    store: Store,
    bus: EventBus,
    /// Resource classes.
    queues: Arc<[String]>,
    /// How long a program may take to end after it was asked to.
    grace: Duration,
}

impl Cancellations {
    pub fn new(store: Store, bus: EventBus, queues: Arc<[String]>, grace: Duration) -> Self {
        Self {
            store,
            bus,
            queues,
            grace,
        }
    }

    /// Cancels what is in flight under a task, or one stage of it; the daemon that runs them ends the processes.
    pub async fn cancel_task(&self, task: &TaskId, node: Option<&NodeName>) -> Result<CancelResponse, ServiceError> {
        let cancelled = self.store.cancel(task, node).await?.unwrap_or_default();
        self.bus.recheck_task(task);
        let records = self.store.read(task).await?;
        let held = HeldStages::now(&self.store, &records);
        if cancelled.is_empty() && records.stages.is_empty() && held.stages.is_empty() {
            return Err(ServiceError::UnknownTask(task.clone()));
        }
        // Nothing ends a worker that is not ours.
        let left = held.in_flight().filter(|name| node.is_none_or(|node| node == *name));
        let left: Vec<_> = left.map(NodeName::as_str).collect();
        let left = match left.as_slice() {
            [] => String::new(),
            names => format!(
                "; {} goes on with another worker, which Onceover cannot end",
                names.join(", ")
            ),
        };
        if cancelled.is_empty() {
            let what = node.map_or_else(
                || format!("task '{task}'"),
                |node| format!("stage '{node}' of '{task}'"),
            );
            return Err(ServiceError::Refused(format!(
                "nothing to cancel: {what} has no run of ours that waits or runs{left}"
            )));
        }
        for node in &cancelled {
            tracing::info!(task_id = %task, task_name = %node, "run cancelled");
        }
        let names: Vec<_> = cancelled.iter().map(NodeName::as_str).collect();
        Ok(CancelResponse {
            task_id: task.clone(),
            status: TaskStatus::Cancelled,
            message: format!("cancelled {}{left}", names.join(", ")),
            cancelled,
        })
    }

    /// Ends what is in flight under a task, if anything is, and waits until its processes have ended.
    pub async fn clear_task(&self, task: &TaskId) -> Result<(), ServiceError> {
        self.store.cancel(task, None).await?;
        self.wait_for_processes(task).await
    }

    /// Has the task's runs find out that they were cancelled, and waits until they have ended their processes or their
    /// owner is lost.
    pub(super) async fn wait_for_processes(&self, task: &TaskId) -> Result<(), ServiceError> {
        self.bus.recheck_task(task);
        let limit = self.grace + self.store.options().lease + Duration::from_secs(2);
        let mut released = self.bus.released();
        let waiting = async {
            loop {
                if self.store.holding(task, &self.queues).await? == 0 {
                    return Ok(());
                }
                // Woken by our own executor; a run of another daemon is looked for again shortly.
                let _ = tokio::time::timeout(Duration::from_millis(200), released.changed()).await;
            }
        };
        match tokio::time::timeout(limit, waiting).await {
            Ok(done) => done,
            Err(_) => Err(ServiceError::Unavailable(format!(
                "a run of '{task}' was cancelled but its processes have not ended after {} s; try again",
                limit.as_secs()
            ))),
        }
    }
}
