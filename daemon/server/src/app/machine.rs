//! What the daemon holds of this machine: its folders, its address, its private Redis, and the process that cleans up after
//! it should it be killed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use onceover_process::{
    reaper::{self, Reaper},
    sweep_until_gone,
};
use onceover_run::paths::{self, Roots};
use tokio::net::TcpListener;

use crate::{
    access::Tokens,
    config::Config,
    data_dir::DataDir,
    http::server,
    logging::{self, Logging},
    private_redis::PrivateRedis,
    python::{self, Python},
};

/// How long processes that an earlier daemon left may take to end.
const SWEEP: Duration = Duration::from_secs(5);

/// Where a daemon is at home: its folders, what runs Python programs, and by what it is known.
pub(crate) struct Home {
    pub(crate) data: Arc<DataDir>,
    pub(crate) roots: Roots,
    pub(crate) python: Arc<Python>,
    pub(crate) identity: Identity,
}

/// What is opened and started before Redis is asked for anything.
pub(super) struct Machine {
    pub(super) home: Home,
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    /// How many files may be open.
    pub(super) open_files: u64,
    pub(super) private: Option<PrivateRedis>,
    pub(super) reaper: Reaper,
}

/// By what this start of the daemon is known.
pub(crate) struct Identity {
    /// Id of the data directory.
    pub(crate) directory: String,
    /// What processes of its runs are marked with, with the number of the start: the reaper of an earlier start must not
    /// end what this one runs.
    pub(crate) mark: String,
}

impl Identity {
    pub(crate) fn of_instance(instance: &str) -> Self {
        let (directory, start) = instance.split_once('#').unwrap_or((instance, "0"));
        Self {
            directory: directory.to_owned(),
            mark: format!("{directory}/{start}"),
        }
    }
}

impl Home {
    /// A home whose nodes are no Python programs.
    #[cfg(test)]
    pub(crate) fn without_python(config: &Config, data: Arc<DataDir>, roots: Roots) -> Self {
        let python = Python {
            environments: config.environments(),
            programs: data.programs(),
        };
        Self {
            identity: Identity::of_instance(data.instance()),
            data,
            roots,
            python: Arc::new(python),
        }
    }
}

impl Machine {
    pub(super) async fn open(config: &Config, tokens: &Tokens, logging: &mut Option<Logging>) -> anyhow::Result<Self> {
        let data = Arc::new(DataDir::open(&config.data)?);
        *logging = Some(logging::start(&data.logs(), &config.log)?);
        let roots = open_roots(config, &data)?;
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
        let identity = Identity::of_instance(data.instance());
        // What an earlier daemon of this directory left running, before anything new starts.
        if !sweep_until_gone(&format!("{}/", identity.directory), SWEEP) {
            tracing::warn!("processes that an earlier daemon left do not end");
        }
        let python = unpack_python(config, &data)?;
        let private = match &config.redis.url {
            Some(_) => None,
            None => Some(PrivateRedis::start(&data, config.redis.server.as_deref(), config.redis.max_memory()).await?),
        };
        let reaper = spawn_reaper(&identity.mark, private.as_ref(), &data)?;
        Ok(Self {
            home: Home {
                data,
                roots,
                python,
                identity,
            },
            listener,
            address,
            open_files,
            private,
            reaper,
        })
    }
}

/// The folders that inputs may lie in, without the files that were coming in when an earlier daemon ended.
fn open_roots(config: &Config, data: &DataDir) -> anyhow::Result<Roots> {
    let media = config.media_roots.iter().cloned().chain([data.videos()]);
    let roots = Roots::new(data.workflows(), media.collect())?.with_document_limit(config.inputs.max_document);
    paths::remove_folder(roots.tasks_dir(), paths::share::INCOMING).with_context(|| {
        format!(
            "cannot empty {}",
            roots.tasks_dir().join(paths::share::INCOMING).display()
        )
    })?;
    Ok(roots)
}

fn unpack_python(config: &Config, data: &DataDir) -> anyhow::Result<Arc<Python>> {
    let programs = python::unpack(&data.programs())
        .with_context(|| format!("cannot unpack the programs of nodes into {}", data.programs().display()))?;
    Ok(Arc::new(Python {
        environments: config.environments(),
        programs,
    }))
}

fn spawn_reaper(mark: &str, private: Option<&PrivateRedis>, data: &DataDir) -> anyhow::Result<Reaper> {
    let redis = private.map(|redis| reaper::RedisToEnd {
        pid_file: redis.pid_file().to_owned(),
        lock: data.lock_file(),
    });
    reaper::spawn(&format!("{mark}/"), redis.as_ref())
        .context("cannot start the reaper, which ends left-over processes should the daemon be killed")
}
