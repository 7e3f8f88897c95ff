//! What the daemon does beside answering requests: runs, callbacks, uploads, pipelines, and removing files.

use std::{sync::Arc, time::Duration};

use onceover_types::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::prepare::{reach_redis, take_back, tell_of_server};
use crate::{
    config::{KeepFiles, RetentionConfig},
    data_dir::DataDir,
    executor::supervise::Executor,
    gc::{Collector, follow},
    pipelines::{Videos, drive},
    services::{self, Engine},
    tenure,
    uploads::{self, UploadOptions},
    webhooks::{
        deliver::{self, DeliveryOptions},
        tell,
    },
};

/// How long a deletion may take beside a lease and the grace time of processes.
const DELETION: Duration = Duration::from_secs(3);

/// Says why submits cannot be decided yet.
pub(super) struct Preparing(pub(super) watch::Sender<Option<String>>);

impl Preparing {
    pub(super) fn waits_for(&self, what: impl Into<String>) {
        self.0.send_replace(Some(what.into()));
    }

    fn is_done(&self) {
        self.0.send_replace(None);
    }
}

/// What works in the background.
pub(super) struct Background {
    pub(super) videos: Videos,
    pub(super) executor: Executor,
    /// What callbacks are sent with.
    pub(super) callbacks: reqwest::Client,
    pub(super) delivery: DeliveryOptions,
    pub(super) retention: RetentionConfig,
    /// None where nothing goes to an object store by itself.
    pub(super) uploads: Option<UploadOptions>,
    pub(super) data: Arc<DataDir>,
}

impl Background {
    /// Waits for Redis, takes back what an earlier daemon of this directory held, then runs and delivers until `stop`.
    pub(super) async fn run(self, preparing: Preparing, stop: CancellationToken) -> anyhow::Result<()> {
        let engine = self.videos.engine.clone();
        let since = tokio::select! {
            () = engine.draining.cancelled() => return Ok(()),
            prepared = self.prepare(&engine, &preparing) => prepared?,
        };
        preparing.is_done();
        self.follow_deletions(&engine, since, &stop);
        let uploading = self
            .uploads
            .map(|uploads| tokio::spawn(uploads::run(engine.clone(), uploads, stop.clone())));
        let following = tokio::spawn(services::follow_other_workers(engine.clone(), stop.clone()));
        let store = engine.store.clone();
        let telling = tokio::spawn(tell::run(engine.clone(), stop.clone()));
        let delivering = tokio::spawn(deliver::run(engine, self.callbacks, self.delivery, stop.clone()));
        let driving = tokio::spawn(drive::run(self.videos, stop));
        tokio::select! {
            () = self.executor.run() => {}
            lost = tenure::keep(&store, &self.data) => match lost? {},
        }
        let _ = tokio::join!(delivering, driving, following, telling);
        if let Some(uploading) = uploading {
            let _ = uploading.await;
        }
        tenure::end(&store, &self.data).await;
        Ok(())
    }

    /// Answers since when this Redis has known the data directory.
    async fn prepare(&self, engine: &Engine, preparing: &Preparing) -> anyhow::Result<Timestamp> {
        let server = reach_redis(&engine.store, preparing).await?;
        tell_of_server(&server);
        preparing.waits_for("asking whether another daemon uses the identity of this data folder");
        tenure::begin(&engine.store, &self.data).await?;
        preparing.waits_for("taking back runs of an earlier start");
        take_back(engine, &self.delivery.owner).await?;
        Ok(tenure::enter(&engine.store, &self.data).await?)
    }

    /// Removes files with the record of their task, where the configuration asks for that.
    fn follow_deletions(&self, engine: &Engine, since: Timestamp, stop: &CancellationToken) {
        if self.retention.files != KeepFiles::WithRecord {
            return;
        }
        let collector = Collector {
            store: engine.store.clone(),
            share: engine.roots.share().to_owned(),
            queues: Arc::clone(&engine.queues),
            grace: self.retention.grace,
            since: Some(since),
            dry_run: false,
        };
        // As long as a deletion may wait for processes.
        let after = engine.grace + engine.store.options().lease + DELETION;
        tokio::spawn(follow::follow(collector, engine.hub.clone(), after, stop.clone()));
    }
}
