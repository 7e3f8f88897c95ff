//! Pipelines of videos as the dashboard knows them: how far each is, and what of that is still to be read.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use onceover_types::{NodeName, RunId, StageState, VideoId};
use onceover_wire::{PipelineChange, PipelineList, Processing, ProcessingStatus, ProcessingStep, StepStatus};

use super::stage::KeptStage;
use crate::figures::round_percent;

/// The newest processing of a task's video.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// As it was read last, with status, progress and revision of later events.
    pub processing: Processing,
    /// The nodes of its steps, in order, once each.
    nodes: Vec<Arc<NodeName>>,
    /// The revision up to which the steps are known.
    steps_at: u64,
    /// A later processing that an event has named.
    later: Option<(RunId, u64)>,
}

/// Returns what orders states of one video's processing: ids of runs sort by time.
fn order_key(processing: &Processing) -> (&RunId, u64) {
    (&processing.run_id, processing.revision)
}

/// Returns the later of two states of one video's processing.
pub fn choose_later<'a>(one: Option<&'a Processing>, other: Option<&'a Processing>) -> Option<&'a Processing> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if order_key(one) >= order_key(other) { one } else { other }),
        (one, other) => one.or(other),
    }
}

impl Pipeline {
    /// Makes a pipeline of what was read; `intern` returns a node's name as it is kept.
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

    /// Whether this is newer than what was read.
    pub fn is_newer_than(&self, answer: &Processing) -> bool {
        let newest = match &self.later {
            Some((run, revision)) => (run, *revision),
            None => order_key(&self.processing),
        };
        order_key(answer) < newest
    }

    /// Applies an event. What the event does not contain is then to be read.
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
            let named = (change.run_id.clone(), change.revision);
            if self.later.as_ref().is_none_or(|known| *known < named) {
                self.later = Some(named);
            }
        }
    }

    /// Takes over the progress of a step's stage, which is known earlier than the step's own.
    pub fn follow_stage(&mut self, node: &NodeName, stage: &KeptStage) {
        let steps = self.processing.tasks.iter_mut();
        let is_of_run = |step: &&mut ProcessingStep| step.run_id.is_some() && stage.is_run(step.run_id.as_ref());
        let mine = steps.filter(|step| step.task_name == *node).filter(is_of_run);
        if stage.status == StageState::Running {
            for step in mine.filter(|step| !step.status.has_ended()) {
                step.progress = step
                    .progress
                    .max(round_percent(stage.progress().unwrap_or(0.0)).min(99));
            }
        }
    }

    /// Takes over the progress that steps of the same runs had before: no figure goes back (V3).
    pub fn keep_progress(&mut self, former: &Self) {
        for step in &mut self.processing.tasks {
            let same = |other: &&ProcessingStep| other.name == step.name && other.run_id == step.run_id;
            let known = former.processing.tasks.iter().find(same);
            if let Some(known) = known.filter(|_| step.run_id.is_some() && !step.status.has_ended()) {
                step.progress = step.progress.max(known.progress);
            }
        }
    }

    /// Whether the processing has to be read.
    pub fn is_behind(&self) -> bool {
        self.later.is_some() || self.steps_at < self.processing.revision
    }

    pub fn nodes(&self) -> &[Arc<NodeName>] {
        &self.nodes
    }

    /// Returns the step that runs the node.
    pub fn step(&self, node: &NodeName) -> Option<&ProcessingStep> {
        self.processing.tasks.iter().find(|step| step.task_name == *node)
    }

    /// Returns the step that the pipeline failed at.
    pub fn failed_step(&self) -> Option<&ProcessingStep> {
        let failed = |step: &&ProcessingStep| step.status == StepStatus::Failed && !step.optional;
        let has_failed = self.processing.status == ProcessingStatus::Failed;
        has_failed.then(|| self.processing.tasks.iter().find(failed)).flatten()
    }
}

/// Lists the steps that a reprocess of these runs again, in the pipeline's order.
pub fn list_with_dependents(processing: &Processing, chosen: &BTreeSet<String>) -> Vec<String> {
    let mut again = chosen.clone();
    loop {
        let more: Vec<_> = processing
            .tasks
            .iter()
            .filter(|step| !again.contains(&step.name) && step.needs.iter().any(|need| again.contains(need)))
            .map(|step| step.name.clone())
            .collect();
        if more.is_empty() {
            break;
        }
        again.extend(more);
    }
    let steps = processing.tasks.iter().map(|step| step.name.clone());
    steps.filter(|name| again.contains(name)).collect()
}

/// The list of pipelines, and the reads of processings in flight.
#[derive(Debug, Default)]
pub struct PipelineReads {
    /// The daemon's pipelines, as read last.
    pub list: Option<PipelineList>,
    /// The newest request for them.
    pub list_request: Option<u64>,
    /// Reads in flight, one at a time for each video.
    pub reads: HashMap<VideoId, ProcessingRead>,
    /// Reads that are sent as soon as there may be more.
    pub waiting: BTreeSet<VideoId>,
    /// Reads that failed: they are tried again after the next check of the daemon.
    pub failed: BTreeSet<VideoId>,
}

/// A read of one video's processing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessingRead {
    pub request: u64,
    /// An event has come since the request: the answer may be too old.
    pub again: bool,
}
