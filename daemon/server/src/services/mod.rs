//! What can be done with tasks: submit, read, cancel, delete, resubmit. Handlers call it with parsed
//! arguments; it decides with the store and wakes who has to act.

pub mod artifacts;
mod delete;
mod evidence;
pub mod explain;
pub mod foreign;
pub mod input;
mod input_files;
mod request;
mod submit;
mod takeover;
pub mod unread;
pub mod view;

use std::{path::PathBuf, sync::Arc, time::Duration};

use onceover_catalog::Catalog;
use onceover_types::{FieldError, Missing, NodeName, Problem, TaskId, TaskStatus, Timestamp};
use onceover_wire::{CallbackDelivery, CancelResponse, NodeResult, NodeStatus, TaskView};

pub use request::{CheckedRequest, SubmitDraft};
pub use takeover::{ChangedStages, MOST_CHANGED, TakenOver, follow as follow_other_workers};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Verify,
    downloads::Downloads,
    events::EventBus,
    metrics::Metrics,
    objects::{ObjectStorage, Uploading},
    readiness::Readiness,
    ssrf_guard::SsrfGuard,
};
use onceover_nodes::llm::Providers;
use onceover_run::paths::Roots;
use onceover_store::{Store, StoreError, TaskRecords};
use unread::WarningLog;

/// Why something cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("there is no task '{0}'; it was never submitted, was deleted, or has expired")]
    UnknownTask(TaskId),
    #[error("task '{task}' has no stage '{node}'")]
    UnknownStage { task: TaskId, node: NodeName },
    #[error("there is no callback '{0}'; it has expired, its task was deleted, or it never was")]
    UnknownCallback(String),
    #[error(
        "{node} has already succeeded under task '{task}' with other input, and this node refuses to answer with that or to replace it; use another task_id, or ask with \"reuse\": \"never\" to replace it"
    )]
    OtherInput { task: TaskId, node: NodeName },
    #[error("{node} cannot run on this machine, which lacks {}", in_words(.missing))]
    NotReady { node: NodeName, missing: Vec<Missing> },
    #[error(
        "this Idempotency-Key was sent with another request within the last day; send a request with the key that it was first sent with, and each other one with a new key"
    )]
    KeyReused,
    #[error("another processing of the video has taken its place")]
    Superseded,
    #[error("the pipeline has asked for this run before")]
    AlreadyAsked,
    #[error(
        "as many callbacks wait for {node} under task '{task}' as may: {most} (callbacks.max_per_run); ask again without one, or once the run has ended"
    )]
    TooManyCallbacks { task: TaskId, node: NodeName, most: u64 },
    #[error(
        "the record of {node} under task '{task}' is damaged ({what}), so nothing can be decided by it; `onceoverd check --repair` mends it or sets it aside, or delete the task"
    )]
    Damaged { task: TaskId, node: NodeName, what: String },
    #[error("{}", fields(std::slice::from_ref(.0)))]
    TooLarge(FieldError),
    #[error("{0}")]
    Full(String),
    #[error("{0}")]
    Refused(String),
    #[error("the daemon is stopping and takes no new work; send it again to another daemon, or later")]
    Draining,
    #[error("{}", fields(.0))]
    Invalid(Vec<FieldError>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn fields(errors: &[FieldError]) -> String {
    Problem::invalid_fields(errors.to_vec()).to_string()
}

fn in_words(missing: &[Missing]) -> String {
    let each: Vec<_> = missing.iter().map(Missing::to_string).collect();
    each.join("; ")
}

/// Cheap to clone; shared by handlers, executor and callbacks.
#[derive(Clone)]
pub struct Engine {
    pub store: Store,
    pub catalog: Arc<Catalog>,
    pub readiness: Arc<Readiness>,
    pub roots: Arc<Roots>,
    pub guard: Arc<SsrfGuard>,
    pub downloads: Arc<Downloads>,
    /// The object store, where one is configured.
    pub objects: Option<Arc<ObjectStorage>>,
    /// Whose files are on their way to it.
    pub uploading: Uploading,
    /// The language models that nodes may ask.
    pub providers: Providers,
    pub hub: EventBus,
    /// What other workers may have changed.
    pub changed: ChangedStages,
    /// Resource classes.
    pub queues: Arc<[String]>,
    /// How long a program may take to end after it was asked to.
    pub grace: Duration,
    /// How files are looked at before a result is reused.
    pub verify: Verify,
    pub metrics: Metrics,
    /// Where warnings of answers are written.
    pub warning_log: Arc<WarningLog>,
    /// Cancelled once the daemon takes no new work.
    pub draining: CancellationToken,
}

impl Engine {
    /// Folder of a task's files.
    pub fn task_folder(&self, task: &TaskId) -> PathBuf {
        self.roots.share().join(task.as_str())
    }

    fn view_of<'a>(&self, task: &'a TaskId, node: Option<&'a NodeName>) -> view::ViewOf<'a> {
        view::ViewOf {
            task,
            node,
            shared_storage_path: self.task_folder(task).display().to_string(),
            ttl_seconds: self.store.options().ttl.as_secs(),
            now: Timestamp::now(),
        }
    }

    /// The view of a task that was read already.
    pub fn view_from(&self, records: &TaskRecords, task: &TaskId) -> Result<TaskView, EngineError> {
        let view = view::task_view(records, &self.view_of(task, None))?;
        view.ok_or_else(|| EngineError::UnknownTask(task.clone()))
    }

    /// The task view; with `node`, addressed to that node, which must be a stage of the task.
    pub async fn view(&self, task: &TaskId, node: Option<&NodeName>) -> Result<TaskView, EngineError> {
        Ok(self.read_view(task, node).await?.1)
    }

    /// The task as a client sees it that waits for one node: the addressed one, else that of the newest request.
    pub async fn status(&self, task: &TaskId, node: Option<&NodeName>) -> Result<NodeStatus, EngineError> {
        let (records, view) = self.read_view(task, node).await?;
        view::node_status(&records, view).ok_or_else(|| EngineError::UnknownTask(task.clone()))
    }

    /// The result of a run that ended as `end` says, also when the node has run again since (C1).
    pub async fn result_of(
        &self,
        task: &TaskId,
        node: &NodeName,
        end: view::NodeEnd,
    ) -> Result<NodeResult, EngineError> {
        let (records, mut view) = self.read_view(task, None).await?;
        if let Some(stage) = view.stages.get_mut(node) {
            stage.status = end.status;
            stage.input_params = end.input_params.clone();
            stage.output = end.output.clone();
            stage.error = end.error.clone();
            stage.duration = end.duration;
        }
        Ok(view::node_result(&records, view, node, end))
    }

    async fn read_view(&self, task: &TaskId, node: Option<&NodeName>) -> Result<(TaskRecords, TaskView), EngineError> {
        let (records, _) = self.store.read(task).await?;
        self.note_later(task, &records);
        let view = view::task_view(&records, &self.view_of(task, node))?;
        let view = view.ok_or_else(|| EngineError::UnknownTask(task.clone()))?;
        match node {
            Some(node) if !view.stages.contains_key(node) => Err(EngineError::UnknownStage {
                task: task.clone(),
                node: node.clone(),
            }),
            _ => Ok((records, view)),
        }
    }

    /// Cancels what is in flight under a task, or one stage of it; the processes are ended by whoever runs them.
    pub async fn cancel(&self, task: &TaskId, node: Option<&NodeName>) -> Result<CancelResponse, EngineError> {
        let cancelled = self.store.cancel(task, node).await?.unwrap_or_default();
        self.hub.nudge(task);
        let (records, _) = self.store.read(task).await?;
        let held = self.held(&records);
        if cancelled.is_empty() && records.stages.is_empty() && held.stages.is_empty() {
            return Err(EngineError::UnknownTask(task.clone()));
        }
        // Nothing ends a worker that is not ours.
        let left = held.in_flight().filter(|name| node.is_none_or(|node| node == *name));
        let left: Vec<_> = left.map(NodeName::as_str).collect();
        let left = match left.as_slice() {
            [] => String::new(),
            names => format!(
                "; {} goes on with another worker, which Onceover cannot end",
                names.join(", ")
            ),
        };
        if cancelled.is_empty() {
            let what = node.map_or_else(
                || format!("task '{task}'"),
                |node| format!("stage '{node}' of '{task}'"),
            );
            return Err(EngineError::Refused(format!(
                "nothing to cancel: {what} has no run of ours that waits or runs{left}"
            )));
        }
        for node in &cancelled {
            tracing::info!(task_id = %task, task_name = %node, "run cancelled");
        }
        let names: Vec<_> = cancelled.iter().map(NodeName::as_str).collect();
        Ok(CancelResponse {
            task_id: task.clone(),
            status: TaskStatus::Cancelled,
            message: format!("cancelled {}{left}", names.join(", ")),
            cancelled,
        })
    }

    /// One callback delivery.
    pub async fn callback(&self, id: &str) -> Result<CallbackDelivery, EngineError> {
        let found = match is_callback_id(id) {
            true => self.store.delivery(id).await?,
            false => None,
        };
        found.ok_or_else(|| EngineError::UnknownCallback(shortened(id)))
    }

    /// Sends a callback again, whether it was sent, given up or is still pending.
    pub async fn redeliver(&self, id: &str) -> Result<CallbackDelivery, EngineError> {
        let found = match is_callback_id(id) {
            true => self.store.redeliver(id).await?,
            false => None,
        };
        let found = found.ok_or_else(|| EngineError::UnknownCallback(shortened(id)))?;
        self.hub.outbox_grew();
        Ok(found)
    }
}

/// Longest id of a callback that there can be: two of its parts are a UUID and half a hash.
const CALLBACK_ID_MAX: usize = 64;

fn is_callback_id(text: &str) -> bool {
    (1..=CALLBACK_ID_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn shortened(id: &str) -> String {
    id.chars().take(CALLBACK_ID_MAX).collect()
}
