//! How a run of this machine waits for the GPU where existing workers use it too. That it waits is what its message says;
//! it never fails for it, and the wait does not count towards its time limit.

use std::{sync::Arc, time::Duration};

use onceover_limits::Limit;
use onceover_run::RunError;

use super::work::Work;
use crate::{
    gpu_lock::{GPU_QUEUE, GpuBusy, GpuLock, GpuTurn},
    run_wait::{Backoff, FIRST_WAIT},
};

/// Longest time between two tries to take the lock.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

impl Work {
    /// Waits for the lock of existing workers. Returns `None` for a run that needs none: of another class, or where no lock
    /// is configured or its Redis is unreachable for long.
    pub(super) async fn wait_for_gpu(&self) -> Result<Option<GpuTurn>, RunError> {
        // The queue of a run that goes to workers has another name.
        match &self.supplies.gpu_lock {
            Some(lock) if self.fence.queue == GPU_QUEUE => self.take_gpu(lock).await,
            _ => Ok(None),
        }
    }

    async fn take_gpu(&self, lock: &Arc<GpuLock>) -> Result<Option<GpuTurn>, RunError> {
        let mut waits = Backoff::between(FIRST_WAIT, LONGEST_WAIT);
        let mut reported = None;
        loop {
            let busy = match lock.try_take().await {
                Ok(turn) => {
                    if reported.is_some() {
                        self.report_gpu("begun after waiting for the GPU");
                    }
                    return Ok(Some(turn));
                }
                Err(GpuBusy::Outage(error)) => {
                    tracing::warn!(%error, run_id = %self.fence.run, "a run uses the GPU without the lock");
                    self.report_gpu(&format!("begun without the GPU lock: {error}"));
                    return Ok(None);
                }
                Err(busy) => busy,
            };
            // Its holder needs the memory.
            if let GpuBusy::Held(_) = busy {
                self.supplies.warm.leave_gpu().await;
            }
            let text = format!("waiting for the GPU, whose lock other workers use: {busy}");
            if reported.as_ref() != Some(&text) {
                Limit::MachineResources.reached();
                self.report_gpu(&text);
                reported = Some(text);
            }
            self.pause(waits.next_wait()).await?;
        }
    }

    fn report_gpu(&self, text: &str) {
        self.log.line(text);
        self.progress.report(0.0, Some(text.to_owned()));
    }
}
