//! Brings tasks into view in the tree: the task that is wanted, those that have just begun, and the rest of those that
//! are known from events alone.

use std::sync::Arc;

use onceover_types::{NodeName, TaskId};

use super::{
    messages::{Call, Effect},
    past,
};
use crate::model::{Model, Page, RowId};

/// With this many tasks or fewer a new one comes expanded: its stages are what one wants to see.
const EXPAND_NEW_UP_TO: usize = 200;

/// Expands a task that has just appeared.
pub fn expand_new_task(model: &mut Model, task: &TaskId) {
    // A task that is not read yet is not new.
    if model.store.len() <= EXPAND_NEW_UP_TO
        && !model.store.is_loading()
        && let Some(task) = model.store.present(task)
    {
        model.tree.expand(&task.id);
    }
}

/// Puts the cursor on the wanted task as soon as it is known.
pub fn show_wanted(model: &mut Model) {
    let Some(task) = model.wanted.as_ref().and_then(|wanted| model.store.get(wanted)) else {
        return;
    };
    let row = RowId::task(&task.id);
    model.tree.expand(&task.id);
    model.wanted = None;
    model.settle();
    model.tree.go_to(&row);
    model.settle();
}

/// Puts the cursor on a stage of the task at the cursor, if the stage is known.
pub fn show_stage(model: &mut Model, task: &TaskId, node: &NodeName) {
    let Some(task) = model.store.get(task) else {
        return;
    };
    let row = RowId::stage(&task.id, &Arc::new(node.clone()));
    if model.store.contains(&row) && model.tree.go_to(&row) {
        model.settle();
    }
}

/// Goes to the page of tasks, with the cursor on the row. Returns `false` if there is no such row.
pub fn show_row(model: &mut Model, row: &RowId) -> bool {
    if !model.store.contains(row) {
        return false;
    }
    model.page = Page::Tasks;
    model.tree.expand(&row.task);
    model.settle();
    if !model.tree.go_to(row) {
        // A filter must not hide the row.
        model.tree.show_all();
        model.settle();
        model.tree.go_to(row);
    }
    model.settle();
    true
}

/// Goes to a row in the tree, whatever page is open and whatever hides the row. A task that is not loaded is read first.
pub fn go_to_row(model: &mut Model, row: &RowId, effects: &mut Vec<Effect>) {
    model.page = Page::Tasks;
    model.zoom = false;
    if model.tree.is_narrowed() {
        model.tree.show_all();
    }
    model.wanted = Some((*row.task).clone());
    if model.store.get(&row.task).is_none() && model.store.present(&row.task).is_some() {
        // The past that is shown does not have it.
        past::go_to_present(model);
    }
    if model.store.get(&row.task).is_none() {
        fetch_task(model, (*row.task).clone(), effects);
        return;
    }
    show_wanted(model);
    if row.node.is_some() && model.store.contains(row) {
        model.tree.go_to(row);
        model.settle();
    }
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
    // What is being read has most of them.
    if !model.is_live() || model.store.is_loading() {
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
