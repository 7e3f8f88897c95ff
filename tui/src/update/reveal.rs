//! Brings tasks into view in the tree: the task that is wanted, those that have just begun, and the rest of those that
//! are known from events alone.

use std::sync::Arc;

use onceover_types::TaskId;

use super::messages::{Call, Effect};
use crate::model::{Model, Page, RowId};

/// With this many tasks or fewer a new one comes expanded: its stages are what one wants to see.
const EXPAND_NEW_UP_TO: usize = 200;

/// Expands a task that has just appeared.
pub fn expand_new_task(model: &mut Model, task: &TaskId) {
    if model.store.len() <= EXPAND_NEW_UP_TO
        && let Some(task) = model.store.present(task)
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

/// Reads the rest of tasks that are known from events alone, as far as the budget goes: those on the screen first.
pub fn complete_tasks(model: &mut Model, effects: &mut Vec<Effect>) {
    while let Some(task) = next_partial(model) {
        if !model.budget.take(model.now) {
            return;
        }
        fetch_task(model, task, effects);
    }
}

/// Returns the task that is to be read next.
fn next_partial(model: &Model) -> Option<TaskId> {
    if !model.is_live() {
        return None;
    }
    let on_screen = match model.page {
        Page::Tasks => model.visible_rows(),
        _ => &[],
    };
    let on_screen = on_screen.iter().map(|row| &row.task);
    let is_wanted =
        |task: &&Arc<TaskId>| model.store.is_partial(task) && !model.fetching.values().any(|other| *other == ***task);
    let mut tasks = on_screen.chain(model.store.partial_tasks());
    tasks.find(is_wanted).map(|task| (**task).clone())
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
