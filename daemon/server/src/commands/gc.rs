//! `onceoverd gc`: looks at every task's folder of a data directory once, removes what nobody needs and tells what that was.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use onceover_types::humane;

use crate::gc::{Collector, Gone, Kept};
use crate::{
    app::store_options,
    catalog::load_catalog,
    config::Config,
    console::print_line,
    data_dir::{self, DataDir, DataDirError},
    private_redis::{self, PrivateRedis},
};
use onceover_run::paths::FolderClaim;
use onceover_store::Store;

/// Removes what is not needed in the configured data directory; with `dry_run` it only tells. `all` does not spare what was
/// last changed before this Redis knew the directory.
pub async fn gc(config: &Config, dry_run: bool, all: bool) -> anyhow::Result<()> {
    let share = config.data.join("share/workflows");
    let share = share.canonicalize().with_context(|| {
        format!(
            "there are no tasks' files in {}; name the daemon's data folder with --data DIR",
            share.display()
        )
    })?;
    let Some(directory) = data_dir::directory(&config.data) else {
        bail!("no daemon has ever used {} as its data folder", config.data.display());
    };
    let (url, started) = redis(config).await?;
    let collected = collect(config, url, &directory, Options { share, dry_run, all }).await;
    if let Some(redis) = started {
        redis.redis.stop().await;
    }
    collected
}

/// A private Redis that runs for this command, and the lock that keeps daemons from starting another one meanwhile.
pub struct Started {
    pub redis: PrivateRedis,
    _data: DataDir,
}

/// The URL of the private Redis, if that is configured: of the daemon that runs, else of one that is started.
pub async fn redis(config: &Config) -> anyhow::Result<(Option<String>, Option<Started>)> {
    if config.redis.url.is_some() {
        return Ok((None, None));
    }
    match DataDir::open(&config.data) {
        Ok(data) => {
            let redis = PrivateRedis::start(&data, config.redis.server.as_deref(), config.redis.max_memory()).await?;
            Ok((Some(redis.url().to_owned()), Some(Started { redis, _data: data })))
        }
        Err(DataDirError::InUse { .. }) => Ok((Some(private_redis::url(&config.data.canonicalize()?)?), None)),
        Err(error) => Err(error.into()),
    }
}

struct Options {
    share: PathBuf,
    dry_run: bool,
    all: bool,
}

async fn collect(config: &Config, private: Option<String>, directory: &str, options: Options) -> anyhow::Result<()> {
    let is_private = private.is_some();
    let names: Vec<_> = load_catalog(config)?.iter().map(|node| node.name.clone()).collect();
    let store = Store::open(store_options(config, private), names, Arc::new(()))?;
    store.check_layout().await.with_context(|| match is_private {
        true => "the private Redis of the data folder cannot be used; if its daemon uses another, name that with --redis URL or --config FILE",
        false => "the Redis cannot be used",
    })?;
    let Some(since) = store.directory_since(directory).await? else {
        bail!(
            "the Redis {} has never been used with the data folder {}, so every task would look forgotten; name the one \
             that its daemon uses with --redis URL or --config FILE (a daemon of this version must have run on both once)",
            store.public_url(),
            config.data.display()
        );
    };
    let collector = Collector {
        store,
        share: options.share,
        queues: config.slots().keys().cloned().collect(),
        grace: config.retention.grace,
        since: (!options.all).then_some(since),
        dry_run: options.dry_run,
    };
    let mut report = Report::default();
    if !options.dry_run {
        let share = collector.share.clone();
        report.left = tokio::task::spawn_blocking(move || FolderClaim::remove_left(&share)).await??;
    }
    for task in collector.tasks()? {
        match collector.judge(&task).await {
            Ok(looked) => {
                report.removed.extend(looked.removed);
                if let Some(kept) = looked.kept {
                    *report.kept.entry(in_words(kept)).or_default() += 1;
                }
            }
            Err(error) => report.failed.push(error.to_string()),
        }
    }
    report.print(&collector);
    if report.failed.is_empty() {
        return Ok(());
    }
    bail!("not everything could be checked:\n  {}", report.failed.join("\n  "))
}

/// What a kept folder is counted under.
fn in_words(kept: Kept) -> &'static str {
    match kept {
        Kept::Known => "of tasks that Redis knows",
        Kept::Video => "of registered videos",
        Kept::Held => "that runs have, or their processes that are still ending",
        Kept::Callbacks => "with a callback still to be sent",
        Kept::Young(_) => "changed a short time ago (retention.grace)",
        Kept::Stranger => "last changed before this Redis knew the data folder (--all takes them too)",
        Kept::NoRuns => "that no run has ever written to",
    }
}

#[derive(Default)]
struct Report {
    removed: Vec<Gone>,
    /// Files and bytes that an interrupted collection had put aside.
    left: (u64, u64),
    kept: BTreeMap<&'static str, usize>,
    failed: Vec<String>,
}

impl Report {
    fn print(&self, collector: &Collector) {
        for gone in &self.removed {
            let folder = match &gone.attempt {
                Some(attempt) => format!("{}/{attempt}", gone.task),
                None => gone.task.to_string(),
            };
            print_line!("{folder}: {} files, {}", gone.files, humane::bytes(gone.bytes));
        }
        let (files, bytes) = self.left;
        if files > 0 {
            print_line!(
                "left by an interrupted collection: {files} files, {}",
                humane::bytes(bytes)
            );
        }
        let attempts = self.removed.iter().filter(|gone| gone.attempt.is_some()).count();
        let sum = |of: fn(&Gone) -> u64| self.removed.iter().map(of).sum::<u64>();
        print_line!(
            "{} {} tasks and {attempts} lost attempts of other tasks: {} files, {} in {}",
            if collector.dry_run { "would remove" } else { "removed" },
            self.removed.len() - attempts,
            sum(|gone| gone.files) + files,
            humane::bytes(sum(|gone| gone.bytes) + bytes),
            collector.share.display()
        );
        for (why, count) in &self.kept {
            print_line!("kept {count} folders {why}");
        }
    }
}
