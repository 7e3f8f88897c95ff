//! What comes from the daemon by itself: changes, snapshots, connection up and down.

use onceover_types::{CallbackStatus, StageState, TaskId, Timestamp, VideoId};
use onceover_wire::{Event as Change, EventKind, SystemInfo};

use super::{Call, Effect, Snapshot, callbacks, pipelines, time, videos};
use crate::model::{
    Link, MissingPart, Model, Page, RowId, Subject, detail::Tab, log::LogState, store::Applied, totals::ShownTotals,
};

/// With this many tasks or fewer everything is expanded at the start.
const EXPAND_ALL_UP_TO: usize = 12;
/// With this many tasks or fewer a new one comes expanded: what begins now is what one wants to see.
const EXPAND_NEW_UP_TO: usize = 200;

pub fn change(model: &mut Model, change: Change, effects: &mut Vec<Effect>) {
    let now = model.now;
    for applied in model.store.offer(change, now) {
        followed(model, &applied, effects);
    }
}

fn followed(model: &mut Model, applied: &Applied, effects: &mut Vec<Effect>) {
    model.redraw = true;
    // Whether a task that is not loaded was counted before is not known: the next look tells.
    if applied.status_before.is_some() || model.store.complete {
        model.totals.follow_tasks(applied);
    }
    model.totals.follow_reuse(applied);
    let task = &applied.change.task_id;
    if applied.change.kind == EventKind::Deleted {
        model
            .failures
            .retain(|subject, _| !matches!(subject, Subject::Row(row) if *row.task == *task));
        model
            .warned
            .retain(|subject, _| !matches!(subject, Subject::Row(row) if *row.task == *task));
        callbacks::follow(model, applied);
        return;
    }
    if applied.status_before.is_none() {
        expand_new(model, task);
    }
    if applied.change.pipeline.is_some() {
        pipelines::follow(model, task, effects);
        videos::follow(model, task);
    }
    if applied.change.kind == EventKind::Video {
        videos::changed(model);
        // What was forgotten has no pipeline any more.
        let known = model.store.get(task).is_some_and(|task| task.pipeline.is_some());
        if let Some(video) = VideoId::of_task(task).filter(|_| known) {
            pipelines::read(model, video, effects);
        }
    }
    if applied.status_before.is_none() && !model.store.complete && model.is_live() {
        // A task beyond the snapshot's limit came to life: this event tells of one stage only.
        if !model.fetching.values().any(|other| other == task) {
            let id = model.new_id();
            model.fetching.insert(id, task.clone());
            effects.push(Effect::Call {
                id,
                call: Call::Task { task: task.clone() },
            });
        }
    }
    callbacks::follow(model, applied);
    show_wanted(model);
}

/// A task that comes to life shows its stages.
pub fn expand_new(model: &mut Model, task: &TaskId) {
    if model.store.len() <= EXPAND_NEW_UP_TO
        && let Some(task) = model.store.get(task)
    {
        model.tree.expanded.insert(task.id.clone());
        model.tree.changed();
    }
}

pub fn snapshot(model: &mut Model, snapshot: Snapshot, effects: &mut Vec<Effect>) {
    let first = model.store.seq().is_none();
    let was_lost = matches!(model.link, Link::Lost { .. });
    model.redraw = true;
    model.reading = false;
    model.link = Link::Live;
    model.fresh_at = model.now;
    model.totals = ShownTotals::of(&snapshot.system);
    let seq = snapshot.system.seq;
    model.seq_at_look = seq;
    model.system = Some(snapshot.system);
    let now = model.now;
    let planned = model.store.only_planned();
    let applied = model.store.load(snapshot.items, seq, snapshot.complete, now);
    for applied in &applied {
        model.totals.follow_tasks(applied);
        model.totals.follow_reuse(applied);
        if applied.change.pipeline.is_some() {
            pipelines::follow(model, &applied.change.task_id, effects);
        }
    }
    // Accepted, and without a stage: such a task is not in the daemon's list.
    for video in planned {
        if model.store.get(&video.task()).is_none() {
            pipelines::read(model, video, effects);
        }
    }
    if first && model.store.len() <= EXPAND_ALL_UP_TO {
        model.tree.expanded = model.store.tasks().map(|task| task.id.clone()).collect();
        model.tree.changed();
    }
    if was_lost {
        // What was fetched while the other side was away may be old or missing.
        model.detail.retarget(None);
    }
    show_wanted(model);
    fetch_wanted(model, effects);
    model.settle();
    match model.page {
        Page::Callbacks => callbacks::fetch(model, effects),
        Page::Videos => videos::fetch(model, effects),
        _ => {}
    }
}

/// Puts the cursor on the task asked for at the start, once it is there.
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

/// Asks for the task to open with, where it is not among those that were read.
fn fetch_wanted(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(task) = model.wanted.clone().filter(|_| !model.store.complete) else {
        return;
    };
    if !model.fetching.values().any(|other| *other == task) {
        let id = model.new_id();
        model.fetching.insert(id, task.clone());
        effects.push(Effect::Call {
            id,
            call: Call::Task { task },
        });
    }
}

pub fn system(model: &mut Model, system: SystemInfo, effects: &mut Vec<Effect>) {
    let Some(seq) = model.store.seq() else {
        return;
    };
    if !model.is_live() {
        return;
    }
    // The figures are taken over where they speak of the very state that is shown, or where what is shown
    // is not all there is.
    if system.seq == seq || !model.store.complete && system.seq >= model.seq_at_look {
        let totals = ShownTotals::of(&system);
        model.redraw |= totals != model.totals;
        model.totals = totals;
    }
    if system.seq < model.seq_at_look {
        // The sequence went back: another database took this one's place.
        reread(model, effects);
    } else if model.system.as_ref().is_some_and(|known| known.seq > seq) {
        // The look before this one knew of events that have not come since: they were lost.
        missed(model, effects);
    }
    model.seq_at_look = seq;
    if model
        .detail_stage()
        .is_some_and(|stage| stage.status == StageState::Pending)
    {
        let id = model.new_id();
        model.detail.queues_request = Some(id);
        effects.push(Effect::Call { id, call: Call::Queues });
    }
    pipelines::retry(model, effects);
    // What no event tells of: files that went, tries that came to nothing.
    if model.page == Page::Tasks && model.detail.tab == Tab::Reuse {
        time::ask_reuse(model, effects);
    }
    if model
        .detail_stage()
        .is_some_and(|stage| !stage.status.in_flight() && stage.callback_status == Some(CallbackStatus::Pending))
    {
        time::ask_deliveries(model, effects);
    }
    if model.page == Page::Callbacks && (model.deliveries.pending() || model.deliveries.failed.is_some()) {
        callbacks::fetch(model, effects);
    }
    if model
        .system
        .as_ref()
        .is_some_and(|known| known.redis.up != system.redis.up)
    {
        model.redraw = true;
    }
    let latency = model.system.as_ref().and_then(|known| known.redis.latency_ms);
    let mut system = system;
    if latency.is_some() && !notable(latency, system.redis.latency_ms) {
        system.redis.latency_ms = latency;
    }
    model.system = Some(system);
}

/// A round trip that changed enough to be drawn again.
fn notable(old: Option<f64>, new: Option<f64>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => (new - old).abs() > 5.0 && (new > old * 2.0 || new < old / 2.0),
        _ => true,
    }
}

/// Messages are missing: counted, and everything is read again.
pub fn missed(model: &mut Model, effects: &mut Vec<Effect>) {
    if !model.reading {
        model.store.missed();
    }
    reread(model, effects);
}

pub fn reread(model: &mut Model, effects: &mut Vec<Effect>) {
    model.redraw = true;
    if !model.reading {
        model.reading = true;
        effects.push(Effect::Reread);
    }
}

pub fn lost(model: &mut Model, missing: MissingPart, reason: String, retry_in_ms: i64, effects: &mut Vec<Effect>) {
    let (since, never) = match &model.link {
        Link::Lost { since, never, .. } => (*since, *never),
        Link::Connecting => (model.now, true),
        Link::Live => {
            model.fresh_at = model.now;
            (model.now, false)
        }
    };
    model.redraw = true;
    // The feed reads everything again by itself when the connection is back.
    model.reading = false;
    model.link = Link::Lost {
        missing,
        reason,
        since,
        retry_at: Timestamp::from_millis(model.now.as_millis() + retry_in_ms),
        never,
    };
    if model.detail.log.state == LogState::Following {
        model.detail.log.state = LogState::Ended;
        model.detail.log_request = None;
        effects.push(Effect::StopLog);
    }
}
