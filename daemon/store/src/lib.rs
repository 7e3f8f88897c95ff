//! The only way to Redis. Methods have domain names; only this crate knows the keys and scripts behind them.
//!
//! The layout: `onceover:stage:<task>:<node>` is the record of a stage and its lock; `{task}:node:{node}` is its public JSON
//! (S1); everything else (indexes, queues, held slots, outbox) is written by the same script as the record and can be rebuilt
//! from records.

#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), warn(clippy::too_many_lines, clippy::excessive_nesting))]

mod args;
mod connection;
mod decide;
mod directories;
mod disk;
mod dispatch;
mod foreign;
mod history;
mod hits;
mod keyspace;
mod links;
mod memory;
mod mend;
mod minutes;
mod observe;
mod outbox;
mod reach;
mod record;
mod reply;
mod rows;
mod runs;
mod scripts;
mod statistics;
mod subscription;
mod task_memory;
mod task_read;
mod task_snapshot;
mod tasks;
mod transport;
mod turns;
mod uploads;
mod videos;

use std::{future::Future, sync::Arc, time::Duration};

use onceover_types::{NodeName, Timestamp};
use redis::{ErrorKind, FromRedisValue, ServerErrorKind};

use args::{CatalogNames, PreparedCall, ScriptArgs};
use memory::Memory;
use task_memory::TaskMemory;
use transport::RedisConnection;

pub use connection::CALL_TIMEOUT;
pub use decide::{
    ArtifactFault, BrokenResult, Decision, Explained, GatheredEvidence, Hit, IdempotencyKey, InputsFound, PipelineRun,
    ReuseQuery, ReusedResult, Submit, SubmitRefusal, VerificationRequest,
};
pub use directories::{DirectoryLease, Holder};
pub use disk::{Collectable, DiskUsage};
pub use dispatch::{Dispatch, DispatchTarget, DispatchedStage, RequeuedRun};
pub use foreign::{Adoption, ForeignNews, ForeignNote, FoundForeign, LostStage, Watching};
pub use history::{MOST_NEEDS, MOST_RUN_BYTES, StageHistory};
pub use hits::{HitRequest, RepeatedHit};
pub use keyspace::{KEYSPACE_EVENTS, KeyNotice, KeySubscription, StageKey, missing_events};
pub use minutes::MinuteCounts;
pub use observe::{Gauges, NEEDED, QueueGauge, ServerInfo, ServerMode, ServerProduct, Totals};
pub use onceover_wire::{RedisMode, ReuseRule};
pub use outbox::{Contact, Delivery, DeliveryFilter, DeliveryPage, DeliveryPatience, EndsTold, Recorded, Room, Tried};
pub use record::{ForeignJson, Noted, StageRecord, TaskRecords, run_folder};
pub use rows::{RowMark, RowsRead};
pub use runs::{Claim, Claims, Evidence, Fence, FinishedRun, Outcome, QueueShare, Reap};
pub use subscription::Subscription;
pub use tasks::{Deletion, Removed, TaskFilter, TaskListPage};
pub use transport::{Notice, Transport};
pub use turns::{TurnAnswers, TurnLimits, Turns};
pub use uploads::{DueUpload, LONGEST_UPLOAD_WAIT, UploadId, UploadNote};
pub use videos::{ActiveVideo, VideoForgotten, VideoRecord, VideoRecords, VideoStart};

/// Why a call of the store failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("the Redis URL cannot be used: {0}")]
    Url(String),
    /// The server answers, but state may not be kept in it.
    #[error("this Redis cannot be used: {0}")]
    Unusable(String),
    /// Redis cannot be reached, did not answer in time or refuses writes. Nothing is known about whether the
    /// call took effect; all calls can be repeated.
    #[error("Redis is not available: {0}")]
    Unavailable(String),
    /// Redis holds something that is not ours or not of this layout.
    #[error("Redis holds something unexpected: {0}")]
    Unexpected(String),
}

/// Error codes of a server that answers but takes no writes: memory full, a replica, its file cannot be written.
const REFUSES_WRITES: [&str; 4] = ["OOM", "READONLY", "MISCONF", "NOREPLICAS"];

impl StoreError {
    /// Makes the error of a server that answers and takes no writes.
    fn from_refusal(text: &str) -> Self {
        Self::Unavailable(format!("it refuses writes: {text}"))
    }

    /// Makes the error of a part of a script, which answers its text because the rest of it goes on.
    fn from_script_text(text: &str) -> Self {
        let refuses = |code: &&str| text.starts_with(*code) || text.contains(&format!("-{code} "));
        match REFUSES_WRITES.iter().any(refuses) {
            true => Self::from_refusal(text),
            false => Self::Unexpected(text.to_owned()),
        }
    }
}

impl From<redis::RedisError> for StoreError {
    fn from(error: redis::RedisError) -> Self {
        let text = error.to_string();
        // Before version 7 a script's error carries the code of the command that failed only in its text.
        let refuses = |code: &&str| error.code() == Some(code) || text.contains(&format!("-{code} "));
        // A script error is a defect of ours or of the data; everything else passes.
        match error.code() {
            _ if REFUSES_WRITES.iter().any(refuses) => Self::from_refusal(&text),
            // The server says so before it reads a command, and without a separate code.
            _ if text.contains("max number of clients") => Self::Unavailable(text),
            Some("ERR" | "WRONGTYPE") => Self::Unexpected(text),
            _ => Self::Unavailable(text),
        }
    }
}

/// How long things live, and where they are.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Redis URL, `redis://...` or `redis+unix://...`.
    pub url: String,
    pub mode: RedisMode,
    /// How long a finished stage is kept.
    pub ttl: Duration,
    /// How many events a reader can be behind.
    pub keep_events: u64,
    /// How many runs of a stage are kept once they have ended, that of its record included.
    pub keep_runs: u64,
    /// How long a run is held for an owner without a heartbeat.
    pub lease: Duration,
    /// How often one run may be lost before it is FAILED.
    pub max_lost: u32,
    /// How many callbacks that were sent are kept, to be shown and sent again.
    pub keep_callbacks: u64,
    pub bounds: Bounds,
}

/// What one request may add, at most.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Distinct URLs that wait for one run.
    pub callbacks: u64,
    /// Bytes of an `input_data` as JSON.
    pub input: u64,
    /// Bytes of the `input_data` of a task's stages together.
    pub task_input: u64,
}

/// Stages of nodes that are not in the catalog, which other workers may add to a task.
pub const MOST_FOREIGN_STAGES: usize = 256;

/// Counts how long calls of scripts and reads of tasks take.
pub trait CallTimes: Send + Sync {
    fn observe(&self, time: Duration);
}

/// Counts nothing.
impl CallTimes for () {
    fn observe(&self, _: Duration) {}
}

/// A handle of the state in Redis. A clone shares the connection.
#[derive(Clone)]
pub struct Store {
    redis: RedisConnection,
    info: redis::ConnectionInfo,
    reach: Arc<reach::Reach>,
    options: StoreOptions,
    names: CatalogNames,
    calls: Arc<dyn CallTimes>,
    /// Whether Redis is nearly full, as it was last read.
    memory: Arc<Memory>,
    /// What reads have learned of tasks.
    tasks: Arc<TaskMemory>,
    #[cfg(test)]
    rehearsal: Option<Arc<trials::Rehearsal>>,
}

/// Finds the name of the script with this hash, as EVALSHA names it.
pub fn name_of_script(hash: &str) -> Option<&'static str> {
    let index = scripts::list_all()
        .iter()
        .position(|script| script.get_hash() == hash)?;
    Some(scripts::NAMES[index])
}

impl Store {
    /// Makes a store that connects at the first call. `names` are the catalog's node names; `calls` counts how long calls take.
    pub fn open(
        options: StoreOptions,
        names: impl IntoIterator<Item = NodeName>,
        calls: Arc<dyn CallTimes>,
    ) -> Result<Self, StoreError> {
        let info = connection::connection_info(&options.url)?;
        let redis = RedisConnection::Redis(connection::connect(info.clone())?);
        Self::over(redis, info, options, names, calls)
    }

    /// Makes a store that sends its commands over `transport`; the URL of the options names the database alone.
    pub fn carried(
        transport: Arc<dyn Transport>,
        options: StoreOptions,
        names: impl IntoIterator<Item = NodeName>,
        calls: Arc<dyn CallTimes>,
    ) -> Result<Self, StoreError> {
        let info = connection::connection_info(&options.url)?;
        let redis = RedisConnection::Carried {
            by: transport,
            database: info.redis_settings().db(),
        };
        Self::over(redis, info, options, names, calls)
    }

    fn over(
        redis: RedisConnection,
        info: redis::ConnectionInfo,
        options: StoreOptions,
        names: impl IntoIterator<Item = NodeName>,
        calls: Arc<dyn CallTimes>,
    ) -> Result<Self, StoreError> {
        let is_carried = matches!(redis, RedisConnection::Carried { .. });
        let reach = reach::Reach::new(info.clone(), options.mode == RedisMode::External, is_carried)?;
        Ok(Self {
            redis,
            info,
            reach: Arc::new(reach),
            options,
            names: CatalogNames::new(names),
            calls,
            memory: Arc::default(),
            tasks: Arc::default(),
            #[cfg(test)]
            rehearsal: None,
        })
    }

    /// The number of the database.
    pub fn database(&self) -> i64 {
        self.info.redis_settings().db()
    }

    /// Returns the URL without user and password.
    pub fn public_url(&self) -> String {
        connection::public_url(&self.info)
    }

    /// Whether the daemon starts and stops this Redis.
    pub fn is_private(&self) -> bool {
        self.options.mode == RedisMode::Private
    }

    /// Whose Redis it is.
    pub fn mode(&self) -> RedisMode {
        self.options.mode
    }

    /// The time of the daemon.
    pub fn now(&self) -> Timestamp {
        self.redis.time().unwrap_or_else(Timestamp::now)
    }

    /// How the store was set up.
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Checks that the server can be used and that this program knows the layout in it, and loads the scripts.
    pub async fn prepare(&self) -> Result<ServerInfo, StoreError> {
        let server = self.reach_server().await?;
        if let Some(why) = server.unusable() {
            return Err(StoreError::Unusable(why));
        }
        let mut redis = self.redis.clone();
        for script in scripts::list_all() {
            self.limited(script.load_async(&mut redis)).await?;
        }
        self.check_layout().await?;
        Ok(server)
    }

    /// Asks the server about itself; the error says at once why it cannot be reached.
    pub async fn reach_server(&self) -> Result<ServerInfo, StoreError> {
        match self.reach.fault().await {
            Some(fault) => Err(StoreError::Unavailable(fault)),
            None => self.server().await,
        }
    }

    /// Runs a call with a time limit, so that no caller hangs while Redis cannot be reached; the error says why.
    async fn limited<T>(&self, call: impl Future<Output = redis::RedisResult<T>>) -> Result<T, StoreError> {
        self.reach.limited(call).await
    }

    /// The arguments that every script gets.
    fn args(&self) -> ScriptArgs<'_> {
        let today = self.now();
        ScriptArgs::default()
            .with("day", today.day())
            .with("date", today.date())
            .with("db", self.database().to_string())
            .with("ttl", self.options.ttl.as_secs().to_string())
            .with("keep_events", self.options.keep_events.to_string())
            .with("now", self.redis.time().map(|time| time.as_millis().to_string()))
    }

    /// Calls a script. One that Redis does not have, because it was restarted, is loaded first.
    async fn call<T: FromRedisValue>(&self, call: PreparedCall<'_>) -> Result<T, StoreError> {
        #[cfg(test)]
        if let Some(answer) = self.rehearse(call.script, &call.args).await {
            return T::from_redis_value(answer).map_err(|error| StoreError::Unexpected(error.to_string()));
        }
        let command = call.command();
        let mut redis = self.redis.clone();
        let sent = async {
            match command.query_async(&mut redis).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    call.script.load_async(&mut redis).await?;
                    command.query_async(&mut redis).await
                }
                answer => answer,
            }
        };
        let start = std::time::Instant::now();
        let answer = self.limited(sent).await;
        self.calls.observe(start.elapsed());
        answer
    }
}

#[cfg(test)]
mod trials;
