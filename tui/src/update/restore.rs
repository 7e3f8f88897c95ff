//! Goes back to where the last start ended, as far as that still exists.

use std::collections::HashSet;

use onceover_types::{NodeName, TaskId};

use super::{messages::Effect, tabs};
use crate::{
    actions::TABS,
    model::{Model, Page, RowId, return_point::KeptExpansion},
};

/// Restores expansion, cursor and page with the first part of everything that is read. What is asked for on the command
/// line comes first.
pub fn restore_view(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(mut kept) = model.return_to.take() else {
        return;
    };
    restore_expansion(model, &kept.expansion);
    if model.wanted.is_some() {
        return;
    }
    if let Some((task, node)) = &kept.cursor
        && go_to(model, task, node.as_ref(), kept.zoom)
    {
        kept.cursor = None;
    }
    // Forms and logs belong to what was done there.
    if kept.page == Page::Workers || TABS.iter().any(|tab| tab.page == kept.page) {
        tabs::open_page(model, kept.page, effects);
    }
    model.settle();
    if model.store.is_loading() {
        model.return_to = Some(kept);
    }
}

/// Restores what the first part did not have, once all parts are there.
pub fn restore_rest(model: &mut Model) {
    let Some(kept) = model.return_to.take() else {
        return;
    };
    restore_expansion(model, &kept.expansion);
    if let Some((task, node)) = &kept.cursor {
        go_to(model, task, node.as_ref(), kept.zoom);
    }
    model.settle();
}

/// Shows the stages of the tasks that showed them; of those that are not read yet, too, where these are listed.
fn restore_expansion(model: &mut Model, kept: &KeptExpansion) {
    let store = &model.store;
    match kept.mostly_shown {
        Some(false) => {
            let listed = kept.except.iter();
            let shown = listed.filter(|task| store.is_loading() || store.get(task).is_some());
            model.tree.expanded = shown.map(|task| task.clone().into()).collect();
        }
        Some(true) => {
            let except: HashSet<&TaskId> = kept.except.iter().collect();
            let shown = store.tasks().filter(|task| !except.contains(&*task.id));
            model.tree.expanded = shown.map(|task| task.id.clone()).collect();
        }
        None => {}
    }
    model.tree.changed();
    model.settle();
}

/// Puts the cursor on a stage, else on its task. Returns `false` if neither is shown.
fn go_to(model: &mut Model, task: &TaskId, node: Option<&NodeName>, zoom: bool) -> bool {
    let Some(task) = model.store.get(task) else {
        return false;
    };
    let at_task = RowId::task(&task.id);
    let stage = node.and_then(|node| task.stages.get(node).map(|stage| (stage.node(), stage)));
    let at_stage = stage.map(|(node, _)| RowId::stage(&task.id, node));
    let is_found = at_stage.is_some_and(|row| model.tree.go_to(&row)) || model.tree.go_to(&at_task);
    model.zoom = zoom && is_found;
    is_found
}
