//! Runs from the queue to their end: claimed, kept by heartbeats, ended by their owner (R7), taken back when that is lost.

use std::time::Duration;

use tokio::time::Instant;

use indexmap::IndexMap;
use onceover_types::{NodeName, RunId, StageState, TaskId, TaskStatus, humane};
use onceover_wire::{ResultWarning, WarningCount};

use super::{
    Store, StoreError,
    args::{CatalogNames, Json, JsonText, OneOrZero, Percent, SHORT_ERROR, ShortJson, json_list, script_call},
    disk::DiskUsage,
    history::limit_needs,
    record::{Fields, StageRecord, run_folder},
    reply::{parse_text, reply_struct, unexpected},
};
use onceover_limits::Limit;

/// Bytes of a progress message, as JSON.
const SHORT_MESSAGE: usize = 120;

/// Tasks that one step of [`Store::repair`] reads.
const REPAIR_CHUNK: i64 = 200;

/// Tasks that one step of [`Store::expire`] deletes.
const EXPIRE_CHUNK: usize = 200;

script_call! {
    ClaimCall<'a>: CLAIM {
        queue: &'a str,
        slots: u32,
        most: u32,
        owner: &'a str,
        lease_ms: Duration,
        running: Json<'a, [String]>,
    }
}

script_call! {
    HeartbeatCall<'a>: HEARTBEAT {
        task: &'a TaskId,
        name: &'a NodeName,
        run: &'a RunId,
        attempt: u32,
        owner: &'a str,
        queue: &'a str,
        lease_ms: Duration,
        progress: Option<Percent>,
        message: Option<ShortJson<'a>>,
    }
}

script_call! {
    FinishCall<'a>: FINISH {
        task: &'a TaskId,
        name: &'a NodeName,
        run: &'a RunId,
        attempt: u32,
        owner: &'a str,
        queue: &'a str,
        measured: &'a DiskUsage,
        outcome: StageState,
        output: Option<&'a str>,
        reusable: Option<OneOrZero>,
        artifacts: Option<&'a str>,
        warnings: Option<u64>,
        retryable: bool,
        in_files: Option<&'a str>,
        in_sources: Option<String>,
        upload: Option<&'a str>,
        error: Option<JsonText<'a>>,
        error_short: Option<ShortJson<'a>>,
        took: Option<String>,
        keep_runs: u64,
        slots: Option<u32>,
        lease_ms: Option<Duration>,
        running: Option<Json<'a, [String]>>,
    }
}

script_call! {
    ReleaseCall<'a>: RELEASE {
        task: &'a TaskId,
        name: &'a NodeName,
        run: &'a RunId,
        attempt: u32,
        owner: &'a str,
        queue: &'a str,
        measured: &'a DiskUsage,
    }
}

script_call! {
    ReapCall<'a>: REAP {
        queue: &'a str,
        owner: Option<&'a str>,
        handed_back: bool,
        lease_ms: Duration,
        max_lost: u32,
        error: JsonText<'a>,
        error_short: ShortJson<'a>,
        keep_runs: u64,
    }
}

script_call! {
    HoldingCall<'a>: HOLDING {
        task: &'a TaskId,
        queues: Json<'a, [String]>,
    }
}

script_call! {
    ExpireCall<'a>: EXPIRE {
        count: usize,
        names: &'a CatalogNames,
    }
}

script_call! {
    RepairCall: REPAIR {
        status: TaskStatus,
        from: i64,
        count: i64,
    }
}

reply_struct! {
    ClaimedReply {
        task: String,
        name: String,
        record: Fields,
    }
}

reply_struct! {
    ClaimReply {
        claims: Vec<ClaimedReply>,
        others_wait: bool,
        seen: u64,
    }
}

reply_struct! {
    FinishReply {
        finished: String,
        next: Option<ClaimReply>,
    }
}

reply_struct! {
    ReapReply {
        taken: u64,
        given_up: u64,
    }
}

/// What a daemon knows of a queue from which it takes runs.
#[derive(Debug, Clone)]
pub struct QueueShare {
    /// How many runs of the queue may go on at a time, over all daemons.
    pub slots: u32,
    /// The slots that runs of this daemon hold, as [`Fence::slot`] names them. A run that holds another one for it was
    /// taken by a call whose answer was lost, and is taken again.
    pub running: Vec<String>,
}

/// A run that was taken from its queue.
pub struct Claim {
    pub fence: Fence,
    /// As far as the run needs it: its request, and whether that reuses anything.
    pub record: StageRecord,
}

/// Runs that were taken from a queue.
#[derive(Default)]
pub struct Claims {
    pub runs: Vec<Claim>,
    /// Whether the queue holds more.
    pub others_wait: bool,
    /// The number of the last event at that time: earlier ones tell nothing new about the queue.
    pub seen: u64,
}

/// How the report of an end was taken.
pub struct FinishedRun {
    /// Whether the end counts: the run had not lost its stage.
    pub counts: bool,
    /// What was taken from its queue in the same step; empty where nothing was asked for.
    pub next: Claims,
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

    /// The slot that the attempt holds. Lua's `slot_member` says the same.
    pub fn slot(&self) -> String {
        let Self {
            task,
            node,
            run,
            attempt,
            owner,
            queue: _,
        } = self;
        format!("{task}|{node}|{run}|{attempt}|{owner}")
    }
}

impl ClaimedReply {
    /// Reads a run that `owner` took from a queue.
    fn into_claim(self, queue: &str, owner: &str) -> Result<Claim, StoreError> {
        let record = StageRecord::from_fields(self.record);
        let run = record.run().ok_or_else(|| unexpected("it has no run"))?;
        let fence = Fence {
            task: parse_text(&self.task)?,
            node: parse_text(&self.name)?,
            run,
            attempt: record.attempt(),
            owner: owner.to_owned(),
            queue: queue.to_owned(),
        };
        Ok(Claim { fence, record })
    }
}

impl ClaimReply {
    /// Reads the runs that `owner` took from a queue. One that cannot be read is left to the end of its lease.
    fn into_claims(self, queue: &str, owner: &str) -> Claims {
        let read = |claimed: ClaimedReply| {
            let (task, name) = (claimed.task.clone(), claimed.name.clone());
            let claim = claimed.into_claim(queue, owner);
            claim
                .inspect_err(|error| tracing::error!(%error, task_id = task, task_name = name, "a run cannot be read"))
                .ok()
        };
        Claims {
            runs: self.claims.into_iter().filter_map(read).collect(),
            others_wait: self.others_wait,
            seen: self.seen,
        }
    }
}

/// What a result was made from, beside the text of its request (R8).
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Evidence of the files that the input names, as one text; None: unknown.
    pub files: Option<String>,
    /// The stages that values came from, each with the result it had then; None: unknown.
    pub sources: Option<IndexMap<NodeName, String>>,
    /// The stages that values came from, also where `sources` is unknown.
    pub took: Vec<NodeName>,
}

impl Evidence {
    fn sources_as_json(&self) -> Option<String> {
        let sources = self.sources.as_ref()?;
        serde_json::to_string(&sources.iter().collect::<Vec<_>>()).ok()
    }
}

/// Writes the stages that a run took from; nothing where there are none.
fn took_as_json(took: &[NodeName]) -> Option<String> {
    (!took.is_empty()).then(|| json_list(limit_needs(took)))
}

/// How a run ended.
pub enum Outcome {
    Success {
        output: String,
        reusable: bool,
        artifacts: String,
        /// Id of this data directory, when the result's files go to the object store.
        upload: Option<String>,
        evidence: Evidence,
        /// Why the output is partial or doubtful.
        warnings: Vec<ResultWarning>,
    },
    Failed {
        error: String,
        /// The stages whose outputs it took.
        took: Vec<NodeName>,
    },
}

/// Whose runs [`Store::reap`] takes back.
#[derive(Debug, Clone, Copy)]
pub enum Reap<'a> {
    /// Those whose lease has run out.
    Expired,
    /// Those of a daemon that has ended.
    Gone(&'a str),
    /// Those of a daemon that gives them back itself.
    HandedBack(&'a str),
}

impl Store {
    /// Takes up to `most` runs of a queue, as slots are free.
    pub async fn claim(&self, queue: &str, owner: &str, share: &QueueShare, most: u32) -> Result<Claims, StoreError> {
        let call = ClaimCall {
            queue,
            slots: share.slots,
            most,
            owner,
            lease_ms: self.options.lease,
            running: Json(share.running.as_slice()),
        };
        let reply: ClaimReply = self.call(call.prepare(self)).await?;
        Ok(reply.into_claims(queue, owner))
    }

    /// Renews the lease and records progress. Returns `false` if the run has lost its stage.
    pub async fn heartbeat(
        &self,
        fence: &Fence,
        progress: Option<f64>,
        message: Option<&str>,
    ) -> Result<bool, StoreError> {
        let call = HeartbeatCall {
            task: &fence.task,
            name: &fence.node,
            run: &fence.run,
            attempt: fence.attempt,
            owner: &fence.owner,
            queue: &fence.queue,
            lease_ms: self.options.lease,
            progress: progress.map(Percent),
            message: message.map(|text| ShortJson(text, SHORT_MESSAGE)),
        };
        Ok(self.call::<String>(call.prepare(self)).await? == "ok")
    }

    /// Ends a run as its owner saw it end. If the run had lost its stage, nothing is changed (R7). `measured` are the run's
    /// files. With `next` the owner takes another run of the queue in the same step; a call that is repeated because its
    /// answer was lost answers the same run again.
    pub async fn finish(
        &self,
        fence: &Fence,
        outcome: &Outcome,
        measured: &DiskUsage,
        next: Option<&QueueShare>,
    ) -> Result<FinishedRun, StoreError> {
        let mut call = FinishCall {
            task: &fence.task,
            name: &fence.node,
            run: &fence.run,
            attempt: fence.attempt,
            owner: &fence.owner,
            queue: &fence.queue,
            measured,
            outcome: StageState::Failed,
            output: None,
            reusable: None,
            artifacts: None,
            warnings: None,
            retryable: false,
            in_files: None,
            in_sources: None,
            upload: None,
            error: None,
            error_short: None,
            took: None,
            keep_runs: self.options.keep_runs,
            slots: next.map(|share| share.slots),
            lease_ms: next.map(|_| self.options.lease),
            running: next.map(|share| Json(share.running.as_slice())),
        };
        match outcome {
            Outcome::Success {
                output,
                reusable,
                artifacts,
                upload,
                evidence,
                warnings,
            } => {
                let count = WarningCount::count(warnings);
                call.outcome = StageState::Success;
                call.output = Some(output.as_str());
                call.reusable = Some(OneOrZero(*reusable));
                call.artifacts = Some(artifacts.as_str());
                call.warnings = (count.warnings > 0).then_some(count.warnings);
                call.retryable = count.retryable;
                call.in_files = evidence.files.as_deref();
                call.in_sources = evidence.sources_as_json();
                call.took = match evidence.sources {
                    Some(_) => None,
                    None => took_as_json(&evidence.took),
                };
                call.upload = upload.as_deref();
            }
            Outcome::Failed { error, took } => {
                call.error = Some(JsonText(Some(error.as_str())));
                call.error_short = Some(ShortJson(error, SHORT_ERROR));
                call.took = took_as_json(took);
            }
        }
        let reply: FinishReply = self.call(call.prepare(self)).await?;
        let next = reply.next.map(|next| next.into_claims(&fence.queue, &fence.owner));
        Ok(FinishedRun {
            counts: reply.finished == "ok",
            next: next.unwrap_or_default(),
        })
    }

    /// Gives back the slot of a run that lost its stage, once its processes have ended.
    pub async fn release(&self, fence: &Fence, measured: &DiskUsage) -> Result<(), StoreError> {
        let call = ReleaseCall {
            task: &fence.task,
            name: &fence.node,
            run: &fence.run,
            attempt: fence.attempt,
            owner: &fence.owner,
            queue: &fence.queue,
            measured,
        };
        self.call(call.prepare(self)).await
    }

    /// Takes runs of a queue back: they wait again, as the next attempt.
    pub async fn reap(&self, queue: &str, whose: Reap<'_>) -> Result<u64, StoreError> {
        let (owner, handed_back) = match whose {
            Reap::Expired => (None, false),
            Reap::Gone(owner) => (Some(owner), false),
            Reap::HandedBack(owner) => (Some(owner), true),
        };
        let error = format!(
            "the run was lost {} times: each time its daemon ended or was not heard of for {}",
            self.options.max_lost,
            humane::duration(self.options.lease)
        );
        let call = ReapCall {
            queue,
            owner,
            handed_back,
            lease_ms: self.options.lease,
            max_lost: self.options.max_lost,
            error: JsonText(Some(error.as_str())),
            error_short: ShortJson(&error, SHORT_ERROR),
            keep_runs: self.options.keep_runs,
        };
        let reply: ReapReply = self.call(call.prepare(self)).await?;
        Limit::LostRuns.reached_times(reply.given_up);
        Ok(reply.taken)
    }

    /// Counts the runs of the task that still hold a slot: their processes may not have ended.
    pub async fn holding(&self, task: &TaskId, queues: &[String]) -> Result<u64, StoreError> {
        let queues = Json(queues);
        self.call(HoldingCall { task, queues }.prepare(self)).await
    }

    /// Deletes tasks and deliveries that have expired, for no longer than `limit`. Returns `true` if there are more.
    pub async fn expire(&self, limit: Duration) -> Result<bool, StoreError> {
        let begun = Instant::now();
        loop {
            let call = ExpireCall {
                count: EXPIRE_CHUNK,
                names: &self.names,
            };
            let count: usize = self.call(call.prepare(self)).await?;
            if count < EXPIRE_CHUNK {
                return Ok(false);
            }
            if begun.elapsed() >= limit {
                return Ok(true);
            }
        }
    }

    /// Rebuilds queues and slots from the records in flight, and completes ends of which only a part was written.
    pub async fn repair(&self) -> Result<(), StoreError> {
        for status in [TaskStatus::Pending, TaskStatus::Running] {
            let mut from = 0i64;
            while from >= 0 {
                let call = RepairCall {
                    status,
                    from,
                    count: REPAIR_CHUNK,
                };
                from = self.call(call.prepare(self)).await?;
            }
        }
        self.repair_outbox().await
    }
}
