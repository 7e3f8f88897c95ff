//! The runs of a stage, with the times of their attempts, and what is known of how long the runs of each node take.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::is_false;
use onceover_types::{NodeName, Object, RunId, StageState, TaskId, Timestamp};

/// One attempt of a run: another one begins when its daemon is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AttemptTimes {
    /// 1 for the first.
    pub attempt: u32,
    pub started_at: Timestamp,
    /// Null while it runs.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// Why it did not succeed: how it was lost, or the beginning of the run's error.
    #[serde(default)]
    pub error: Option<String>,
}

/// One run of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PastRun {
    #[schema(value_type = RunId)]
    pub run_id: String,
    pub status: StageState,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When its newest attempt started; null while it waits.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// Null while it is in flight.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// Its attempts, the first one first. Of a run that was handed on very often only the newest are there.
    #[serde(default)]
    pub attempts: Vec<AttemptTimes>,
    /// The request's `input_data`, with secrets hidden; null where it is left out.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub input: Option<Object>,
    /// Null where the run did not succeed, and where the output is left out.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub output: Option<Object>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
    /// Whether its input is not kept, because it is too large. Absent if it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub input_left_out: bool,
    /// Whether its output is not kept, because it is too large. Absent if it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub output_left_out: bool,
    /// Whether its result is the one that the stage has. Absent if it is not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub standing: bool,
    /// The stages of the task that it took from or had to follow. Absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<NodeName>,
}

/// `GET /v1/tasks/{id}/stages/{task_name}/runs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StageRuns {
    pub task_id: TaskId,
    pub task_name: NodeName,
    /// The run in flight or the one that the stage shows, then those that ended before, newest first. None for a stage
    /// that another worker ran.
    pub runs: Vec<PastRun>,
    /// How many earlier runs are not kept.
    #[serde(default)]
    pub not_kept: u64,
}

/// What is known of the runs of one node, under all tasks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeFigures {
    /// Runs that succeeded or failed.
    pub runs: u64,
    pub failed: u64,
    /// Requests that were answered with a result that was there.
    pub hits: u64,
    /// Run time that hits did not spend again, in milliseconds.
    pub saved_ms: u64,
    /// Half of the runs that succeeded took no longer than this, in milliseconds: at most 10 % off. 0 where none
    /// succeeded.
    pub p50_ms: u64,
    /// 95 % of the runs that succeeded took no longer than this.
    pub p95_ms: u64,
    /// What the newest run that succeeded took.
    pub last_ms: u64,
    /// Share of hits among hits and runs, 0 to 1. Absent if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
}

/// `GET /v1/nodes/statistics`: the nodes of the catalog that have run or were reused, since this Redis database was
/// created.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeStatistics {
    pub nodes: IndexMap<NodeName, NodeFigures>,
}
