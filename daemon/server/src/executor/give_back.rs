//! Gives a run back to a queue whose worker was lost, or which goes on elsewhere. It begins again as the next attempt.

use std::time::Duration;

use onceover_store::{Fence, RequeuedRun, Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::folder::Left;
use crate::run_wait::Backoff;

/// Before the first further try while Redis is unreachable, doubled each time; and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Gives a run back, however long Redis is unreachable, until `stop`. One that Redis does not take is left to the end of
/// its lease.
pub(super) async fn give_back(store: &Store, stop: &CancellationToken, fence: &Fence, to: &RequeuedRun, left: &Left) {
    let mut waits = Backoff::between(FIRST_WAIT, LONGEST_WAIT);
    loop {
        match store.requeue(fence, to, &left.measured).await {
            Ok(_) => {
                tracing::warn!(task_id = %fence.task, task_name = %fence.node, run_id = %fence.run,
                    attempt = fence.attempt, queue = to.queue, why = to.how, "run given back to a queue");
                return;
            }
            Err(StoreError::Unavailable(error)) => {
                tracing::debug!(error, run_id = %fence.run, "a run waits for Redis to be given back");
            }
            Err(error) => {
                tracing::error!(%error, run_id = %fence.run, "a run was not given back; its lease will run out");
                return;
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(waits.next_wait()) => {}
        }
    }
}
