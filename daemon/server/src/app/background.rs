//! What the daemon does beside answering requests: runs, callbacks, uploads, pipelines, and removing files.

use std::{path::PathBuf, sync::Arc, time::Duration};

use onceover_store::{Store, StoreError};
use onceover_types::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::prepare::{OutageReport, take_back, tell_of_server};
use crate::{
    config::{KeepFiles, RetentionConfig},
    data_dir::DataDir,
    dispatch::Dispatcher,
    events::EventBus,
    executor::supervise::Executor,
    gc::{Collector, follow},
    pipelines::reconcile::{self, Reconciler},
    services::{self, ForeignStages},
    tenure::{self, TenureError},
    uploads::{self, UploadOptions, UploadParts},
    webhooks::{
        deliver::{self, DeliveryOptions, DeliveryParts},
        tell,
    },
};

/// How long a deletion may take beside a lease and the grace time of processes.
const DELETION: Duration = Duration::from_secs(3);
/// How long to wait before what comes before the work is tried again.
const PREPARE_AGAIN: Duration = Duration::from_millis(500);

/// Says why submits cannot be decided yet.
pub(crate) struct Preparing(pub(crate) watch::Sender<Option<String>>);

impl Preparing {
    pub(super) fn waits_for(&self, what: impl Into<String>) {
        self.0.send_replace(Some(what.into()));
    }

    fn is_done(&self) {
        self.0.send_replace(None);
    }
}

/// What callbacks are delivered with.
pub(crate) struct DeliveryWork {
    pub(super) parts: DeliveryParts,
    pub(super) options: DeliveryOptions,
}

/// What files are taken to the object store with.
pub(crate) struct UploadWork {
    pub(super) parts: UploadParts,
    pub(super) options: UploadOptions,
}

/// What removes files with the record of their task.
pub(super) struct RecordDeletion {
    pub(super) share: PathBuf,
    pub(super) retention: RetentionConfig,
    /// How long a program may take to end after it was asked to.
    pub(super) grace: Duration,
}

/// What works in the background.
pub(crate) struct Background {
    pub(super) store: Store,
    pub(super) bus: EventBus,
    pub(super) queues: Arc<[String]>,
    pub(super) foreign: Arc<ForeignStages>,
    pub(super) reconciler: Reconciler,
    pub(super) executor: Executor,
    pub(super) callbacks: DeliveryWork,
    pub(super) deletion: RecordDeletion,
    /// None where nothing goes to an object store by itself.
    pub(super) uploads: Option<UploadWork>,
    /// Sends runs to Celery workers.
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) data: Arc<DataDir>,
    /// Cancelled once the daemon takes no new work.
    pub(super) draining: CancellationToken,
}

impl Background {
    /// Waits for Redis, takes back what an earlier daemon of this directory held, then runs and delivers until `stop`.
    pub(crate) async fn run(self, preparing: Preparing, stop: CancellationToken) -> anyhow::Result<()> {
        let since = tokio::select! {
            biased;
            () = self.draining.cancelled() => return Ok(()),
            prepared = self.prepare(&preparing) => prepared?,
        };
        preparing.is_done();
        self.follow_deletions(since, &stop);
        let uploading = self
            .uploads
            .map(|uploads| tokio::spawn(uploads::run(uploads.parts, uploads.options, stop.clone())));
        let dispatching = tokio::spawn(self.dispatcher.run(stop.clone()));
        let following = tokio::spawn(services::follow_other_workers(self.foreign, stop.clone()));
        let telling = tokio::spawn(tell::run(self.store.clone(), self.bus, stop.clone()));
        let DeliveryWork { parts, options } = self.callbacks;
        let delivering = tokio::spawn(deliver::run(parts, options, stop.clone()));
        let reconciling = tokio::spawn(reconcile::run(self.reconciler, stop));
        tokio::select! {
            biased;
            () = self.executor.run() => {}
            lost = tenure::keep(&self.store, &self.data) => match lost? {},
        }
        let _ = tokio::join!(delivering, reconciling, following, telling, dispatching);
        if let Some(uploading) = uploading {
            let _ = uploading.await;
        }
        tenure::end(&self.store, &self.data).await;
        Ok(())
    }

    /// Answers since when this Redis has known the data directory. An outage on the way is waited out: every step can be
    /// repeated.
    async fn prepare(&self, preparing: &Preparing) -> Result<Timestamp, TenureError> {
        let mut outage = OutageReport::default();
        loop {
            match self.prepare_once(preparing).await {
                Err(TenureError::Store(error @ StoreError::Unavailable(_))) => {
                    outage.report(&error, preparing);
                    tokio::time::sleep(PREPARE_AGAIN).await;
                }
                prepared => return prepared,
            }
        }
    }

    async fn prepare_once(&self, preparing: &Preparing) -> Result<Timestamp, TenureError> {
        let server = self.store.prepare().await?;
        tell_of_server(&server);
        preparing.waits_for("asking whether another daemon uses the identity of this data folder");
        tenure::begin(&self.store, &self.data).await?;
        preparing.waits_for("taking back runs of an earlier start");
        take_back(&self.store, &self.queues, &self.callbacks.options.owner).await?;
        Ok(tenure::enter(&self.store, &self.data).await?)
    }

    /// Removes files with the record of their task, where the configuration asks for that.
    fn follow_deletions(&self, since: Timestamp, stop: &CancellationToken) {
        if self.deletion.retention.files != KeepFiles::WithRecord {
            return;
        }
        let collector = Collector {
            store: self.store.clone(),
            share: self.deletion.share.clone(),
            queues: Arc::clone(&self.queues),
            grace: self.deletion.retention.grace,
            since: Some(since),
            dry_run: false,
        };
        // As long as a deletion may wait for processes.
        let after = self.deletion.grace + self.store.options().lease + DELETION;
        tokio::spawn(follow::follow(collector, self.bus.clone(), after, stop.clone()));
    }
}
