//! Goes back to where the last start ended, as far as that still exists.

use std::collections::HashSet;

use onceover_types::TaskId;

use super::{callbacks, messages::Effect, nodes, videos};
use crate::model::{Model, Page, RowId};

/// Restores expansion, cursor and page with the first snapshot. What is asked for on the command line comes first.
pub fn restore_view(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(kept) = model.return_to.take() else {
        return;
    };
    if let Some(mostly_shown) = kept.expansion.mostly_shown {
        let except: HashSet<&TaskId> = kept.expansion.except.iter().collect();
        let shown = model
            .store
            .tasks()
            .filter(|task| except.contains(&*task.id) != mostly_shown);
        model.tree.expanded = shown.map(|task| task.id.clone()).collect();
    }
    model.tree.changed();
    model.settle();
    if model.wanted.is_some() {
        return;
    }
    if let Some((task, node)) = &kept.cursor
        && let Some(task) = model.store.get(task)
    {
        let at_task = RowId::task(&task.id);
        let stage = node
            .as_ref()
            .and_then(|node| task.stages.get(node).map(|stage| (stage.node(), stage)));
        let at_stage = stage.map(|(node, _)| RowId::stage(&task.id, node));
        let is_found = at_stage.is_some_and(|row| model.tree.go_to(&row)) || model.tree.go_to(&at_task);
        model.zoom = kept.zoom && is_found;
    }
    match kept.page {
        Page::Callbacks => callbacks::open_page(model, effects),
        Page::Nodes => nodes::open_page(model, false, effects),
        Page::Videos => videos::open_page(model, effects),
        // Forms and logs belong to what was done there.
        _ => {}
    }
    model.settle();
}
