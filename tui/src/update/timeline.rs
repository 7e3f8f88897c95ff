//! The page of a task's timeline: opens it, reads the runs of its stages, moves in time.

use std::sync::Arc;

use onceover_types::NodeName;
use onceover_wire::{EventKind, StageRuns};

use super::{
    messages::{Call, CallAnswer, Effect},
    requests, reveal,
};
use crate::{
    actions::Action,
    layout,
    model::{
        Link, Model, Page, RowId, Tone,
        store::Applied,
        timeline::{TimelinePage, find_span, list_bars},
    },
};

/// Stages whose runs are read as the page opens; the others follow as the budget allows.
const READ_AT_ONCE: usize = 16;
/// Share of the window that one step moves by.
const PAN: f64 = 0.25;

/// Opens the page with the task at the cursor.
pub fn open_page(model: &mut Model, effects: &mut Vec<Effect>) {
    if requests::refuse_page(model) {
        return;
    }
    let Some(row) = model.tree.cursor.clone() else {
        return;
    };
    let Some(task) = model.store.get(&row.task) else {
        return;
    };
    model.timeline = TimelinePage::open(task);
    if let Some(node) = &row.node {
        model.timeline.list.go_to(node);
    }
    // The cursor must not go to a task that begins now.
    model.tree.touched = true;
    model.page = Page::Timeline;
    for _ in 0..READ_AT_ONCE {
        ask_next(model, effects);
    }
}

/// Reads the runs of all stages again, after a connection that was lost.
pub fn fetch(model: &mut Model) {
    model.timeline.requests.clear();
    let task = model.timeline.task.as_ref().and_then(|task| model.store.get(task));
    model.timeline.waiting = task.map_or_else(Default::default, |task| task.stages.keys().cloned().collect());
}

/// Reads the runs of the next stages, as far as the budget goes.
pub fn ask_waiting(model: &mut Model, effects: &mut Vec<Effect>) {
    while model.page == Page::Timeline && model.is_live() && !model.timeline.waiting.is_empty() {
        if !model.budget.take(model.now) {
            return;
        }
        ask_next(model, effects);
    }
}

fn ask_next(model: &mut Model, effects: &mut Vec<Effect>) {
    if matches!(model.link, Link::Lost { .. }) {
        return;
    }
    let (Some(task), Some(node)) = (model.timeline.task.clone(), model.timeline.waiting.pop_first()) else {
        return;
    };
    let id = model.new_id();
    model.timeline.requests.insert(id, node.clone());
    let call = Call::StageRuns {
        task: (*task).clone(),
        node: (*node).clone(),
    };
    effects.push(Effect::Call { id, call });
}

/// Takes the runs of a stage.
pub fn take_runs(model: &mut Model, id: u64, answer: CallAnswer<Box<StageRuns>>) {
    let Some(node) = model.timeline.requests.remove(&id) else {
        return;
    };
    match answer {
        Ok(runs) => {
            model.timeline.failed = None;
            model.timeline.runs.insert(node, *runs);
        }
        // A stage that was removed, or a daemon that keeps no runs: the times of the stage make the bar.
        Err(refusal) if refusal.status == Some(404) => {
            model.timeline.runs.remove(&node);
        }
        Err(refusal) => model.timeline.failed = Some(refusal.text),
    }
}

/// Reads the runs of a stage again soon, if a change is about one that is shown. Progress changes no run.
pub fn follow(model: &mut Model, applied: &Applied) {
    let change = &applied.change;
    let is_shown = model
        .timeline
        .task
        .as_ref()
        .is_some_and(|task| **task == change.task_id);
    if model.page != Page::Timeline || !is_shown || change.kind == EventKind::Progress {
        return;
    }
    let Some(name) = &change.task_name else { return };
    let node: Arc<NodeName> = Arc::new(name.clone());
    model.timeline.waiting.insert(node);
}

/// Zooms and moves in time.
pub fn act(model: &mut Model, action: Action) {
    let columns = layout::lay_out_timeline(model.size).columns();
    let span = model.timeline_task().and_then(|task| {
        let bars = list_bars(task, &model.timeline.runs, model.clock());
        find_span(&bars)
    });
    let Some(span) = span else {
        model.say(Tone::Neutral, "nothing of this task has run yet");
        return;
    };
    let page = &mut model.timeline;
    match action {
        Action::ZoomIn => page.zoom_by(1, span),
        Action::ZoomOut => page.zoom_by(-1, span),
        Action::Left => page.pan(-PAN, span, columns),
        Action::Right => page.pan(PAN, span, columns),
        _ => page.fit(),
    }
}

/// Goes to the stage at the cursor, in full.
pub fn open_stage(model: &mut Model) {
    let (Some(task), Some(node)) = (model.timeline.task.clone(), model.timeline.list.cursor().cloned()) else {
        return;
    };
    if reveal::show_row(model, &RowId::stage(&task, &node)) {
        model.zoom = true;
    }
}
