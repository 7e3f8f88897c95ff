//! Moves the time on: clocks, toasts, deletes that fall due, pages that are read again, gaps that did not close by
//! themselves.

use onceover_types::Timestamp;

use super::{
    callbacks, compare, detail, edit, estimates, feed,
    messages::{Call, Effect},
    observed, past, pipelines, preview, requests, reveal, task_log, timeline, videos, watch,
};
use crate::model::{Model, Page, PendingDelete, Subject, Tone};

/// Takes the time in, and does what has fallen due by it.
pub fn advance(model: &mut Model, now: Timestamp, effects: &mut Vec<Effect>) {
    let woken = model.wake_at().is_some_and(|at| at <= now);
    model.now = now;
    model.redraw |= woken;
    if model.toast.as_ref().is_some_and(|toast| toast.until <= now) {
        model.toast = None;
        model.redraw = true;
    }
    if !model.reading && model.is_live() && model.store.gap_deadline().is_some_and(|at| at <= now) {
        feed::reread_missed(model, effects);
    }
    send_due_deletes(model, effects);
    watch::send_due(model, effects);
    past::end_large(model);
    model.settle();
    detail::aim_detail(model, effects);
    preview::aim_preview(model, effects);
    pipelines::read_waiting(model, effects);
    task_log::advance(model, effects);
    timeline::ask_waiting(model, effects);
    compare::ask_stale(model, effects);
    reveal::complete_tasks(model, effects);
    estimates::ask_due(model, effects);
    edit::ask_forecast(model, effects);
    let due = model.deliveries.fetch_at.is_some_and(|at| at <= now);
    if due && model.page == Page::Callbacks && model.is_live() {
        callbacks::fetch(model, effects);
    }
    let due = model.videos.fetch_at.is_some_and(|at| at <= now);
    if due && model.page == Page::Videos && model.is_live() {
        videos::fetch(model, effects);
    }
    let due = model.observed.fetch_at.is_some_and(|at| at <= now);
    if due && matches!(model.page, Page::Machine | Page::Queues | Page::Workers) {
        observed::fetch(model, effects);
    }
}

/// Sends the deletes that can no longer be taken back.
fn send_due_deletes(model: &mut Model, effects: &mut Vec<Effect>) {
    let now = model.now;
    let (due, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut model.deletes)
        .into_iter()
        .partition(|delete| delete.due <= now);
    model.deletes = waiting;
    for delete in due {
        model.redraw = true;
        if !model.is_live() {
            model.say(Tone::Bad, "nothing was deleted: the connection was lost first");
            continue;
        }
        past::act_on_present(model, |model| {
            let calls = make_delete_calls(model, &delete);
            requests::send_batch(model, "delete", calls, effects);
        });
    }
}

/// Makes the call for each target of a delete.
fn make_delete_calls(model: &Model, delete: &PendingDelete) -> Vec<(Subject, Call)> {
    let targets = delete.targets.iter();
    targets
        .map(|target| {
            let has_runs = target.pending + target.running > 0;
            let call = match (&target.video, delete.videos) {
                (Some(video), Some(with_task)) => Call::DeleteVideo {
                    video: video.id.clone(),
                    with_task,
                    force: video.in_flight() || with_task && has_runs,
                },
                _ => Call::Delete {
                    task: (*target.row.task).clone(),
                    force: has_runs || model.in_flight(&target.row),
                },
            };
            (Subject::Row(target.row.clone()), call)
        })
        .collect()
}
