//! Everything is read in parts, while events go on: what this load has seen replaces what was known, what an event has
//! changed since the load began is not undone by an older part, and what no part has had is removed at its end.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use onceover_types::{NodeName, TaskId, Timestamp};
use onceover_wire::{EventKind, TaskItem};
use serde::{Deserialize, Serialize};

use super::{Applied, Task, TaskStore};
use crate::model::{pipeline::Pipeline, stage::StageList};

/// What follows a part of all tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowsEnd {
    /// More parts follow.
    More,
    /// There are no other tasks.
    Complete,
    /// There are more tasks than the dashboard keeps.
    LimitReached,
}

/// Events that are remembered: those between the number that a load begins with and its first part are among them.
const MOST_RECENT: usize = 8_192;

/// An event that was applied, as far as a load has to know of it.
#[derive(Debug)]
pub(super) struct AppliedEvent {
    seq: u64,
    task: Arc<TaskId>,
    kind: EventKind,
    node: Option<Arc<NodeName>>,
}

/// The last events that were applied, in order.
#[derive(Debug, Default)]
pub(super) struct RecentEvents(VecDeque<AppliedEvent>);

impl RecentEvents {
    pub(super) fn note(&mut self, seq: u64, task: &Arc<TaskId>, kind: EventKind, node: Option<Arc<NodeName>>) {
        if self.0.len() == MOST_RECENT {
            self.0.pop_front();
        }
        let task = task.clone();
        self.0.push_back(AppliedEvent { seq, task, kind, node });
    }

    /// Returns the events after the number; `None` if not all of them are remembered.
    fn after(&self, seq: u64) -> Option<impl Iterator<Item = &AppliedEvent>> {
        let is_whole = self.0.front().is_some_and(|first| first.seq <= seq + 1);
        is_whole.then(|| self.0.iter().filter(move |event| event.seq > seq))
    }
}

/// What events have done since a load has begun.
#[derive(Debug, Default)]
pub(super) struct Loading {
    /// Tasks that events have changed, or a processing that was read on its own.
    touched: HashSet<Arc<TaskId>>,
    deleted: HashSet<TaskId>,
    /// Stages that do not exist any more.
    removed: HashMap<TaskId, HashSet<NodeName>>,
}

impl Loading {
    /// Notes the events after the number. Returns `false` if not all of them are remembered.
    fn follow_all(&mut self, recent: &RecentEvents, seq: u64) -> bool {
        let Some(events) = recent.after(seq) else {
            return false;
        };
        for event in events {
            self.follow(&event.task, event.kind, event.node.as_deref());
        }
        true
    }

    /// Notes an event that was applied to the task.
    pub(super) fn follow(&mut self, task: &Arc<TaskId>, kind: EventKind, node: Option<&NodeName>) {
        match (kind, node) {
            (EventKind::Deleted, _) => {
                self.touched.remove(task);
                self.deleted.insert((**task).clone());
            }
            (EventKind::Removed, Some(node)) => {
                self.removed.entry((**task).clone()).or_default().insert(node.clone());
            }
            (_, node) => {
                self.note_touched(task);
                if let Some(node) = node
                    && let Some(nodes) = self.removed.get_mut(&**task)
                {
                    nodes.remove(node);
                }
            }
        }
    }

    /// Notes that something newer than the parts may be is known of the task.
    pub(super) fn note_touched(&mut self, task: &Arc<TaskId>) {
        self.touched.insert(task.clone());
    }
}

impl TaskStore {
    /// Begins to replace everything; `seq` is the last event that all parts surely include. Where what is known is of
    /// another database, it is dropped at once. Applies the held events that follow, and returns them.
    pub fn begin_load(&mut self, seq: u64, is_same_database: bool, now: Timestamp) -> Vec<Applied> {
        let known = self.seq.filter(|_| is_same_database);
        if known.is_some() {
            self.past.note_hole();
        } else {
            self.past.note_load(std::mem::take(&mut self.tasks));
            self.order.clear();
            self.partial.clear();
            self.recent = RecentEvents::default();
            self.changes.forget();
        }
        let mut loading = Loading::default();
        // Events that have come since the number was read are newer than the first parts may be.
        let has_followed = known.is_some_and(|known| known > seq && loading.follow_all(&self.recent, seq));
        let seq = known.filter(|_| has_followed).unwrap_or(seq);
        self.load = self.load.wrapping_add(1);
        for id in &loading.touched {
            if let Some(task) = self.tasks.get_mut(id) {
                task.load = self.load;
            }
        }
        self.loading = Some(loading);
        self.complete = false;
        self.seq = Some(seq);
        self.held = self.held.split_off(&(seq + 1));
        self.held_since = None;
        self.release(now)
    }

    /// Takes a part of all tasks in. A task that was on an earlier part is taken again.
    pub fn take_rows(&mut self, items: Vec<TaskItem>) {
        for item in items {
            self.take_row(item);
        }
    }

    fn take_row(&mut self, item: TaskItem) {
        let Some(loading) = &self.loading else {
            return;
        };
        // Its events say everything of it, if it exists again.
        if loading.deleted.contains(&item.task_id) {
            return;
        }
        let removed = loading.removed.get(&item.task_id).cloned().unwrap_or_default();
        let is_touched = loading.touched.contains(&item.task_id);
        let mut task = Task::keep(item, &mut self.names);
        for node in &removed {
            task.stages.remove(node);
        }
        if let Some(known) = self.tasks.get(&task.id) {
            task.id = known.id.clone();
            if is_touched {
                keep_newer(&mut task, known);
            }
        }
        if !removed.is_empty() {
            task.derive_status();
        }
        task.load = self.load;
        self.partial.swap_remove(&task.id);
        // Most tasks are what they were: a frozen view needs no memory for them.
        let known = self.tasks.get(&task.id);
        if known.is_none_or(|known| !known.is_same(&task)) {
            self.past.note_reread(&task.id, known);
        }
        self.insert(task);
    }

    /// Ends the load: tasks that no part has had do not exist any more.
    pub fn end_load(&mut self, is_complete: bool) {
        if self.loading.take().is_none() {
            return;
        }
        let old = self.tasks.values().filter(|task| task.load != self.load);
        let mut old: Vec<Arc<TaskId>> = old.map(|task| task.id.clone()).collect();
        // What is left is asked for in an order that a replay has, too.
        old.sort();
        for id in old {
            self.past.note_reread(&id, self.tasks.get(&id));
            self.remove(&id);
        }
        // What events have changed meanwhile they may have changed in tasks that were not read yet.
        self.past.note_hole();
        self.complete = is_complete;
        if is_complete {
            self.partial.clear();
        }
    }

    /// Whether more parts of all tasks are to come.
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Puts a task in, in the place of what was known of it.
    pub(super) fn insert(&mut self, task: Task) {
        let key = (Reverse(task.created_at.as_millis()), task.id.clone());
        if let Some(known) = self.tasks.get(&task.id)
            && known.created_at != task.created_at
        {
            self.order
                .remove(&(Reverse(known.created_at.as_millis()), task.id.clone()));
        }
        self.order.insert(key);
        self.changes.note(&task.id);
        self.tasks.insert(task.id.clone(), task);
    }
}

/// Keeps of a task that was read what events have brought since.
pub(super) fn keep_newer(task: &mut Task, known: &Task) {
    let is_newer = |node: &NodeName, revision: u64, stages: &StageList| {
        stages.get(node).is_none_or(|read| revision > read.revision)
    };
    for (node, stage) in known.stages.iter() {
        if is_newer(node, stage.revision, &task.stages) {
            task.stages.put(stage.clone());
        }
    }
    if let Some(mine) = &known.pipeline {
        let is_older = |read: &Pipeline| mine.is_newer_than(&read.processing);
        if task.pipeline.as_deref().is_none_or(is_older) {
            task.pipeline = Some(mine.clone());
        }
    }
    task.callback_status = known.callback_status.or(task.callback_status);
    task.updated_at = task.updated_at.max(known.updated_at);
    task.derive_status();
}
