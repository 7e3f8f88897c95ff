//! `onceoverd check`: what is configured, and what is missing on this machine. A node that lacks something is named, and
//! is no error: the others run.

use std::{collections::BTreeSet, io::ErrorKind, sync::Arc, time::Duration};

use anyhow::bail;
use onceover_catalog::{Catalog, Gpu, Profile};
use onceover_types::humane;
use tokio::net::TcpListener;

use crate::{
    access::{self, AccessError, Tokens},
    app::{downloads, guard, objects, providers, readiness, secrets, store_options},
    catalog::load_catalog,
    commands::{gc, nodes::not_ready},
    config::{Config, KeepFiles, LogFormat, LogToStderr},
    console::print_line,
    dispatch::describe_services,
    logging::{LogFilter, LoggingError},
    objects::ObjectStorage,
    pipelines::{Pipelines, missing_of_pipeline},
    readiness::{Readiness, find_program},
    webhooks::sign::Secrets,
};
use onceover_store::Store;

/// Prints the effective configuration; an error when something that is needed is missing.
pub async fn check(config: &Config) -> anyhow::Result<()> {
    let log = log(config)?;
    let catalog = load_catalog(config)?;
    guard(config)?;
    let objects = objects(config)?;
    downloads(config, objects.clone())?;
    let models = providers(config)?;
    let pipelines = Pipelines::load(config, &catalog)?;
    let secrets = secrets(config)?;
    let tokens = Tokens::load(&config.access)?;
    let mut missing = BTreeSet::new();
    print_line!("listen       {}", address(config, &mut missing).await);
    print_line!("access       {}", who_may_call(config, &tokens, &mut missing));
    print_line!("data         {}", config.data.display());
    for root in &config.media_roots {
        print_line!(
            "media root   {}{}",
            root.display(),
            if root.is_dir() { "" } else { "   (no such folder)" }
        );
    }
    print_line!("redis        {}", redis(config, &catalog, &mut missing).await);
    print_services(config, &catalog, &mut missing).await;
    print_runs(config);
    print_network(config, &secrets);
    let readiness = readiness(config, &catalog)?;
    print_line!("profile      {}", profile(config, readiness.gpu()));
    print_pipelines(config, &catalog, &readiness, &pipelines);
    print_line!("storage      {}", storage(config, objects, &mut missing).await);
    print_line!("llm          {}", models.in_words());
    print_line!("log          {log}");
    let not_ready = not_ready(&readiness, &catalog);
    print_line!(
        "nodes        {}, of which {} are ready",
        catalog.len(),
        catalog.len() - not_ready.len()
    );
    for (node, missing) in &not_ready {
        print_line!("             {node} needs {}: {}", missing.what, missing.how);
    }
    note_missing(config, &mut missing);
    if missing.is_empty() {
        print_line!("missing      nothing");
        return Ok(());
    }
    let missing: Vec<_> = missing.into_iter().collect();
    bail!("missing or wrong on this machine:\n  {}", missing.join("\n  "))
}

/// Where the nodes of services run, if not on this machine alone.
async fn print_services(config: &Config, catalog: &Catalog, wrong: &mut BTreeSet<String>) {
    let found = describe_services(config, catalog).await;
    for line in found.lines {
        print_line!("service      {line}");
    }
    wrong.extend(found.wrong);
}

/// What the defaults of nodes are chosen for.
fn profile(config: &Config, gpu: Gpu) -> String {
    let advice = match gpu {
        Gpu::Present => "",
        Gpu::Absent => "; this machine has no GPU: profile = \"cpu\" or --profile cpu takes small ones",
    };
    match config.profile {
        Some(Profile::Cpu) => "cpu: small models".to_owned(),
        Some(Profile::Cuda) => format!("cuda: large models{advice}"),
        None => format!("none: large models{advice}"),
    }
}

/// The pipelines, and what is missing for each, with the command that gets it.
fn print_pipelines(config: &Config, catalog: &Catalog, readiness: &Readiness, pipelines: &Pipelines) {
    let names: Vec<_> = pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
    print_line!(
        "pipelines    {}; by default {}",
        names.join(", "),
        pipelines.default_name()
    );
    for pipeline in pipelines.iter() {
        if let Some(missing) = missing_of_pipeline(config, catalog, readiness, pipeline) {
            print_line!("             {} needs {}: {}", pipeline.name, missing.what, missing.how);
        }
    }
}

/// How runs are started, kept and ended.
fn print_runs(config: &Config) {
    let slots: Vec<_> = config
        .slots()
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    print_line!("slots        {}", slots.join(", "));
    print_line!(
        "lease        {}, heartbeat {}; on SIGTERM runs {}",
        humane::duration(config.runs.lease),
        humane::duration(config.runs.heartbeat),
        match config.runs.drain {
            Duration::ZERO => "are handed back at once".to_owned(),
            drain => format!("may go on for {}", humane::duration(drain)),
        }
    );
    print_line!(
        "kept         {} after a stage ended; its files {}",
        humane::duration(config.retention.ttl),
        match config.retention.files {
            KeepFiles::Keep => "until onceoverd gc collects them",
            KeepFiles::WithRecord => "as long",
        }
    );
}

/// What is sent and what is fetched.
fn print_network(config: &Config, secrets: &Secrets) {
    print_line!(
        "callbacks    {} tries; {}; private addresses allowed: {}",
        config.callbacks.schedule.len(),
        match secrets.len() {
            0 => "not signed".to_owned(),
            1 => "signed".to_owned(),
            count => format!("signed with {count} secrets"),
        },
        if config.callbacks.allow.is_empty() {
            "none".to_owned()
        } else {
            config.callbacks.allow.join(", ")
        }
    );
    print_line!(
        "inputs       downloads up to {} and {}; private addresses allowed: {}",
        humane::bytes(config.inputs.max_bytes),
        humane::duration(config.inputs.timeout),
        if config.inputs.allow.is_empty() {
            "none".to_owned()
        } else {
            config.inputs.allow.join(", ")
        }
    );
}

/// Adds the folders and programs that are not there.
fn note_missing(config: &Config, missing: &mut BTreeSet<String>) {
    for root in config.media_roots.iter().filter(|root| !root.is_dir()) {
        missing.insert(format!("media root {} is not a folder", root.display()));
    }
    let server = config.redis.server.as_ref().map(|path| path.display().to_string());
    let has_server = match &server {
        Some(path) => find_program(path).is_some(),
        None => ["valkey-server", "redis-server"]
            .iter()
            .any(|name| find_program(name).is_some()),
    };
    if config.redis.url.is_none() && !has_server {
        missing.insert("redis-server or valkey-server, for the private Redis (apt-get install redis-server)".into());
    }
}

/// Mends damaged records in Redis or sets them aside, and prints what was done.
pub async fn repair(config: &Config) -> anyhow::Result<()> {
    let catalog = load_catalog(config)?;
    let (private, started) = gc::redis(config).await?;
    let names = catalog.iter().map(|node| node.name.clone());
    let store = Store::open(store_options(config, private), names, Arc::new(()))?;
    let done = store.mend().await;
    if let Some(started) = started {
        started.redis.stop().await;
    }
    let done = done?;
    for what in &done {
        print_line!("mended       {what}");
    }
    if done.is_empty() {
        print_line!("mended       nothing: no record is damaged");
    }
    Ok(())
}

/// Which events are logged, in which form and where.
fn log(config: &Config) -> Result<String, LoggingError> {
    let filter = LogFilter::read(&config.log)?;
    let format = match config.log.format {
        LogFormat::Text => "text",
        LogFormat::Json => "JSON",
    };
    let files = config.data.join("logs");
    let where_to = match config.log.stderr {
        LogToStderr::Never => "",
        LogToStderr::Auto | LogToStderr::Always => "stderr and ",
    };
    Ok(format!(
        "{} (by {}), {format}, to {where_to}{}",
        filter.value,
        filter.name,
        files.display()
    ))
}

/// The object store, and whether its bucket can be seen.
async fn storage(config: &Config, objects: Option<Arc<ObjectStorage>>, wrong: &mut BTreeSet<String>) -> String {
    let Some(objects) = objects else {
        return "none; files stay in the data folder".into();
    };
    let (address, bucket) = (objects.address(), objects.bucket());
    let uploads = match config.core.auto_upload {
        true => "files of finished stages go there",
        false => "nothing goes there by itself (core.auto_upload)",
    };
    match objects.list(bucket, "", None, 1).await {
        Ok(_) => format!("{address}, bucket {bucket}; {uploads}"),
        Err(error) => {
            wrong.insert(error.to_string());
            format!("{address}, bucket {bucket}   (not available)")
        }
    }
}

/// The listen address, and whether it is free.
async fn address(config: &Config, wrong: &mut BTreeSet<String>) -> String {
    let listen = &config.listen;
    match TcpListener::bind(listen).await {
        Ok(_) => format!("{listen}, free"),
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_ours(listen).await => {
            format!("{listen}, where onceoverd runs already")
        }
        Err(error) => {
            wrong.insert(format!(
                "cannot listen on {listen}: {error}; --listen HOST:PORT takes another address"
            ));
            format!("{listen}   ({error})")
        }
    }
}

/// Whether a daemon of ours answers there.
async fn is_ours(listen: &str) -> bool {
    let asked = async {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(2))
            .build()
            .ok()?;
        let text = client
            .get(format!("http://{listen}/livez"))
            .send()
            .await
            .ok()?
            .text()
            .await
            .ok()?;
        Some(text.contains("\"service\":\"onceover\""))
    };
    asked.await.unwrap_or(false)
}

fn who_may_call(config: &Config, tokens: &Tokens, wrong: &mut BTreeSet<String>) -> String {
    wrong.extend(tokens.warnings());
    if let Err(error) = access::check(&config.listen, tokens) {
        // The check of the address already reports that it cannot be bound.
        if !matches!(error, AccessError::Address { .. }) {
            wrong.insert(error.to_string());
        }
        return "no client: a token is needed   (none configured)".into();
    }
    match tokens.len() {
        0 => "every client on this machine; no token is needed".into(),
        count => format!("clients with one of {count} tokens"),
    }
}

/// Where Redis is, and whether it is one that can be used.
async fn redis(config: &Config, catalog: &Catalog, wrong: &mut BTreeSet<String>) -> String {
    if config.redis.url.is_none() {
        return "private, in the data folder".into();
    }
    let names = catalog.iter().map(|node| node.name.clone());
    let store = match Store::open(store_options(config, None), names, Arc::new(())) {
        Ok(store) => store,
        Err(error) => {
            wrong.insert(error.to_string());
            return "   (its URL cannot be used)".into();
        }
    };
    // Without user and password.
    let url = store.public_url();
    let server = match store.reach_server().await {
        Ok(server) => server,
        Err(error) => {
            wrong.insert(error.to_string());
            return format!("{url}   (not available)");
        }
    };
    let version = server.version.as_deref().unwrap_or("of an unknown version");
    if let Some(why) = server.unusable() {
        wrong.insert(format!("{url}: {why}"));
    }
    if !server.keeps_data() {
        return format!("{url}, {} {version}   (cannot be used)", server.product);
    }
    let kept = match server.append_only {
        Some(true) => "append-only file on",
        Some(false) => "no append-only file: what is accepted is lost when it restarts (appendonly yes)",
        None => "it does not report whether it keeps a file",
    };
    let told = match store.tells_of_keys().await {
        Ok(true) => ", keyspace events on".to_owned(),
        Ok(false) => format!(
            "\n             it does not report what other workers write, so their stages show once their task is read;\n             \
             to see them at once: {}",
            store.advice_on_keyspace_events().await
        ),
        Err(error) => format!("; it does not allow this user to receive what other workers write: {error}"),
    };
    format!("{url}, {} {version}, {kept}{told}", server.product)
}
