//! The only door to Redis. Methods have domain names; which keys and scripts are behind them is known here alone.
//!
//! The layout: `onceover:stage:<task>:<node>` is the record of a stage and its lock; `{task}:node:{node}` its
//! public JSON (S1); everything else (indexes, queues, held slots, outbox) is written by the same script as
//! the record and can be rebuilt from records.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod connection;
mod decide;
mod directories;
mod disk;
mod foreign;
mod keyspace;
mod links;
mod memory;
mod mend;
mod observe;
mod outbox;
mod reach;
mod record;
mod runs;
mod scripts;
mod subscription;
mod tasks;
mod uploads;
mod videos;

use std::{borrow::Cow, future::Future, sync::Arc, time::Duration};

use onceover_types::NodeName;
use redis::{FromRedisValue, Script, aio::ConnectionManager};

use memory::Memory;

pub use connection::CALL_TIMEOUT;
pub use decide::{
    Decision, Explained, GatheredEvidence, IdempotencyKey, InputsFound, PipelineRun, ReuseQuery, Submit, SubmitRefusal,
    VerificationRequest,
};
pub use directories::{DirectoryLease, Holder};
pub use disk::{Collectable, DiskUsage};
pub use foreign::{Adoption, ForeignNews, ForeignNote, FoundForeign, LostStage, Watching};
pub use keyspace::{KEYSPACE_EVENTS, KeyNotice, KeySubscription, StageKey, missing_events};
pub use observe::{Gauges, NEEDED, QueueGauge, ServerInfo, Totals};
pub use outbox::{Contact, Delivery, DeliveryFilter, DeliveryPage, DeliveryPatience, EndsTold, Recorded, Room, Tried};
pub use record::{ForeignJson, Noted, StageRecord, TaskRecords};
pub use runs::{Claim, Evidence, Fence, Outcome, Reap, run_folder};
pub use subscription::{Notice, Subscription};
pub use tasks::{Deletion, Removed, TaskFilter, TaskListPage};
pub use uploads::{DueUpload, LONGEST_UPLOAD_WAIT, UploadId, UploadNote};
pub use videos::{ActiveVideo, VideoForgotten, VideoRecord, VideoRecords, VideoStart};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the Redis URL cannot be used: {0}")]
    Url(String),
    /// A server that answers, but is not one that state may be kept in.
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

impl From<redis::RedisError> for StoreError {
    fn from(error: redis::RedisError) -> Self {
        let text = error.to_string();
        // Before version 7 a script's error carries the code of the command that failed only in its text.
        let refuses = |code: &&str| error.code() == Some(code) || text.contains(&format!("-{code} "));
        // A script error is a defect of ours or of the data; everything else passes.
        match error.code() {
            _ if REFUSES_WRITES.iter().any(refuses) => Self::Unavailable(format!("it refuses writes: {text}")),
            // Said before any command is looked at, and without a code of its own.
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
    /// `private` or `external`, for `/v1/system`.
    pub mode: &'static str,
    /// How long a finished stage is kept.
    pub ttl: Duration,
    /// How many events a reader can be behind.
    pub keep_events: u64,
    /// How long a run is held for an owner that is not heard of.
    pub lease: Duration,
    /// How often one run may be lost before it is FAILED.
    pub max_lost: u32,
    /// How many callbacks that were sent are kept, to be seen and sent again.
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

/// Takes how long calls of scripts took, of whatever counts them.
pub trait CallTimes: Send + Sync {
    fn observe(&self, time: Duration);
}

/// Nobody counts.
impl CallTimes for () {
    fn observe(&self, _: Duration) {}
}

#[derive(Clone)]
pub struct Store {
    redis: ConnectionManager,
    info: redis::ConnectionInfo,
    reach: Arc<reach::Reach>,
    options: StoreOptions,
    /// Names of the catalog, blank-separated: where foreign results are looked for.
    names: String,
    /// Takes how long calls of scripts took.
    calls: Arc<dyn CallTimes>,
    /// Whether Redis is nearly full, as it was last seen.
    memory: Arc<Memory>,
    #[cfg(test)]
    rehearsal: Option<Arc<trials::Rehearsal>>,
}

/// Bytes of an error, as JSON, in a stage summary.
const SHORT_ERROR: usize = 240;

/// Arguments of one script call by name. One that is absent is not sent.
struct Args<'a>(Vec<(&'static str, Option<Cow<'a, str>>)>);

impl<'a> Args<'a> {
    fn with(self, name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        self.with_some(name, Some(value))
    }

    fn with_some(mut self, name: &'static str, value: Option<impl Into<Cow<'a, str>>>) -> Self {
        self.0.push((name, value.map(Into::into)));
        self
    }

    fn present(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_deref()?)))
    }
}

/// A list, as an argument of a script.
fn list<T: serde::Serialize + ?Sized>(items: &T) -> String {
    serde_json::to_string(items).expect("a list of texts and numbers can be written as JSON")
}

/// A JSON string of at most `limit` bytes; longer text is cut and ends in an ellipsis.
fn short_json(text: &str, limit: usize) -> String {
    let whole = json_string(text);
    if whole.len() <= limit {
        return whole;
    }
    let mut cut: String = text.chars().take(limit).collect();
    loop {
        let json = json_string(&format!("{cut}…"));
        if json.len() <= limit {
            return json;
        }
        let excess = (json.len() - limit).div_ceil(6).max(1);
        let keep = cut.chars().count().saturating_sub(excess);
        cut = cut.chars().take(keep).collect();
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Store {
    /// Connects at the first call. `names` are the catalog's node names; `calls` takes how long calls took.
    pub fn open(
        options: StoreOptions,
        names: impl IntoIterator<Item = NodeName>,
        calls: Arc<dyn CallTimes>,
    ) -> Result<Self, StoreError> {
        let info = connection::connection_info(&options.url)?;
        let redis = connection::connect(info.clone())?;
        let reach = reach::Reach::new(info.clone(), options.mode == "external")?;
        let names = names
            .into_iter()
            .map(|name| name.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        Ok(Self {
            redis,
            info,
            reach: Arc::new(reach),
            options,
            names,
            calls,
            memory: Arc::default(),
            #[cfg(test)]
            rehearsal: None,
        })
    }

    pub fn database(&self) -> i64 {
        self.info.redis_settings().db()
    }

    /// URL without user and password.
    pub fn public_url(&self) -> String {
        connection::public_url(&self.info)
    }

    /// Whether this Redis is the daemon's own.
    pub fn is_private(&self) -> bool {
        self.options.mode == "private"
    }

    pub fn mode(&self) -> &'static str {
        self.options.mode
    }

    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Checks that the server is one that can be used and that the layout in it is one this program knows, and loads
    /// the scripts.
    pub async fn prepare(&self) -> Result<ServerInfo, StoreError> {
        let server = self.reach_server().await?;
        if let Some(why) = server.unusable() {
            return Err(StoreError::Unusable(why));
        }
        let mut redis = self.redis.clone();
        for script in scripts::all() {
            self.limited(script.load_async(&mut redis)).await?;
        }
        self.check_layout().await?;
        Ok(server)
    }

    /// What the server says about itself; where it cannot be reached, the reason at once.
    pub async fn reach_server(&self) -> Result<ServerInfo, StoreError> {
        match self.reach.fault().await {
            Some(fault) => Err(StoreError::Unavailable(fault)),
            None => self.server().await,
        }
    }

    /// Runs a call with a limit, so that nobody hangs while Redis is away; the error tells why it is.
    async fn limited<T>(&self, call: impl Future<Output = redis::RedisResult<T>>) -> Result<T, StoreError> {
        self.reach.limited(call).await
    }

    fn args(&self) -> Args<'_> {
        Args(Vec::new())
            .with("db", self.database().to_string())
            .with("ttl", self.options.ttl.as_secs().to_string())
            .with("keep_events", self.options.keep_events.to_string())
    }

    async fn run<T: FromRedisValue>(&self, script: &Script, args: Args<'_>) -> Result<T, StoreError> {
        #[cfg(test)]
        if let Some(answer) = self.rehearse(script, &args).await {
            return T::from_redis_value(answer).map_err(|error| StoreError::Unexpected(error.to_string()));
        }
        let mut invocation = script.prepare_invoke();
        for (name, value) in args.present() {
            invocation.arg(name).arg(value);
        }
        let mut redis = self.redis.clone();
        let start = std::time::Instant::now();
        let answer = self.limited(invocation.invoke_async(&mut redis)).await;
        self.calls.observe(start.elapsed());
        answer
    }
}

#[cfg(test)]
mod trials;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_json_keeps_its_limit_and_whole_characters() {
        assert_eq!(short_json("fine", 20), "\"fine\"");
        for text in [
            "x".repeat(500),
            "字幕".repeat(300),
            "\u{1}".repeat(400),
            "a\"\\".repeat(200),
        ] {
            let json = short_json(&text, 120);
            assert!(json.len() <= 120, "{} bytes", json.len());
            assert!(serde_json::from_str::<String>(&json).unwrap().ends_with('…'));
        }
    }
}
