//! The composition root: puts the daemon together from its configuration, runs it, and takes it down in order.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use onceover_common::{NodeName, Timestamp, catalog::Catalog, causes, humane};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{self, Hosts, Tokens, links::Links},
    api::{
        self, AppState, Doors, Patience, Shared,
        server::{self, Server},
    },
    callbacks::{
        deliver::{self, DeliveryOptions},
        guard::{Guard, Purpose},
        sign::{SECRETS_VARIABLE, Secrets},
        tell,
    },
    catalog::whole_catalog,
    config::{Config, KeepFiles, RetentionConfig},
    data_dir::DataDir,
    engine::{self, ChangedStages, Engine},
    environment,
    executor::{
        download::Downloads,
        folder::MostLeft,
        keeper, process,
        supervise::{Executor, ExecutorOptions},
    },
    gc::{Collector, follow},
    hub::Hub,
    logging::{self, Logging},
    metrics::Metrics,
    nodes::llm::Providers,
    objects::{
        ObjectStorage,
        queue::{self, UploadOptions, Uploading},
    },
    paths::{self, Roots},
    pipeline::{Pipelines, Videos, drive},
    private_redis::PrivateRedis,
    python::{self, Python},
    readiness::Readiness,
    signals::StopSignals,
    store::{Bounds, Reap, ServerInfo, Store, StoreError, StoreOptions},
    tenure,
};

/// How long open requests and the handing back of runs may take, beside the runs' own grace time, once the daemon stops.
const STOP_LIMIT: Duration = Duration::from_millis(1500);
/// How often the log says that Redis is still waited for.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// The guard of callback addresses.
pub fn guard(config: &Config) -> anyhow::Result<Guard> {
    Ok(Guard::new(Purpose::Callback, &config.callbacks.allow)?)
}

/// The object store, where one is configured.
pub fn objects(config: &Config) -> anyhow::Result<Option<Arc<ObjectStorage>>> {
    let storage = ObjectStorage::open(&config.storage).map_err(anyhow::Error::msg)?;
    Ok(storage.map(Arc::new))
}

/// What fetches inputs that are URLs.
pub fn downloads(config: &Config, objects: Option<Arc<ObjectStorage>>) -> anyhow::Result<Downloads> {
    let guard = Guard::new(Purpose::Input, &config.inputs.allow)?;
    Downloads::new(guard, objects, config.inputs.max_bytes, config.inputs.timeout)
        .context("cannot make the HTTP client for downloads")
}

/// The language models that nodes may ask.
pub fn providers(config: &Config) -> anyhow::Result<Providers> {
    Providers::new(&config.llm).map_err(anyhow::Error::msg)
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
        mode: if private.is_some() { "private" } else { "external" },
        url: private.or_else(|| config.redis.url.clone()).unwrap_or_default(),
        ttl: config.retention.ttl,
        keep_events: config.retention.events,
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

/// Runs the daemon until SIGTERM, ctrl-C or its terminal's end. Reports on stderr why it ends, if that is an error, and answers whether it is.
pub fn main(config: Config) -> ExitCode {
    let format = config.log.format;
    // Out here, so that it outlives everything that may log.
    let mut logging = None;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime
        .context("cannot start the threads that do the work")
        .and_then(|runtime| runtime.block_on(serve(config, &mut logging)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::report_failure(logging.as_ref(), format, &causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config, logging: &mut Option<Logging>) -> anyhow::Result<()> {
    config.check()?;
    let catalog = whole_catalog(&config)?;
    let pipelines = Pipelines::load(&config, &catalog)?;
    let readiness = readiness(&config, &catalog)?;
    let guard = guard(&config)?;
    let objects = objects(&config)?;
    let downloads = downloads(&config, objects.clone())?;
    let providers = providers(&config)?;
    let tokens = Tokens::load(&config.access)?;
    access::check(&config.listen, &tokens)?;
    let callbacks = guard.client().context("cannot make the HTTP client for callbacks")?;
    let secrets = secrets(&config)?;
    let data = Arc::new(DataDir::open(&config.data)?);
    let logging = logging.insert(logging::start(&data.logs(), &config.log)?);
    let media_roots = config.media_roots.iter().cloned().chain([data.videos()]);
    let roots = Roots::new(data.workflows(), media_roots.collect())?.with_document_limit(config.inputs.max_document);
    // Files that were coming in when an earlier daemon ended.
    paths::remove_folder(roots.share(), paths::share::INCOMING)
        .with_context(|| format!("cannot empty {}", roots.share().join(paths::share::INCOMING).display()))?;
    let listener = TcpListener::bind(&config.listen).await.with_context(|| {
        format!(
            "cannot listen on {}; is another onceoverd running? --listen HOST:PORT takes another address",
            config.listen
        )
    })?;
    let address = listener.local_addr()?;
    let open_files = server::raise_open_files().context("cannot raise the number of files that may be open")?;
    for warning in tokens.warnings() {
        tracing::warn!("{warning}");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), instance = data.instance(), %address, "starting");

    // What an earlier daemon of this directory left running, before anything new starts.
    let (directory, start) = data.instance().split_once('#').unwrap_or((data.instance(), "0"));
    if !process::sweep_until_gone(&format!("{directory}/"), Duration::from_secs(5)) {
        tracing::warn!("processes that an earlier daemon left do not end");
    }
    let programs = python::unpack(&data.programs())
        .with_context(|| format!("cannot unpack the programs of nodes into {}", data.programs().display()))?;
    let python = Arc::new(Python {
        environments: config.environments(),
        programs,
    });
    let private = match &config.redis.url {
        Some(_) => None,
        None => Some(PrivateRedis::start(&data, config.redis.server.as_deref(), config.redis.max_memory()).await?),
    };
    // With the start's number: the keeper of an earlier start must not end what this one runs.
    let mark = format!("{directory}/{start}");
    let keeper = keeper::spawn(
        &format!("{mark}/"),
        private
            .as_ref()
            .map(|redis| keeper::PrivateRedis {
                pid_file: redis.pid_file().to_owned(),
                lock: data.lock_file(),
            })
            .as_ref(),
    )
    .context("cannot start the keeper, which ends left-over processes should the daemon be killed")?;

    let names: Vec<NodeName> = catalog.iter().map(|node| node.name.clone()).collect();
    let private_url = private.as_ref().map(|redis| redis.url().to_owned());
    let store = Store::open(store_options(&config, private_url), names)?;
    let started_at = Timestamp::now();
    let changed = ChangedStages::default();
    let metrics = Metrics::new(store.calls().clone(), changed.dropped().clone(), started_at);
    let draining = CancellationToken::new();
    let stop = CancellationToken::new();
    let slots = config.slots();
    let hub = Hub::default();
    let engine = Engine {
        store: store.clone(),
        catalog: Arc::new(catalog),
        readiness: Arc::new(readiness),
        roots: Arc::new(roots),
        guard: Arc::new(guard),
        downloads: Arc::new(downloads),
        objects: objects.clone(),
        uploading: Uploading::default(),
        providers,
        hub: hub.clone(),
        changed,
        queues: slots.keys().cloned().collect(),
        grace: config.runs.grace,
        verify: config.reuse.verify,
        metrics: metrics.clone(),
        warning_log: Arc::default(),
        draining: draining.clone(),
    };
    let uploads = objects
        .filter(|_| config.core.auto_upload)
        .map(|storage| UploadOptions {
            storage,
            directory: directory.to_owned(),
            retry_for: config.storage.retry_for,
        });
    let executor = Executor::new(
        engine.clone(),
        ExecutorOptions {
            owner: data.instance().to_owned(),
            mark: mark.clone(),
            slots: slots.clone(),
            heartbeat: config.runs.heartbeat,
            python,
            upload: uploads.as_ref().map(|uploads| uploads.directory.clone()),
            most_left: MostLeft {
                depth: config.runs.max_depth,
                files: config.runs.max_files,
            },
        },
    );
    let videos = Videos {
        engine: engine.clone(),
        pipelines: Arc::new(pipelines),
        folder: Arc::new(data.videos()),
        mark: mark.as_str().into(),
        max_bytes: config.inputs.max_bytes,
    };
    let links = Links::new(store.clone(), !tokens.is_empty(), config.access.link_lifetime);
    let (preparing, preparing_seen) = watch::channel(Some("not connected to Redis yet".to_owned()));
    let state = AppState::from(Shared {
        engine: engine.clone(),
        executor: executor.clone(),
        videos: videos.clone(),
        instance: data.instance().into(),
        started_at,
        largest_file: config.files.max_bytes,
        bucket: config.storage.bucket.as_str().into(),
        links: links.clone(),
        unknown_fields: config.api.unknown_fields,
        preparing: preparing_seen,
        stop: stop.clone(),
    });
    let doors = Doors {
        tokens: Arc::new(tokens),
        links,
        hosts: Arc::new(Hosts::new(access::is_loopback(&address), &config.access.hosts)),
        places: Arc::new(Semaphore::new(config.access.max_requests)),
        body_timeout: config.access.body_timeout,
        metrics,
    };
    let server = Server {
        router: api::router(state, doors),
        patience: Patience {
            header: config.access.header_timeout,
            idle: config.access.idle_timeout,
        },
        most: server::affordable(config.access.max_connections, open_files),
    };
    let mut server = tokio::spawn(server.serve(listener, stop.clone()));
    logging.announce(&format!(
        "onceoverd listens on http://{address}; its log is in {}",
        data.logs().display()
    ));

    let mut signals = StopSignals::listen()?;

    let listening = tokio::spawn(hub.listen(store.clone()));
    let mut work = tokio::spawn(work(
        videos,
        executor.clone(),
        callbacks,
        DeliveryOptions {
            owner: data.instance().to_owned(),
            schedule: config.callbacks.schedule.clone(),
            timeout: config.callbacks.timeout,
            max_at_once: config.callbacks.max_at_once,
            max_per_host: config.callbacks.max_per_host,
            breaker_after: config.callbacks.breaker_after,
            breaker_wait: config.callbacks.breaker_wait,
            secrets,
        },
        Background {
            retention: config.retention.clone(),
            uploads,
            data: Arc::clone(&data),
        },
        stop.clone(),
        preparing,
    ));
    let ended: anyhow::Result<()> = tokio::select! {
        signal = signals.asked() => {
            tracing::info!(signal, drain = humane::duration(config.runs.drain), "stopping");
            Ok(())
        }
        worked = &mut work => match worked {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(error).context("the executor broke down"),
        },
        served = &mut server => match served {
            Ok(()) => bail!("the HTTP server ended by itself"),
            Err(error) => Err(error).context("the HTTP server broke down"),
        },
    };
    // From here on nothing new is taken; what runs may end by itself, until somebody asks again.
    draining.cancel();
    executor.drain();
    if ended.is_ok() && !config.runs.drain.is_zero() {
        tokio::select! {
            () = executor.drained() => tracing::info!("every run has ended"),
            _ = &mut work => {}
            () = tokio::time::sleep(config.runs.drain) => tracing::info!("runs that go on are handed back"),
            signal = signals.asked_again() => tracing::info!(signal, "asked again: runs are handed back now"),
        }
    }
    executor.stop();
    stop.cancel();
    let limit = STOP_LIMIT + config.runs.grace;
    let down = async {
        if !work.is_finished() {
            let _ = work.await;
        }
        if !server.is_finished() {
            let _ = server.await;
        }
    };
    if tokio::time::timeout(limit, down).await.is_err() {
        tracing::warn!(
            limit = humane::duration(limit),
            "not everything ended in time; what is left is ended now"
        );
        process::sweep_until_gone(&format!("{mark}/"), Duration::from_secs(2));
    }
    listening.abort();
    if let Some(redis) = private {
        redis.stop().await;
    }
    tokio::task::spawn_blocking(move || keeper.dismiss()).await?;
    tracing::info!("stopped");
    ended
}

/// What goes on beside runs and callbacks.
struct Background {
    retention: RetentionConfig,
    /// None where nothing goes to an object store by itself.
    uploads: Option<UploadOptions>,
    data: Arc<DataDir>,
}

/// Waits for Redis, takes back what an earlier daemon of this directory held, then runs and delivers.
async fn work(
    videos: Videos,
    executor: Executor,
    callbacks: reqwest::Client,
    options: DeliveryOptions,
    background: Background,
    stop: CancellationToken,
    preparing: watch::Sender<Option<String>>,
) -> anyhow::Result<()> {
    let Background {
        retention,
        uploads,
        data,
    } = background;
    let engine = videos.engine.clone();
    let prepare = async {
        let server = reach_redis(&engine.store, &preparing).await?;
        tell_of_server(&server);
        preparing.send_replace(Some(
            "asking whether another daemon uses the identity of this data folder".into(),
        ));
        tenure::begin(&engine.store, &data).await?;
        preparing.send_replace(Some("taking back runs of an earlier start".into()));
        take_back(&engine, &options.owner).await?;
        anyhow::Ok(tenure::enter(&engine.store, &data).await?)
    };
    let since = tokio::select! {
        () = engine.draining.cancelled() => return Ok(()),
        prepared = prepare => prepared?,
    };
    preparing.send_replace(None);
    if retention.files == KeepFiles::WithRecord {
        let collector = Collector {
            store: engine.store.clone(),
            share: engine.roots.share().to_owned(),
            queues: Arc::clone(&engine.queues),
            grace: retention.grace,
            since: Some(since),
            dry_run: false,
        };
        // As long as a deletion may wait for processes.
        let after = engine.grace + engine.store.options().lease + Duration::from_secs(3);
        tokio::spawn(follow::follow(collector, engine.hub.clone(), after, stop.clone()));
    }
    let uploading = uploads.map(|uploads| tokio::spawn(queue::run(engine.clone(), uploads, stop.clone())));
    let following = tokio::spawn(engine::follow_other_workers(engine.clone(), stop.clone()));
    let store = engine.store.clone();
    let telling = tokio::spawn(tell::run(engine.clone(), stop.clone()));
    let delivering = tokio::spawn(deliver::run(engine, callbacks, options, stop.clone()));
    let driving = tokio::spawn(drive::run(videos, stop));
    tokio::select! {
        () = executor.run() => {}
        lost = tenure::keep(&store, &data) => match lost? {},
    }
    let _ = tokio::join!(delivering, driving, following, telling);
    if let Some(uploading) = uploading {
        let _ = uploading.await;
    }
    tenure::end(&store, &data).await;
    Ok(())
}

/// Waits until Redis can be used, and tells why it cannot when that changes, else once in a while.
async fn reach_redis(store: &Store, preparing: &watch::Sender<Option<String>>) -> Result<ServerInfo, StoreError> {
    let mut told: Option<(String, Instant)> = None;
    loop {
        match store.prepare().await {
            Ok(server) => return Ok(server),
            Err(error @ StoreError::Unavailable(_)) => {
                let why = error.to_string();
                let known = told
                    .as_ref()
                    .is_some_and(|(before, at)| *before == why && at.elapsed() < SAY_AGAIN);
                if !known {
                    tracing::warn!(%error, "waiting for Redis");
                    told = Some((why.clone(), Instant::now()));
                }
                preparing.send_replace(Some(why));
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn tell_of_server(server: &ServerInfo) {
    if server.append_only == Some(false) {
        tracing::warn!("Redis keeps no append-only file: what is accepted is lost when it restarts (appendonly yes)");
    }
    let version = server.version.as_deref().unwrap_or_default();
    tracing::info!(version, product = server.product, "connected to Redis");
}

/// This directory's lock is ours, so every earlier daemon of it is gone, and what it had taken can be taken back at once.
async fn take_back(engine: &Engine, instance: &str) -> Result<(), StoreError> {
    let Some((id, start)) = instance.split_once('#') else {
        return Ok(());
    };
    let start: u64 = start.parse().unwrap_or_default();
    // A daemon that was killed while it waited for Redis never took anything; look past a few of those.
    for earlier in start.saturating_sub(20)..start {
        for queue in engine.queues.iter() {
            let taken = engine.store.reap(queue, Reap::Gone(&format!("{id}#{earlier}"))).await?;
            if taken > 0 {
                tracing::info!(queue, taken, "took back runs of an earlier start");
            }
        }
        let taken = engine.store.outbox_release(&format!("{id}#{earlier}")).await?;
        if taken > 0 {
            tracing::info!(taken, "took back callbacks of an earlier start");
        }
    }
    Ok(())
}
