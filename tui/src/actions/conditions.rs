//! When actions make sense: the footer offers those whose condition holds.

use onceover_types::StageState;

use crate::model::{Model, Page, RowId, observed::QueueRow, workers::WorkerRow};

/// For actions that always make sense.
pub(super) fn always(_: &Model) -> bool {
    true
}

/// Whether the cursor is on a row.
pub(super) fn has_row(model: &Model) -> bool {
    match model.page {
        Page::Tasks => model.tree.cursor.is_some(),
        Page::Callbacks => model.deliveries.list.cursor().is_some(),
        Page::Nodes => model.nodes.list.cursor().is_some(),
        Page::Videos => model.videos.list.cursor().is_some(),
        Page::Timeline => model.timeline.list.cursor().is_some(),
        Page::Queues => model.observed.rows.cursor().is_some(),
        Page::Workers => model.workers.list.cursor().is_some(),
        Page::Events => model.events.list.cursor().is_some(),
        Page::Commands => model.commands.list.cursor().is_some(),
        Page::Preview => model.preview.list.cursor().is_some(),
        Page::Form | Page::Register | Page::Log | Page::Compare | Page::Machine | Page::Json => false,
    }
}

/// Whether the cursor is on a row that leads to a stage or a task.
pub(super) fn leads_to_stage(model: &Model) -> bool {
    match model.page {
        Page::Queues => matches!(model.observed.rows.cursor(), Some(QueueRow::Run { .. })),
        Page::Workers => matches!(model.workers.list.cursor(), Some(WorkerRow::Stage { .. })),
        _ => has_row(model),
    }
}

/// Whether the machine has samples to go through.
pub(super) fn has_samples(model: &Model) -> bool {
    model.observed.samples().len() > 1
}

/// Whether the cursor is on a stage that has a result.
pub(super) fn has_result(model: &Model) -> bool {
    let stage = model.tree.cursor.as_ref().and_then(|row| model.newest_stage_of(row));
    let stage = stage.as_ref();
    let stage = stage.and_then(|row| model.store.kept_stage(&row.task, row.node.as_deref()?));
    stage.is_some_and(|stage| stage.status == StageState::Success)
}

/// Whether something is searched in the log, or in the tree.
pub(super) fn has_search(model: &Model) -> bool {
    if model.page == Page::Json {
        return model.detail.shown_json().is_some_and(|tree| tree.search.is_some());
    }
    model.log_view.search.is_some()
}

/// Whether the tree has the whole screen.
pub(super) fn is_json_page(model: &Model) -> bool {
    model.page == Page::Json
}

/// Whether a row that an action is about has a stage.
pub(super) fn has_stage(model: &Model) -> bool {
    has_row(model) && model.subjects().iter().any(|row| model.newest_stage_of(row).is_some())
}

/// Whether anything can run again, or a pipeline can be started.
pub(super) fn can_rerun(model: &Model) -> bool {
    model.page == Page::Tasks && has_stage(model) || has_video(model)
}

/// Whether anything waits or runs in the rows that an action is about.
pub(super) fn has_run(model: &Model) -> bool {
    model.subjects().iter().any(|row| model.in_flight(row))
}

/// Whether an action on videos has one to act on.
pub(super) fn has_video(model: &Model) -> bool {
    if model.page == Page::Videos {
        return model.videos.at_cursor().is_some();
    }
    let has_pipeline = |row: &RowId| model.store.get(&row.task).is_some_and(|task| task.pipeline.is_some());
    if model.tree.marks.is_empty() {
        model.tree.cursor.as_ref().is_some_and(has_pipeline)
    } else {
        model.tree.marks.iter().any(has_pipeline)
    }
}

/// Whether a delete can be taken back.
pub(super) fn has_undo(model: &Model) -> bool {
    !model.deletes.is_empty()
}

/// Whether the view stands still.
pub(super) fn is_frozen(model: &Model) -> bool {
    model.store.is_frozen()
}

/// Whether there are marks, filters or pages to go back from.
pub(super) fn has_way_back(model: &Model) -> bool {
    model.page != Page::Tasks
        || !model.trail.is_empty()
        || model.zoom
        || model.store.is_frozen()
        || !model.tree.marks.is_empty()
        || model.tree.is_narrowed()
}

/// Whether a draft of the form's row is kept.
pub(super) fn has_draft(model: &Model) -> bool {
    let form = model.form.as_ref();
    form.is_some_and(|form| model.drafts.find(&form.row).is_some())
}

/// Whether the focused field of the form has values to choose from.
pub(super) fn has_choices(model: &Model) -> bool {
    let form = model.form.as_ref().filter(|_| model.page == Page::Form);
    form.is_some_and(|form| !form.choices(form.focused().what).is_empty())
}
