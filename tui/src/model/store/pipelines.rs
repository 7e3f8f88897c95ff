//! The store's pipelines: moved on by events, replaced by what is read.

use std::{cmp::Reverse, sync::Arc};

use indexmap::IndexMap;
use onceover_types::{TaskId, TaskStatus, VideoId};
use onceover_wire::{PipelineChange, Processing};

use super::{Task, TaskStore};
use crate::model::pipeline::Pipeline;

impl TaskStore {
    /// Moves the pipeline of a task on by an event.
    pub(super) fn follow_pipeline(&mut self, task: &TaskId, change: &PipelineChange) {
        if let Some(pipeline) = self.tasks.get_mut(task).and_then(|task| task.pipeline.as_mut()) {
            pipeline.follow(change);
        }
    }

    /// Whether the task's pipeline has to be read: there was word of it that did not tell everything.
    pub fn is_behind(&self, task: &TaskId) -> bool {
        let pipeline = self.tasks.get(task).and_then(|task| task.pipeline.as_ref());
        pipeline.is_none_or(|pipeline| pipeline.is_behind())
    }

    /// A processing was read. A task that is not there yet comes with it, while it goes on. False where something
    /// newer is known.
    pub fn take_processing(&mut self, processing: Processing) -> bool {
        let known = self.tasks.get(&processing.task_id);
        if known
            .and_then(|task| task.pipeline.as_ref())
            .is_some_and(|pipeline| pipeline.outdates(&processing))
        {
            return false;
        }
        if known.is_none() && !processing.status.in_flight() {
            return true;
        }
        let id = known.map_or_else(|| Arc::new(processing.task_id.clone()), |task| task.id.clone());
        let at = processing.started_at.unwrap_or(processing.updated_at);
        let mut pipeline = Pipeline::new(processing, |node| self.intern(node.clone()));
        if !self.tasks.contains_key(&id) {
            self.order.insert((Reverse(at.as_millis()), id.clone()));
            let task = Task {
                id: id.clone(),
                created_at: at,
                updated_at: at,
                status: TaskStatus::Pending,
                callback_status: None,
                stages: IndexMap::new(),
                pipeline: None,
            };
            self.tasks.insert(id.clone(), task);
        }
        if let Some(task) = self.tasks.get_mut(&id) {
            if let Some(former) = &task.pipeline {
                pipeline.not_behind(former);
            }
            task.pipeline = Some(Box::new(pipeline));
        }
        self.membership += 1;
        self.content += 1;
        true
    }

    /// The video was never processed, or is gone.
    pub fn drop_pipeline(&mut self, video: &VideoId) {
        let id = video.task();
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        task.pipeline = None;
        if task.stages.is_empty() {
            self.remove(&id);
        }
        self.membership += 1;
        self.content += 1;
    }

    /// Videos whose task is known by its pipeline alone: a snapshot read before the first stage was asked for does not
    /// have it.
    pub fn only_planned(&self) -> Vec<VideoId> {
        self.tasks
            .values()
            .filter(|task| task.stages.is_empty() && task.under_way().is_some())
            .filter_map(|task| VideoId::of_task(&task.id))
            .collect()
    }
}
