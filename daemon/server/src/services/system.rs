//! The daemon as a whole: its queues, what it is, whether it can decide, what it measures.

use std::{path::Path, sync::Arc};

use indexmap::IndexMap;
use onceover_run::paths::Roots;
use onceover_store::{Store, StoreError};
use onceover_types::{Timestamp, keys};
use onceover_wire::{QueueInfo, RedisInfo, SystemInfo};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{ServiceError, Workers};
use crate::metrics::{Metrics, RedisReading};

/// How many runs each resource class has at a time.
pub type Slots = Arc<IndexMap<String, u32>>;

/// Which daemon this is.
pub struct Instance {
    /// `<id of the data directory>#<number of the start>`.
    pub name: Arc<str>,
    pub started_at: Timestamp,
}

/// Tells of queues, and of the daemon and its Redis.
pub struct System {
    store: Store,
    roots: Arc<Roots>,
    slots: Slots,
    workers: Workers,
    instance: Instance,
}

impl System {
    pub fn new(store: Store, roots: Arc<Roots>, slots: Slots, workers: Workers, instance: Instance) -> Self {
        Self {
            store,
            roots,
            slots,
            workers,
            instance,
        }
    }

    /// Reads what runs and what waits: by resource class, then what goes to Celery workers, by their queue.
    pub async fn read_queues(&self) -> Result<Vec<QueueInfo>, ServiceError> {
        let mut queues = Vec::new();
        for (name, slots) in self.slots.iter() {
            if self.workers.count_slots(name).is_none() {
                queues.push(self.store.queue(name, *slots).await?);
            }
        }
        queues.extend(self.workers.read_queues().await?);
        Ok(queues)
    }

    /// Reads what the daemon is, and what can be read of its Redis: where that does not answer, `redis.up` tells.
    pub async fn read_system(&self) -> SystemInfo {
        let store = &self.store;
        let ping = store.ping().await;
        let server = match &ping {
            Ok(_) => store.server().await.unwrap_or_default(),
            Err(_) => Default::default(),
        };
        let totals = match &ping {
            Ok(_) => store.totals().await.unwrap_or_default(),
            Err(_) => Default::default(),
        };
        SystemInfo {
            version: env!("CARGO_PKG_VERSION").into(),
            instance: self.instance.name.to_string(),
            started_at: self.instance.started_at,
            redis: RedisInfo {
                mode: store.mode(),
                url: store.public_url(),
                database: store.database(),
                up: ping.is_ok(),
                error: ping.as_ref().err().map(ToString::to_string),
                latency_ms: ping
                    .ok()
                    .map(|time| (time.as_secs_f64() * 1_000_000.0).round() / 1000.0),
                version: server.version,
                append_only: server.append_only,
            },
            events_channel: keys::events_channel(store.database()),
            seq: totals.seq,
            tasks: totals.tasks,
            reuse: totals.reuse,
            share: shown(self.roots.tasks_dir()),
            media_roots: self.roots.media().iter().map(|root| shown(root)).collect(),
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Tells whether submits can be decided.
pub struct HealthChecks {
    store: Store,
    /// Cancelled once the daemon takes no new work.
    draining: CancellationToken,
    /// Why submits cannot be decided yet; `None` once the daemon is prepared.
    preparing: watch::Receiver<Option<String>>,
    workers: Workers,
}

impl HealthChecks {
    pub fn new(
        store: Store,
        draining: CancellationToken,
        preparing: watch::Receiver<Option<String>>,
        workers: Workers,
    ) -> Self {
        Self {
            store,
            draining,
            preparing,
            workers,
        }
    }

    /// Finds what keeps stages waiting although submits can be decided.
    pub async fn find_warnings(&self) -> Vec<String> {
        self.workers.find_warnings().await
    }

    /// Finds why submits cannot be decided. Returns nothing if they can.
    pub async fn find_causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        if self.draining.is_cancelled() {
            causes.push("draining: the daemon is stopping and takes no new work".to_owned());
        }
        let preparing = self.preparing.borrow().clone();
        match preparing {
            Some(why) => causes.push(format!("still preparing: {why}")),
            None => causes.extend(self.store.check_layout().await.err().map(|error| error.to_string())),
        }
        causes
    }
}

/// Measures the daemon and what Redis knows.
pub struct Measurements {
    store: Store,
    metrics: Metrics,
    slots: Slots,
    workers: Workers,
}

impl Measurements {
    pub fn new(store: Store, metrics: Metrics, slots: Slots, workers: Workers) -> Self {
        Self {
            store,
            metrics,
            slots,
            workers,
        }
    }

    /// Writes all measurements; those of Redis are left out while it does not answer.
    pub async fn write_measurements(&self) -> String {
        let reading = match self.read_redis().await {
            Ok(reading) => Some(reading),
            Err(error) => {
                tracing::debug!(%error, "measured without Redis");
                None
            }
        };
        let workers = match &reading {
            Some(_) => self.workers.read_report().await.ok(),
            None => None,
        };
        let workers = workers.unwrap_or_else(|| self.workers.describe());
        self.metrics.render(reading.as_ref(), &workers)
    }

    async fn read_redis(&self) -> Result<RedisReading, StoreError> {
        let ping = self.store.ping().await?;
        let mut slots = IndexMap::clone(&self.slots);
        for (name, count) in &mut slots {
            // How many runs go to workers is up to these.
            *count = self.workers.count_slots(name).unwrap_or(*count);
        }
        Ok(RedisReading {
            ping,
            gauges: self.store.gauges(slots.iter()).await?,
            tasks: self.store.totals().await?.tasks,
        })
    }
}
