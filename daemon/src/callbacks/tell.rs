//! The callbacks of a run that has ended, when they are many: they go into the outbox a few hundred at a time, so that the
//! end of a run keeps nobody else from Redis. The ends that still have some are kept there, and any daemon goes on.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// Between two looks for ends, and between two steps of one.
const LOOK: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(5);

/// Puts callbacks into the outbox until stopped.
pub async fn run(engine: Engine, stop: CancellationToken) {
    loop {
        let wait = match engine.store.tell().await {
            Ok(true) => {
                engine.hub.outbox_grew();
                STEP
            }
            Ok(false) => LOOK,
            Err(error) => {
                tracing::debug!(%error, "callbacks not put into the outbox");
                LOOK
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
