//! One task as the dashboard knows it: its stages and the steps that its pipeline plans, joined into rows.

use std::sync::Arc;

use onceover_types::{CallbackStatus, NodeName, RunId, StageState, TaskId, TaskStatus, Timestamp};
use onceover_wire::{Processing, ProcessingStep, StageSummary, StepStatus, TaskItem, TaskView, WarningCount};

use super::{
    pipeline::Pipeline,
    row::RowId,
    stage::{KeptStage, StageList, StageNames, count_elapsed},
};
use crate::theme::{processing_state, task_state};

/// One task as the dashboard knows it.
#[derive(Debug, Clone)]
pub struct Task {
    pub id: Arc<TaskId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub status: TaskStatus,
    pub callback_status: Option<CallbackStatus>,
    /// In the order in which they were first asked for.
    pub stages: StageList,
    /// Present for the task of a video that was processed.
    pub pipeline: Option<Box<Pipeline>>,
    /// The load in which the task was last seen to exist.
    pub(super) load: u32,
}

/// The state of a row of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The row has a stage in this state.
    State(StageState),
    /// A finished result was reused.
    Reused,
    /// A planned step that has not begun.
    Waiting,
    /// A planned step that is left out.
    Skipped,
}

impl Standing {
    /// Returns the state by which filters find it.
    pub fn state(self) -> Option<StageState> {
        match self {
            Self::State(state) => Some(state),
            Self::Reused => Some(StageState::Success),
            Self::Waiting => Some(StageState::Pending),
            Self::Skipped => None,
        }
    }
}

/// Whether the stage belongs to this processing, and not to an earlier one.
fn is_stage_of(processing: &Processing, step: &ProcessingStep, stage: &KeptStage) -> bool {
    if stage.status.in_flight() {
        return true;
    }
    // The former result stands where a run that was to replace it failed; the step has the error of that run.
    let stands = step.status == StepStatus::Failed && stage.status == StageState::Success;
    let tried_again = step.status == StepStatus::Pending && step.retry_at.is_some();
    if stands || tried_again {
        return false;
    }
    let same_run = step.run_id.is_some() && stage.is_run(step.run_id.as_ref());
    let done = step.status == StepStatus::Completed && stage.status == StageState::Success;
    // The stage ended after the pipeline was read: its next revision includes this end.
    let newer = stage.ended_at().is_some_and(|ended| ended > processing.updated_at);
    same_run || done || newer
}

impl Task {
    /// Makes a task from an item of a list.
    pub fn from_item(item: TaskItem) -> Self {
        Self::keep(item, &mut StageNames::default())
    }

    /// Does the same; what many stages have is kept once, in `names`.
    pub(super) fn keep(item: TaskItem, names: &mut StageNames) -> Self {
        let stages = item.stages.into_iter().map(|(node, stage)| names.keep(&node, stage));
        let stages = stages.collect();
        let pipeline = item
            .pipeline
            .map(|processing| Pipeline::new(*processing, |node| names.keep_node(node)));
        Self {
            id: Arc::new(item.task_id),
            created_at: item.created_at,
            updated_at: item.updated_at,
            status: item.status,
            callback_status: item.callback_status,
            stages,
            pipeline: pipeline.map(Box::new),
            load: 0,
        }
    }

    /// Returns its rows, each with its stage: planned steps in the pipeline's order, then the stages that are no steps.
    /// A stage of an earlier processing is not the step's.
    pub fn rows(&self) -> impl Iterator<Item = (&Arc<NodeName>, Option<&KeptStage>)> {
        let planned = self.pipeline.as_ref().map_or(&[][..], |pipeline| pipeline.nodes());
        let others = self.stages.iter().filter(move |(node, _)| !planned.contains(node));
        let steps = planned.iter().map(|node| (node, self.current_stage(node)));
        steps.chain(others.map(|(node, stage)| (node, Some(stage))))
    }

    /// Whether it has a stage or a planned step of the node.
    pub fn has_row(&self, node: &NodeName) -> bool {
        self.stages.contains_key(node) || self.step(node).is_some()
    }

    /// Returns the planned step that runs the node.
    pub fn step(&self, node: &NodeName) -> Option<&ProcessingStep> {
        self.pipeline.as_ref()?.step(node)
    }

    /// Returns the stage of a row, unless it is an earlier processing's.
    pub fn current_stage(&self, node: &NodeName) -> Option<&KeptStage> {
        let stage = self.stages.get(node)?;
        let Some((pipeline, step)) = self
            .pipeline
            .as_ref()
            .and_then(|pipeline| Some((pipeline, pipeline.step(node)?)))
        else {
            return Some(stage);
        };
        is_stage_of(&pipeline.processing, step, stage).then_some(stage)
    }

    /// Counts the warnings of a row's result: the stage's, or without a stage those that the pipeline knows.
    pub fn row_warnings(&self, node: &NodeName) -> WarningCount {
        let of_stage = self
            .current_stage(node)
            .map(|stage| (stage.warnings(), stage.has_retryable_warnings()));
        let of_step = || self.step(node).map(|step| (step.warnings, step.warnings_retryable));
        let (warnings, retryable) = of_stage.or_else(of_step).unwrap_or_default();
        WarningCount { warnings, retryable }
    }

    /// Returns the state of a row; `None` if there is no such row.
    pub fn standing(&self, node: &NodeName) -> Option<Standing> {
        let step = self.step(node);
        let stage = self.current_stage(node);
        let reused = step.is_some_and(|step| step.reuse_hit == Some(true) && step.status == StepStatus::Completed);
        match (stage, step) {
            (Some(stage), _) if stage.status == StageState::Success && reused => Some(Standing::Reused),
            (Some(stage), _) => Some(Standing::State(stage.status)),
            (None, None) => None,
            (None, Some(step)) => Some(match step.status {
                StepStatus::Pending => Standing::Waiting,
                StepStatus::Processing => Standing::State(StageState::Running),
                StepStatus::Completed if reused => Standing::Reused,
                StepStatus::Completed => Standing::State(StageState::Success),
                StepStatus::Failed => Standing::State(StageState::Failed),
                StepStatus::Cancelled => Standing::State(StageState::Cancelled),
                StepStatus::Skipped => Standing::Skipped,
            }),
        }
    }

    /// Returns 0 to 100 while the row runs and there is a figure.
    pub fn progress(&self, node: &NodeName) -> Option<f64> {
        if self.standing(node) != Some(Standing::State(StageState::Running)) {
            return None;
        }
        match self.current_stage(node) {
            Some(stage) => stage.progress(),
            None => self.step(node).map(|step| f64::from(step.progress)),
        }
    }

    /// Returns the pipeline while it is in flight.
    pub fn under_way(&self) -> Option<&Pipeline> {
        let pipeline = self.pipeline.as_deref()?;
        pipeline.processing.status.in_flight().then_some(pipeline)
    }

    /// Returns when a step is tried again.
    pub fn retries_at(&self) -> Option<Timestamp> {
        let steps = &self.under_way()?.processing.tasks;
        let waiting = steps.iter().filter(|step| step.status == StepStatus::Pending);
        waiting.filter_map(|step| step.retry_at).max()
    }

    /// Returns the state of the task, its pipeline included.
    pub fn state(&self) -> StageState {
        let of_stages = task_state(self.status);
        let Some(pipeline) = &self.pipeline else {
            return of_stages;
        };
        let processing = &pipeline.processing;
        // What other requests did to its stages after the pipeline had ended is newer.
        let after = |(node, stage): (&Arc<NodeName>, &KeptStage)| {
            let ended = stage.ended_at().zip(processing.ended_at);
            let own = pipeline
                .step(node)
                .is_some_and(|step| stage.is_run(step.run_id.as_ref()));
            !own && ended.is_some_and(|(stage, pipeline)| stage > pipeline)
        };
        let touched = self.status.in_flight() || self.stages.iter().any(after);
        if !processing.status.in_flight() && touched {
            of_stages
        } else {
            processing_state(processing.status)
        }
    }

    /// Returns the stage that was asked for last, which a resubmit of the task is about.
    pub fn newest_stage(&self) -> Option<(&Arc<NodeName>, &KeptStage)> {
        self.stages
            .iter()
            .max_by_key(|(_, stage)| stage.queued_at().or(stage.started_at()).or(stage.ended_at()))
    }

    /// Counts the stages that wait or run.
    pub fn count_in_flight(&self) -> usize {
        self.stages.values().filter(|stage| stage.status.in_flight()).count()
    }

    /// Counts the answers that reuse gave without a run.
    pub fn reuse_hits(&self) -> u64 {
        self.stages.values().map(KeptStage::reuses).sum()
    }

    /// Counts the warnings of its results, of the rows it shows.
    pub fn warnings(&self) -> u64 {
        let rows = self.rows().map(|(node, _)| self.row_warnings(node));
        rows.map(|row| row.warnings).sum()
    }

    /// Sums up the seconds that the stages have run; a running one counts up to `clock`.
    pub fn elapsed(&self, clock: Timestamp) -> f64 {
        self.stages.values().map(|stage| stage.elapsed(clock)).sum()
    }

    /// Whether both say the same of a task.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let facts = |task: &Self| (task.created_at, task.updated_at, task.status, task.callback_status);
        facts(self) == facts(other) && self.stages == other.stages && self.pipeline == other.pipeline
    }

    /// Derives the status from the stages.
    pub(super) fn derive_status(&mut self) {
        let stages = self.stages.values().map(|stage| (stage.status, stage.ended_at()));
        if let Some(status) = TaskStatus::derive(stages) {
            self.status = status;
        }
    }
}

/// The state of a row, and the run that the state is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageRun {
    pub state: StageState,
    run_id: Option<RunId>,
    attempt: u32,
}

impl StageRun {
    /// Reads it of a task; `None` if the task has no such row.
    pub fn of_row(task: &Task, row: &RowId) -> Option<Self> {
        let Some(node) = &row.node else {
            return Some(Self {
                state: task.state(),
                run_id: None,
                attempt: 0,
            });
        };
        let stage = task.stages.get(node)?;
        Some(Self {
            state: stage.status,
            run_id: stage.run_id(),
            attempt: stage.attempt,
        })
    }
}

/// Returns the seconds that a stage has run by `clock`, never negative; 0 while it waits.
pub fn elapsed(stage: &StageSummary, clock: Timestamp) -> f64 {
    count_elapsed(stage.status, stage.started_at, stage.duration, clock)
}

/// Shortens the view of a task to what lists carry.
pub fn summarize_view(view: &TaskView) -> TaskItem {
    TaskItem {
        task_id: view.task_id.clone(),
        status: view.status,
        created_at: view.created_at,
        updated_at: view.updated_at,
        task_name: view.task_name.clone(),
        callback_status: view.callback_status,
        disk_bytes: view.disk_bytes,
        stages: view
            .stages
            .iter()
            .map(|(node, stage)| (node.clone(), stage.summary()))
            .collect(),
        pipeline: None,
        damaged: None,
    }
}
