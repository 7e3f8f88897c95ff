//! Runs from the queue to their end: taken, kept, ended by whoever owns them (R7), taken back from whoever is lost.

use std::time::{Duration, Instant};

use indexmap::IndexMap;
use onceover_types::{NodeName, RunId, TaskId, TaskStatus, humane};
use onceover_wire::{ResultWarning, WarningCount};

use super::{
    Args, DiskUsage, SHORT_ERROR, StageRecord, Store, StoreError, TaskRecords, json_string, list, record, scripts,
    short_json,
};
use onceover_limits::Limit;

/// Bytes of a progress message, as JSON.
const SHORT_MESSAGE: usize = 120;

/// Tasks that one step of [`Store::repair`] looks at.
const REPAIR_CHUNK: i64 = 200;

/// Tasks that one step of [`Store::expire`] forgets.
const EXPIRE_CHUNK: usize = 200;

/// A run taken by [`Store::claim`].
pub struct Claim {
    pub task: TaskId,
    pub node: NodeName,
    pub record: StageRecord,
    /// The whole task, as it was then.
    pub records: TaskRecords,
    /// Whether its queue holds more runs.
    pub others_wait: bool,
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

/// What a result was made from, beside the text of its request (R8).
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// What the files were that the input names, as one text; None: unknown.
    pub files: Option<String>,
    /// The stages that values came from, each with the result it had then; None: unknown.
    pub sources: Option<IndexMap<NodeName, String>>,
}

impl Evidence {
    fn sources_as_json(&self) -> Option<String> {
        let sources = self.sources.as_ref()?;
        serde_json::to_string(&sources.iter().collect::<Vec<_>>()).ok()
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
        evidence: Evidence,
        /// What the output says makes it partial or doubtful.
        warnings: Vec<ResultWarning>,
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

impl<'a> Args<'a> {
    /// What a result's warnings are in short: `warnings?`, `retryable?`.
    pub(super) fn warned(self, count: WarningCount) -> Self {
        self.with_some("warnings", (count.warnings > 0).then(|| count.warnings.to_string()))
            .with_some("retryable", count.retryable.then_some("1"))
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

impl Store {
    /// Takes the next run of a queue, if a slot is free.
    pub async fn claim(&self, queue: &str, slots: u32, owner: &str) -> Result<Option<Claim>, StoreError> {
        let args = self
            .args()
            .with("queue", queue)
            .with("slots", slots.to_string())
            .with("owner", owner)
            .with("lease_ms", self.options.lease.as_millis().to_string())
            .with("names", self.names.as_str());
        let answer: Option<(String, String, redis::Value, bool)> = self.run(&scripts::CLAIM, args).await?;
        answer
            .map(|(task, node, view, others_wait)| {
                let (task, node): (TaskId, NodeName) = (record::parse(&task)?, record::parse(&node)?);
                let records = record::task_records(view)?;
                let record = records.stage(&node).cloned();
                let record = record.ok_or_else(|| record::unexpected("a claimed stage is not one of its task"))?;
                Ok(Claim {
                    task,
                    node,
                    record,
                    records,
                    others_wait,
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
    pub async fn finish(&self, fence: &Fence, outcome: &Outcome, measured: &DiskUsage) -> Result<bool, StoreError> {
        let args = self.args().fence(fence).with_some("measured", measured.as_text());
        let args = match outcome {
            Outcome::Success {
                output,
                reusable,
                artifacts,
                upload,
                evidence,
                warnings,
            } => args
                .warned(WarningCount::of(warnings))
                .with_some("in_files", evidence.files.as_deref())
                .with_some("in_sources", evidence.sources_as_json())
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
    pub async fn release(&self, fence: &Fence, measured: &DiskUsage) -> Result<(), StoreError> {
        let args = self.args().fence(fence).with_some("measured", measured.as_text());
        self.run(&scripts::RELEASE, args).await
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
        let args = self
            .args()
            .with("queue", queue)
            .with_some("owner", owner)
            .with_some("handed_back", handed_back.then_some("1"))
            .with("lease_ms", self.options.lease.as_millis().to_string())
            .with("max_lost", self.options.max_lost.to_string())
            .with("error_short", short_json(&error, SHORT_ERROR))
            .with("error", json_string(&error));
        let (taken, given_up): (u64, u64) = self.run(&scripts::REAP, args).await?;
        Limit::LostRuns.reached_times(given_up);
        Ok(taken)
    }

    /// Runs of the task that still hold a slot: their processes are not known to be gone.
    pub async fn holding(&self, task: &TaskId, queues: &[String]) -> Result<u64, StoreError> {
        let args = self.args().with("task", task.as_str()).with("queues", list(queues));
        self.run(&scripts::HOLDING, args).await
    }

    /// Forgets tasks and deliveries that have expired, for no longer than `limit` at a time. True: there are more.
    pub async fn expire(&self, limit: Duration) -> Result<bool, StoreError> {
        let begun = Instant::now();
        loop {
            let args = self
                .args()
                .with("count", EXPIRE_CHUNK.to_string())
                .with("names", self.names.as_str());
            let count: usize = self.run(&scripts::EXPIRE, args).await?;
            if count < EXPIRE_CHUNK {
                return Ok(false);
            }
            if begun.elapsed() >= limit {
                return Ok(true);
            }
        }
    }

    /// Rebuilds queues and slots from the records in flight, and completes what was written half.
    pub async fn repair(&self) -> Result<(), StoreError> {
        for status in [TaskStatus::Pending, TaskStatus::Running] {
            let mut from = 0i64;
            while from >= 0 {
                let args = self
                    .args()
                    .with("status", status.as_str())
                    .with("from", from.to_string())
                    .with("count", REPAIR_CHUNK.to_string());
                from = self.run(&scripts::REPAIR, args).await?;
            }
        }
        self.repair_outbox().await
    }
}
