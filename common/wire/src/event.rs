//! Change events: the same JSON on Redis pub/sub, in the event stream and on SSE (S6).

use serde::{Deserialize, Serialize};

use crate::{PipelineChange, StageSummary};
use onceover_types::{NodeName, TaskId, Timestamp};

/// Version of the event's shape.
pub const EVENT_VERSION: u32 = 1;

/// One change. A reader that sees `seq` jump by more than one missed something and reads again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// Version of this shape.
    pub v: u32,
    /// Position in the one sequence of this Redis database, without holes.
    pub seq: u64,
    pub ts: Timestamp,
    pub task_id: TaskId,
    /// Absent for events about the whole task (`deleted`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_name: Option<NodeName>,
    pub kind: EventKind,
    /// The stage after the change, at most 1 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageSummary>,
    /// For `pipeline`: how far the video's pipeline is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelineChange>,
}

/// What an event stream says between changes, to a reader that asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Heartbeat {
    /// Whether the daemon reaches its Redis.
    pub redis_up: bool,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A run was accepted and waits for a slot.
    Queued,
    /// A run got its slot.
    Started,
    Progress,
    Succeeded,
    Failed,
    Cancelled,
    /// A run's owner was lost; the run waits again, with the next attempt.
    Reaped,
    /// A finished stage answered a submit (R2).
    Hit,
    /// A submit joined the run in flight (R3).
    Joined,
    /// The callback state of the stage changed.
    Callback,
    /// The files of the stage's result are at the object store, or were given up.
    Uploaded,
    /// The stage does not exist any more: another worker had written it, and removed it or let it expire. Other stages
    /// of the task did not change.
    Removed,
    /// The whole task was deleted.
    Deleted,
    /// The pipeline of a video made progress: `pipeline` says how far it is.
    Pipeline,
    /// A video was registered or deleted.
    Video,
    /// A kind this program does not know yet; the stage summary is still right.
    #[serde(other)]
    Unknown,
}
