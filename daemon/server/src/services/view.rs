//! The task view (S2): every stage ever run under a task, merged into the one shape that clients read.

use indexmap::IndexMap;
use onceover_types::{NodeName, StageState, TaskId, TaskStatus, Timestamp};
use onceover_wire::{InputParams, NodeResult, NodeStatus, StageSummary, StageView, TaskView, WarningCount};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    foreign::{ForeignStage, HeldStages},
    input,
    sentences::with_warnings,
};
use onceover_store::{StageRecord, StoreError, TaskRecords};

fn raw(object: &Map<String, Value>) -> Box<RawValue> {
    serde_json::value::to_raw_value(object).expect("a JSON object can be written as JSON")
}

/// A stage of ours. What of its record cannot be right is named, and stands in nobody's way.
fn own_stage(record: &StageRecord) -> StageView {
    let nothing = || raw(&Map::new());
    let (input, output) = (record.input_public(), record.output());
    let mut summary = record.summary();
    let broken = [(input.is_err(), "input"), (output.is_err(), "output")];
    let broken = broken
        .iter()
        .find_map(|(is_broken, name)| is_broken.then(|| (*name).to_owned()));
    summary.damaged = summary.damaged.or(broken);
    let error = match &summary.damaged {
        Some(what) => Some(format!(
            "the record is damaged: {what}; `onceoverd check --repair` mends it or sets it aside"
        )),
        None => record.error(),
    };
    let mut view = StageView::from_summary(
        summary,
        input.unwrap_or_else(|_| nothing()),
        output.unwrap_or_else(|_| nothing()),
        error,
        record.last_attempt(),
    );
    view.needs = record.needs();
    view
}

/// A result that another worker wrote; what was counted for an earlier one of ours stays counted.
fn foreign_stage(stage: &ForeignStage, counted: Option<StageSummary>) -> StageView {
    let counted = counted.as_ref();
    let warned = stage.warned();
    let summary = StageSummary {
        status: stage.state,
        run_id: None,
        attempt: 1,
        revision: stage
            .noted
            .map(|noted| noted.revision)
            .max(counted.map(|summary| summary.revision))
            .unwrap_or_default(),
        queue: counted.map_or_else(String::new, |summary| summary.queue.clone()),
        runner: Some("foreign".into()),
        progress: stage.progress,
        message: Some("written by another worker".into()),
        reason: None,
        forced: false,
        reuse_hits: counted.map_or(0, |summary| summary.reuse_hits),
        joins: counted.map_or(0, |summary| summary.joins),
        saved_seconds: counted.map_or(0.0, |summary| summary.saved_seconds),
        queued_at: None,
        started_at: match stage.noted {
            Some(noted) => noted.started,
            None => (stage.state == StageState::Running).then_some(stage.written),
        },
        ended_at: stage.ended,
        duration: stage.duration,
        error: None,
        callback_status: None,
        warnings: warned.warnings,
        warnings_retryable: warned.retryable,
        damaged: None,
    };
    StageView::from_summary(
        summary,
        raw(&input::public(&stage.input)),
        raw(&stage.output),
        stage.error.clone(),
        None,
    )
}

fn sentence(stages: &IndexMap<NodeName, StageView>, status: TaskStatus) -> String {
    let count = |state| stages.values().filter(|stage| stage.status == state).count();
    let done = count(StageState::Success);
    let all = stages.len();
    match status {
        TaskStatus::Running => {
            let running: Vec<_> = stages
                .iter()
                .filter(|(_, stage)| stage.status == StageState::Running)
                .map(|(name, stage)| match stage.progress {
                    Some(percent) => format!("{name} {percent:.0} %"),
                    None => name.to_string(),
                })
                .collect();
            format!("running {}; {done} of {all} stages done", running.join(", "))
        }
        TaskStatus::Pending => format!("{} waiting; {done} of {all} stages done", count(StageState::Pending)),
        TaskStatus::Completed => format!("{done} of {all} stages done"),
        TaskStatus::Failed => format!("{} failed; {done} of {all} stages done", count(StageState::Failed)),
        TaskStatus::Cancelled => format!(
            "{} cancelled; {done} of {all} stages done",
            count(StageState::Cancelled)
        ),
    }
}

/// What the view is made for.
pub struct ViewOf<'a> {
    pub task: &'a TaskId,
    /// The node addressed; else that of the newest request.
    pub node: Option<&'a NodeName>,
    pub shared_storage_path: String,
    pub ttl_seconds: u64,
    pub now: Timestamp,
}

/// Puts the view together; None when nothing is known of the task.
pub fn task_view(records: &TaskRecords, of: &ViewOf<'_>) -> Result<Option<TaskView>, StoreError> {
    let mut stages = IndexMap::new();
    let mut created = records.time("created");
    for (name, record) in &records.stages {
        stages.insert(name.clone(), own_stage(record));
    }
    let held = HeldStages::of(records, of.ttl_seconds, of.now).stages;
    for (name, stage) in &held {
        let counted = records.stage(name).map(StageRecord::summary);
        stages.insert(name.clone(), foreign_stage(stage, counted));
    }
    if created.is_none() {
        created = held.values().map(|stage| stage.created).min();
    }
    if !records.order.is_empty() {
        let place = |name: &NodeName| records.order.iter().position(|known| known == name);
        stages.sort_by_key(|name, _| place(name).unwrap_or(usize::MAX));
    }
    let Some(status) = TaskStatus::derive(stages.values().map(|stage| (stage.status, stage.ended_at))) else {
        return Ok(None);
    };
    let newest = records.newest().filter(|node| stages.contains_key(node));
    let last = stages
        .iter()
        .max_by_key(|(_, stage)| stage.ended_at)
        .map(|(name, _)| name.clone());
    let newest = newest.or(last.clone());
    let request = newest.as_ref().and_then(|node| newest_request(records, &stages, node));
    let addressed = of.node.cloned().or(newest);
    let addressed_stage = addressed.as_ref().and_then(|node| stages.get(node));
    let error = match (status, &last) {
        (TaskStatus::Failed, Some(node)) => stages[node]
            .error
            .as_ref()
            .map(|error| format!("{node} failed: {error}")),
        _ => None,
    };
    let created = created.unwrap_or(of.now);
    let files: Vec<_> = stages
        .keys()
        .flat_map(|node| files_of(records, &stages, node))
        .collect();
    let updated = records
        .time("updated")
        .or_else(|| stages.values().filter_map(|stage| stage.ended_at).max());
    Ok(Some(TaskView {
        workflow_id: of.task.clone(),
        task_id: of.task.clone(),
        status,
        create_at: created,
        created_at: created,
        updated_at: updated.unwrap_or(created),
        input_params: request,
        shared_storage_path: of.shared_storage_path.clone(),
        error,
        minio_files: (!files.is_empty()).then_some(files),
        callback_status: records.text("callback_status").and_then(|text| text.parse().ok()),
        message: sentence(&stages, status),
        task_name: addressed.clone(),
        output: addressed_stage.map(|stage| stage.output.clone()),
        duration: addressed_stage.map(|stage| stage.duration),
        disk_bytes: records.disk_bytes(),
        stages,
    }))
}

/// The newest request of a task. What it asked for is kept beside the stage's record only where that is something else.
fn newest_request(
    records: &TaskRecords,
    stages: &IndexMap<NodeName, StageView>,
    node: &NodeName,
) -> Option<InputParams> {
    let is_newest = records.newest().as_ref() == Some(node);
    let field = |name: &str| records.text(name).filter(|_| is_newest);
    let own = field("req_input").and_then(|text| RawValue::from_string(text.to_owned()).ok());
    let of_record = || records.stage(node).filter(|_| is_newest)?.input_public().ok();
    Some(InputParams {
        task_name: node.clone(),
        input_data: match own.or_else(of_record) {
            Some(input) => input,
            None => stages.get(node)?.input_params.clone(),
        },
        callback_url: field("req_callback").and_then(|text| serde_json::from_str(text).ok()),
    })
}

fn is_foreign(stage: &StageView) -> bool {
    stage.runner.as_deref() == Some("foreign")
}

/// Files of a node's standing result at the object store; none of a result that another worker wrote.
fn files_of(records: &TaskRecords, stages: &IndexMap<NodeName, StageView>, node: &NodeName) -> Vec<Value> {
    let is_foreign = stages.get(node).is_some_and(is_foreign);
    let own = records.stage(node).filter(|_| !is_foreign);
    own.map(StageRecord::standing_files).unwrap_or_default()
}

/// What a node result says of the node that it is about.
#[derive(Debug, Deserialize)]
pub struct NodeEnd {
    pub status: StageState,
    pub input_params: Box<RawValue>,
    pub output: Box<RawValue>,
    pub error: Option<String>,
    pub duration: f64,
}

impl From<&StageView> for NodeEnd {
    fn from(stage: &StageView) -> Self {
        Self {
            status: stage.status,
            input_params: stage.input_params.clone(),
            output: stage.output.clone(),
            error: stage.error.clone(),
            duration: stage.duration,
        }
    }
}

/// The result of one node, beside the whole task: `end` alone decides what it says of the node.
pub fn node_result(records: &TaskRecords, view: TaskView, node: &NodeName, end: NodeEnd) -> NodeResult {
    let files = match end.output.get() {
        "{}" => Vec::new(),
        _ => files_of(records, &view.stages, node),
    };
    NodeResult {
        task_name: node.clone(),
        status: end.status,
        input_params: end.input_params,
        output: end.output,
        error: end.error,
        duration: end.duration,
        workflow_id: view.workflow_id,
        create_at: view.create_at,
        shared_storage_path: view.shared_storage_path,
        minio_files: (!files.is_empty()).then_some(files),
        task_status: view.status,
        stages: view.stages,
    }
}

/// The task as `/status` and `/result` show it: addressed to the view's node. None for a task without stages.
pub fn node_status(records: &TaskRecords, view: TaskView) -> Option<NodeStatus> {
    let node = view.task_name.clone()?;
    let stage = view.stages.get(&node)?;
    let request = view.input_params.clone().filter(|request| request.task_name == node);
    let request = request.unwrap_or_else(|| InputParams {
        task_name: node.clone(),
        input_data: stage.input_params.clone(),
        callback_url: records.stage(&node).and_then(StageRecord::callback),
    });
    let result = node_result(records, view.clone(), &node, stage.into());
    Some(NodeStatus {
        workflow_id: view.workflow_id,
        task_id: view.task_id,
        status: stage.status.into(),
        task_status: view.status,
        message: stage_sentence(&node, stage),
        error: stage.error.clone(),
        input_params: request,
        output: stage.output.clone(),
        duration: stage.duration,
        callback_status: stage.callback_status,
        minio_files: result.minio_files.clone(),
        create_at: view.create_at,
        created_at: view.created_at,
        updated_at: view.updated_at,
        shared_storage_path: view.shared_storage_path,
        disk_bytes: view.disk_bytes,
        task_name: node,
        result,
        stages: view.stages,
    })
}

fn stage_sentence(node: &NodeName, stage: &StageView) -> String {
    match (stage.status, &stage.error) {
        (StageState::Pending, _) if is_foreign(stage) => format!("{node} is waiting with another worker"),
        (StageState::Pending, _) => match &stage.waiting {
            Some(reason) => format!("{node} is waiting: {reason}"),
            None => format!("{node} is waiting in queue {}", stage.queue),
        },
        (StageState::Running, _) => match stage.progress {
            Some(percent) => format!("{node} is running, {percent:.0} %"),
            None => format!("{node} is running"),
        },
        (StageState::Success, _) => {
            let warned = WarningCount {
                warnings: stage.warnings,
                retryable: stage.warnings_retryable,
            };
            format!("{node} succeeded in {:.1} s{}", stage.duration, with_warnings(warned))
        }
        (StageState::Failed, Some(error)) => format!("{node} failed: {error}"),
        (StageState::Failed, None) => format!("{node} failed"),
        (StageState::Cancelled, _) => match &stage.message {
            Some(message) => format!("{node} was cancelled; {message}"),
            None => format!("{node} was cancelled"),
        },
    }
}
