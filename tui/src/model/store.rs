//! Keeps tasks and stages by id, up to date from snapshots and change events. It knows the sequence of events: it drops
//! old ones, holds back early ones and notices missing ones. It does not know what is on the screen.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use indexmap::{IndexMap, IndexSet};
use onceover_types::{NodeName, StageState, TaskId, TaskStatus, Timestamp};
use onceover_wire::{Event as Change, EventKind, Processing, StageSummary, TaskItem};

use super::{past::Past, pipeline::Pipeline, row::RowId, task::Task};

mod history;
mod pipelines;

/// Events that come before their predecessors wait at most this long for them.
const GAP_PATIENCE_MS: i64 = 150;
/// Early events that are kept at most: reading everything again is cheaper than more.
const HELD_LIMIT: usize = 20_000;

/// What one applied event changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    pub change: Change,
    /// The stage before the change.
    pub before: Option<StageSummary>,
    /// The task's status before and after; `None` where the task does not exist.
    pub status_before: Option<TaskStatus>,
    pub status_after: Option<TaskStatus>,
}

#[derive(Debug, Default)]
pub struct TaskStore {
    tasks: HashMap<Arc<TaskId>, Task>,
    order: BTreeSet<(Reverse<i64>, Arc<TaskId>)>,
    nodes: HashSet<Arc<NodeName>>,
    /// The last event in the state; `None` before the first snapshot.
    seq: Option<u64>,
    held: BTreeMap<u64, Change>,
    held_since: Option<Timestamp>,
    /// How often messages were missing and everything was read again.
    pub gaps: u64,
    /// Whether every task of the daemon is known (a snapshot ends at a limit).
    pub complete: bool,
    /// Tasks of which only events are known: they may have other stages. In the order in which they became known.
    partial: IndexSet<Arc<TaskId>>,
    membership: u64,
    content: u64,
    state_changes: u64,
    past: Past,
}

impl TaskStore {
    /// Returns the task as it is shown.
    pub fn get(&self, task: &TaskId) -> Option<&Task> {
        self.past.shown(task).unwrap_or_else(|| self.tasks.get(task))
    }

    pub fn stage(&self, task: &TaskId, node: &NodeName) -> Option<&StageSummary> {
        self.get(task)?.stages.get(node)
    }

    pub fn contains(&self, row: &RowId) -> bool {
        match &row.node {
            None => self.get(&row.task).is_some(),
            Some(node) => self.get(&row.task).is_some_and(|task| task.has_row(node)),
        }
    }

    /// Returns the tasks, newest first.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        let frozen = self.is_frozen().then(|| self.list_frozen());
        let present = self.order.iter().filter_map(|(_, id)| self.tasks.get(id));
        let present = frozen.is_none().then_some(present);
        frozen.into_iter().flatten().chain(present.into_iter().flatten())
    }

    pub fn len(&self) -> usize {
        match self.is_frozen() {
            true => self.count_frozen(),
            false => self.tasks.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn seq(&self) -> Option<u64> {
        self.seq
    }

    /// Whether only events are known of the task.
    pub fn is_partial(&self, task: &TaskId) -> bool {
        self.partial.contains(task)
    }

    /// Returns the tasks of which only events are known, those that became known last first.
    pub fn partial_tasks(&self) -> impl Iterator<Item = &Arc<TaskId>> {
        self.partial.iter().rev()
    }

    /// Notes that there is no more to read of a task than its events said.
    pub fn note_read(&mut self, task: &TaskId) {
        self.partial.swap_remove(task);
    }

    /// Returns a number that changes whenever a task or stage is added or removed.
    pub fn membership(&self) -> u64 {
        self.past.version().unwrap_or(self.membership)
    }

    /// Returns a number that changes with every change.
    pub fn content(&self) -> u64 {
        self.past.version().unwrap_or(self.content)
    }

    /// Returns a number that changes whenever a task's place in a list ordered by state can have changed, membership
    /// aside.
    pub fn state_changes(&self) -> u64 {
        self.past.version().unwrap_or(self.state_changes)
    }

    /// Returns when early events have waited long enough for what is missing before them.
    pub fn gap_deadline(&self) -> Option<Timestamp> {
        let since = self.held_since?;
        self.seq?;
        Some(Timestamp::from_millis(since.as_millis() + GAP_PATIENCE_MS))
    }

    /// Replaces everything; `seq` is the last event that the items surely include. Applies the held events that follow
    /// it, and returns them.
    pub fn load(&mut self, items: Vec<TaskItem>, seq: u64, complete: bool, now: Timestamp) -> Vec<Applied> {
        self.past.note_load(std::mem::take(&mut self.tasks));
        self.order.clear();
        self.partial.clear();
        for item in items {
            let stages = item
                .stages
                .into_iter()
                .map(|(node, stage)| (self.intern(node), stage))
                .collect();
            let id = Arc::new(item.task_id);
            let pipeline = item.pipeline.map(|processing| self.make_pipeline(*processing));
            let task = Task {
                id: id.clone(),
                created_at: item.created_at,
                updated_at: item.updated_at,
                status: item.status,
                callback_status: item.callback_status,
                stages,
                pipeline,
            };
            // A task can move between two pages while they are read; the later page is the newer one.
            self.remove(&id);
            self.order.insert((Reverse(task.created_at.as_millis()), id.clone()));
            self.tasks.insert(id, task);
        }
        self.seq = Some(seq);
        self.complete = complete;
        self.membership += 1;
        self.content += 1;
        self.held = self.held.split_off(&(seq + 1));
        self.held_since = None;
        self.release(now)
    }

    /// Adds a task that was read on its own, because an event named a task that was not known.
    pub fn merge(&mut self, item: TaskItem) {
        self.past.note(&item.task_id, self.tasks.get(&item.task_id), None);
        let known = self.tasks.get(&item.task_id);
        let id = known.map_or_else(|| Arc::new(item.task_id), |task| task.id.clone());
        let mut stages: IndexMap<Arc<NodeName>, StageSummary> = IndexMap::new();
        for (node, stage) in item.stages {
            let stage = match known.and_then(|task| task.stages.get(&node)) {
                Some(mine) if mine.revision > stage.revision => mine.clone(),
                _ => stage,
            };
            stages.insert(Arc::new(node), stage);
        }
        if let Some(task) = known {
            for (node, stage) in &task.stages {
                stages.entry(node.clone()).or_insert_with(|| stage.clone());
            }
        }
        let pipeline = known.and_then(|task| task.pipeline.clone());
        let mut task = Task {
            id: id.clone(),
            created_at: item.created_at,
            updated_at: item.updated_at,
            status: item.status,
            callback_status: item.callback_status,
            stages,
            pipeline,
        };
        task.derive_status();
        self.remove(&id);
        self.order.insert((Reverse(task.created_at.as_millis()), id.clone()));
        self.tasks.insert(id, task);
        self.membership += 1;
        self.content += 1;
    }

    /// Takes one event in. Returns what was applied, in order: nothing for an old or early event.
    pub fn offer(&mut self, change: Change, now: Timestamp) -> Vec<Applied> {
        let Some(seq) = self.seq else {
            self.hold(change);
            return Vec::new();
        };
        if change.seq <= seq {
            return Vec::new();
        }
        if change.seq > seq + 1 {
            self.hold(change);
            self.held_since.get_or_insert(now);
            return Vec::new();
        }
        self.seq = Some(change.seq);
        let mut applied = vec![self.apply(change)];
        applied.extend(self.release(now));
        applied
    }

    /// Notes that messages are missing: what is here may be wrong until the next [`TaskStore::load`].
    pub fn note_gap(&mut self) {
        self.gaps += 1;
        self.held_since = None;
    }

    /// Keeps an event until those before it have come.
    fn hold(&mut self, change: Change) {
        self.held.insert(change.seq, change);
        if self.held.len() > HELD_LIMIT {
            self.held.pop_first();
        }
    }

    /// Applies the held events that are next.
    fn release(&mut self, now: Timestamp) -> Vec<Applied> {
        let mut applied = Vec::new();
        while let (Some(seq), Some((&first, _))) = (self.seq, self.held.first_key_value()) {
            if first > seq + 1 {
                break;
            }
            let Some((_, change)) = self.held.pop_first() else {
                break;
            };
            if first == seq + 1 {
                self.seq = Some(first);
                applied.push(self.apply(change));
            }
        }
        if self.held.is_empty() {
            self.held_since = None;
        } else if !applied.is_empty() || self.held_since.is_none() {
            self.held_since = Some(now);
        }
        applied
    }

    fn apply(&mut self, change: Change) -> Applied {
        self.content += 1;
        let task = self.tasks.get(&change.task_id);
        self.past.note(&change.task_id, task, Some(change.ts));
        let state_before = task.map(Task::state);
        let status_before = task.map(|task| task.status);
        let before = task.zip(change.task_name.as_ref());
        let before = before.and_then(|(task, node)| task.stages.get(node)).cloned();
        if change.kind == EventKind::Deleted {
            self.remove(&change.task_id);
        } else if let (EventKind::Removed, Some(node)) = (change.kind, &change.task_name) {
            self.remove_stage(&change.task_id, node, change.ts);
        } else if let (Some(node), Some(stage)) = (&change.task_name, &change.stage) {
            self.put_stage(&change.task_id, node, stage.clone(), change.ts);
        } else if let Some(pipeline) = &change.pipeline {
            self.follow_pipeline(&change.task_id, pipeline);
        }
        let status_after = self.present(&change.task_id).map(|task| task.status);
        let state_after = self.present(&change.task_id).map(Task::state);
        // Of a failed task it counts also when it was changed last.
        if state_before != state_after || state_after == Some(StageState::Failed) {
            self.state_changes += 1;
        }
        Applied {
            change,
            before,
            status_before,
            status_after,
        }
    }

    fn put_stage(&mut self, id: &TaskId, node: &NodeName, mut stage: StageSummary, ts: Timestamp) {
        let node = self.intern(node.clone());
        if !self.tasks.contains_key(id) {
            let id = Arc::new(id.clone());
            self.order.insert((Reverse(ts.as_millis()), id.clone()));
            if !self.complete {
                self.partial.insert(id.clone());
            }
            self.tasks.insert(
                id.clone(),
                Task {
                    id,
                    created_at: ts,
                    updated_at: ts,
                    status: stage.status.into(),
                    callback_status: None,
                    stages: IndexMap::new(),
                    pipeline: None,
                },
            );
            self.membership += 1;
        }
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        if let Some(mine) = task.stages.get(&node) {
            if mine.revision > stage.revision {
                return;
            }
            // Progress never moves back within one attempt of a run. Of another worker's stage the run is not known.
            if mine.run_id.is_some() && mine.run_id == stage.run_id && mine.attempt == stage.attempt {
                stage.progress = match (mine.progress, stage.progress) {
                    (Some(mine), Some(new)) => Some(new.max(mine)),
                    (mine, new) => new.or(mine),
                };
            }
        } else {
            self.membership += 1;
        }
        if stage.callback_status.is_some() {
            task.callback_status = stage.callback_status;
        }
        if let Some(pipeline) = &mut task.pipeline {
            pipeline.follow_stage(&node, &stage);
        }
        task.stages.insert(node, stage);
        task.updated_at = task.updated_at.max(ts);
        task.derive_status();
    }

    fn remove_stage(&mut self, id: &TaskId, node: &NodeName, ts: Timestamp) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        if task.stages.shift_remove(node).is_some() {
            self.membership += 1;
        }
        task.updated_at = task.updated_at.max(ts);
        task.derive_status();
    }

    fn remove(&mut self, id: &TaskId) {
        self.partial.swap_remove(id);
        if let Some(task) = self.tasks.remove(id) {
            self.order.remove(&(Reverse(task.created_at.as_millis()), task.id));
            self.membership += 1;
        }
    }

    fn make_pipeline(&mut self, processing: Processing) -> Box<Pipeline> {
        Box::new(Pipeline::new(processing, |node| self.intern(node.clone())))
    }

    /// Keeps each node name once, since there are few.
    fn intern(&mut self, node: NodeName) -> Arc<NodeName> {
        if let Some(known) = self.nodes.get(&node) {
            return known.clone();
        }
        let node = Arc::new(node);
        self.nodes.insert(node.clone());
        node
    }
}
