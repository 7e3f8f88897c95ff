//! The protocol between the programs: bodies of the HTTP API and events, whose shapes are in `docs/api.md`; the typed
//! client with the daemon's clock as its answers show it; and what the command lines of both programs have in common.

#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), warn(clippy::too_many_lines, clippy::excessive_nesting))]

pub mod address;
pub mod client;
pub mod clock;
pub mod command_line;
mod deletion;
pub mod event;
mod files;
mod links;
mod logs;
mod machine;
mod nodes;
mod results;
mod rows;
mod runs;
mod tasks;
mod token;
mod videos;
mod warnings;
mod workers;

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize};

pub use self::{
    deletion::{DeleteReport, DeleteRequest, DeletedResource, DeletionStatus, ResourceOutcome, TaskResource},
    event::{Event, EventKind, Heartbeat},
    files::{CueItem, CueList, FileDeleted, FileItem, FileList, FileUploaded},
    links::SignedLink,
    logs::{LogGap, LogLine, LogPage},
    machine::{
        CapacityUse, GpuLoad, HistoryMinute, MachineLoad, MachineSample, ProcessLoad, QueueMinute, SampledStage,
        SystemHistory,
    },
    nodes::{NodeInfo, NodeList, NodeReadiness},
    results::{MORE_WARNINGS, ResultWarning, UNVERIFIED, WARNINGS_FIELD, WarningCount},
    rows::{RowPage, StageRow, TaskRow},
    runs::{AttemptTimes, NodeFigures, NodeStatistics, PastRun, StageRuns},
    tasks::{InputParams, LastAttempt, NodeResult, NodeStatus, StageSummary, StageView, TaskItem, TaskPage, TaskView},
    videos::{
        PipelineChange, PipelineInfo, PipelineList, PipelineStepInfo, Processing, ProcessingKind, ProcessingStatus,
        ProcessingStep, ReprocessRequest, StepStatus, Video, VideoDeletion, VideoPage, VideoProbe, VideoRegistered,
        VideoRequest, VideoSource, VideoStarted,
    },
    warnings::{MOST_WARNINGS, Warning, WarningCode, Warnings},
    workers::{BrokerSeen, StageOnWorker, WarmProcess, WarmState, WorkerQueue, WorkerSeen, WorkerState, WorkersReport},
};
use onceover_types::{CallbackStatus, NodeName, Problem, RunId, StageState, TaskId, TaskStatus, Timestamp};

/// Names of inputs whose values are never shown.
pub const SECRET_INPUTS: [&str; 4] = ["api_key", "token", "password", "secret"];

/// How a request treats an earlier result (R8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReuseMode {
    /// Reuse a finished stage, also if its input differs (the answer says so).
    #[default]
    Auto,
    /// Run, whatever is stored. The former result stays until the new run succeeds.
    Never,
    /// Reuse only a result of the same input, and none whose warnings say that running again could give a better one.
    Strict,
}

impl ReuseMode {
    /// Returns the word that the JSON has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Never => "never",
            Self::Strict => "strict",
        }
    }
}

/// How a stored result is treated: as the request says, or else by the policy of the node (R8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReuseRule {
    /// It is reused, also for other input.
    Auto,
    /// A run is forced.
    Never,
    /// It is reused only for the same input.
    Strict,
    /// It is reused for the same input; a request with other input is refused.
    Refuse,
    /// The node's results are never reused.
    Off,
}

impl ReuseRule {
    /// Returns the word that the JSON and the scripts have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Never => "never",
            Self::Strict => "strict",
            Self::Refuse => "refuse",
            Self::Off => "off",
        }
    }
}

impl From<ReuseMode> for ReuseRule {
    fn from(mode: ReuseMode) -> Self {
        match mode {
            ReuseMode::Auto => Self::Auto,
            ReuseMode::Never => Self::Never,
            ReuseMode::Strict => Self::Strict,
        }
    }
}

/// `POST /v1/tasks`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SubmitRequest {
    /// A node of the catalog.
    #[schema(value_type = NodeName)]
    pub task_name: String,
    /// The task that the stage belongs to; a new `task-<uuid>` if omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<TaskId>)]
    pub task_id: Option<String>,
    /// The http or https URL that the result is sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2048, pattern = "^https?://")]
    pub callback: Option<String>,
    /// The node's parameters.
    #[schema(value_type = Object)]
    pub input_data: serde_json::Map<String, serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<ReuseMode>,
}

/// Why a submit was answered as it was (R2, R3, R4). Fields that do not apply are omitted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReuseInfo {
    /// True for a finished stage (`source`) and for one in flight (`state`).
    pub reuse_hit: bool,
    #[schema(value_type = String)]
    pub task_name: String,
    /// Hit and in flight: where the answer comes from, always `redis`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Hit: when the stage ended. In flight: null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Timestamp>)]
    pub cached_at: Option<Option<Timestamp>>,
    /// Hit: whether the stored result came from other input than this request's: other parameters, other files under
    /// the same names, or a source stage that has run again since. Null where that is not known, as for a URL or for a
    /// result that another worker wrote.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known_or_null")]
    #[schema(value_type = Option<bool>)]
    pub input_changed: Option<Option<bool>>,
    /// Hit: run time of the stage that did not have to run again, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_seconds: Option<f64>,
    /// In flight: always `pending`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// In flight: PENDING or RUNNING.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_status: Option<StageState>,
    /// Hit: how many warnings the reused result has in its `output.warnings`; absent if none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warnings: u64,
    /// Hit: whether one of these says that running the stage again could give a better result; `strict` would run it.
    /// Absent if none does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub warnings_retryable: bool,
    /// Miss, why it runs: `absent`, `failed`, `cancelled`, `empty_output`, `forced`, `input_changed`, `input_unknown`
    /// (strict, and the same input cannot be proved), `retryable_warnings` (strict, and a warning of the stored result
    /// says that running again could give a better one), `artifact_missing`, `artifact_changed`, `lost`, `policy_off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In flight and miss: the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
}

/// Whether a number is omitted.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Whether a flag is omitted.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Reads a field that is present, with a value or null.
fn known_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Answer of `POST /v1/tasks`, of retry and of resubmit.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SubmitResponse {
    pub task_id: TaskId,
    /// `completed` for a hit, else `pending`.
    pub status: TaskStatus,
    /// One sentence for people.
    pub message: String,
    pub reuse_info: ReuseInfo,
    /// The requested node's result, for a hit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<NodeResult>>,
    /// Fields of the request that nothing reads, or that have another name now; and that another engine or model than the
    /// request asks for made the result. Absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// `POST /v1/tasks/batch`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BatchRequest {
    /// 1 to 1000 submits.
    #[schema(min_items = 1, max_items = 1000)]
    pub tasks: Vec<SubmitRequest>,
}

/// The outcome of one submit of a batch: `response` for status 200, else `problem`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BatchResult {
    /// The HTTP status that the same submit would get if it were sent alone.
    pub status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<SubmitResponse>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

impl BatchResult {
    /// Makes the result of an accepted submit.
    pub fn accepted(response: SubmitResponse) -> Self {
        Self {
            status: 200,
            response: Some(response),
            problem: None,
        }
    }

    /// Makes the result of a refused submit.
    pub fn refused(problem: Problem) -> Self {
        Self {
            status: problem.status,
            response: None,
            problem: Some(problem),
        }
    }
}

/// Answer of `POST /v1/tasks/batch`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BatchResponse {
    /// In the order of the request.
    pub results: Vec<BatchResult>,
    /// Warnings about the fields beside `tasks`; those about each submit are in its response. Absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// What a submit would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReuseDecision {
    Hit,
    Join,
    Run,
    /// The answer is 409, by the node's policy or because something that the node needs is missing on this machine, or
    /// 422, because nothing gives a parameter that was left to earlier stages.
    Refuse,
}

/// `GET /v1/tasks/{id}/stages/{task_name}/reuse`: how a submit of the stored request would be decided now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReuseExplanation {
    pub task_id: TaskId,
    pub task_name: NodeName,
    pub mode: ReuseRule,
    pub decision: ReuseDecision,
    /// The reason that a submit's `reuse_info` would give; for a refusal `input_changed`, `input_unknown`, `not_ready`
    /// or `input_missing`.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
    /// Output fields that must exist and not be empty; if there are none, the output must not be empty.
    pub reuse_fields: Vec<String>,
    /// The run whose result stands, or that is in flight.
    pub run_id: Option<RunId>,
    pub stage_status: Option<StageState>,
    /// Position in its queue, 1 for the next; absent while it runs.
    pub queue_position: Option<u64>,
    /// In flight: why that run was started.
    pub started_because: Option<String>,
    /// Hit: whether the result came from other input than the stored request's; null if that is not known.
    pub input_changed: Option<bool>,
    /// Hit: when the stage ended.
    pub cached_at: Option<Timestamp>,
    /// Hit: run time that would not be spent again, in seconds.
    pub saved_seconds: Option<f64>,
    /// How many warnings the stored result has; absent if none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warnings: u64,
    /// Whether one of these says that running the stage again could give a better result; absent if none does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub warnings_retryable: bool,
    /// Error of the last run, if that failed.
    pub error: Option<String>,
}

/// Number of tasks by status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskCounts {
    pub pending: u64,
    pub running: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
}

/// What reuse has saved since this Redis database was created.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReuseTotals {
    /// Submits answered from a finished stage.
    pub hits: u64,
    /// Submits that joined a run in flight.
    pub joins: u64,
    /// Submits that started a run.
    pub misses: u64,
    /// Run time that hits did not spend again, in seconds.
    pub saved_seconds: f64,
}

impl ReuseTotals {
    /// Returns the share of submits that started no run, 0 to 1; `None` before the first.
    pub fn hit_ratio(&self) -> Option<f64> {
        let total = self.hits + self.joins + self.misses;
        (total > 0).then(|| (self.hits + self.joins) as f64 / total as f64)
    }
}

/// One queue: the runs that wait for slots of one resource class, or hold them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueInfo {
    /// Resource class: cpu, gpu, io, llm, or one of the configuration.
    pub name: String,
    pub slots: u32,
    pub running: u64,
    pub pending: u64,
    /// The runs that wait, next first, at most 100.
    pub next: Vec<QueuedRun>,
    /// Why none of these begins: for a queue of Celery workers while none listens. Absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

/// A run that waits in a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueuedRun {
    pub task_id: TaskId,
    pub task_name: NodeName,
}

/// `GET /v1/queues`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Queues {
    pub queues: Vec<QueueInfo>,
}

/// Whose Redis it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RedisMode {
    /// The daemon's own server.
    Private,
    External,
}

impl RedisMode {
    /// Returns the word that the JSON has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::External => "external",
        }
    }
}

/// Where state is kept, and whether that works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RedisInfo {
    pub mode: RedisMode,
    /// Connection URL without user or password.
    pub url: String,
    pub database: i64,
    /// Whether the last command was answered.
    pub up: bool,
    /// Why it is not up, as the server or the system reports it, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Round trip of a PING, milliseconds.
    #[serde(default)]
    pub latency_ms: Option<f64>,
    #[serde(default)]
    pub version: Option<String>,
    /// Whether the append-only file is on.
    #[serde(default)]
    pub append_only: Option<bool>,
}

/// `GET /v1/system`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SystemInfo {
    pub version: String,
    /// This daemon: its data directory's id and the number of its start.
    pub instance: String,
    pub started_at: Timestamp,
    pub redis: RedisInfo,
    /// Pub/sub channel of the events.
    pub events_channel: String,
    /// Sequence number of the last event.
    pub seq: u64,
    /// Tasks by status.
    pub tasks: TaskCounts,
    pub reuse: ReuseTotals,
    /// Folder in which each task has a folder.
    pub share: String,
    /// Folders that inputs may lie in, beside `share`.
    pub media_roots: Vec<String>,
}

/// `DELETE /v1/tasks/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CancelResponse {
    pub task_id: TaskId,
    pub status: TaskStatus,
    pub message: String,
    /// The stages whose run was cancelled by this request.
    pub cancelled: Vec<NodeName>,
}

/// Body of `POST /v1/tasks/{id}/stages/{task_name}/resubmit` and of retry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ResubmitRequest {
    #[serde(default)]
    pub reuse: ReuseMode,
}

/// Body of `POST /v1/tasks/{id}/stages/{task_name}/reuse`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ExplainRequest {
    /// The parameters, as those of a submit.
    #[schema(value_type = Object)]
    pub input_data: serde_json::Map<String, serde_json::Value>,
    /// As in a submit; left out, the node's policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<ReuseMode>,
}

/// One callback delivery: what is, was or will be sent to one URL for one run or hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CallbackDelivery {
    /// The `webhook-id` of every try.
    pub id: String,
    pub url: String,
    pub task_id: TaskId,
    /// The node that it reports.
    pub task_name: NodeName,
    /// The run that it reports; for a hit, the run whose result was reused.
    pub run_id: Option<RunId>,
    /// How that run ended: `completed`, `failed` or `cancelled`.
    pub status: TaskStatus,
    pub state: CallbackStatus,
    /// Tries that ended since it was requested, or since its last redelivery was requested.
    pub attempts: u32,
    pub created_at: Timestamp,
    /// When it is tried next, while it is pending.
    pub next_try_at: Option<Timestamp>,
    pub last_tried_at: Option<Timestamp>,
    /// The outcome of the last try, for people.
    pub detail: Option<String>,
    /// HTTP status of the last answer; null if there was none.
    pub http_status: Option<u16>,
    /// Until when nothing is sent to its host, because the host accepted no connection or gave no answer several times
    /// in a row. Waiting for that uses no try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker_open_until: Option<Timestamp>,
}

/// `GET /v1/callbacks`, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CallbackPage {
    pub items: Vec<CallbackDelivery>,
    /// Send it as `cursor` for the next page; absent at the end. A page can hold fewer items than were requested, also
    /// none, and still have a cursor: the search continues there.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// `GET /v1/tasks/supported-tasks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SupportedTasks {
    /// Node names by service.
    pub supported_tasks: IndexMap<String, Vec<String>>,
    pub total_count: usize,
    pub description: String,
}

/// Whether submits can be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    Healthy,
    Unhealthy,
}

/// `GET /v1/tasks/health`, `/livez`, `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Health {
    pub status: HealthStatus,
    pub service: String,
    /// What is wrong, if anything is.
    pub causes: Vec<String>,
    /// What keeps stages waiting although submits can be decided, such as a queue that no Celery worker listens to.
    /// Absent if nothing does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
