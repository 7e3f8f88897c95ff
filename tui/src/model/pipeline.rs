//! Pipelines of videos as the dashboard knows them: how far each is, what of that is still to be read, and how a
//! planned step and the stage of its node are shown as one row.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use onceover_types::{NodeName, RunId, StageState, Timestamp, VideoId};
use onceover_wire::{
    PipelineChange, PipelineList, Processing, ProcessingStatus, ProcessingStep, StageSummary, StepStatus, TaskItem,
    WarningCount,
};

use super::store::Task;
use crate::{
    theme::{as_state, of_processing},
    view::figures::percent,
};

/// The newest processing of a task's video.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// As read last; status, progress and revision moved on by events.
    pub processing: Processing,
    /// The nodes of its steps, in their order, once each.
    nodes: Vec<Arc<NodeName>>,
    /// The revision up to which the steps are known.
    steps_at: u64,
    /// A later processing that an event told of.
    later: Option<(RunId, u64)>,
}

/// Which of two words about one video is the later one: ids of runs sort by time.
fn age(processing: &Processing) -> (&RunId, u64) {
    (&processing.run_id, processing.revision)
}

/// The later of two words about one video.
pub fn later<'a>(one: Option<&'a Processing>, other: Option<&'a Processing>) -> Option<&'a Processing> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if age(one) >= age(other) { one } else { other }),
        (one, other) => one.or(other),
    }
}

impl Pipeline {
    /// `intern` gives a node's name as it is kept.
    pub fn new(processing: Processing, mut intern: impl FnMut(&NodeName) -> Arc<NodeName>) -> Self {
        let mut nodes: Vec<Arc<NodeName>> = Vec::new();
        for step in &processing.tasks {
            if nodes.iter().all(|node| **node != step.task_name) {
                nodes.push(intern(&step.task_name));
            }
        }
        Self {
            steps_at: processing.revision,
            later: None,
            nodes,
            processing,
        }
    }

    /// Whether this is newer than an answer that was read.
    pub fn outdates(&self, answer: &Processing) -> bool {
        let newest = match &self.later {
            Some((run, revision)) => (run, *revision),
            None => age(&self.processing),
        };
        age(answer) < newest
    }

    /// Moves it on by an event. What the event does not tell is then to be read.
    pub fn follow(&mut self, change: &PipelineChange) {
        let mine = &mut self.processing;
        if change.run_id == mine.run_id {
            if change.revision <= mine.revision {
                return;
            }
            let next = change.revision == mine.revision + 1 && self.steps_at == mine.revision;
            if next && !change.steps_changed {
                self.steps_at = change.revision;
            }
            mine.revision = change.revision;
            mine.status = change.status;
            // Never back within a run (V3).
            mine.progress = mine.progress.max(change.progress);
        } else if change.run_id > mine.run_id {
            let told = (change.run_id.clone(), change.revision);
            if self.later.as_ref().is_none_or(|known| *known < told) {
                self.later = Some(told);
            }
        }
    }

    /// The stage of a step went on: the step's own figure is read more seldom.
    pub fn follow_stage(&mut self, node: &NodeName, stage: &StageSummary) {
        let steps = self.processing.tasks.iter_mut();
        let mine = steps.filter(|step| step.task_name == *node && step.run_id.is_some() && step.run_id == stage.run_id);
        if stage.status == StageState::Running {
            for step in mine.filter(|step| !step.status.has_ended()) {
                step.progress = step.progress.max(percent(stage.progress.unwrap_or(0.0)).min(99));
            }
        }
    }

    /// Takes over how far the steps of the same runs were known to be: no figure goes back (V3).
    pub fn not_behind(&mut self, former: &Self) {
        for step in &mut self.processing.tasks {
            let same = |other: &&ProcessingStep| other.name == step.name && other.run_id == step.run_id;
            let known = former.processing.tasks.iter().find(same);
            if let Some(known) = known.filter(|_| step.run_id.is_some() && !step.status.has_ended()) {
                step.progress = step.progress.max(known.progress);
            }
        }
    }

    /// Whether the whole has to be read.
    pub fn is_behind(&self) -> bool {
        self.later.is_some() || self.steps_at < self.processing.revision
    }

    pub fn nodes(&self) -> &[Arc<NodeName>] {
        &self.nodes
    }

    /// The step that runs the node.
    pub fn step(&self, node: &NodeName) -> Option<&ProcessingStep> {
        self.processing.tasks.iter().find(|step| step.task_name == *node)
    }

    /// The step that the pipeline failed at.
    pub fn failed_step(&self) -> Option<&ProcessingStep> {
        let failed = |step: &&ProcessingStep| step.status == StepStatus::Failed && !step.optional;
        let of = self.processing.status == ProcessingStatus::Failed;
        of.then(|| self.processing.tasks.iter().find(failed)).flatten()
    }
}

/// The names of the steps that a reprocess of these runs anew, in the pipeline's order.
pub fn with_dependents(processing: &Processing, chosen: &BTreeSet<String>) -> Vec<String> {
    let mut anew = chosen.clone();
    loop {
        let more: Vec<_> = processing
            .tasks
            .iter()
            .filter(|step| !anew.contains(&step.name) && step.needs.iter().any(|need| anew.contains(need)))
            .map(|step| step.name.clone())
            .collect();
        if more.is_empty() {
            break;
        }
        anew.extend(more);
    }
    let steps = processing.tasks.iter().map(|step| step.name.clone());
    steps.filter(|name| anew.contains(name)).collect()
}

/// How a row of a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// As a stage in this state.
    State(StageState),
    /// A finished result was taken.
    Reused,
    /// A planned step that has not begun.
    Waiting,
    /// A planned step that is left out.
    Skipped,
}

impl Standing {
    /// The state it is found by.
    pub fn state(self) -> Option<StageState> {
        match self {
            Self::State(state) => Some(state),
            Self::Reused => Some(StageState::Success),
            Self::Waiting => Some(StageState::Pending),
            Self::Skipped => None,
        }
    }
}

/// Whether the stage is about this processing, and not what an earlier one left.
fn speaks(processing: &Processing, step: &ProcessingStep, stage: &StageSummary) -> bool {
    if stage.status.in_flight() {
        return true;
    }
    // The former result stands where a run that was to replace it failed; the step tells of that run.
    let stands = step.status == StepStatus::Failed && stage.status == StageState::Success;
    let tried_again = step.status == StepStatus::Pending && step.retry_at.is_some();
    if stands || tried_again {
        return false;
    }
    let same_run = step.run_id.is_some() && step.run_id == stage.run_id;
    let done = step.status == StepStatus::Completed && stage.status == StageState::Success;
    // Its end came after the last word of the pipeline: that will tell of it next.
    let newer = stage.ended_at.is_some_and(|ended| ended > processing.updated_at);
    same_run || done || newer
}

impl Task {
    /// A task on its own, as a list carries it.
    pub fn of(item: TaskItem) -> Self {
        let stages = item.stages.into_iter();
        let pipeline = item
            .pipeline
            .map(|processing| Pipeline::new(*processing, |node| Arc::new(node.clone())));
        Self {
            id: Arc::new(item.task_id),
            created_at: item.created_at,
            updated_at: item.updated_at,
            status: item.status,
            callback_status: item.callback_status,
            stages: stages.map(|(node, stage)| (Arc::new(node), stage)).collect(),
            pipeline: pipeline.map(Box::new),
        }
    }

    /// Its rows, each with its stage: planned steps in the pipeline's order, then the stages that are none. A stage that
    /// an earlier processing left is not the step's.
    pub fn rows(&self) -> impl Iterator<Item = (&Arc<NodeName>, Option<&StageSummary>)> {
        let planned = self.pipeline.as_ref().map_or(&[][..], |pipeline| pipeline.nodes());
        let others = self.stages.iter().filter(move |(node, _)| !planned.contains(node));
        let steps = planned.iter().map(|node| (node, self.current_stage(node)));
        steps.chain(others.map(|(node, stage)| (node, Some(stage))))
    }

    pub fn has(&self, node: &NodeName) -> bool {
        self.stages.contains_key(node) || self.step(node).is_some()
    }

    pub fn step(&self, node: &NodeName) -> Option<&ProcessingStep> {
        self.pipeline.as_ref()?.step(node)
    }

    /// The stage of a row, unless it is only what an earlier processing left.
    pub fn current_stage(&self, node: &NodeName) -> Option<&StageSummary> {
        let stage = self.stages.get(node)?;
        let Some((pipeline, step)) = self
            .pipeline
            .as_ref()
            .and_then(|pipeline| Some((pipeline, pipeline.step(node)?)))
        else {
            return Some(stage);
        };
        speaks(&pipeline.processing, step, stage).then_some(stage)
    }

    /// Warnings of a row's result: the stage's, and of a step without one those that the pipeline knows.
    pub fn row_warnings(&self, node: &NodeName) -> WarningCount {
        let of_stage = self
            .current_stage(node)
            .map(|stage| (stage.warnings, stage.warnings_retryable));
        let of_step = || self.step(node).map(|step| (step.warnings, step.warnings_retryable));
        let (warnings, retryable) = of_stage.or_else(of_step).unwrap_or_default();
        WarningCount { warnings, retryable }
    }

    /// How a row stands; None where there is no such row.
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

    /// 0 to 100, while the row runs and there is a figure.
    pub fn progress(&self, node: &NodeName) -> Option<f64> {
        if self.standing(node) != Some(Standing::State(StageState::Running)) {
            return None;
        }
        match self.current_stage(node) {
            Some(stage) => stage.progress,
            None => self.step(node).map(|step| f64::from(step.progress)),
        }
    }

    /// The pipeline while it goes on.
    pub fn under_way(&self) -> Option<&Pipeline> {
        let pipeline = self.pipeline.as_deref()?;
        pipeline.processing.status.in_flight().then_some(pipeline)
    }

    /// When the next step of it is tried again.
    pub fn retries_at(&self) -> Option<Timestamp> {
        let steps = &self.under_way()?.processing.tasks;
        let waiting = steps.iter().filter(|step| step.status == StepStatus::Pending);
        waiting.filter_map(|step| step.retry_at).max()
    }

    /// How the task stands, its pipeline included.
    pub fn state(&self) -> StageState {
        let of_stages = as_state(self.status);
        let Some(pipeline) = &self.pipeline else {
            return of_stages;
        };
        let processing = &pipeline.processing;
        // What was done to its stages by others after the pipeline had ended is the later word.
        let after = |(node, stage): (&Arc<NodeName>, &StageSummary)| {
            let ended = stage.ended_at.zip(processing.ended_at);
            let own = pipeline.step(node).is_some_and(|step| step.run_id == stage.run_id);
            !own && ended.is_some_and(|(stage, pipeline)| stage > pipeline)
        };
        let touched = self.status.in_flight() || self.stages.iter().any(after);
        if !processing.status.in_flight() && touched {
            of_stages
        } else {
            of_processing(processing.status)
        }
    }
}

/// What there is to run, and what is being read of pipelines.
#[derive(Debug, Default)]
pub struct PipelineReads {
    /// The daemon's pipelines, as read last.
    pub list: Option<PipelineList>,
    /// The newest request for them.
    pub list_request: Option<u64>,
    /// Reads on their way, one at a time for each video.
    pub reads: HashMap<VideoId, Read>,
    /// Reads that failed: tried again with the next look at the daemon.
    pub failed: BTreeSet<VideoId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    pub request: u64,
    /// More was heard since it was asked: its answer may be too old.
    pub again: bool,
}
