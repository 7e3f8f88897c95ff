//! `onceoverd check` and `onceoverd nodes`: what is configured, what there is, what is missing on this machine.

use std::{collections::BTreeSet, env, path::PathBuf};

use anyhow::bail;
use onceover_common::catalog::RunnerSpec;

use crate::{
    config::Config,
    serve::{guard, secrets, whole_catalog},
};

/// The file a program name stands for; a name with a slash is a path.
fn find_program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// Programs a node needs on the PATH.
fn programs(runner: &RunnerSpec) -> Vec<&str> {
    match runner {
        RunnerSpec::Builtin(name) if name.starts_with("ffmpeg.") => vec!["ffmpeg", "ffprobe"],
        RunnerSpec::Builtin(_) => Vec::new(),
        RunnerSpec::Command(command) => command.first().map(String::as_str).into_iter().collect(),
    }
}

/// Prints the effective configuration; an error when something that is needed is missing.
pub fn check(config: &Config) -> anyhow::Result<()> {
    let catalog = whole_catalog(config)?;
    guard(config)?;
    let secrets = secrets(config)?;
    println!("listen       {}", config.listen);
    println!("data         {}", config.data.display());
    for root in &config.media_roots {
        println!(
            "media root   {}{}",
            root.display(),
            if root.is_dir() { "" } else { "   (no such folder)" }
        );
    }
    match &config.redis.url {
        // A URL can hold a password.
        Some(url) => println!("redis        {}", url.rsplit('@').next().unwrap_or_default()),
        None => println!("redis        private, in the data folder"),
    }
    let slots: Vec<_> = config
        .slots()
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    println!("slots        {}", slots.join(", "));
    println!(
        "lease        {:?}, heartbeat {:?}",
        config.runs.lease, config.runs.heartbeat
    );
    println!("kept         {:?} after a stage ended", config.retention.ttl);
    println!(
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
    println!("nodes        {}", catalog.len());

    let mut missing = BTreeSet::new();
    for root in config.media_roots.iter().filter(|root| !root.is_dir()) {
        missing.insert(format!("media root {} is not a folder", root.display()));
    }
    for node in catalog.iter() {
        for program in programs(&node.runner) {
            if find_program(program).is_none() {
                missing.insert(format!("{program}, for {}", node.name));
            }
        }
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
    if missing.is_empty() {
        println!("missing      nothing");
        return Ok(());
    }
    let missing: Vec<_> = missing.into_iter().collect();
    bail!("missing on this machine:\n  {}", missing.join("\n  "))
}

/// Prints every node.
pub fn nodes(config: &Config) -> anyhow::Result<()> {
    let catalog = whole_catalog(config)?;
    let width = catalog
        .iter()
        .map(|node| node.name.as_str().len())
        .max()
        .unwrap_or_default();
    for node in catalog.iter() {
        let missing: Vec<_> = programs(&node.runner)
            .into_iter()
            .filter(|program| find_program(program).is_none())
            .collect();
        let ready = if missing.is_empty() {
            "ready".into()
        } else {
            format!("missing {}", missing.join(", "))
        };
        println!(
            "{:width$}  {:4}  {:8}  {ready}  {}",
            node.name.as_str(),
            node.queue,
            node.runner.kind(),
            node.title
        );
    }
    Ok(())
}
