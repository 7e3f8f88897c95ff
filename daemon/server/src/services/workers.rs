//! Which Celery workers there are and what waits for them, for people and for monitoring.

use std::sync::Arc;

use onceover_store::{Store, StoreError};
use onceover_wire::{QueueInfo, WorkersReport};

use super::ServiceError;
use crate::warm::WarmPool;

/// Stages of one queue that are named.
pub(crate) const MOST_STAGES: u32 = 1_000;

/// What is known of Celery workers without asking anybody.
pub trait WorkerDirectory: Send + Sync {
    /// Describes brokers, queues and workers, but for what Redis knows of the queues.
    fn snapshot(&self) -> WorkersReport;

    /// Says why nothing of a queue of the daemon begins in which so many stages wait. Returns `None` while a worker
    /// listens, and for a queue that is no queue of workers.
    fn find_reason(&self, queue: &str, waiting: u64) -> Option<String>;

    /// Counts the runs of a queue that may be in flight at a time. Returns `None` for one that is no queue of workers.
    fn count_slots(&self, queue: &str) -> Option<u32>;
}

/// Reads what is known of workers, with what waits for them. Cheap to clone.
#[derive(Clone)]
pub struct Workers {
    store: Store,
    directory: Arc<dyn WorkerDirectory>,
    warm: WarmPool,
}

impl Workers {
    pub fn new(store: Store, directory: Arc<dyn WorkerDirectory>, warm: WarmPool) -> Self {
        Self { store, directory, warm }
    }

    /// Describes brokers, queues and workers, and which stage runs where, of all daemons.
    pub async fn read_workers(&self) -> Result<WorkersReport, ServiceError> {
        let mut report = self.read_report().await?;
        for queue in &mut report.queues {
            let own = std::mem::take(&mut queue.stages);
            queue.stages = self.store.list_sent(&queue.queue, MOST_STAGES).await?;
            for stage in queue.stages.iter_mut().filter(|stage| stage.hostname.is_none()) {
                // This daemon's runner hears at once where its own runs are.
                let known = own.iter().find(|own| own.message_id == stage.message_id);
                stage.hostname = known.and_then(|own| own.hostname.clone());
            }
        }
        Ok(report)
    }

    /// Describes the same, for measurements.
    pub(super) async fn read_report(&self) -> Result<WorkersReport, StoreError> {
        let mut report = self.describe();
        for queue in &mut report.queues {
            let known = self.store.queue(&queue.queue, queue.slots).await?;
            queue.waiting = known.pending;
            queue.in_flight = known.running;
            queue.reason = self.directory.find_reason(&queue.queue, known.pending);
        }
        Ok(report)
    }

    /// Describes what can be described without Redis.
    pub(super) fn describe(&self) -> WorkersReport {
        let mut report = self.directory.snapshot();
        report.warm = self.warm.describe();
        report
    }

    /// Counts the runs of a queue that may be with its workers at a time; `None` for one that is no queue of workers.
    pub(super) fn count_slots(&self, queue: &str) -> Option<u32> {
        self.directory.count_slots(queue)
    }

    /// Reads the queues of the daemon whose stages go to workers.
    pub(super) async fn read_queues(&self) -> Result<Vec<QueueInfo>, StoreError> {
        let mut queues = Vec::new();
        for queue in self.directory.snapshot().queues {
            let mut known = self.store.queue(&queue.queue, queue.slots).await?;
            known.waiting = self.directory.find_reason(&queue.queue, known.pending);
            queues.push(known);
        }
        Ok(queues)
    }

    /// Says why a stage that waits in a queue does not begin; `None` where the order of the queue says enough.
    pub(super) async fn explain_wait(&self, queue: &str) -> Result<Option<String>, StoreError> {
        match self.directory.count_slots(queue) {
            Some(0) => self.find_reason(queue).await,
            _ => Ok(None),
        }
    }

    /// Says why nothing of a queue begins. How many stages wait in it is read only where there is a reason.
    async fn find_reason(&self, queue: &str) -> Result<Option<String>, StoreError> {
        if self.directory.find_reason(queue, 0).is_none() {
            return Ok(None);
        }
        let known = self.store.queue(queue, 0).await?;
        Ok(self.directory.find_reason(queue, known.pending))
    }

    /// Says which queues nobody listens to, where submits can be decided all the same.
    pub(super) async fn find_warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for queue in self.directory.snapshot().queues {
            match self.find_reason(&queue.queue).await {
                Ok(reason) => warnings.extend(reason),
                Err(error) => {
                    tracing::debug!(%error, "the queues of workers were not read");
                    return Vec::new();
                }
            }
        }
        warnings
    }
}
