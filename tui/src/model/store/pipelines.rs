//! The pipelines in the store: events change them, and what is read replaces them.

use std::sync::Arc;

use onceover_types::{TaskId, VideoId};
use onceover_wire::{PipelineChange, Processing};

use super::TaskStore;
use crate::model::pipeline::Pipeline;

impl TaskStore {
    /// Applies an event to the pipeline of a task.
    pub(super) fn follow_pipeline(&mut self, task: &TaskId, change: &PipelineChange) {
        if let Some(pipeline) = self.tasks.get_mut(task).and_then(|task| task.pipeline.as_mut()) {
            pipeline.follow(change);
        }
    }

    /// Whether the task's pipeline has to be read: an event did not contain everything.
    pub fn is_behind(&self, task: &TaskId) -> bool {
        let pipeline = self.tasks.get(task).and_then(|task| task.pipeline.as_ref());
        pipeline.is_none_or(|pipeline| pipeline.is_behind())
    }

    /// Takes a processing that was read, and adds its task if that is not known and the processing is in flight.
    /// Returns `false` if something newer is known.
    pub fn take_processing(&mut self, processing: Processing) -> bool {
        let known = self.tasks.get(&processing.task_id);
        if known
            .and_then(|task| task.pipeline.as_ref())
            .is_some_and(|pipeline| pipeline.is_newer_than(&processing))
        {
            return false;
        }
        if known.is_none() && !processing.status.in_flight() {
            return true;
        }
        self.past.note(&processing.task_id, known, None);
        let id = known.map_or_else(|| Arc::new(processing.task_id.clone()), |task| task.id.clone());
        let at = processing.started_at.unwrap_or(processing.updated_at);
        let mut pipeline = Pipeline::new(processing, |node| self.names.keep_node(node));
        if !self.tasks.contains_key(&id) {
            let task = self.make_task(&id, at);
            self.insert(task);
        }
        if let Some(task) = self.tasks.get_mut(&id) {
            if let Some(former) = &task.pipeline {
                pipeline.keep_progress(former);
            }
            task.pipeline = Some(Box::new(pipeline));
        }
        if let Some(loading) = &mut self.loading {
            loading.note_touched(&id);
        }
        self.changes.note(&id);
        true
    }

    /// Removes the pipeline of a video that was never processed, or was deleted.
    pub fn drop_pipeline(&mut self, video: &VideoId) {
        let id = video.task();
        self.past.note(&id, self.tasks.get(&id), None);
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        task.pipeline = None;
        let id = task.id.clone();
        if task.stages.is_empty() {
            self.remove(&id);
        }
        self.changes.note(&id);
    }

    /// Lists the videos whose task is known by its pipeline alone: a snapshot that was read before the first stage does
    /// not have it.
    pub fn list_planned(&self) -> Vec<VideoId> {
        let tasks = self.tasks.values();
        let planned = tasks.filter(|task| task.stages.is_empty() && task.under_way().is_some());
        let mut videos: Vec<_> = planned.filter_map(|task| VideoId::of_task(&task.id)).collect();
        // A replay must ask in the same order.
        videos.sort();
        videos
    }
}
