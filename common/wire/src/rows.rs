//! Every task in short, for a reader that keeps all of them: what has its default is left out, and times are numbers.

use serde::{Deserialize, Serialize};

use super::{Processing, StageSummary, TaskItem, is_false, is_zero};
use onceover_types::{CallbackStatus, NodeName, RunId, StageState, TaskId, TaskStatus, Timestamp};

/// `GET /v1/rows`: what is in flight and what has failed, then every task, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RowPage {
    /// A task can be on more than one page: that on the later page is the newer one.
    pub rows: Vec<TaskRow>,
    /// Send it as `cursor` for the next page; absent at the end. A page can hold fewer rows than were requested, or
    /// none, and still have a cursor.
    #[serde(default)]
    pub next_cursor: Option<String>,
    /// Sequence number of the last event before this page was read.
    pub seq: u64,
}

/// A task in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskRow {
    pub task_id: TaskId,
    pub status: TaskStatus,
    /// Milliseconds since the Unix epoch, as all times of a row.
    pub created_ms: i64,
    pub updated_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_status: Option<CallbackStatus>,
    /// Every stage, in the order first requested.
    pub stages: Vec<StageRow>,
    /// For the task of a video that was processed: its pipeline, including planned steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Box<Processing>>,
    /// What cannot be right in the stored task; `onceoverd check --repair` repairs the task or sets it aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

/// A stage in short: the fields of a stage's summary, without those that are null, 0, empty or false.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StageRow {
    pub node: NodeName,
    pub status: StageState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// 1 if absent.
    #[serde(default = "first_attempt", skip_serializing_if = "is_first_attempt")]
    pub attempt: u32,
    pub revision: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub queue: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub forced: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reuse_hits: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub joins: u64,
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub saved_seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<i64>,
    /// Seconds from start to end.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub duration: f64,
    /// First 200 characters of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_status: Option<CallbackStatus>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warnings: u64,
    #[serde(default, skip_serializing_if = "is_false")]
    pub warnings_retryable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

fn first_attempt() -> u32 {
    1
}

fn is_first_attempt(attempt: &u32) -> bool {
    *attempt == 1
}

fn is_nothing(figure: &f64) -> bool {
    *figure == 0.0
}

impl StageRow {
    /// Makes the row of a stage from its summary.
    pub fn from_summary(node: NodeName, summary: StageSummary) -> Self {
        Self {
            node,
            status: summary.status,
            run_id: summary.run_id,
            attempt: summary.attempt,
            revision: summary.revision,
            queue: summary.queue,
            runner: summary.runner,
            progress: summary.progress,
            message: summary.message,
            reason: summary.reason,
            forced: summary.forced,
            reuse_hits: summary.reuse_hits,
            joins: summary.joins,
            saved_seconds: summary.saved_seconds,
            queued_ms: summary.queued_at.map(Timestamp::as_millis),
            started_ms: summary.started_at.map(Timestamp::as_millis),
            ended_ms: summary.ended_at.map(Timestamp::as_millis),
            duration: summary.duration,
            error: summary.error,
            callback_status: summary.callback_status,
            warnings: summary.warnings,
            warnings_retryable: summary.warnings_retryable,
            damaged: summary.damaged,
        }
    }

    /// Returns the node with the summary of its stage.
    pub fn into_summary(self) -> (NodeName, StageSummary) {
        let summary = StageSummary {
            status: self.status,
            run_id: self.run_id,
            attempt: self.attempt,
            revision: self.revision,
            queue: self.queue,
            runner: self.runner,
            progress: self.progress,
            message: self.message,
            reason: self.reason,
            forced: self.forced,
            reuse_hits: self.reuse_hits,
            joins: self.joins,
            saved_seconds: self.saved_seconds,
            queued_at: self.queued_ms.map(Timestamp::from_millis),
            started_at: self.started_ms.map(Timestamp::from_millis),
            ended_at: self.ended_ms.map(Timestamp::from_millis),
            duration: self.duration,
            error: self.error,
            callback_status: self.callback_status,
            warnings: self.warnings,
            warnings_retryable: self.warnings_retryable,
            damaged: self.damaged,
        };
        (self.node, summary)
    }
}

impl TaskRow {
    /// Returns the task as lists show it, without what a row does not have.
    pub fn into_item(self) -> TaskItem {
        TaskItem {
            task_id: self.task_id,
            status: self.status,
            created_at: Timestamp::from_millis(self.created_ms),
            updated_at: Timestamp::from_millis(self.updated_ms),
            task_name: None,
            callback_status: self.callback_status,
            disk_bytes: 0,
            stages: self.stages.into_iter().map(StageRow::into_summary).collect(),
            pipeline: self.pipeline,
            damaged: self.damaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_news_is_short_and_a_full_one_loses_nothing() {
        let short = r#"{"node":"a.b","status":"SUCCESS","revision":3}"#;
        let row: StageRow = serde_json::from_str(short).unwrap();
        assert_eq!(row.attempt, 1);
        assert_eq!(serde_json::to_string(&row).unwrap(), short);
        let full = StageRow {
            run_id: Some(RunId::generate()),
            attempt: 2,
            queue: "gpu".into(),
            progress: Some(41.7),
            error: Some("no text".into()),
            started_ms: Some(5),
            warnings: 2,
            ..row
        };
        let (node, summary) = full.clone().into_summary();
        assert_eq!(StageRow::from_summary(node, summary), full);
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<StageRow>(&text).unwrap(), full);
    }
}
