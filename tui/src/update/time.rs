//! What the passing of time does: clocks, toasts, deletes that fall due, detail fetched after the cursor
//! rested, gaps that did not close by themselves.

use onceover_types::{StageState, Timestamp};

use super::{Call, Effect, callbacks, feed, rows, videos};
use crate::model::{
    Model, Page, Subject, Tone,
    detail::{Ground, Tab},
    log::LogState,
};

/// The cursor has to rest this long before its row's detail is fetched.
const REST_MS: i64 = 100;

pub fn advance(model: &mut Model, now: Timestamp, effects: &mut Vec<Effect>) {
    let woken = model.wake_at().is_some_and(|at| at <= now);
    model.now = now;
    model.redraw |= woken;
    if model.toast.as_ref().is_some_and(|toast| toast.until <= now) {
        model.toast = None;
        model.redraw = true;
    }
    if !model.reading && model.is_live() && model.store.gap_deadline().is_some_and(|at| at <= now) {
        feed::missed(model, effects);
    }
    send_due_deletes(model, effects);
    model.settle();
    aim_detail(model, effects);
    let due = model.deliveries.fetch_at.is_some_and(|at| at <= now);
    if due && model.page == Page::Callbacks && model.is_live() {
        callbacks::fetch(model, effects);
    }
    let due = model.videos.fetch_at.is_some_and(|at| at <= now);
    if due && model.page == Page::Videos && model.is_live() {
        videos::fetch(model, effects);
    }
}

fn send_due_deletes(model: &mut Model, effects: &mut Vec<Effect>) {
    let now = model.now;
    let (due, waiting) = std::mem::take(&mut model.deletes)
        .into_iter()
        .partition(|delete| delete.due <= now);
    model.deletes = waiting;
    let due: Vec<_> = due;
    for delete in due {
        model.redraw = true;
        if !model.is_live() {
            model.say(Tone::Bad, "nothing was deleted: the connection was lost first");
            continue;
        }
        let calls = delete
            .targets
            .iter()
            .map(|target| {
                let call = match (&target.video, delete.videos) {
                    (Some(video), Some(with_task)) => Call::DeleteVideo {
                        video: video.id.clone(),
                        with_task,
                        force: video.in_flight() || with_task && target.pending + target.running > 0,
                    },
                    _ => Call::Delete {
                        task: (*target.row.task).clone(),
                        force: target.pending + target.running > 0 || model.in_flight(&target.row),
                    },
                };
                (Subject::Row(target.row.clone()), call)
            })
            .collect();
        rows::send(model, "delete", calls, effects);
    }
}

/// Keeps the detail on the cursor's stage and fetches what it shows.
fn aim_detail(model: &mut Model, effects: &mut Vec<Effect>) {
    let target = model.tree.cursor.as_ref().and_then(|row| {
        let node = row.node.as_ref()?;
        Some((row.task.clone(), node.clone()))
    });
    if target != model.detail.stage {
        if model.detail.log_request.is_some() {
            effects.push(Effect::StopLog);
        }
        model.detail.retarget(target);
        model.redraw = true;
    }
    let Some(stage) = model.detail_stage() else {
        return;
    };
    let seen = Some((stage.status, stage.attempt, stage.callback_status));
    let ground = Some(Ground::of(stage));
    if model.detail.seen != seen {
        let rest = if model.detail.seen.is_none() { REST_MS } else { 0 };
        model.detail.seen = seen;
        model.detail.fetch_at = Some(Timestamp::from_millis(model.now.as_millis() + rest));
    }
    if model.is_live() && model.detail.fetch_at.is_some_and(|at| at <= model.now) {
        fetch_detail(model, effects);
    }
    if model.detail.tab == Tab::Reuse && model.detail.reuse_ground != ground && model.is_live() {
        model.detail.reuse_ground = ground;
        ask_reuse(model, effects);
    }
}

/// Asks what a submit of the stage would do now.
pub fn ask_reuse(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some((task, node)) = model.detail.stage.clone() else {
        return;
    };
    let id = model.new_id();
    model.detail.reuse_request = Some(id);
    let (task, node) = ((*task).clone(), (*node).clone());
    effects.push(Effect::Call {
        id,
        call: Call::Reuse { task, node },
    });
}

/// Asks for the callbacks of the stage in the detail, when it has some.
pub fn ask_deliveries(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.detail_stage().is_none_or(|stage| stage.callback_status.is_none()) {
        model.detail.deliveries.clear();
        return;
    }
    let Some((task, _)) = model.detail.stage.clone() else {
        return;
    };
    let id = model.new_id();
    model.detail.deliveries_request = Some(id);
    effects.push(Effect::Call {
        id,
        call: Call::Callbacks {
            task: Some((*task).clone()),
        },
    });
}

fn fetch_detail(model: &mut Model, effects: &mut Vec<Effect>) {
    model.detail.fetch_at = None;
    let (Some(state), Some((task, node))) = (
        model.detail_stage().map(|stage| stage.status),
        model.detail.stage.clone(),
    ) else {
        return;
    };
    let (task, node) = ((*task).clone(), (*node).clone());
    let id = model.new_id();
    model.detail.request = Some(id);
    effects.push(Effect::Call {
        id,
        call: Call::Stage { task: task.clone() },
    });
    ask_deliveries(model, effects);
    let id = model.new_id();
    match state {
        StageState::Pending => {
            model.detail.queues_request = Some(id);
            effects.push(Effect::Call { id, call: Call::Queues });
        }
        StageState::Running => {
            model.detail.log.clear();
            model.detail.log.state = LogState::Following;
            model.detail.log_request = Some(id);
            effects.push(Effect::FollowLog { id, task, node });
        }
        _ => {
            if model.detail.log.is_empty() {
                model.detail.log.state = LogState::Loading;
            }
            model.detail.log_request = Some(id);
            effects.push(Effect::StopLog);
            effects.push(Effect::Call {
                id,
                call: Call::Log { task, node },
            });
        }
    }
}
