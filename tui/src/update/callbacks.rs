//! The page of callbacks: opens it, keeps it up to date, marks callbacks and asks before they are sent again.

use std::{collections::HashSet, sync::Arc};

use onceover_types::Timestamp;
use onceover_wire::{CallbackDelivery, EventKind};

use super::{
    cursor,
    messages::{Call, Effect},
    requests,
};
use crate::model::{
    Link, Model, Page, RowId, Subject, Tone,
    deliveries::Deliveries,
    dialog::{Confirm, Dialog, Question, Target},
    store::Applied,
};

/// Changes that come together are read together.
const REST_MS: i64 = 100;

/// Opens the page with the callbacks of the marked rows, or of the row at the cursor.
pub fn open_page(model: &mut Model, effects: &mut Vec<Effect>) {
    let rows = model.subjects();
    if rows.is_empty() || requests::refuse_page(model) {
        return;
    }
    model.deliveries = Deliveries::open(rows);
    model.page = Page::Callbacks;
    fetch(model, effects);
}

/// Opens the page with the callbacks of the row at the cursor, or of all tasks where there is none.
pub fn open_any(model: &mut Model, effects: &mut Vec<Effect>) {
    if !model.subjects().is_empty() {
        return open_page(model, effects);
    }
    if requests::refuse_page(model) {
        return;
    }
    model.deliveries = Deliveries::default();
    model.deliveries.shows_all = true;
    model.page = Page::Callbacks;
    fetch(model, effects);
}

/// Shows the callbacks of all tasks, or again those of the rows that the page was opened on.
pub fn toggle_all_tasks(model: &mut Model, effects: &mut Vec<Effect>) {
    model.deliveries.shows_all = !model.deliveries.shows_all;
    model.deliveries.marks.clear();
    fetch(model, effects);
}

/// Reads what the page shows.
pub fn fetch(model: &mut Model, effects: &mut Vec<Effect>) {
    model.deliveries.fetch_at = None;
    if matches!(model.link, Link::Lost { .. }) {
        return;
    }
    let mut requests = HashSet::new();
    for task in model.deliveries.list_questions() {
        let id = model.new_id();
        requests.insert(id);
        let task = task.as_deref().cloned();
        effects.push(Effect::Call {
            id,
            call: Call::Callbacks { task },
        });
    }
    model.deliveries.await_answers(requests);
}

/// Reads again soon after a change that may have added a callback or ended one.
pub fn follow(model: &mut Model, applied: &Applied) {
    let change = &applied.change;
    let tells = matches!(
        change.kind,
        EventKind::Callback
            | EventKind::Hit
            | EventKind::Succeeded
            | EventKind::Failed
            | EventKind::Cancelled
            | EventKind::Deleted
            | EventKind::Unknown
    );
    if model.page != Page::Callbacks || !tells || model.deliveries.fetch_at.is_some() {
        return;
    }
    if model.deliveries.concerns(&change.task_id, change.task_name.as_ref()) {
        model.deliveries.fetch_at = Some(Timestamp::from_millis(model.now.as_millis() + REST_MS));
    }
}

/// Marks the callback at the cursor, or removes its mark.
pub fn mark(model: &mut Model) {
    let page = &mut model.deliveries;
    if page.list.mark(&mut page.marks, &mut page.mark_anchor) {
        cursor::move_cursor(model, 1);
    }
}

/// Marks every callback from the last mark to the cursor.
pub fn mark_range(model: &mut Model) {
    let page = &mut model.deliveries;
    page.list.mark_range(&mut page.marks, page.mark_anchor.as_ref());
}

/// Marks every callback, or removes all marks.
pub fn mark_all(model: &mut Model) {
    let page = &mut model.deliveries;
    page.list.mark_all(&mut page.marks);
}

/// Asks before callbacks are sent again: what goes where is always shown first.
pub fn ask_redeliver(model: &mut Model) {
    let waits = |item: &CallbackDelivery| model.under_way.contains_key(&Subject::Delivery(item.id.clone()));
    let targets: Vec<_> = model
        .deliveries
        .subjects()
        .into_iter()
        .filter(|item| !waits(item))
        .map(|item| {
            let row = RowId::stage(&Arc::new(item.task_id.clone()), &Arc::new(item.task_name.clone()));
            Target {
                stages: 1,
                delivery: Some(Box::new(item.clone())),
                ..Target::without_stages(row)
            }
        })
        .collect();
    if targets.is_empty() {
        model.say(
            Tone::Neutral,
            "nothing to redeliver that has not been asked for already",
        );
        return;
    }
    model.dialog = Some(Dialog::Confirm(Confirm::new(Question::Redeliver, targets)));
}
