//! Puts the daemon together: what handlers, executor and background work share, and the HTTP server.

use std::sync::Arc;

use anyhow::Result;
use onceover_store::Store;
use onceover_types::{NodeName, Timestamp};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{
    background::{Background, Preparing},
    machine::Machine,
    parts::{Loaded, store_options},
    running::Running,
    signals::StopSignals,
};
use crate::{
    access::{Hosts, is_loopback, links::Links},
    config::Config,
    events::EventBus,
    executor::{
        folder::MostLeft,
        supervise::{Executor, ExecutorOptions},
    },
    http::{
        self, AppState, ConnectionTimeouts, Doors, Shared,
        server::{self, Server},
    },
    logging::Logging,
    metrics::{Metrics, RedisCalls},
    objects::Uploading,
    pipelines::Videos,
    services::{ChangedStages, Engine},
    uploads::UploadOptions,
    webhooks::deliver::DeliveryOptions,
};

/// Everything the daemon is made of, before any of it works.
pub(super) struct Assembly {
    config: Config,
    machine: Machine,
    started_at: Timestamp,
    engine: Engine,
    executor: Executor,
    videos: Videos,
    links: Links,
    doors: Doors,
    delivery: DeliveryOptions,
    callbacks: reqwest::Client,
    /// None where nothing goes to an object store by itself.
    uploads: Option<UploadOptions>,
}

impl Assembly {
    pub(super) fn build(config: Config, loaded: Loaded, machine: Machine) -> Result<Self> {
        let names: Vec<NodeName> = loaded.catalog.iter().map(|node| node.name.clone()).collect();
        let private_url = machine.private.as_ref().map(|redis| redis.url().to_owned());
        let calls = RedisCalls::default();
        let store = Store::open(store_options(&config, private_url), names, Arc::new(calls.clone()))?;
        let started_at = Timestamp::now();
        let changed = ChangedStages::default();
        let metrics = Metrics::new(calls, changed.dropped().clone(), started_at);
        let slots = config.slots();
        let engine = Engine {
            store: store.clone(),
            catalog: Arc::new(loaded.catalog),
            readiness: Arc::new(loaded.readiness),
            roots: Arc::new(machine.roots.clone()),
            guard: Arc::new(loaded.guard),
            downloads: Arc::new(loaded.downloads),
            objects: loaded.objects.clone(),
            uploading: Uploading::default(),
            providers: loaded.providers,
            hub: EventBus::default(),
            changed,
            queues: slots.keys().cloned().collect(),
            grace: config.runs.grace,
            verify: config.reuse.verify,
            metrics: metrics.clone(),
            warning_log: Arc::default(),
            draining: CancellationToken::new(),
        };
        let uploads = loaded
            .objects
            .filter(|_| config.core.auto_upload)
            .map(|storage| UploadOptions {
                storage,
                directory: machine.identity.directory.clone(),
                retry_for: config.storage.retry_for,
            });
        let executor = Executor::new(
            engine.clone(),
            ExecutorOptions {
                owner: machine.data.instance().to_owned(),
                mark: machine.identity.mark.clone(),
                slots,
                heartbeat: config.runs.heartbeat,
                python: Arc::clone(&machine.python),
                upload: uploads.as_ref().map(|uploads| uploads.directory.clone()),
                most_left: MostLeft {
                    depth: config.runs.max_depth,
                    files: config.runs.max_files,
                },
            },
        );
        let videos = Videos {
            engine: engine.clone(),
            pipelines: Arc::new(loaded.pipelines),
            folder: Arc::new(machine.data.videos()),
            mark: machine.identity.mark.as_str().into(),
            max_bytes: config.inputs.max_bytes,
        };
        let links = Links::new(store, !loaded.tokens.is_empty(), config.access.link_lifetime);
        let doors = Doors {
            tokens: Arc::new(loaded.tokens),
            links: links.clone(),
            hosts: Arc::new(Hosts::new(is_loopback(&machine.address), &config.access.hosts)),
            places: Arc::new(Semaphore::new(config.access.max_requests)),
            body_timeout: config.access.body_timeout,
            metrics,
        };
        let delivery = DeliveryOptions {
            owner: machine.data.instance().to_owned(),
            schedule: config.callbacks.schedule.clone(),
            timeout: config.callbacks.timeout,
            max_at_once: config.callbacks.max_at_once,
            max_per_host: config.callbacks.max_per_host,
            breaker_after: config.callbacks.breaker_after,
            breaker_wait: config.callbacks.breaker_wait,
            secrets: loaded.secrets,
        };
        Ok(Self {
            config,
            machine,
            started_at,
            engine,
            executor,
            videos,
            links,
            doors,
            delivery,
            callbacks: loaded.callbacks,
            uploads,
        })
    }

    /// Starts to answer requests and to work. Signals are listened to from here on.
    pub(super) fn start(self, logging: Option<&Logging>) -> Result<Running> {
        let stop = CancellationToken::new();
        let (preparing, preparing_seen) = watch::channel(Some("not connected to Redis yet".to_owned()));
        let server = Server {
            router: http::router(self.app_state(preparing_seen, &stop), self.doors),
            patience: ConnectionTimeouts {
                header: self.config.access.header_timeout,
                idle: self.config.access.idle_timeout,
            },
            most: server::affordable(self.config.access.max_connections, self.machine.open_files),
        };
        let server = tokio::spawn(server.serve(self.machine.listener, stop.clone()));
        if let Some(logging) = logging {
            logging.announce(&format!(
                "onceoverd listens on http://{}; its log is in {}",
                self.machine.address,
                self.machine.data.logs().display()
            ));
        }
        let signals = StopSignals::listen()?;
        let listening = tokio::spawn(self.engine.hub.clone().listen(self.engine.store.clone()));
        let background = Background {
            videos: self.videos,
            executor: self.executor.clone(),
            callbacks: self.callbacks,
            delivery: self.delivery,
            retention: self.config.retention.clone(),
            uploads: self.uploads,
            data: self.machine.data,
        };
        let work = tokio::spawn(background.run(Preparing(preparing), stop.clone()));
        Ok(Running {
            runs: self.config.runs,
            draining: self.engine.draining,
            executor: self.executor,
            mark: self.machine.identity.mark,
            private: self.machine.private,
            keeper: self.machine.keeper,
            signals,
            stop,
            server,
            work,
            listening,
        })
    }

    fn app_state(&self, preparing: watch::Receiver<Option<String>>, stop: &CancellationToken) -> AppState {
        AppState::from(Shared {
            engine: self.engine.clone(),
            executor: self.executor.clone(),
            videos: self.videos.clone(),
            instance: self.machine.data.instance().into(),
            started_at: self.started_at,
            largest_file: self.config.files.max_bytes,
            bucket: self.config.storage.bucket.as_str().into(),
            links: self.links.clone(),
            unknown_fields: self.config.api.unknown_fields,
            preparing,
            stop: stop.clone(),
        })
    }
}
