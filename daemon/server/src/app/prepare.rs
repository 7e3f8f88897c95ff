//! What comes before the daemon decides and runs: a Redis that can be used, and what an earlier start of this directory left
//! in it.

use std::time::{Duration, Instant};

use onceover_store::{Reap, ServerInfo, Store, StoreError};

use super::background::Preparing;

/// How often the log says that Redis is still waited for.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// Reports why the daemon waits for Redis: when that changes, else once in a while.
#[derive(Default)]
pub(super) struct OutageReport(Option<(String, Instant)>);

impl OutageReport {
    pub(super) fn report(&mut self, error: &StoreError, preparing: &Preparing) {
        let why = error.to_string();
        let is_known = self
            .0
            .as_ref()
            .is_some_and(|(before, at)| *before == why && at.elapsed() < SAY_AGAIN);
        if !is_known {
            tracing::warn!(%error, "waiting for Redis");
            self.0 = Some((why.clone(), Instant::now()));
        }
        preparing.waits_for(why);
    }
}

pub(super) fn tell_of_server(server: &ServerInfo) {
    if server.append_only == Some(false) {
        tracing::warn!("Redis keeps no append-only file: what is accepted is lost when it restarts (appendonly yes)");
    }
    let version = server.version.as_deref().unwrap_or_default();
    tracing::info!(version, product = %server.product, "connected to Redis");
}

/// This directory's lock is ours, so every earlier daemon of it has ended, and what it had taken can be taken back at once.
pub(super) async fn take_back(store: &Store, queues: &[String], instance: &str) -> Result<(), StoreError> {
    let Some((id, start)) = instance.split_once('#') else {
        return Ok(());
    };
    let start: u64 = start.parse().unwrap_or_default();
    // A daemon that was killed while it waited for Redis never took anything; look past a few of those.
    for earlier in start.saturating_sub(20)..start {
        for queue in queues {
            let taken = store.reap(queue, Reap::Gone(&format!("{id}#{earlier}"))).await?;
            if taken > 0 {
                tracing::info!(queue, taken, "took back runs of an earlier start");
            }
        }
        let taken = store.outbox_release(&format!("{id}#{earlier}")).await?;
        if taken > 0 {
            tracing::info!(taken, "took back callbacks of an earlier start");
        }
    }
    Ok(())
}
