//! How a run waits for what it cannot do without, as Redis, a broker or room on the disk: twice as long each time, and not
//! as a part of its time limit.

use std::time::Duration;

use onceover_run::RunError;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// The first wait, and the longest.
pub(crate) const FIRST_WAIT: Duration = Duration::from_millis(200);
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The waits between tries, each twice as long as the one before.
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::between(FIRST_WAIT, LONGEST_WAIT)
    }
}

impl Backoff {
    pub(crate) fn between(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    /// Returns the next wait.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        wait
    }
}

/// Waits, unless the run is cancelled meanwhile. `began` is since when its time limit counts: not before the wait is over.
pub(crate) async fn pause(
    began: &watch::Sender<Instant>,
    cancel: &CancellationToken,
    wait: Duration,
) -> Result<(), RunError> {
    began.send_replace(Instant::now() + wait);
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(RunError::Interrupted),
        () = tokio::time::sleep(wait) => Ok(()),
    }
}
