//! Takes in what comes from the daemon unasked: changes, snapshots, the regular check, the loss of the connection.

use onceover_types::{CallbackStatus, StageState, Timestamp, VideoId};
use onceover_wire::{Event as Change, EventKind, SystemInfo};

use super::{
    callbacks, compare, detail, edit,
    messages::{Effect, MoreRows, Snapshot},
    nodes, observed, pipelines, preview, restore, reveal, task_log, timeline, videos, watch,
};
use crate::model::{
    Link, MissingPart, Model, Page, Subject,
    detail::Tab,
    log::LogState,
    store::{Applied, RowsEnd},
    totals::ShownTotals,
};

/// With this many tasks or fewer everything is expanded at the start.
const EXPAND_ALL_UP_TO: usize = 12;

/// Takes a change in, and those that waited for it.
pub fn take_change(model: &mut Model, change: Change, effects: &mut Vec<Effect>) {
    let now = model.now;
    for applied in model.store.offer(change, now) {
        follow_applied(model, &applied, effects);
    }
}

fn follow_applied(model: &mut Model, applied: &Applied, effects: &mut Vec<Effect>) {
    model.redraw = true;
    model.events.add(&applied.change);
    // Whether a task that is not loaded was counted before is not known: the next check corrects it.
    if applied.status_before.is_some() || model.store.complete {
        model.totals.follow_tasks(applied);
    }
    model.totals.follow_reuse(applied);
    watch::follow(model, applied);
    let task = &applied.change.task_id;
    if applied.change.kind == EventKind::Deleted {
        let is_kept = |subject: &Subject| !matches!(subject, Subject::Row(row) if *row.task == *task);
        model.failures.retain(|subject, _| is_kept(subject));
        model.warned.retain(|subject, _| is_kept(subject));
        callbacks::follow(model, applied);
        return;
    }
    if applied.status_before.is_none() {
        reveal::expand_new_task(model, task);
    }
    if applied.change.pipeline.is_some() {
        pipelines::follow(model, task, effects);
        videos::follow_task(model, task);
    }
    if applied.change.kind == EventKind::Video {
        videos::fetch_soon(model);
        // A video that was deleted has no pipeline any more.
        let known = model.store.present(task).is_some_and(|task| task.pipeline.is_some());
        if let Some(video) = VideoId::of_task(task).filter(|_| known) {
            pipelines::read(model, video, effects);
        }
    }
    callbacks::follow(model, applied);
    timeline::follow(model, applied);
    compare::follow(model, applied);
    reveal::show_wanted(model);
}

/// Takes in the first part of everything that is read.
pub fn take_snapshot(model: &mut Model, snapshot: Snapshot, effects: &mut Vec<Effect>) {
    let first = model.store.seq().is_none();
    let was_lost = matches!(model.link, Link::Lost { .. });
    model.redraw = true;
    model.reading = false;
    model.link = Link::Live;
    model.fresh_at = model.now;
    model.totals = ShownTotals::from_system(&snapshot.system);
    let seq = snapshot.system.seq;
    // A number below one that was seen before is another database's.
    let is_same_database = seq >= model.checked_seq;
    model.checked_seq = seq;
    model.system = Some(snapshot.system);
    let now = model.now;
    let applied = model.store.begin_load(seq, is_same_database, now);
    model.store.take_rows(snapshot.items);
    watch::check_all(model);
    for applied in &applied {
        model.events.add(&applied.change);
        model.totals.follow_tasks(applied);
        model.totals.follow_reuse(applied);
        watch::follow(model, applied);
        if applied.change.pipeline.is_some() {
            pipelines::follow(model, &applied.change.task_id, effects);
        }
    }
    end_part(model, snapshot.end, first, effects);
    if first && model.store.complete && model.store.len() <= EXPAND_ALL_UP_TO {
        model.tree.expanded = model.store.tasks().map(|task| task.id.clone()).collect();
        model.tree.changed();
    }
    if first {
        restore::restore_view(model, effects);
    }
    if was_lost {
        // What was fetched while the connection was lost may be old or missing.
        model.detail.retarget(None);
        model.estimates.request = None;
        task_log::restart(model, effects);
    }
    reveal::show_wanted(model);
    if let Some(task) = model.wanted.clone().filter(|_| !model.store.complete) {
        reveal::fetch_task(model, task, effects);
    }
    model.settle();
    reload_page(model, effects);
}

/// Takes in a later part of everything that is read.
pub fn take_rows(model: &mut Model, rows: MoreRows, effects: &mut Vec<Effect>) {
    model.redraw = true;
    model.store.take_rows(rows.items);
    end_part(model, rows.end, false, effects);
    reveal::show_wanted(model);
}

/// Ends what is read with its last part; the view is restored after the very first part.
fn end_part(model: &mut Model, end: RowsEnd, is_first: bool, effects: &mut Vec<Effect>) {
    if end == RowsEnd::More {
        return;
    }
    let planned = model.store.list_planned();
    model.store.end_load(end == RowsEnd::Complete);
    watch::check_all(model);
    // A task that was accepted and has no stage yet is not in the daemon's list.
    for video in planned {
        if model.store.present(&video.task()).is_none() {
            pipelines::read(model, video, effects);
        }
    }
    if !is_first {
        restore::restore_rest(model);
    }
}

/// Reads again what the open page shows: it may be old, or the answer was lost with the connection.
pub fn reload_page(model: &mut Model, effects: &mut Vec<Effect>) {
    match model.page {
        Page::Callbacks => callbacks::fetch(model, effects),
        Page::Nodes => nodes::fetch(model, effects),
        Page::Form => {
            // The form goes back to the page of nodes.
            nodes::fetch(model, effects);
            edit::retry_stored(model, effects);
        }
        Page::Videos | Page::Register => videos::fetch(model, effects),
        Page::Timeline => timeline::fetch(model),
        Page::Compare => compare::fetch(model, effects),
        Page::Queues | Page::Machine | Page::Workers => observed::fetch(model, effects),
        Page::Preview => preview::fetch(model, effects),
        // A log is read with the detail that it belongs to.
        Page::Tasks | Page::Log | Page::Events | Page::Commands | Page::Json => {}
    }
}

/// Reads the open page again where the last try has failed, though the connection holds.
fn retry_page(model: &mut Model, effects: &mut Vec<Effect>) {
    let has_failed = match model.page {
        Page::Callbacks => model.deliveries.has_pending() || model.deliveries.failed.is_some(),
        Page::Nodes | Page::Form => model.nodes.failed.is_some() && model.nodes.request.is_none(),
        Page::Videos | Page::Register => model.videos.failed.is_some() && model.videos.request.is_none(),
        // What failed is read again with the next change.
        // These are read again by the time.
        Page::Queues | Page::Machine | Page::Workers => false,
        Page::Preview => preview::has_failed(model),
        Page::Tasks | Page::Log | Page::Timeline | Page::Compare | Page::Events | Page::Commands | Page::Json => false,
    };
    if has_failed {
        reload_page(model, effects);
    } else if model.page == Page::Form {
        edit::retry_stored(model, effects);
    }
}

/// Takes in the answer to the regular check of the daemon.
pub fn take_system(model: &mut Model, system: SystemInfo, effects: &mut Vec<Effect>) {
    let Some(seq) = model.store.seq() else {
        return;
    };
    if !model.is_live() {
        return;
    }
    // The figures are taken over where they speak of the very state that is shown, or where what is shown
    // is not all there is.
    if system.seq == seq || !model.store.complete && system.seq >= model.checked_seq {
        let totals = ShownTotals::from_system(&system);
        model.redraw |= totals != model.totals;
        model.totals = totals;
    }
    if system.seq < model.checked_seq {
        // The sequence went back: another database has replaced this one.
        reread(model, effects);
    } else if model.system.as_ref().is_some_and(|known| known.seq > seq) {
        // The check before this one knew of events that have not come since: they were lost.
        reread_missed(model, effects);
    }
    model.checked_seq = seq;
    if model
        .detail_kept()
        .is_some_and(|stage| stage.status == StageState::Pending)
    {
        detail::ask_queues(model, effects);
    }
    pipelines::retry(model, effects);
    // No event reports files that were removed and tries that failed.
    if model.page == Page::Tasks && model.detail.tab == Tab::Reuse {
        detail::ask_reuse(model, effects);
    }
    if model
        .detail_kept()
        .is_some_and(|stage| !stage.status.in_flight() && stage.callback_status == Some(CallbackStatus::Pending))
    {
        detail::ask_deliveries(model, effects);
    }
    retry_page(model, effects);
    if model
        .system
        .as_ref()
        .is_some_and(|known| known.redis.up != system.redis.up)
    {
        model.redraw = true;
    }
    let latency = model.system.as_ref().and_then(|known| known.redis.latency_ms);
    let mut system = system;
    if latency.is_some() && !is_notable(latency, system.redis.latency_ms) {
        system.redis.latency_ms = latency;
    }
    model.system = Some(system);
}

/// Whether a round trip changed enough to be drawn again.
fn is_notable(old: Option<f64>, new: Option<f64>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => (new - old).abs() > 5.0 && (new > old * 2.0 || new < old / 2.0),
        _ => true,
    }
}

/// Counts that messages are missing, and reads everything again.
pub fn reread_missed(model: &mut Model, effects: &mut Vec<Effect>) {
    if !model.reading {
        model.store.note_gap();
    }
    reread(model, effects);
}

/// Reads everything again, unless that is under way.
pub fn reread(model: &mut Model, effects: &mut Vec<Effect>) {
    model.redraw = true;
    if !model.reading {
        model.reading = true;
        effects.push(Effect::Reread);
    }
}

/// Takes in that the connection was lost.
pub fn take_loss(model: &mut Model, missing: MissingPart, reason: String, retry_in_ms: i64, effects: &mut Vec<Effect>) {
    let (since, never) = match &model.link {
        Link::Lost { since, never, .. } => (*since, *never),
        Link::Connecting => (model.now, true),
        Link::Live => {
            model.fresh_at = model.now;
            (model.now, false)
        }
    };
    model.redraw = true;
    model.slow = false;
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
