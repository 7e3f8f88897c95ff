//! Tasks as clients read them: the task view, one node's result, lists.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Processing, ResultWarning, is_false, is_zero};
use onceover_types::{CallbackStatus, NodeName, RunId, StageState, TaskId, TaskStatus, Timestamp};

/// The newest request of a task.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InputParams {
    pub task_name: NodeName,
    #[schema(value_type = Object)]
    pub input_data: Box<RawValue>,
    pub callback_url: Option<String>,
}

/// One stage, in full.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StageView {
    pub status: StageState,
    /// The request's `input_data`; the values of `api_key`, `token`, `password` and `secret` are `***`.
    #[schema(value_type = Object)]
    pub input_params: Box<RawValue>,
    /// Empty until the stage succeeded; during a forced rerun the former output.
    #[schema(value_type = Object)]
    pub output: Box<RawValue>,
    pub error: Option<String>,
    /// Seconds the run took.
    pub duration: f64,
    /// The last attempt to replace a standing result, when it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<LastAttempt>,
    /// The stages of the task that its newest run took from or had to follow. Absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<NodeName>,
    /// The run that the state is about; absent for a result that a foreign worker wrote.
    #[serde(default)]
    pub run_id: Option<RunId>,
    /// 1 for the first; a run whose owner was lost continues as the next attempt.
    pub attempt: u32,
    /// Grows with every write of the stage.
    pub revision: u64,
    /// Resource class whose slots it uses.
    pub queue: String,
    /// What runs it: `builtin`, `command`; `foreign` for a result that another system's worker wrote.
    #[serde(default)]
    pub runner: Option<String>,
    /// 0 to 100; never goes back within an attempt.
    #[serde(default)]
    pub progress: Option<f64>,
    /// What the program reports that it is doing; after a cancel, which Celery worker goes on with it all the same.
    #[serde(default)]
    pub message: Option<String>,
    /// What keeps it PENDING beside the order of its queue: no Celery worker listens. Absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// Why this run was started: the miss reason (R4).
    #[serde(default)]
    pub reason: Option<String>,
    /// A forced rerun while a former result stands.
    #[serde(default)]
    pub forced: bool,
    /// Submits answered from the finished stage.
    pub reuse_hits: u64,
    /// Submits that joined a run in flight.
    pub joins: u64,
    /// Run time that hits did not spend again, in seconds.
    pub saved_seconds: f64,
    #[serde(default)]
    pub queued_at: Option<Timestamp>,
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    #[serde(default)]
    pub callback_status: Option<CallbackStatus>,
    /// How many warnings the result has in its `output.warnings`: what makes it partial or doubtful. Absent if none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warnings: u64,
    /// Whether one of these says that running the stage again could give a better result. Absent if none does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub warnings_retryable: bool,
    /// What cannot be right in the stored record; `onceoverd check --repair` repairs the record or sets it aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

impl StageView {
    /// Makes the full view of a stage: its summary with its input, output and whole error. It needs no other stage.
    pub fn from_summary(
        summary: StageSummary,
        input_params: Box<RawValue>,
        output: Box<RawValue>,
        error: Option<String>,
        last_attempt: Option<LastAttempt>,
    ) -> Self {
        Self {
            status: summary.status,
            input_params,
            output,
            error,
            duration: summary.duration,
            last_attempt,
            needs: Vec::new(),
            run_id: summary.run_id,
            attempt: summary.attempt,
            revision: summary.revision,
            queue: summary.queue,
            runner: summary.runner,
            progress: summary.progress,
            message: summary.message,
            waiting: None,
            reason: summary.reason,
            forced: summary.forced,
            reuse_hits: summary.reuse_hits,
            joins: summary.joins,
            saved_seconds: summary.saved_seconds,
            queued_at: summary.queued_at,
            started_at: summary.started_at,
            ended_at: summary.ended_at,
            callback_status: summary.callback_status,
            warnings: summary.warnings,
            warnings_retryable: summary.warnings_retryable,
            damaged: summary.damaged,
        }
    }

    /// Returns what makes its result partial or doubtful.
    pub fn result_warnings(&self) -> Vec<ResultWarning> {
        if self.warnings == 0 {
            return Vec::new();
        }
        ResultWarning::all_of(&self.output)
    }

    /// Returns the stage in short, as events and lists carry it.
    pub fn summary(&self) -> StageSummary {
        StageSummary {
            status: self.status,
            run_id: self.run_id.clone(),
            attempt: self.attempt,
            revision: self.revision,
            queue: self.queue.clone(),
            runner: self.runner.clone(),
            progress: self.progress,
            message: self.message.clone(),
            reason: self.reason.clone(),
            forced: self.forced,
            reuse_hits: self.reuse_hits,
            joins: self.joins,
            saved_seconds: self.saved_seconds,
            queued_at: self.queued_at,
            started_at: self.started_at,
            ended_at: self.ended_at,
            duration: self.duration,
            error: self.error.as_ref().map(|error| error.chars().take(200).collect()),
            callback_status: self.callback_status,
            warnings: self.warnings,
            warnings_retryable: self.warnings_retryable,
            damaged: self.damaged.clone(),
        }
    }
}

/// A forced rerun that failed or was cancelled; the former result stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LastAttempt {
    pub status: StageState,
    pub error: Option<String>,
    pub run_id: Option<RunId>,
    pub ended_at: Option<Timestamp>,
}

/// One stage in short, at most 1 KiB as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StageSummary {
    pub status: StageState,
    /// The run that the state is about; absent for a result that a foreign worker wrote.
    #[serde(default)]
    pub run_id: Option<RunId>,
    /// 1 for the first; a run whose owner was lost continues as the next attempt.
    pub attempt: u32,
    /// Grows with every write of the stage.
    pub revision: u64,
    /// Resource class whose slots it uses.
    pub queue: String,
    /// What runs it: `builtin`, `command`; `foreign` for a result that another system's worker wrote.
    #[serde(default)]
    pub runner: Option<String>,
    /// 0 to 100; never goes back within an attempt.
    #[serde(default)]
    pub progress: Option<f64>,
    /// What the program reports that it is doing; after a cancel, which Celery worker goes on with it all the same.
    #[serde(default)]
    pub message: Option<String>,
    /// Why this run was started: the miss reason (R4).
    #[serde(default)]
    pub reason: Option<String>,
    /// A forced rerun while a former result stands.
    #[serde(default)]
    pub forced: bool,
    /// Submits answered from the finished stage.
    pub reuse_hits: u64,
    /// Submits that joined a run in flight.
    pub joins: u64,
    /// Run time that hits did not spend again, in seconds.
    pub saved_seconds: f64,
    #[serde(default)]
    pub queued_at: Option<Timestamp>,
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// Seconds from start to end; 0 until it ended.
    pub duration: f64,
    /// First 200 characters of the error.
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default)]
    pub callback_status: Option<CallbackStatus>,
    /// How many warnings the result has in its `output.warnings`: what makes it partial or doubtful. Absent if none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warnings: u64,
    /// Whether one of these says that running the stage again could give a better result. Absent if none does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub warnings_retryable: bool,
    /// What cannot be right in the stored record; `onceoverd check --repair` repairs the record or sets it aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

/// What one node did under a task, in the fields of the older gateway: in hits, in callbacks, in `/status` and
/// `/result`. The first six fields are about that node alone; `stages` has all nodes of the task.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeResult {
    pub task_name: NodeName,
    pub status: StageState,
    /// The node's parameters, as they were requested; the values of `api_key`, `token`, `password` and `secret` are
    /// `***`.
    #[schema(value_type = Object)]
    pub input_params: Box<RawValue>,
    /// Empty until the node succeeded; during a forced rerun the former output.
    #[schema(value_type = Object)]
    pub output: Box<RawValue>,
    pub error: Option<String>,
    /// Seconds the run took.
    pub duration: f64,
    /// The same as `task_id`.
    pub workflow_id: TaskId,
    /// When the task was created.
    pub create_at: Timestamp,
    /// Folder of the task's files.
    pub shared_storage_path: String,
    /// The node's files at the object store, `{name, url, type, size}` each; null where there are none.
    #[schema(value_type = Option<Vec<Object>>)]
    pub minio_files: Option<Vec<serde_json::Value>>,
    /// Status of the whole task.
    pub task_status: TaskStatus,
    /// Every stage of the task, in the order first requested.
    pub stages: IndexMap<NodeName, StageView>,
}

/// `GET /v1/tasks/{id}/status` and `/result`: a task as seen by a client that waits for one node. All but
/// `task_status`, `stages` and the times is about the addressed node: that of `?task_name=`, else that of the newest
/// request.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeStatus {
    /// The same as `task_id`.
    pub workflow_id: TaskId,
    pub task_id: TaskId,
    /// The addressed node.
    pub task_name: NodeName,
    /// Status of the addressed node.
    pub status: TaskStatus,
    /// Status of the whole task.
    pub task_status: TaskStatus,
    /// One sentence for people.
    pub message: String,
    /// Error of the addressed node, when it failed.
    pub error: Option<String>,
    /// The newest request for the addressed node.
    pub input_params: InputParams,
    #[schema(value_type = Object)]
    pub output: Box<RawValue>,
    /// Seconds the run took.
    pub duration: f64,
    /// State of the newest callback about the addressed node.
    pub callback_status: Option<CallbackStatus>,
    /// The addressed node's files at the object store, `{name, url, type, size}` each; null where there are none.
    #[schema(value_type = Option<Vec<Object>>)]
    pub minio_files: Option<Vec<serde_json::Value>>,
    /// The same as `created_at`.
    pub create_at: Timestamp,
    /// When the task was created.
    pub created_at: Timestamp,
    /// When the task changed last.
    pub updated_at: Timestamp,
    /// Folder of the task's files.
    pub shared_storage_path: String,
    /// Bytes of the files that the task's runs left, each measured as it ended.
    pub disk_bytes: u64,
    pub result: NodeResult,
    /// Every stage of the task, in the order first requested.
    pub stages: IndexMap<NodeName, StageView>,
}

/// The task view (S2): every stage ever run under the task, merged.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskView {
    /// The same as `task_id`.
    pub workflow_id: TaskId,
    pub task_id: TaskId,
    pub status: TaskStatus,
    /// The same as `created_at`.
    pub create_at: Timestamp,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The newest request.
    pub input_params: Option<InputParams>,
    /// Folder of the task's files.
    pub shared_storage_path: String,
    /// Error of the stage that ended last, when that failed.
    pub error: Option<String>,
    #[schema(value_type = Option<Vec<Object>>)]
    pub minio_files: Option<Vec<serde_json::Value>>,
    pub callback_status: Option<CallbackStatus>,
    /// One sentence for people.
    pub message: String,
    /// Every stage, in the order first requested.
    pub stages: IndexMap<NodeName, StageView>,
    /// The addressed node: of the query, else of the newest request.
    pub task_name: Option<NodeName>,
    /// Output of the addressed node.
    #[schema(value_type = Option<Object>)]
    pub output: Option<Box<RawValue>>,
    /// Duration of the addressed node, seconds.
    pub duration: Option<f64>,
    /// Bytes of the files that its runs left, each measured as it ended.
    #[serde(default)]
    pub disk_bytes: u64,
}

/// One task in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskItem {
    pub task_id: TaskId,
    pub status: TaskStatus,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Node of the newest request.
    #[serde(default)]
    pub task_name: Option<NodeName>,
    #[serde(default)]
    pub callback_status: Option<CallbackStatus>,
    /// Bytes of the files that its runs left, each measured as it ended.
    #[serde(default)]
    pub disk_bytes: u64,
    /// Every stage, in the order first requested.
    pub stages: IndexMap<NodeName, StageSummary>,
    /// For the task of a video that was processed: its pipeline, including planned steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Box<Processing>>,
    /// What cannot be right in the stored task; `onceoverd check --repair` repairs the task or sets it aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

/// `GET /v1/tasks`, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskPage {
    pub items: Vec<TaskItem>,
    /// Send it as `cursor` for the next page; absent at the end. A page can hold fewer items than were requested and
    /// still have a cursor, but never none.
    #[serde(default)]
    pub next_cursor: Option<String>,
    /// Sequence number of the last event this page knows of.
    pub seq: u64,
}
