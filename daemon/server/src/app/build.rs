//! Puts the daemon together: its services, the HTTP server, and what works in the background.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use onceover_process::LocalPrograms;
use onceover_store::Store;
use onceover_types::NodeName;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    background::{Background, Preparing},
    compose::{HttpParts, Outside, Shared},
    machine::Machine,
    parts::{Loaded, store_options},
    running::Running,
    signals::StopSignals,
};
use crate::{
    access::{Hosts, is_loopback, links::Links},
    config::Config,
    events::EventBus,
    executor::supervise::Executor,
    http::{
        self, Admission, ConnectionTimeouts,
        server::{self, Server},
    },
    logging::Logging,
    metrics::RedisCalls,
    services::{HealthChecks, History, MachineMonitor, note_minutes, sample_machine},
    webhooks::send::HttpCourier,
};

/// Everything the daemon is made of, before any of it works.
pub(super) struct Assembly {
    config: Config,
    machine: Machine,
    router: Router,
    executor: Executor,
    background: Background,
    /// What samples the machine, and what notes the figures of minutes.
    observers: Observers,
    preparing: Preparing,
    /// What hears of changes, and from where.
    bus: EventBus,
    store: Store,
    /// Cancelled once the daemon takes no new work.
    draining: CancellationToken,
    /// Ends everything.
    stop: CancellationToken,
}

/// What looks at the daemon from outside its work.
struct Observers {
    machine: Arc<MachineMonitor>,
    history: Arc<History>,
}

impl Observers {
    /// Starts both; they end with `stop`. Returns what notes the figures, a last time then.
    fn start(self, stop: &CancellationToken) -> JoinHandle<()> {
        tokio::spawn(sample_machine(self.machine, stop.clone()));
        tokio::spawn(note_minutes(self.history, stop.clone()))
    }
}

impl Assembly {
    pub(super) fn build(config: Config, loaded: Loaded, machine: Machine) -> Result<Self> {
        let Loaded {
            nodes,
            tokens,
            callbacks,
            secrets,
        } = loaded;
        let home = &machine.home;
        let names: Vec<NodeName> = nodes.catalog.iter().map(|node| node.name.clone()).collect();
        let private_url = machine.private.as_ref().map(|redis| redis.url().to_owned());
        let calls = RedisCalls::default();
        let outside = Outside {
            store: Store::open(store_options(&config, private_url), names, Arc::new(calls.clone()))?,
            calls,
            programs: Arc::new(LocalPrograms),
            courier: Arc::new(HttpCourier {
                client: callbacks,
                secrets,
                timeout: config.callbacks.timeout,
            }),
        };
        let shared = Shared::new(&config, home, nodes, outside);
        let services = shared.build_services(&config);
        let uploads = shared.build_uploads(&config, home);
        let executor = shared.build_executor(&config, home, &services, uploads.as_ref());
        let links = Links::new(shared.store.clone(), !tokens.is_empty(), config.access.link_lifetime);
        let links = Arc::new(links);
        let admission = Admission {
            tokens,
            links: Arc::clone(&links),
            hosts: Hosts::new(is_loopback(&machine.address), &config.access.hosts),
            request_slots: Arc::new(Semaphore::new(config.access.max_requests)),
            body_timeout: config.access.body_timeout,
            metrics: shared.metrics.clone(),
        };
        let (preparing, preparing_seen) = watch::channel(Some("not connected to Redis yet".to_owned()));
        let parts = HttpParts {
            links,
            health: HealthChecks::new(
                shared.store.clone(),
                shared.draining.clone(),
                preparing_seen,
                shared.workers.clone(),
            ),
            executor: executor.clone(),
        };
        let http = shared.build_http(&config, home, &services, parts);
        let observers = Observers {
            machine: Arc::clone(&http.machine),
            history: Arc::clone(&http.history),
        };
        let deliveries = shared.build_deliveries(&config, home, &services);
        Ok(Self {
            router: http::router(http, admission),
            background: shared.build_background(&config, home, &services, executor.clone(), (deliveries, uploads)),
            executor,
            observers,
            preparing: Preparing(preparing),
            bus: shared.bus,
            store: shared.store,
            draining: shared.draining,
            stop: shared.stop,
            config,
            machine,
        })
    }

    /// Starts to answer requests and to work. Signals are listened to from here on.
    pub(super) fn start(self, logging: Option<&Logging>) -> Result<Running> {
        let stop = self.stop;
        let server = Server {
            router: self.router,
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
                self.machine.home.data.logs().display()
            ));
        }
        let signals = StopSignals::listen()?;
        let listening = tokio::spawn(self.bus.listen(self.store));
        let noting = self.observers.start(&stop);
        let work = tokio::spawn(self.background.run(self.preparing, stop.clone()));
        Ok(Running {
            runs: self.config.runs,
            draining: self.draining,
            executor: self.executor,
            mark: self.machine.home.identity.mark,
            private: self.machine.private,
            reaper: self.machine.reaper,
            signals,
            stop,
            server,
            work,
            listening,
            noting,
        })
    }
}
