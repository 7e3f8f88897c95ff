//! The store as it was: tasks are read in the state that is shown, which is the present unless the view is frozen.

use std::sync::Arc;

use onceover_types::{TaskId, Timestamp};

use super::{Task, TaskStore};
use crate::model::past::{FrozenView, PastPosition};

impl TaskStore {
    /// Returns the task as it is now, whatever is shown.
    pub fn present(&self, task: &TaskId) -> Option<&Task> {
        self.tasks.get(task)
    }

    pub fn is_frozen(&self) -> bool {
        self.past.is_frozen()
    }

    /// Returns which of the last states is shown; `None` if it is the present.
    pub fn past_position(&self) -> Option<PastPosition> {
        self.past.position()
    }

    /// Returns the time that is shown; `None` if it is the present.
    pub fn shown_at(&self) -> Option<Timestamp> {
        Some(self.past.position()?.at)
    }

    /// Whether the frozen view has to end, because it needs more memory than it may have.
    pub fn is_past_too_large(&self) -> bool {
        self.past.is_too_large()
    }

    /// Stops what is shown, while changes are still taken in.
    pub fn freeze(&mut self, now: Timestamp) {
        self.past.freeze(now);
    }

    /// Shows the present again.
    pub fn unfreeze(&mut self) {
        self.note_all_shown();
        self.past.unfreeze();
    }

    /// Notes all tasks that are shown in another state than the present one: what is derived from tasks takes them up.
    pub fn note_all_shown(&mut self) {
        if self.past.is_whole() {
            self.changes.forget();
            return;
        }
        for (id, _) in self.past.shown_states() {
            self.changes.note(id);
        }
    }

    /// Shows the state before the change that is shown last. Returns `false` if no earlier one is kept.
    pub fn step_back(&mut self) -> bool {
        let tasks = &self.tasks;
        let changed = self.past.step_back(|id| tasks.get(id).cloned());
        self.note_shown(changed)
    }

    /// Shows the state after the next change. Returns `false` if it is not kept, or nothing has changed since.
    pub fn step_forward(&mut self) -> bool {
        let tasks = &self.tasks;
        let changed = self.past.step_forward(|id| tasks.get(id).cloned());
        self.note_shown(changed)
    }

    /// Notes the tasks that are shown in another state after a step. Returns `false` if there was no step.
    fn note_shown(&mut self, changed: Option<Vec<Arc<TaskId>>>) -> bool {
        for id in changed.iter().flatten() {
            self.changes.note(id);
        }
        changed.is_some()
    }

    /// Takes the frozen view away, so that the present is read until it is put back.
    pub fn set_shown_aside(&mut self) -> Option<FrozenView> {
        self.past.set_aside()
    }

    /// Puts back what was taken away.
    pub fn put_shown_back(&mut self, frozen: Option<FrozenView>) {
        self.past.put_back(frozen);
    }

    /// Lists the tasks of a frozen view, newest first.
    pub(super) fn list_frozen(&self) -> Vec<&Task> {
        let is_present = |task: &&Task| self.past.shown(&task.id).is_none();
        let present = self.order.iter().filter_map(|(_, id)| self.tasks.get(id));
        let mut tasks: Vec<_> = present.filter(is_present).collect();
        tasks.extend(self.past.shown_tasks());
        // Only the few at the end are out of order.
        tasks.sort_by(|one, other| {
            let by_age = other.created_at.cmp(&one.created_at);
            by_age.then_with(|| one.id.cmp(&other.id))
        });
        tasks
    }

    /// Counts the tasks of a frozen view.
    pub(super) fn count_frozen(&self) -> usize {
        if self.past.is_whole() {
            return self.past.shown_tasks().count();
        }
        let others = |is_shown: bool| {
            let states = self.past.shown_states();
            let differ =
                states.filter(move |(id, task)| task.is_some() == is_shown && self.tasks.contains_key(*id) != is_shown);
            differ.count()
        };
        self.tasks.len() + others(true) - others(false)
    }
}
