//! The page of callbacks: opening it, keeping it up to date, marks, and sending callbacks again.

use std::{collections::HashSet, sync::Arc};

use onceover_types::Timestamp;
use onceover_wire::{CallbackDelivery, EventKind};

use super::{
    Call, Effect,
    keys::{refused, step},
};
use crate::model::{
    Model, Page, RowId, Subject, Tone,
    deliveries::Deliveries,
    dialog::{Confirm, Dialog, Question, Target},
    store::Applied,
};

/// Changes that come together are read together.
const REST_MS: i64 = 100;

/// The callbacks of the rows an action would be about.
pub fn open(model: &mut Model, effects: &mut Vec<Effect>) {
    let rows = model.subjects();
    if rows.is_empty() {
        return;
    }
    if model.store.seq().is_none()
        && let Some(reason) = refused(model)
    {
        model.say(Tone::Bad, reason);
        return;
    }
    model.deliveries = Deliveries::open(rows);
    model.page = Page::Callbacks;
    fetch(model, effects);
}

pub fn toggle_all(model: &mut Model, effects: &mut Vec<Effect>) {
    model.deliveries.all = !model.deliveries.all;
    model.deliveries.marks.clear();
    fetch(model, effects);
}

/// Reads what the page shows.
pub fn fetch(model: &mut Model, effects: &mut Vec<Effect>) {
    model.deliveries.fetch_at = None;
    if matches!(model.link, crate::model::Link::Lost { .. }) {
        return;
    }
    let mut requests = HashSet::new();
    for task in model.deliveries.questions() {
        let id = model.new_id();
        requests.insert(id);
        let task = task.as_deref().cloned();
        effects.push(Effect::Call {
            id,
            call: Call::Callbacks { task },
        });
    }
    model.deliveries.asked(requests);
}

/// A change may have brought a callback, or ended one.
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

pub fn mark(model: &mut Model) {
    let page = &mut model.deliveries;
    if page.list.mark(&mut page.marks, &mut page.mark_anchor) {
        step(model, 1);
    }
}

pub fn mark_range(model: &mut Model) {
    let page = &mut model.deliveries;
    page.list.mark_range(&mut page.marks, page.mark_anchor.as_ref());
}

pub fn mark_all(model: &mut Model) {
    let page = &mut model.deliveries;
    page.list.mark_all(&mut page.marks);
}

/// A callback is never sent again without showing what goes where.
pub fn ask_redeliver(model: &mut Model) {
    let waits = |item: &CallbackDelivery| model.under_way.contains_key(&Subject::Delivery(item.id.clone()));
    let targets: Vec<_> = model
        .deliveries
        .subjects()
        .into_iter()
        .filter(|item| !waits(item))
        .map(|item| Target {
            row: RowId::stage(&Arc::new(item.task_id.clone()), &Arc::new(item.task_name.clone())),
            stages: 1,
            pending: 0,
            running: 0,
            delivery: Some(Box::new(item.clone())),
            video: None,
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
