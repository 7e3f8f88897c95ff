//! The callbacks of a run that has ended, when they are many: they go into the outbox a few hundred at a time, so that the
//! end of a run keeps no other caller from Redis. The ends that still have some are kept there, and any daemon goes on.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::events::EventBus;
use onceover_store::{EndsTold, Store};

/// How long to wait for the next end; one whose daemon was lost is found after that.
const IDLE: Duration = Duration::from_secs(30);
/// Between two tries while Redis does not answer.
const RETRY: Duration = Duration::from_secs(1);
/// Between two steps, also where many ends are seen.
const STEP: Duration = Duration::from_millis(5);

/// Puts callbacks into the outbox until stopped.
pub async fn run(store: Store, bus: EventBus, stop: CancellationToken) {
    loop {
        let told = store.tell().await;
        if matches!(told, Ok(EndsTold::Some | EndsTold::All)) {
            bus.outbox_grew();
        }
        let next = async {
            tokio::time::sleep(STEP).await;
            match told {
                Ok(EndsTold::Some) => {}
                Ok(EndsTold::All | EndsTold::Nothing) => {
                    let _ = tokio::time::timeout(IDLE, bus.end_seen()).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "callbacks not put into the outbox");
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = next => {}
        }
    }
}
