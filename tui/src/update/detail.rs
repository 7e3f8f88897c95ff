//! The detail of the stage at the cursor: it is fetched when the cursor rests, and answers to older questions are
//! dropped.

use onceover_types::{StageState, Timestamp};
use onceover_wire::{CallbackPage, Queues, ReuseExplanation, TaskView};

use super::{
    json,
    messages::{Call, CallAnswer, Effect},
    stage_log,
};
use crate::model::{
    Model, Page,
    detail::{Ground, StageText, Tab},
};

/// The cursor has to rest this long before its row's detail is fetched.
const REST_MS: i64 = 100;

/// Keeps the detail on the cursor's stage and fetches what it shows.
pub fn aim_detail(model: &mut Model, effects: &mut Vec<Effect>) {
    let target = model.tree.cursor.as_ref().and_then(|row| {
        let node = row.node.as_ref()?;
        Some((row.task.clone(), node.clone()))
    });
    if target != model.detail.stage {
        if model.detail.log_request.is_some() {
            effects.push(Effect::StopLog);
        }
        // Its stage is not there any more.
        if matches!(model.page, Page::Log | Page::Json) && model.detail.stage.is_some() {
            model.page = Page::Tasks;
        }
        model.detail.retarget(target);
        model.log_view.turn_to_another();
        model.redraw = true;
    }
    let Some(stage) = model.detail_kept() else {
        return;
    };
    let seen = Some((stage.status, stage.attempt, stage.callback_status));
    if model.detail.seen != seen {
        let rest = if model.detail.seen.is_none() { REST_MS } else { 0 };
        model.detail.seen = seen;
        model.detail.fetch_at = Some(Timestamp::from_millis(model.now.as_millis() + rest));
    }
    if model.is_live() && model.detail.fetch_at.is_some_and(|at| at <= model.now) {
        fetch_detail(model, effects);
    }
    if model.detail.tab == Tab::Reuse && model.is_live() {
        let ground = model.detail_stage().as_ref().map(Ground::new);
        if model.detail.reuse_ground != ground {
            model.detail.reuse_ground = ground;
            ask_reuse(model, effects);
        }
    }
    stage_log::ask_missing(model, effects);
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
        call: Call::Reuse {
            task,
            node,
            reuse: None,
        },
    });
}

/// Asks for the queues, in which the stage waits.
pub fn ask_queues(model: &mut Model, effects: &mut Vec<Effect>) {
    let id = model.new_id();
    model.detail.queues_request = Some(id);
    effects.push(Effect::Call { id, call: Call::Queues });
}

/// Asks for the callbacks of the stage in the detail, when it has some.
pub fn ask_deliveries(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.detail_kept().is_none_or(|stage| stage.callback_status.is_none()) {
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
    let (Some(state), Some((task, _))) = (
        model.detail_kept().map(|stage| stage.status),
        model.detail.stage.clone(),
    ) else {
        return;
    };
    let id = model.new_id();
    model.detail.request = Some(id);
    let task = (*task).clone();
    effects.push(Effect::Call {
        id,
        call: Call::Stage { task },
    });
    ask_deliveries(model, effects);
    if state == StageState::Pending {
        ask_queues(model, effects);
    }
    stage_log::fetch(model, state, effects);
}

/// Takes the stage in full.
pub fn take_stage(model: &mut Model, id: u64, answer: CallAnswer<Box<TaskView>>, effects: &mut Vec<Effect>) {
    if model.detail.request != Some(id) {
        return;
    }
    model.detail.request = None;
    match answer {
        Ok(view) => {
            let stage = model
                .detail
                .stage
                .as_ref()
                .and_then(|(_, node)| view.stages.get(&**node));
            let mut text = stage.map(|stage| StageText::new(stage, &view.shared_storage_path));
            if let (Some(text), Some(former)) = (&mut text, model.detail.text.take()) {
                text.keep_trees(former);
            }
            model.detail.text = text;
            model.detail.failed = None;
            json::read_missing(model, effects);
        }
        Err(refusal) => model.detail.failed = Some(refusal.text),
    }
}

/// Takes the queues, in which the stage may wait.
pub fn take_queues(model: &mut Model, id: u64, answer: CallAnswer<Queues>) {
    if model.detail.queues_request == Some(id)
        && let Ok(queues) = answer
    {
        model.detail.queues = Some(queues);
    }
}

/// Takes what a submit of the stage would do now.
pub fn take_reuse(model: &mut Model, id: u64, answer: CallAnswer<Box<ReuseExplanation>>) {
    if model.detail.reuse_request == Some(id) {
        model.detail.reuse_request = None;
        model.detail.reuse = Some(answer.map_err(|refusal| refusal.text));
    }
}

/// Whether the detail asked this question about callbacks.
pub fn has_asked_deliveries(model: &Model, id: u64) -> bool {
    model.detail.deliveries_request == Some(id)
}

/// Takes the callbacks of the task, of which the stage's are kept.
pub fn take_deliveries(model: &mut Model, answer: CallAnswer<CallbackPage>) {
    model.detail.deliveries_request = None;
    if let (Ok(page), Some((_, node))) = (answer, &model.detail.stage) {
        let mine = page.items.into_iter().filter(|item| item.task_name == **node);
        model.detail.deliveries = mine.collect();
    }
}
