//! What was counted in each minute of the last hour, by all daemons of this Redis together. Each notes now and then what
//! it has counted, so no request and no run pays for it.

use std::{sync::Arc, time::Duration};

use onceover_store::Store;
use onceover_wire::SystemHistory;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::ServiceError;
use crate::metrics::Metrics;

/// Minutes that an answer has.
const MINUTES: u32 = 60;
/// Between two notes: a run counts for the minute that its end was noted in.
const INTERVAL: Duration = Duration::from_secs(15);

/// Notes what this daemon has counted, and reads what all have.
pub struct History {
    store: Store,
    metrics: Metrics,
    queues: Arc<[String]>,
}

impl History {
    pub fn new(store: Store, metrics: Metrics, queues: Arc<[String]>) -> Self {
        Self { store, metrics, queues }
    }

    /// Reads what was counted in the last hour; what this daemon has not noted yet is noted first.
    pub async fn read_history(&self) -> Result<SystemHistory, ServiceError> {
        self.note_counts().await;
        let minutes = self.store.minutes(MINUTES).await?;
        Ok(SystemHistory { minutes })
    }

    /// Notes what was counted since the last note. What Redis does not take is noted later.
    async fn note_counts(&self) {
        let counts = self.metrics.recent().take_counts();
        let queues: Vec<_> = self.queues.iter().map(String::as_str).collect();
        if let Err(error) = self.store.note_minute(&counts, &queues).await {
            self.metrics.recent().give_back(&counts);
            tracing::debug!(%error, "the figures of this minute are noted later");
        }
    }
}

/// Notes what was counted, again and again, until `stop` and a last time then.
pub async fn note_minutes(history: Arc<History>, stop: CancellationToken) {
    let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return history.note_counts().await,
            _ = ticks.tick() => history.note_counts().await,
        }
    }
}
