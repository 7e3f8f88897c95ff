//! A daemon that works: waits until it is asked to stop or a part of it ends, then takes it down in order.

use std::time::Duration;

use anyhow::{Context, bail};
use onceover_process::{reaper::Reaper, sweep_until_gone};
use onceover_types::humane;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::signals::StopSignals;
use crate::{config::RunsConfig, executor::supervise::Executor, private_redis::PrivateRedis};

/// How long open requests and the handing back of runs may take, beside the runs' own grace time, once the daemon stops.
const STOP_LIMIT: Duration = Duration::from_millis(1500);

/// How long processes of runs may take to end that had to be left.
const SWEEP: Duration = Duration::from_secs(2);

/// How long the last figures may take to be noted once the rest has ended: without Redis they are lost.
const LAST_NOTE: Duration = Duration::from_millis(500);

/// A daemon that works.
pub(super) struct Running {
    pub(super) runs: RunsConfig,
    /// Cancelled once the daemon takes no new work.
    pub(super) draining: CancellationToken,
    pub(super) executor: Executor,
    pub(super) mark: String,
    pub(super) private: Option<PrivateRedis>,
    pub(super) reaper: Reaper,
    pub(super) signals: StopSignals,
    /// Ends everything.
    pub(super) stop: CancellationToken,
    pub(super) server: JoinHandle<()>,
    pub(super) work: JoinHandle<anyhow::Result<()>>,
    pub(super) listening: JoinHandle<()>,
    /// Notes the figures of minutes.
    pub(super) noting: JoinHandle<()>,
}

impl Running {
    /// Works until it is asked to stop, and stops. The error is why a part of it ended by itself.
    pub(super) async fn serve(mut self) -> anyhow::Result<()> {
        let ended = self.wait_for_end().await;
        // From here on nothing new is taken; what runs may end by itself, until a second signal comes.
        self.draining.cancel();
        self.executor.drain();
        if ended.is_ok() && !self.runs.drain.is_zero() {
            self.drain().await;
        }
        self.shut_down().await?;
        ended
    }

    async fn wait_for_end(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            signal = self.signals.asked() => {
                tracing::info!(signal, drain = humane::duration(self.runs.drain), "stopping");
                Ok(())
            }
            worked = &mut self.work => match worked {
                Ok(ended) => ended,
                Err(error) => Err(error).context("the executor panicked"),
            },
            served = &mut self.server => match served {
                Ok(()) => bail!("the HTTP server ended by itself"),
                Err(error) => Err(error).context("the HTTP server panicked"),
            },
        }
    }

    async fn drain(&mut self) {
        tokio::select! {
            () = self.executor.drained() => tracing::info!("every run has ended"),
            _ = &mut self.work, if !self.work.is_finished() => {}
            () = tokio::time::sleep(self.runs.drain) => tracing::info!("runs that go on are handed back"),
            signal = self.signals.asked_again() => tracing::info!(signal, "asked again: runs are handed back now"),
        }
    }

    async fn shut_down(mut self) -> anyhow::Result<()> {
        self.executor.stop();
        self.stop.cancel();
        let limit = STOP_LIMIT + self.runs.grace;
        let down = async {
            if !self.work.is_finished() {
                let _ = (&mut self.work).await;
            }
            if !self.server.is_finished() {
                let _ = (&mut self.server).await;
            }
        };
        if tokio::time::timeout(limit, down).await.is_err() {
            tracing::warn!(
                limit = humane::duration(limit),
                "not everything ended in time; what is left is ended now"
            );
            sweep_until_gone(&format!("{}/", self.mark), SWEEP);
        }
        let _ = tokio::time::timeout(LAST_NOTE, self.noting).await;
        self.listening.abort();
        if let Some(redis) = self.private {
            redis.stop().await;
        }
        let reaper = self.reaper;
        tokio::task::spawn_blocking(move || reaper.dismiss()).await?;
        tracing::info!("stopped");
        Ok(())
    }
}
