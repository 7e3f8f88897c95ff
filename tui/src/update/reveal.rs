//! Brings tasks into view in the tree: the task that is wanted, and those that have just begun.

use onceover_types::TaskId;

use super::messages::{Call, Effect};
use crate::model::{Model, RowId};

/// With this many tasks or fewer a new one comes expanded: its stages are what one wants to see.
const EXPAND_NEW_UP_TO: usize = 200;

/// Expands a task that has just appeared.
pub fn expand_new_task(model: &mut Model, task: &TaskId) {
    if model.store.len() <= EXPAND_NEW_UP_TO
        && let Some(task) = model.store.get(task)
    {
        model.tree.expanded.insert(task.id.clone());
        model.tree.changed();
    }
}

/// Puts the cursor on the wanted task as soon as it is known.
pub fn show_wanted(model: &mut Model) {
    let Some(task) = model.wanted.as_ref().and_then(|wanted| model.store.get(wanted)) else {
        return;
    };
    let row = RowId::task(&task.id);
    model.tree.expanded.insert(task.id.clone());
    model.tree.changed();
    model.wanted = None;
    model.settle();
    model.tree.go_to(&row);
    model.settle();
}

/// Reads one task, unless it is being read.
pub fn fetch_task(model: &mut Model, task: TaskId, effects: &mut Vec<Effect>) {
    if model.fetching.values().any(|other| *other == task) {
        return;
    }
    let id = model.new_id();
    model.fetching.insert(id, task.clone());
    effects.push(Effect::Call {
        id,
        call: Call::Task { task },
    });
}
