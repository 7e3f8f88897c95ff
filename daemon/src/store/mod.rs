//! The only door to Redis. Methods have domain names; which keys and scripts are behind them is known here alone.
//!
//! The layout: `onceover:stage:<task>:<node>` is the record of a stage and its lock; `{task}:node:{node}` its
//! public JSON (S1); everything else (indexes, queues, held slots, outbox) is written by the same script as
//! the record and can be rebuilt from records.

mod connection;
mod disk;
mod foreign;
mod observe;
mod outbox;
mod record;
mod scripts;
mod subscription;
mod uploads;
mod videos;

use std::{future::Future, time::Duration};

use onceover_common::{
    NodeName, RunId, StageState, TaskId, TaskStatus, VideoId, keys,
    wire::{QueueInfo, QueuedRun, ReuseTotals, TaskCounts},
};
use prometheus_client::metrics::histogram::Histogram;
use redis::{AsyncCommands, FromRedisValue, Script, aio::ConnectionManager};

use crate::metrics::Metrics;

pub use connection::CALL_TIMEOUT;
pub use disk::{Collectable, Measured};
pub use foreign::{Found, LostStage};
pub use observe::{Gauges, QueueGauge, ServerInfo};
pub use outbox::{Delivery, DeliveryFilter, DeliveryPage, Room, Tried};
pub use record::{ForeignJson, StageRecord, TaskRecords};
pub use subscription::{Notice, Subscription};
pub use uploads::{DueUpload, Note, UploadId};
pub use videos::{ActiveVideo, VideoForgotten, VideoRecord, VideoRecords, VideoStart};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the Redis URL cannot be used: {0}")]
    Url(String),
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
}

#[derive(Clone)]
pub struct Store {
    redis: ConnectionManager,
    info: redis::ConnectionInfo,
    options: StoreOptions,
    /// Names of the catalog, blank-separated: where foreign results are looked for.
    names: String,
    /// How long calls of scripts took.
    calls: Histogram,
}

/// What reuse is decided by.
pub struct Question<'a> {
    pub task: &'a TaskId,
    pub node: &'a NodeName,
    /// auto, never, strict, refuse or off.
    pub mode: &'a str,
    /// Fingerprint of the input.
    pub fingerprint: &'a str,
}

/// What the daemon looked at because the store could not decide without.
#[derive(Debug, Clone, Default)]
pub struct Looked {
    /// The result whose files are whole.
    pub verified: Option<String>,
    /// The result whose files are not, and why: `artifact_missing` or `artifact_changed`.
    pub broken: Option<(String, &'static str)>,
    /// Hashes of foreign JSONs that count as lost, blank-separated.
    pub ignore: Option<String>,
}

impl Looked {
    /// A foreign JSON counts as lost. There may be one under each spelling of the key.
    pub fn set_aside(&mut self, sha: &str) {
        self.ignore = Some(self.ignore.take().unwrap_or_default() + " " + sha);
    }
}

/// One submit, as the script takes it.
pub struct Submit<'a> {
    pub question: Question<'a>,
    /// Id of the run, if one starts.
    pub run: &'a RunId,
    pub queue: &'a str,
    pub runner: &'a str,
    /// The request's `input_data` as JSON, and the same with secrets hidden.
    pub input: &'a str,
    pub input_public: &'a str,
    /// Folder of the task's files.
    pub path: &'a str,
    pub callback: Option<&'a str>,
    /// Host of the callback, without a port.
    pub callback_host: Option<&'a str>,
    /// Id of the delivery, if this is a hit with a callback.
    pub delivery: &'a str,
    /// What only earlier stages can give: names of nodes with blanks between, groups with semicolons between. A run is
    /// refused when the task has no stage of a group's nodes.
    pub sources: &'a str,
    /// This daemon could not run the node: a run is refused.
    pub unable: bool,
    /// The pipeline that asks.
    pub pipeline: Option<&'a PipelineRun>,
}

/// The processing of a video on whose behalf a stage is submitted. It has named the run beforehand, so that asking again
/// for the same one starts nothing.
#[derive(Debug, Clone)]
pub struct PipelineRun {
    pub video: VideoId,
    /// The processing.
    pub processing: RunId,
    /// The run of the stage.
    pub run: RunId,
}

/// The decision of a submit (R2-R4).
pub enum Decision {
    Hit {
        input_changed: bool,
        records: TaskRecords,
    },
    Joined {
        state: StageState,
        run: RunId,
    },
    Started {
        reason: String,
        run: RunId,
    },
    /// The result came from other input, and the node's policy refuses that.
    Refused,
    /// It would run, but the task has no stage of the nodes in these groups of [`Submit::sources`]. Nothing was written.
    NoSource(Vec<usize>),
    /// It would run, but cannot ([`Submit::unable`]). Nothing was written.
    Unable,
    /// The pipeline that asks is no longer the video's. Nothing was written.
    Superseded,
    /// The pipeline has asked for this very run before. Nothing was written.
    Known,
    Ask(Ask),
}

/// What has to be looked at before a decision; then ask again.
pub enum Ask {
    /// A hit, if these files are still there.
    Verify { token: String, artifacts: String },
    /// Somebody else wrote this stage.
    Foreign(ForeignJson),
}

/// How a submit would be decided now.
pub enum Explained {
    Hit {
        input_changed: bool,
        record: StageRecord,
    },
    /// With the number of runs before it in the queue; None while it runs.
    InFlight {
        record: StageRecord,
        position: Option<u64>,
    },
    Run {
        reason: String,
        record: Option<StageRecord>,
    },
    Refused,
    Ask(Ask),
}

/// A run taken by [`Store::claim`].
pub struct Claim {
    pub task: TaskId,
    pub node: NodeName,
    pub record: StageRecord,
    /// The whole task, as it was then.
    pub records: TaskRecords,
}

/// Which attempt of which run, by which daemon: what every write of a run is fenced by (R7).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fence {
    pub task: TaskId,
    pub node: NodeName,
    pub run: RunId,
    pub attempt: u32,
    pub owner: String,
    pub queue: String,
}

impl Fence {
    /// Folder of the attempt below the task's, as [`run_folder`] names it.
    pub fn folder(&self) -> String {
        run_folder(self.run.as_str(), self.attempt)
    }
}

/// Folder of an attempt below its task's: `runs/<run_id>`, and for those after the first `runs/<run_id>.<n>`. Beside each
/// other, so that a program of a lost attempt that empties its folder does not touch its successor's files.
pub fn run_folder(run: &str, attempt: u32) -> String {
    match attempt {
        0 | 1 => format!("runs/{run}"),
        later => format!("runs/{run}.{later}"),
    }
}

/// How a run ended.
pub enum Outcome {
    Success {
        output: String,
        reusable: bool,
        artifacts: String,
        /// Id of this data directory, when the result's files go to the object store.
        upload: Option<String>,
    },
    Failed {
        error: String,
    },
}

/// Whose runs [`Store::reap`] takes back.
#[derive(Debug, Clone, Copy)]
pub enum Reap<'a> {
    /// Those whose lease has run out.
    Expired,
    /// Those of a daemon that is known to be gone.
    Gone(&'a str),
    /// Those of a daemon that gives them back itself.
    HandedBack(&'a str),
}

/// A finished result of an existing Python worker, taken over.
pub struct Adoption<'a> {
    pub task: &'a TaskId,
    pub node: &'a NodeName,
    pub foreign: &'a ForeignJson,
    pub queue: &'a str,
    pub state: StageState,
    pub input: &'a str,
    pub input_public: &'a str,
    pub output: &'a str,
    pub reusable: bool,
    pub error: Option<&'a str>,
    pub duration_ms: i64,
    pub ended_ms: i64,
    pub path: &'a str,
}

/// What a delete removed from Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    pub records: u64,
    pub projections: u64,
    pub queued: u64,
    pub deliveries: u64,
    pub known: bool,
}

pub enum Deletion {
    Removed(Removed),
    /// Refused: these stages are in flight.
    InFlight(Vec<String>),
}

/// Filters of a task list.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    pub status: Option<TaskStatus>,
    pub node: Option<NodeName>,
    pub search: Option<String>,
}

/// A page of a task list; the items are JSON already.
pub struct Page {
    pub items: Vec<String>,
    pub next: Option<(i64, TaskId)>,
    pub seq: u64,
}

/// Counts for the header.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    pub seq: u64,
    pub tasks: TaskCounts,
    pub reuse: ReuseTotals,
}

/// How many tasks one page may look at: a filter that matches nothing must not walk the whole index.
const LIST_SCAN: u32 = 2000;
/// Tasks that one step of [`Store::repair`] looks at.
const REPAIR_CHUNK: i64 = 200;
/// Bytes of an error, as JSON, in a stage summary.
const SHORT_ERROR: usize = 240;
/// Bytes of a progress message, as JSON.
const SHORT_MESSAGE: usize = 120;

/// Arguments of one script call, as pairs.
struct Args<'a>(Vec<(&'static str, std::borrow::Cow<'a, str>)>);

impl<'a> Args<'a> {
    fn with(mut self, name: &'static str, value: impl Into<std::borrow::Cow<'a, str>>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    fn with_some(self, name: &'static str, value: Option<impl Into<std::borrow::Cow<'a, str>>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn fence(self, fence: &'a Fence) -> Self {
        self.with("task", fence.task.as_str())
            .with("name", fence.node.as_str())
            .with("run", fence.run.as_str())
            .with("attempt", fence.attempt.to_string())
            .with("owner", fence.owner.as_str())
            .with("queue", fence.queue.as_str())
    }
}

/// Runs a call with a limit, so that nobody hangs while Redis is away.
async fn limited<T>(call: impl Future<Output = redis::RedisResult<T>>) -> Result<T, StoreError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StoreError::Unavailable(format!(
            "no answer within {} s",
            CALL_TIMEOUT.as_secs()
        ))),
    }
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
    /// Connects at the first call. `names` are the catalog's node names.
    pub fn open(options: StoreOptions, names: impl IntoIterator<Item = NodeName>) -> Result<Self, StoreError> {
        let info = connection::connection_info(&options.url)?;
        let redis = connection::connect(info.clone())?;
        let names = names
            .into_iter()
            .map(|name| name.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        Ok(Self {
            redis,
            info,
            options,
            names,
            calls: Metrics::redis_calls(),
        })
    }

    /// How long calls of scripts took.
    pub fn calls(&self) -> &Histogram {
        &self.calls
    }

    pub fn database(&self) -> i64 {
        self.info.redis_settings().db()
    }

    /// URL without user and password.
    pub fn public_url(&self) -> String {
        connection::public_url(&self.info)
    }

    pub fn mode(&self) -> &'static str {
        self.options.mode
    }

    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Loads the scripts and checks that the layout in Redis is one this program knows.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        let mut redis = self.redis.clone();
        for script in scripts::all() {
            limited(script.load_async(&mut redis)).await?;
        }
        self.check_layout().await
    }

    fn args(&self) -> Args<'_> {
        Args(vec![
            ("db", self.database().to_string().into()),
            ("ttl", self.options.ttl.as_secs().to_string().into()),
            ("keep_events", self.options.keep_events.to_string().into()),
        ])
    }

    async fn run<T: FromRedisValue>(&self, script: &Script, args: Args<'_>) -> Result<T, StoreError> {
        let mut invocation = script.prepare_invoke();
        for (name, value) in &args.0 {
            invocation.arg(*name).arg(value.as_ref());
        }
        let mut redis = self.redis.clone();
        let start = std::time::Instant::now();
        let answer = limited(invocation.invoke_async(&mut redis)).await;
        self.calls.observe(start.elapsed().as_secs_f64());
        answer
    }

    fn question<'a>(&'a self, question: &Question<'a>, looked: &'a Looked) -> Args<'a> {
        self.args()
            .with("task", question.task.as_str())
            .with("name", question.node.as_str())
            .with("mode", question.mode)
            .with("fp", question.fingerprint)
            .with_some("verified", looked.verified.as_deref())
            .with_some("broken", looked.broken.as_ref().map(|(token, _)| token.as_str()))
            .with_some("broken_how", looked.broken.as_ref().map(|(_, how)| *how))
            .with_some("ignore", looked.ignore.as_deref())
    }

    /// Decides reuse and claims the stage in one step (R5).
    pub async fn submit(&self, submit: &Submit<'_>, looked: &Looked) -> Result<Decision, StoreError> {
        let callback = submit.callback.map_or_else(|| "null".to_owned(), json_string);
        let args = self
            .question(&submit.question, looked)
            .with("run", submit.run.as_str())
            .with("queue", submit.queue)
            .with("runner", submit.runner)
            .with("input", submit.input)
            .with("input_pub", submit.input_public)
            .with("path", json_string(submit.path))
            .with("callback", callback)
            .with_some("url", submit.callback)
            .with_some("host", submit.callback_host)
            .with("hit_delivery", submit.delivery)
            .with("sources", submit.sources)
            .with_some("unable", submit.unable.then_some("1"))
            .with_some("video", submit.pipeline.map(|pipeline| pipeline.video.as_str()))
            .with_some(
                "processing",
                submit.pipeline.map(|pipeline| pipeline.processing.as_str()),
            )
            .with("names", self.names.as_str());
        let answer: Vec<redis::Value> = self.run(&scripts::SUBMIT, args).await?;
        record::decision(answer)
    }

    /// Says how a submit would be decided now, and changes nothing.
    pub async fn explain(&self, question: &Question<'_>, looked: &Looked) -> Result<Explained, StoreError> {
        let answer: Vec<redis::Value> = self.run(&scripts::EXPLAIN, self.question(question, looked)).await?;
        record::explained(answer)
    }

    /// One task: its own stages and what foreign workers wrote (S2), with the last sequence number.
    pub async fn read(&self, task: &TaskId) -> Result<(TaskRecords, u64), StoreError> {
        let args = self
            .args()
            .with("task", task.as_str())
            .with("names", self.names.as_str());
        let (records, seq): (redis::Value, u64) = self.run(&scripts::READ, args).await?;
        Ok((record::task_records(records)?, seq))
    }

    /// Takes the next run of a queue, if a slot is free.
    pub async fn claim(&self, queue: &str, slots: u32, owner: &str) -> Result<Option<Claim>, StoreError> {
        let args = self
            .args()
            .with("queue", queue)
            .with("slots", slots.to_string())
            .with("owner", owner)
            .with("lease_ms", self.options.lease.as_millis().to_string())
            .with("names", self.names.as_str());
        let answer: Option<(String, String, redis::Value)> = self.run(&scripts::CLAIM, args).await?;
        answer
            .map(|(task, node, view)| {
                let (task, node): (TaskId, NodeName) = (record::parse(&task)?, record::parse(&node)?);
                let records = record::task_records(view)?;
                let record = records.stage(&node).cloned();
                let record = record.ok_or_else(|| record::unexpected("a claimed stage is not one of its task"))?;
                Ok(Claim {
                    task,
                    node,
                    record,
                    records,
                })
            })
            .transpose()
    }

    /// Renews the lease and records progress. False: the run has lost its stage.
    pub async fn beat(&self, fence: &Fence, progress: Option<f64>, message: Option<&str>) -> Result<bool, StoreError> {
        let args = self
            .args()
            .fence(fence)
            .with("lease_ms", self.options.lease.as_millis().to_string())
            .with_some("progress", progress.map(|percent| format!("{percent:.1}")))
            .with_some("message", message.map(|text| short_json(text, SHORT_MESSAGE)));
        Ok(self.run::<String>(&scripts::BEAT, args).await? == "ok")
    }

    /// Ends a run as its owner saw it end. False: the run had lost its stage, and nothing was changed (R7).
    /// `measured` are the run's files.
    pub async fn finish(&self, fence: &Fence, outcome: &Outcome, measured: &Measured) -> Result<bool, StoreError> {
        let args = self.args().fence(fence).with_some("measured", measured.as_text());
        let args = match outcome {
            Outcome::Success {
                output,
                reusable,
                artifacts,
                upload,
            } => args
                .with_some("upload", upload.as_deref())
                .with("outcome", "SUCCESS")
                .with("output", output.as_str())
                .with("reusable", if *reusable { "1" } else { "0" })
                .with("artifacts", artifacts.as_str()),
            Outcome::Failed { error } => args
                .with("outcome", "FAILED")
                .with("error", json_string(error))
                .with("error_short", short_json(error, SHORT_ERROR)),
        };
        Ok(self.run::<String>(&scripts::FINISH, args).await? == "ok")
    }

    /// Gives the slot of a run back that lost its stage, once its processes are gone.
    pub async fn release(&self, fence: &Fence, measured: &Measured) -> Result<(), StoreError> {
        let args = self.args().fence(fence).with_some("measured", measured.as_text());
        self.run(&scripts::RELEASE, args).await
    }

    /// Cancels what is in flight; None for an unknown task.
    pub async fn cancel(&self, task: &TaskId, node: Option<&NodeName>) -> Result<Option<Vec<NodeName>>, StoreError> {
        let args = self
            .args()
            .with("task", task.as_str())
            .with_some("name", node.map(NodeName::as_str));
        let (known, cancelled): (bool, Vec<String>) = self.run(&scripts::CANCEL, args).await?;
        let cancelled = cancelled
            .iter()
            .map(|name| record::parse(name))
            .collect::<Result<_, _>>()?;
        Ok(known.then_some(cancelled))
    }

    /// Removes every key of the task and nothing else (S4).
    pub async fn delete(&self, task: &TaskId, force: bool) -> Result<Deletion, StoreError> {
        let args = self
            .args()
            .with("task", task.as_str())
            .with("force", if force { "1" } else { "0" })
            .with("names", self.names.as_str());
        let answer: Vec<redis::Value> = self.run(&scripts::DELETE, args).await?;
        record::deletion(answer)
    }

    /// Takes runs of a queue back: they wait again, as the next attempt.
    pub async fn reap(&self, queue: &str, whose: Reap<'_>) -> Result<u64, StoreError> {
        let (owner, handed_back) = match whose {
            Reap::Expired => (None, false),
            Reap::Gone(owner) => (Some(owner), false),
            Reap::HandedBack(owner) => (Some(owner), true),
        };
        let error = format!(
            "the run was lost {} times: each time its daemon ended or was not heard of for {:.0} s",
            self.options.max_lost,
            self.options.lease.as_secs_f64()
        );
        let args = self
            .args()
            .with("queue", queue)
            .with_some("owner", owner)
            .with_some("handed_back", handed_back.then_some("1"))
            .with("lease_ms", self.options.lease.as_millis().to_string())
            .with("max_lost", self.options.max_lost.to_string())
            .with("error_short", short_json(&error, SHORT_ERROR))
            .with("error", json_string(&error));
        self.run(&scripts::REAP, args).await
    }

    /// Runs of the task that still hold a slot: their processes are not known to be gone.
    pub async fn holding(&self, task: &TaskId, queues: &[String]) -> Result<u64, StoreError> {
        let args = self.args().with("task", task.as_str()).with("queues", queues.join(" "));
        self.run(&scripts::HOLDING, args).await
    }

    /// Rebuilds queues and slots from the records in flight, and forgets expired tasks and deliveries.
    pub async fn repair(&self) -> Result<(), StoreError> {
        for status in [TaskStatus::Pending, TaskStatus::Running] {
            let mut from = 0i64;
            while from >= 0 {
                let args = self
                    .args()
                    .with("status", status.as_str())
                    .with("from", from.to_string())
                    .with("count", REPAIR_CHUNK.to_string())
                    .with("names", self.names.as_str());
                from = self.run(&scripts::REPAIR, args).await?;
            }
        }
        self.repair_outbox().await
    }

    /// Takes over a finished foreign result. False: it has changed meanwhile, or a run of ours is in flight.
    pub async fn adopt(&self, adoption: &Adoption<'_>) -> Result<bool, StoreError> {
        let args = self
            .args()
            .with("task", adoption.task.as_str())
            .with("name", adoption.node.as_str())
            .with("key", adoption.foreign.key.as_str())
            .with("sha", adoption.foreign.sha.as_str())
            .with("queue", adoption.queue)
            .with("state", adoption.state.as_str())
            .with("input", adoption.input)
            .with("input_pub", adoption.input_public)
            .with("output", adoption.output)
            .with("reusable", if adoption.reusable { "1" } else { "0" })
            .with_some("error", adoption.error.map(json_string))
            .with_some(
                "error_short",
                adoption.error.map(|error| short_json(error, SHORT_ERROR)),
            )
            .with("duration_ms", adoption.duration_ms.to_string())
            .with("ended", adoption.ended_ms.to_string())
            .with("path", json_string(adoption.path));
        self.run(&scripts::ADOPT, args).await
    }

    /// One page of tasks, newest first, from `after` on.
    pub async fn list(
        &self,
        filter: &TaskFilter,
        limit: u32,
        after: Option<&(i64, TaskId)>,
    ) -> Result<Page, StoreError> {
        let args = self
            .args()
            .with("limit", limit.to_string())
            .with("scan", LIST_SCAN.to_string())
            .with_some("status", filter.status.map(TaskStatus::as_str))
            .with_some("node", filter.node.as_ref().map(NodeName::as_str))
            .with_some("search", filter.search.as_ref().map(|text| text.to_lowercase()))
            .with_some("before_score", after.map(|(score, _)| score.to_string()))
            .with_some("before_id", after.map(|(_, task)| task.as_str()));
        let answer: Vec<redis::Value> = self.run(&scripts::LIST, args).await?;
        record::page(answer)
    }

    pub async fn totals(&self) -> Result<Totals, StoreError> {
        type Answer = (u64, u64, u64, u64, u64, u64, [Option<u64>; 4]);
        let (seq, pending, running, completed, failed, cancelled, stats): Answer =
            self.run(&scripts::TOTALS, self.args()).await?;
        let [hits, joins, misses, saved_ms] = stats.map(Option::unwrap_or_default);
        Ok(Totals {
            seq,
            tasks: TaskCounts {
                pending,
                running,
                completed,
                failed,
                cancelled,
            },
            reuse: ReuseTotals {
                hits,
                joins,
                misses,
                saved_seconds: saved_ms as f64 / 1000.0,
            },
        })
    }

    pub async fn queue(&self, name: &str, slots: u32) -> Result<QueueInfo, StoreError> {
        let args = self.args().with("queue", name);
        let (running, pending, next): (u64, u64, Vec<String>) = self.run(&scripts::QUEUE, args).await?;
        let next = next
            .iter()
            .filter_map(|member| member.split_once('|'))
            .map(|(task, node)| {
                Ok(QueuedRun {
                    task_id: record::parse(task)?,
                    task_name: record::parse(node)?,
                })
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(QueueInfo {
            name: name.to_owned(),
            slots,
            running,
            pending,
            next,
        })
    }

    /// Events after `seq`, oldest first, at most `limit`. None: some of them are gone.
    pub async fn events_after(&self, seq: u64, limit: usize) -> Result<Option<Vec<String>>, StoreError> {
        let mut redis = self.redis.clone();
        let last: Option<u64> = limited(redis.get("onceover:seq")).await?;
        let last = last.unwrap_or_default();
        if seq > last {
            return Ok(None);
        }
        let mut range = redis::cmd("XRANGE");
        range
            .arg("onceover:events")
            .arg(format!("({seq}-0"))
            .arg("+")
            .arg("COUNT")
            .arg(limit);
        let entries: Vec<(String, Vec<String>)> = limited(range.query_async(&mut redis)).await?;
        let first = entries
            .first()
            .and_then(|(id, _)| id.split('-').next()?.parse::<u64>().ok());
        match first {
            Some(first) if first != seq + 1 => Ok(None),
            None if last > seq => Ok(None),
            _ => Ok(Some(
                entries
                    .into_iter()
                    .filter_map(|(_, fields)| fields.into_iter().nth(1))
                    .collect(),
            )),
        }
    }

    /// Listens to the events of every daemon on this database.
    pub fn subscribe(&self) -> Result<Subscription, StoreError> {
        Subscription::start(self.info.clone(), keys::events_channel(self.database()))
    }
}

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
