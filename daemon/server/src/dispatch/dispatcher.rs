//! All that sending runs to workers shares: the services, their brokers, the registry of workers, and where stages go that
//! are not run by workers.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use indexmap::IndexMap;
use onceover_catalog::{Catalog, Gpu, RunnerSpec};
use onceover_celery::CeleryClient;
use onceover_store::{DispatchTarget, Store};
use onceover_types::NodeName;
use serde_json::Map;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    broker::SharedBroker,
    reconcile,
    registry::{WatchedBroker, WatchedQueue, WorkerRegistry},
    services::{WorkerService, WorkerServices, read_services},
    watch::watch_workers,
};
use crate::{
    config::{Config, dispatch_queue, find_workers_queue},
    events::EventBus,
    objects::ObjectStorage,
};

/// What sends runs to workers.
pub struct Dispatcher {
    pub(super) store: Store,
    /// What logs of workers say that a message comes from.
    pub(super) sender: String,
    pub(super) services: WorkerServices,
    pub(super) registry: Arc<WorkerRegistry>,
    pub(super) bus: EventBus,
    /// The nodes as they run on this machine.
    pub(super) local: Arc<Catalog>,
    /// Where programs beside node files lie.
    pub(super) program_folders: Arc<[PathBuf]>,
    pub(super) objects: Option<Arc<ObjectStorage>>,
    brokers: Vec<Arc<SharedBroker>>,
    /// Where stages of these services go that run on this machine.
    targets: IndexMap<String, Vec<DispatchTarget>>,
}

impl Dispatcher {
    /// Reads the services of the configuration. `local` has the nodes as they run on this machine.
    pub fn new(
        config: &Config,
        local: &Arc<Catalog>,
        gpu: Gpu,
        store: Store,
        bus: EventBus,
        objects: Option<Arc<ObjectStorage>>,
        owner: &str,
    ) -> Self {
        let (services, shared) = read_services(config);
        let brokers = shared.iter().map(|broker| {
            let queues = services
                .values()
                .filter(|service| service.is_used && Arc::ptr_eq(&service.broker, broker));
            let mut queues: Vec<_> = queues.map(|service| service.queue.clone()).collect();
            queues.sort();
            queues.dedup();
            let queues = queues.into_iter().map(|name| WatchedQueue {
                queue: dispatch_queue(&name),
                name,
            });
            WatchedBroker {
                name: broker.name().to_owned(),
                client: CeleryClient::new(broker.settings()),
                queues: queues.collect(),
            }
        });
        let registry = Arc::new(WorkerRegistry::new(brokers.collect(), bus.clone()));
        let targets = services
            .keys()
            .map(|name| (name.clone(), find_targets(name, local, gpu)));
        Self {
            targets: targets.collect(),
            sender: format!("onceoverd@{owner}"),
            local: Arc::clone(local),
            program_folders: find_program_folders(config).into(),
            objects,
            store,
            services,
            registry,
            bus,
            brokers: shared,
        }
    }

    /// What is known of the workers.
    pub fn registry(&self) -> &Arc<WorkerRegistry> {
        &self.registry
    }

    /// Counts the runs of a queue of ours that may be with its workers at a time. `None` for a queue that leads to none.
    pub fn count_slots(&self, queue: &str) -> Option<u32> {
        let queue = find_workers_queue(queue)?;
        let of_queue = self.services.values().filter(|service| service.queue == queue);
        // Services may share a queue; one that is not used sends nothing.
        let mut slots = None;
        for service in of_queue {
            if service.is_used {
                return Some(self.registry.capacity(service.broker.name(), queue).slots);
            }
            slots = Some(0);
        }
        slots
    }

    /// Whether what workers write for a node lies on this machine too, at the latest when the run ends.
    pub fn sees_files(&self, node: &NodeName) -> bool {
        self.service(node)
            .is_none_or(|service| service.sees_files || service.is_onceover)
    }

    /// Whether the workers of a node run its program, and do not have it themselves.
    pub fn sends_programs(&self, node: &NodeName) -> bool {
        self.service(node).is_some_and(|service| service.is_onceover)
    }

    /// The folders of this machine that the workers of a node have too.
    pub fn mapped_folders(&self, node: &NodeName) -> Vec<PathBuf> {
        let service = self.service(node).into_iter();
        let folders = service.flat_map(|service| service.paths.local_folders());
        folders.map(PathBuf::from).collect()
    }

    pub(super) fn service(&self, node: &NodeName) -> Option<&Arc<WorkerService>> {
        self.services.get(node.service())
    }

    /// Where stages of a service go that run on this machine.
    pub(super) fn targets(&self, service: &str) -> &[DispatchTarget] {
        self.targets.get(service).map(Vec::as_slice).unwrap_or_default()
    }

    /// Watches the workers, follows their news and ends messages that no run has any more, until `stop`. Without services
    /// that have workers there is nothing to do.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        if self.brokers.is_empty() {
            return;
        }
        let mut parts = JoinSet::new();
        parts.spawn(watch_workers(Arc::clone(&self.registry), stop.clone()));
        for broker in &self.brokers {
            parts.spawn(Arc::clone(broker).follow(Arc::clone(&self.registry), stop.clone()));
        }
        parts.spawn(reconcile::run(Arc::clone(&self), stop));
        while parts.join_next().await.is_some() {}
    }
}

/// How long workers may take to say which messages they have.
pub(super) const QUESTION: Duration = Duration::from_secs(1);

/// The folders of node files, and that of the configuration, which can have nodes as well.
fn find_program_folders(config: &Config) -> Vec<PathBuf> {
    let of_file = config.file().and_then(Path::parent);
    let folders = config.node_dirs.iter().map(PathBuf::as_path).chain(of_file);
    folders
        .map(|folder| std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()))
        .collect()
}

/// The nodes of a service as they run on this machine, where they can.
fn find_targets(service: &str, local: &Catalog, gpu: Gpu) -> Vec<DispatchTarget> {
    let nodes = local.iter().filter(|node| node.name.service() == service);
    let nodes = nodes.filter(|node| !matches!(node.runner, RunnerSpec::Celery(_)));
    nodes
        .map(|node| {
            let queue = node.queue_for(&Map::new(), gpu).to_owned();
            DispatchTarget(node.name.clone(), queue, node.runner.kind())
        })
        .collect()
}
