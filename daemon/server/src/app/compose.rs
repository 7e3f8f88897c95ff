//! The parts of the daemon, each handed what it uses and no more.

use std::sync::Arc;

use onceover_catalog::Catalog;
use onceover_nodes::llm::Providers;
use onceover_run::{Programs, paths::Roots};
use onceover_store::Store;
use onceover_types::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    background::{Background, DeliveryWork, RecordDeletion, UploadWork},
    machine::Home,
    parts::LoadedNodes,
};
use crate::{
    access::links::Links,
    config::Config,
    dispatch::Dispatcher,
    downloads::Downloads,
    events::EventBus,
    executor::{
        folder::MostLeft,
        supervise::{Executor, ExecutorOptions, ExecutorParts, RunSupplies},
    },
    gpu_lock::GpuLock,
    http::{Files, HttpServices},
    metrics::{Metrics, RedisCalls},
    objects::{ObjectStorage, Uploading},
    pipelines::{DescribedPipelines, Pipelines, Registrations, Videos, reconcile::Reconciler},
    readiness::Readiness,
    services::{
        Callbacks, Cancellations, ChangedStages, Decisions, Deletions, EventStreams, Explanations, ForeignStages,
        HealthChecks, History, InputEvidence, Instance, MachineMonitor, Measurements, NodeCatalog, RequestChecks,
        Slots, StageLogs, StagesNow, Submissions, SubmitReports, System, TaskViews, Workers, unread::WarningLog,
    },
    ssrf_guard::SsrfGuard,
    uploads::{UploadOptions, UploadParts},
    warm::WarmPool,
    webhooks::{
        deliver::{DeliveryOptions, DeliveryParts},
        send::Courier,
    },
};

/// What the daemon takes from outside the program. A simulation has its own of each.
pub(crate) struct Outside {
    pub(crate) store: Store,
    /// How long calls of Redis take, of which `store` tells.
    pub(crate) calls: RedisCalls,
    /// What starts the programs of runs.
    pub(crate) programs: Arc<dyn Programs>,
    /// What takes callbacks to their receivers.
    pub(crate) courier: Arc<dyn Courier>,
}

/// What more than one part of the daemon is made with. It stays in the composition root: a part is handed what it uses.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) bus: EventBus,
    pub(super) metrics: Metrics,
    programs: Arc<dyn Programs>,
    courier: Arc<dyn Courier>,
    catalog: Arc<Catalog>,
    /// The nodes as they run on this machine.
    local: Arc<Catalog>,
    dispatcher: Arc<Dispatcher>,
    /// The lock of workers that use this machine's GPU too.
    gpu_lock: Option<Arc<GpuLock>>,
    /// Processes that keep their models between runs.
    warm: WarmPool,
    readiness: Arc<Readiness>,
    pipelines: Arc<Pipelines>,
    roots: Arc<Roots>,
    guard: Arc<SsrfGuard>,
    downloads: Arc<Downloads>,
    providers: Providers,
    /// The object store, where one is configured.
    objects: Option<Arc<ObjectStorage>>,
    uploading: Uploading,
    changed: ChangedStages,
    /// What is known of Celery workers.
    pub(super) workers: Workers,
    slots: Slots,
    queues: Arc<[String]>,
    warning_log: Arc<WarningLog>,
    started_at: Timestamp,
    pub(super) draining: CancellationToken,
    pub(crate) stop: CancellationToken,
}

/// The services that more than one part uses.
pub(crate) struct Services {
    views: TaskViews,
    inputs: InputEvidence,
    foreign: Arc<ForeignStages>,
    pub(crate) submissions: Arc<Submissions>,
    pub(crate) cancellations: Cancellations,
    pub(crate) deletions: Deletions,
}

/// What only the HTTP server is made with.
pub(super) struct HttpParts {
    pub(super) links: Arc<Links>,
    pub(super) health: HealthChecks,
    pub(super) executor: Executor,
}

impl Shared {
    pub(crate) fn new(config: &Config, home: &Home, nodes: LoadedNodes, outside: Outside) -> Self {
        let Outside {
            store,
            calls,
            programs,
            courier,
        } = outside;
        let started_at = store.now();
        let changed = ChangedStages::default();
        let slots = config.slots();
        let bus = EventBus::default();
        let gpu = nodes.readiness.gpu();
        let owner = home.data.instance();
        let objects = nodes.objects.clone();
        let local = Arc::new(nodes.local);
        let dispatcher = Dispatcher::new(config, &local, gpu, store.clone(), bus.clone(), objects, owner);
        let metrics = Metrics::new(calls, changed.dropped().clone(), started_at);
        let mark = &home.identity.mark;
        let warm = WarmPool::new(config.warm.clone(), mark, config.runs.grace, metrics.warm().clone());
        let workers = Workers::new(store.clone(), dispatcher.registry().clone(), warm.clone());
        Self {
            store,
            programs,
            courier,
            bus,
            dispatcher: Arc::new(dispatcher),
            gpu_lock: build_gpu_lock(config, owner),
            local,
            metrics,
            warm,
            catalog: Arc::new(nodes.catalog),
            readiness: Arc::new(nodes.readiness),
            pipelines: Arc::new(nodes.pipelines),
            roots: Arc::new(home.roots.clone()),
            guard: Arc::new(nodes.guard),
            downloads: Arc::new(nodes.downloads),
            providers: nodes.providers,
            objects: nodes.objects,
            uploading: Uploading::default(),
            changed,
            workers,
            queues: slots.keys().cloned().collect(),
            slots: Arc::new(slots),
            warning_log: Arc::default(),
            started_at,
            draining: CancellationToken::new(),
            stop: CancellationToken::new(),
        }
    }

    pub(crate) fn build_services(&self, config: &Config) -> Services {
        let views = TaskViews::new(
            self.store.clone(),
            Arc::clone(&self.roots),
            self.changed.clone(),
            self.workers.clone(),
        );
        let inputs = InputEvidence::new(
            Arc::clone(&self.roots),
            Arc::clone(&self.downloads),
            config.reuse.verify,
            self.providers.clone(),
        );
        let foreign = Arc::new(ForeignStages::new(
            self.store.clone(),
            Arc::clone(&self.catalog),
            Arc::clone(&self.readiness),
            Arc::clone(&self.roots),
            self.bus.clone(),
            self.changed.clone(),
        ));
        let cancellations = Cancellations::new(
            self.store.clone(),
            self.bus.clone(),
            Arc::clone(&self.queues),
            config.runs.longest_end(),
        );
        let deletions = Deletions::new(
            self.store.clone(),
            Arc::clone(&self.roots),
            cancellations.clone(),
            self.objects.clone(),
            self.uploading.clone(),
        );
        Services {
            submissions: Arc::new(self.build_submissions(&views, &inputs, &foreign)),
            views,
            inputs,
            foreign,
            cancellations,
            deletions,
        }
    }

    fn build_submissions(
        &self,
        views: &TaskViews,
        inputs: &InputEvidence,
        foreign: &Arc<ForeignStages>,
    ) -> Submissions {
        let checks = RequestChecks::new(
            Arc::clone(&self.catalog),
            Arc::clone(&self.roots),
            Arc::clone(&self.guard),
            Arc::clone(&self.downloads),
            self.providers.clone(),
        );
        let decisions = Decisions::new(
            self.store.clone(),
            Arc::clone(&self.readiness),
            Arc::clone(&self.roots),
            inputs.clone(),
            Arc::clone(foreign),
            views.clone(),
            self.bus.clone(),
        );
        let reports = SubmitReports {
            metrics: self.metrics.clone(),
            warning_log: Arc::clone(&self.warning_log),
        };
        Submissions::new(checks, decisions, views.clone(), reports, self.draining.clone())
    }

    /// Returns `None` where nothing goes to an object store by itself.
    pub(super) fn build_uploads(&self, config: &Config, home: &Home) -> Option<UploadWork> {
        let storage = self.objects.clone().filter(|_| config.core.auto_upload)?;
        Some(UploadWork {
            parts: UploadParts {
                store: self.store.clone(),
                bus: self.bus.clone(),
                roots: Arc::clone(&self.roots),
                uploading: self.uploading.clone(),
            },
            options: UploadOptions {
                storage,
                directory: home.identity.directory.clone(),
                retry_for: config.storage.retry_for,
            },
        })
    }

    pub(crate) fn build_executor(
        &self,
        config: &Config,
        home: &Home,
        services: &Services,
        uploads: Option<&UploadWork>,
    ) -> Executor {
        let supplies = RunSupplies {
            catalog: Arc::clone(&self.catalog),
            local: Arc::clone(&self.local),
            dispatcher: Arc::clone(&self.dispatcher),
            gpu_lock: self.gpu_lock.clone(),
            warm: self.warm.clone(),
            roots: Arc::clone(&self.roots),
            inputs: services.inputs.clone(),
            downloads: Arc::clone(&self.downloads),
            views: services.views.clone(),
            providers: self.providers.clone(),
        };
        let parts = ExecutorParts {
            store: self.store.clone(),
            bus: self.bus.clone(),
            metrics: self.metrics.clone(),
            foreign: Arc::clone(&services.foreign),
            supplies: Arc::new(supplies),
        };
        let options = ExecutorOptions {
            owner: home.data.instance().to_owned(),
            mark: home.identity.mark.clone(),
            slots: Arc::clone(&self.slots),
            heartbeat: config.runs.heartbeat,
            grace: config.runs.grace,
            programs: Arc::clone(&self.programs),
            python: Arc::clone(&home.python),
            upload: uploads.map(|uploads| uploads.options.directory.clone()),
            most_left: MostLeft {
                depth: config.runs.max_depth,
                files: config.runs.max_files,
            },
        };
        Executor::new(parts, options)
    }

    pub(crate) fn build_deliveries(&self, config: &Config, home: &Home, services: &Services) -> DeliveryWork {
        DeliveryWork {
            parts: DeliveryParts {
                store: self.store.clone(),
                bus: self.bus.clone(),
                metrics: self.metrics.clone(),
                views: services.views.clone(),
                guard: Arc::clone(&self.guard),
                courier: Arc::clone(&self.courier),
            },
            options: DeliveryOptions {
                owner: home.data.instance().to_owned(),
                schedule: config.callbacks.schedule.clone(),
                timeout: config.callbacks.timeout,
                max_at_once: config.callbacks.max_at_once,
                max_per_host: config.callbacks.max_per_host,
                breaker_after: config.callbacks.breaker_after,
                breaker_wait: config.callbacks.breaker_wait,
            },
        }
    }

    pub(super) fn build_http(
        &self,
        config: &Config,
        home: &Home,
        services: &Services,
        parts: HttpParts,
    ) -> HttpServices {
        let explanations = Explanations::new(
            self.store.clone(),
            Arc::clone(&self.catalog),
            Arc::clone(&self.readiness),
            services.inputs.clone(),
            services.views.clone(),
        );
        let instance = Instance {
            name: home.data.instance().into(),
            started_at: self.started_at,
        };
        let system = System::new(
            self.store.clone(),
            Arc::clone(&self.roots),
            Arc::clone(&self.slots),
            self.workers.clone(),
            instance,
        );
        let measurements = Measurements::new(
            self.store.clone(),
            self.metrics.clone(),
            Arc::clone(&self.slots),
            self.workers.clone(),
        );
        let history = History::new(self.store.clone(), self.metrics.clone(), Arc::clone(&self.queues));
        let nodes = NodeCatalog::new(
            self.store.clone(),
            Arc::clone(&self.catalog),
            Arc::clone(&self.readiness),
        );
        let files = Files {
            roots: Arc::clone(&self.roots),
            objects: self.objects.clone(),
            bucket: config.storage.bucket.as_str().into(),
            largest_file: config.files.max_bytes,
            links: Arc::clone(&parts.links),
        };
        let (videos, registrations) = self.build_videos(config, home, services);
        HttpServices {
            submissions: Arc::clone(&services.submissions),
            views: Arc::new(services.views.clone()),
            explanations: Arc::new(explanations),
            cancellations: Arc::new(services.cancellations.clone()),
            deletions: Arc::new(services.deletions.clone()),
            callbacks: Arc::new(Callbacks::new(self.store.clone(), self.bus.clone())),
            logs: Arc::new(StageLogs::new(self.store.clone(), Arc::clone(&self.roots))),
            events: Arc::new(EventStreams::new(
                self.store.clone(),
                self.bus.clone(),
                self.stop.clone(),
            )),
            system: Arc::new(system),
            machine: Arc::new(watch_machine(home, &parts.executor)),
            workers: Arc::new(self.workers.clone()),
            history: Arc::new(history),
            health: Arc::new(parts.health),
            measurements: Arc::new(measurements),
            nodes: Arc::new(nodes),
            videos: Arc::new(videos),
            registrations: Arc::new(registrations),
            files: Arc::new(files),
            links: parts.links,
            executor: parts.executor,
            warning_log: Arc::clone(&self.warning_log),
            unknown_fields: config.api.unknown_fields,
            stop: self.stop.clone(),
        }
    }

    fn build_videos(&self, config: &Config, home: &Home, services: &Services) -> (Videos, Registrations) {
        let folder = Arc::new(home.data.videos());
        let pipelines = DescribedPipelines::new(
            Arc::clone(&self.pipelines),
            Arc::clone(&self.catalog),
            Arc::clone(&self.readiness),
        );
        let videos = Videos::new(
            self.store.clone(),
            self.bus.clone(),
            pipelines,
            services.cancellations.clone(),
            services.deletions.clone(),
            self.draining.clone(),
            Arc::clone(&folder),
        );
        let registrations = Registrations::new(
            self.store.clone(),
            Arc::clone(&self.roots),
            Arc::clone(&self.downloads),
            folder,
            home.identity.mark.as_str().into(),
            config.inputs.max_bytes,
        );
        (videos, registrations)
    }

    pub(crate) fn build_background(
        &self,
        config: &Config,
        home: &Home,
        services: &Services,
        executor: Executor,
        (deliveries, uploads): (DeliveryWork, Option<UploadWork>),
    ) -> Background {
        Background {
            store: self.store.clone(),
            bus: self.bus.clone(),
            queues: Arc::clone(&self.queues),
            foreign: Arc::clone(&services.foreign),
            reconciler: Reconciler {
                store: self.store.clone(),
                bus: self.bus.clone(),
                submissions: Arc::clone(&services.submissions),
                cancellations: services.cancellations.clone(),
                pipelines: Arc::clone(&self.pipelines),
                draining: self.draining.clone(),
            },
            executor,
            callbacks: deliveries,
            deletion: RecordDeletion {
                share: self.roots.tasks_dir().to_owned(),
                retention: config.retention.clone(),
                grace: config.runs.longest_end(),
            },
            uploads,
            dispatcher: Arc::clone(&self.dispatcher),
            data: Arc::clone(&home.data),
            draining: self.draining.clone(),
        }
    }
}

/// Makes what samples the machine, and the stages that run on it.
fn watch_machine(home: &Home, executor: &Executor) -> MachineMonitor {
    let executor = executor.clone();
    let active = move |most: usize| {
        let (stages, total) = executor.list_active(most);
        StagesNow { stages, total }
    };
    MachineMonitor::new(home.data.root().to_owned(), Box::new(active))
}

/// Makes the lock that runs share with existing workers; none where it is not configured. The configuration was checked.
fn build_gpu_lock(config: &Config, owner: &str) -> Option<Arc<GpuLock>> {
    let lock = config.gpu_lock.lock(owner).ok().flatten()?;
    Some(Arc::new(GpuLock::new(lock, config.gpu_lock.expires_after)))
}
