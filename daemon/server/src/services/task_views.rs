//! Reads tasks: one with all its stages, what one node of it did, the runs of a stage, and lists of tasks.

use std::{collections::BTreeMap, sync::Arc};

use onceover_run::paths::Roots;
use onceover_store::{RowMark, RowsRead, StageHistory, Store, TaskFilter, TaskRecords};
use onceover_types::{NodeName, StageState, TaskId, TaskStatus};
use onceover_wire::{NodeResult, NodeStatus, StageRuns, TaskView};
use serde_json::{Map, Value};

use super::{
    ChangedStages, ServiceError, Workers,
    folders::task_folder,
    foreign::HeldStages,
    lists::{ListRange, Listed},
    shared_reads::{SharedReads, TaskBody},
    view,
};
use crate::shared_body::SharedBody;

/// Which tasks a list has.
#[derive(Debug, Default)]
pub struct ListedTasks {
    /// Only tasks that are this.
    pub status: Option<TaskStatus>,
    /// Only tasks with a stage of this node.
    pub node: Option<NodeName>,
    /// Only tasks with this text in their id, in the name of a node or in an error.
    pub search: Option<String>,
}

/// A page of tasks; each is JSON already, put together where it is stored.
pub struct TasksPage {
    pub tasks: Listed<String, TaskId>,
    /// Sequence number of the last event before the list was read.
    pub seq: u64,
}

/// `input_data` and callback.
pub(super) type StoredRequest = (Map<String, Value>, Option<String>);

/// Reads tasks and puts their views together.
#[derive(Clone)]
pub struct TaskViews {
    store: Store,
    roots: Arc<Roots>,
    /// Takes what reading a task shows of other workers and lists do not know yet.
    changed: ChangedStages,
    reads: SharedReads,
    /// Knows why a stage waits that goes to a Celery worker.
    workers: Workers,
}

/// Why nothing of a queue begins, by its name.
type QueueWaits = BTreeMap<String, String>;

/// Says of the stages that wait for a Celery worker why none takes them.
fn explain_waits(view: &mut TaskView, waits: &QueueWaits) {
    for stage in view.stages.values_mut() {
        if stage.status == StageState::Pending {
            stage.waiting = waits.get(&stage.queue).cloned();
        }
    }
}

impl TaskViews {
    pub fn new(store: Store, roots: Arc<Roots>, changed: ChangedStages, workers: Workers) -> Self {
        let (shared, noting) = (Arc::new(store.clone()), changed.clone());
        let reads = SharedReads::new(move |task| {
            let (store, changed) = (Arc::clone(&shared), noting.clone());
            async move {
                let records = store.read_for_view(&task).await?;
                note_unnoted(&store, &changed, &task, &records);
                Ok(records)
            }
        });
        Self {
            store,
            roots,
            changed,
            reads,
            workers,
        }
    }

    fn view_of<'a>(&self, task: &'a TaskId, node: Option<&'a NodeName>) -> view::ViewOf<'a> {
        view::ViewOf {
            task,
            node,
            shared_storage_path: task_folder(&self.roots, task).display().to_string(),
            ttl_seconds: self.store.options().ttl.as_secs(),
            now: self.store.now(),
        }
    }

    /// Puts the view of a task together that was read already, addressed to `node` where one is named. Returns `None` if
    /// nothing is known of the task.
    pub(super) fn build_view(
        &self,
        records: &TaskRecords,
        task: &TaskId,
        node: Option<&NodeName>,
    ) -> Result<Option<TaskView>, ServiceError> {
        Ok(view::task_view(records, &self.view_of(task, node))?)
    }

    /// Puts the view of a task together that was read already.
    pub fn view_records(&self, records: &TaskRecords, task: &TaskId) -> Result<TaskView, ServiceError> {
        let view = self.build_view(records, task, None)?;
        view.ok_or_else(|| ServiceError::UnknownTask(task.clone()))
    }

    /// Reads a task as JSON, a [`TaskView`]; with `node`, addressed to that node, which must be a stage of the task.
    pub async fn read_task(&self, task: &TaskId, node: Option<&NodeName>) -> Result<SharedBody, ServiceError> {
        let read = self.reads.read(task).await?;
        let waits = self.find_waits(&read.records).await?;
        read.body(TaskBody::View, node, |records| {
            let mut view = self.build_view_of(records, task, node)?;
            explain_waits(&mut view, &waits);
            Ok(SharedBody::write(&view))
        })
    }

    /// Reads what one node did under a task as JSON, a [`NodeStatus`]: the addressed one, else that of the newest
    /// request.
    pub async fn read_status(&self, task: &TaskId, node: Option<&NodeName>) -> Result<SharedBody, ServiceError> {
        let read = self.reads.read(task).await?;
        let waits = self.find_waits(&read.records).await?;
        read.body(TaskBody::Status, node, |records| {
            let mut view = self.build_view_of(records, task, node)?;
            explain_waits(&mut view, &waits);
            let status: Option<NodeStatus> = view::node_status(records, view);
            let status = status.ok_or_else(|| ServiceError::UnknownTask(task.clone()))?;
            Ok(SharedBody::write(&status))
        })
    }

    /// Reads the result of a run that ended as `end` says, also when the node has run again since (C1).
    pub async fn read_result(
        &self,
        task: &TaskId,
        node: &NodeName,
        end: view::NodeEnd,
    ) -> Result<NodeResult, ServiceError> {
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

    /// Reads the runs of a stage, the newest first. There are none of a stage that another worker ran.
    pub async fn read_runs(&self, task: &TaskId, node: &NodeName) -> Result<StageRuns, ServiceError> {
        let records = self.store.read_for_view(task).await?;
        self.note_later(task, &records);
        let history = match records.stage(node) {
            Some(record) => self.store.read_runs(task, node, record).await?,
            None => {
                self.build_view_of(&records, task, Some(node))?;
                StageHistory::default()
            }
        };
        Ok(StageRuns {
            task_id: task.clone(),
            task_name: node.clone(),
            runs: history.runs,
            not_kept: history.not_kept,
        })
    }

    /// Lists tasks, newest first.
    pub async fn list_tasks(&self, wanted: ListedTasks, range: &ListRange<TaskId>) -> Result<TasksPage, ServiceError> {
        let ListedTasks { status, node, search } = wanted;
        let filter = TaskFilter { status, node, search };
        let found = self.store.list(&filter, range.limit, range.after.as_ref()).await?;
        Ok(TasksPage {
            tasks: Listed {
                items: found.items,
                next: found.next,
            },
            seq: found.seq,
        })
    }

    /// Lists all tasks in short: what is in flight or has failed, then everything.
    pub async fn list_rows(&self, range: &ListRange<RowMark>) -> Result<RowsRead, ServiceError> {
        Ok(self.store.read_rows(range.limit, range.after.as_ref()).await?)
    }

    async fn read_view(&self, task: &TaskId, node: Option<&NodeName>) -> Result<(TaskRecords, TaskView), ServiceError> {
        let records = self.store.read_for_view(task).await?;
        self.note_later(task, &records);
        let mut view = self.build_view_of(&records, task, node)?;
        explain_waits(&mut view, &self.find_waits(&records).await?);
        Ok((records, view))
    }

    /// Finds why no Celery worker takes the stages that wait for one, by their queues.
    async fn find_waits(&self, records: &TaskRecords) -> Result<QueueWaits, ServiceError> {
        let mut waits = QueueWaits::new();
        for (_, record) in &records.stages {
            let queue = record.queue();
            if record.state == StageState::Pending
                && !waits.contains_key(queue)
                && let Some(why) = self.workers.explain_wait(queue).await?
            {
                waits.insert(queue.to_owned(), why);
            }
        }
        Ok(waits)
    }

    /// Builds the view of a task that exists; with `node`, one that has that stage.
    fn build_view_of(
        &self,
        records: &TaskRecords,
        task: &TaskId,
        node: Option<&NodeName>,
    ) -> Result<TaskView, ServiceError> {
        let view = self.build_view(records, task, node)?;
        let view = view.ok_or_else(|| ServiceError::UnknownTask(task.clone()))?;
        match node {
            Some(node) if !view.stages.contains_key(node) => Err(ServiceError::UnknownStage {
                task: task.clone(),
                node: node.clone(),
            }),
            _ => Ok(view),
        }
    }

    /// Reads all that is kept of a task, for what something is decided by.
    pub async fn read_records(&self, task: &TaskId) -> Result<TaskRecords, ServiceError> {
        Ok(self.store.read(task).await?)
    }

    /// Whether a task may have stages of other nodes, as [`Store::has_other_stages`] finds it.
    pub async fn has_other_stages(&self, task: &TaskId, node: &NodeName) -> Result<bool, ServiceError> {
        Ok(self.store.has_other_stages(task, node).await?)
    }

    /// Returns what a task holds of other workers.
    pub fn held(&self, records: &TaskRecords) -> HeldStages {
        HeldStages::now(&self.store, records)
    }

    /// Has noted, soon, what was seen of other workers as a task was read.
    fn note_later(&self, task: &TaskId, records: &TaskRecords) {
        note_unnoted(&self.store, &self.changed, task, records);
    }

    /// Returns `input_data` and callback of a stage's newest request; `None` if the task has no such stage.
    pub(super) fn stored_request(
        &self,
        task: &TaskId,
        records: &TaskRecords,
        node: &NodeName,
    ) -> Result<Option<StoredRequest>, ServiceError> {
        if let Some(record) = records.stage(node) {
            let input = serde_json::from_str(record.input()).map_err(|error| ServiceError::Damaged {
                task: task.clone(),
                node: node.clone(),
                what: format!("input: {error}"),
            })?;
            return Ok(Some((input, record.callback())));
        }
        let stage = self.held(records).stages.swap_remove(node);
        Ok(stage.map(|stage| (stage.input, None)))
    }
}

/// Has noted, soon, what a read has shown of other workers.
fn note_unnoted(store: &Store, changed: &ChangedStages, task: &TaskId, records: &TaskRecords) {
    for node in HeldStages::now(store, records).unnoted {
        changed.add((task.clone(), node));
    }
}
