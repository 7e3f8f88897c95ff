//! The parts of the daemon that its configuration alone decides. Commands of `onceoverd` use them as the daemon does.

use std::sync::Arc;

use anyhow::Context;
use onceover_catalog::Catalog;
use onceover_nodes::llm::Providers;
use onceover_process::environment;
use onceover_store::{Bounds, RedisMode, StoreOptions};

use crate::{
    access::{self, Tokens},
    catalog::{assign_services, load_local_catalog},
    config::Config,
    downloads::Downloads,
    objects::ObjectStorage,
    pipelines::Pipelines,
    readiness::Readiness,
    ssrf_guard::{Purpose, SsrfGuard},
    webhooks::sign::{SECRETS_VARIABLE, Secrets},
};

/// The guard of callback addresses.
pub fn guard(config: &Config) -> anyhow::Result<SsrfGuard> {
    Ok(SsrfGuard::new(Purpose::Callback, &config.callbacks.allow)?)
}

/// The object store, where one is configured.
pub fn objects(config: &Config) -> anyhow::Result<Option<Arc<ObjectStorage>>> {
    let storage = ObjectStorage::open(&config.storage).map_err(anyhow::Error::msg)?;
    Ok(storage.map(Arc::new))
}

/// What fetches inputs that are URLs.
pub fn downloads(config: &Config, objects: Option<Arc<ObjectStorage>>) -> anyhow::Result<Downloads> {
    let guard = SsrfGuard::new(Purpose::Input, &config.inputs.allow)?;
    Downloads::new(guard, objects, config.inputs.max_bytes, config.inputs.timeout)
        .context("cannot make the HTTP client for downloads")
}

/// The language models that nodes may ask.
pub fn providers(config: &Config) -> anyhow::Result<Providers> {
    Providers::new(&config.llm, environment::var).map_err(anyhow::Error::msg)
}

/// What the nodes of the catalog lack on this machine.
pub fn readiness(config: &Config, catalog: &Catalog) -> anyhow::Result<Readiness> {
    Readiness::new(config.environments(), providers(config)?, catalog).map_err(anyhow::Error::msg)
}

/// What callbacks are signed with.
pub fn secrets(config: &Config) -> anyhow::Result<Secrets> {
    let environment = environment::var(SECRETS_VARIABLE);
    Ok(Secrets::load(
        environment.as_deref(),
        config.callbacks.secrets_file.as_deref(),
    )?)
}

/// How the store works; without a `private` Redis it is the configured one.
pub fn store_options(config: &Config, private: Option<String>) -> StoreOptions {
    StoreOptions {
        mode: match private {
            Some(_) => RedisMode::Private,
            None => RedisMode::External,
        },
        url: private.or_else(|| config.redis.url.clone()).unwrap_or_default(),
        ttl: config.retention.ttl,
        keep_events: config.retention.events,
        keep_runs: config.retention.runs_per_stage,
        lease: config.runs.lease,
        max_lost: config.runs.max_lost,
        keep_callbacks: config.callbacks.keep,
        bounds: Bounds {
            callbacks: config.callbacks.max_per_run,
            input: config.inputs.max_json,
            task_input: config.inputs.max_task,
        },
    }
}

/// What is known of nodes and pipelines, and what reaches outside for them.
pub(crate) struct LoadedNodes {
    pub(crate) catalog: Catalog,
    /// The nodes as they run on this machine, also those that Celery workers run.
    pub(super) local: Catalog,
    pub(super) pipelines: Pipelines,
    pub(super) readiness: Readiness,
    pub(super) guard: SsrfGuard,
    /// The object store, where one is configured.
    pub(super) objects: Option<Arc<ObjectStorage>>,
    pub(super) downloads: Downloads,
    pub(super) providers: Providers,
}

/// What is read and checked before anything is opened or started.
pub(crate) struct Loaded {
    pub(crate) nodes: LoadedNodes,
    pub(super) tokens: Tokens,
    /// What callbacks are sent with.
    pub(super) callbacks: reqwest::Client,
    pub(super) secrets: Secrets,
}

impl Loaded {
    pub(crate) fn from_config(config: &Config) -> anyhow::Result<Self> {
        config.check()?;
        let local = load_local_catalog(config)?;
        let catalog = assign_services(&local, config)?;
        let pipelines = Pipelines::load(config, &catalog)?;
        let readiness = readiness(config, &catalog)?;
        let guard = guard(config)?;
        let objects = objects(config)?;
        let downloads = downloads(config, objects.clone())?;
        let providers = providers(config)?;
        let tokens = Tokens::load(&config.access)?;
        access::check(&config.listen, &tokens)?;
        let callbacks = guard.client().context("cannot make the HTTP client for callbacks")?;
        let nodes = LoadedNodes {
            catalog,
            local,
            pipelines,
            readiness,
            guard,
            objects,
            downloads,
            providers,
        };
        Ok(Self {
            nodes,
            tokens,
            callbacks,
            secrets: secrets(config)?,
        })
    }
}
