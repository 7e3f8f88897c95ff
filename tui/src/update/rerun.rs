//! The menu of ways to run again: opens it on what is chosen, asks the daemon what each way would do, and hands the
//! chosen way to the page that carries it out.

use std::collections::HashSet;

use crossterm::event::KeyCode;
use onceover_wire::{ReuseExplanation, ReuseMode};

use super::{
    messages::{Call, CallAnswer, Effect},
    requests, rows, video_actions,
};
use crate::{
    key::Key,
    model::{
        Model, Page, RowId, Subject, Tone,
        dialog::{COUNT_ABOVE, Confirm, Dialog, Forecast, Question, Rerun, RerunWay, Target},
    },
};

/// Stages for which the daemon is asked what each way would do; of more, the menu says what the ways do in general.
const MOST_FORECAST: usize = 8;
/// Targets that a page key scrolls by.
const SCROLL_TARGETS: usize = 5;

/// Opens the menu on the marked rows, or on the row at the cursor; says why where nothing can run again.
pub fn open(model: &mut Model, effects: &mut Vec<Effect>) {
    let mut rerun = if is_about_videos(model) {
        let Some(videos) = video_actions::find_targets(model) else {
            return;
        };
        Rerun {
            videos,
            ways: vec![RerunWay::Start, RerunWay::Restart],
            ..Rerun::default()
        }
    } else {
        find_stages(model)
    };
    if rerun.ways.is_empty() {
        let text = "nothing to rerun that has not been asked for already";
        model.say(Tone::Neutral, text);
        return;
    }
    ask_forecasts(model, &mut rerun, effects);
    model.dialog = Some(Dialog::Rerun(rerun));
}

/// Whether what is chosen are whole videos: on their page, or the rows of their tasks.
fn is_about_videos(model: &Model) -> bool {
    let is_video = |row: &RowId| {
        let task = model.store.get(&row.task);
        row.node.is_none() && task.is_some_and(|task| task.pipeline.is_some())
    };
    let subjects = model.subjects();
    model.page == Page::Videos || !subjects.is_empty() && subjects.iter().all(is_video)
}

/// Finds the stages that the chosen rows stand for, and the ways for them.
fn find_stages(model: &Model) -> Rerun {
    let subjects = model.subjects();
    let mut rows: Vec<_> = subjects.iter().filter_map(|row| model.newest_stage_of(row)).collect();
    let left_out = subjects.len() - rows.len();
    rows.sort();
    rows.dedup();
    rows.retain(|row| !model.under_way.contains_key(&Subject::Row(row.clone())));
    let stages: Vec<_> = rows
        .into_iter()
        .filter_map(|row| Target::for_row(&model.store, row))
        .collect();
    let mut ways = Vec::new();
    if !stages.is_empty() {
        ways.extend(RerunWay::OF_STAGES);
    }
    let is_step = |row: &RowId| {
        let step = row
            .node
            .as_ref()
            .and_then(|node| model.store.get(&row.task)?.step(node));
        step.is_some()
    };
    let mut videos = Vec::new();
    if subjects.iter().all(is_step) {
        videos = video_actions::list_targets(model);
        if !videos.is_empty() {
            ways.push(RerunWay::Dependents);
        }
    }
    Rerun {
        stages,
        videos,
        left_out,
        ways,
        ..Rerun::default()
    }
}

/// Asks the daemon what each reuse mode would do to each stage.
fn ask_forecasts(model: &mut Model, rerun: &mut Rerun, effects: &mut Vec<Effect>) {
    if rerun.stages.len() > MOST_FORECAST {
        return;
    }
    let modes = rerun.ways.iter().filter_map(|way| match way {
        RerunWay::Stages(mode) => Some(*mode),
        _ => None,
    });
    let mut forecasts = Vec::new();
    for mode in modes {
        let mut requests = HashSet::new();
        for target in &rerun.stages {
            let Some(node) = target.row.node.as_deref().cloned() else {
                continue;
            };
            let id = model.new_id();
            requests.insert(id);
            let call = Call::Reuse {
                task: (*target.row.task).clone(),
                node,
                reuse: Some(mode),
            };
            effects.push(Effect::Call { id, call });
        }
        forecasts.push(Forecast::await_answers(mode, requests));
    }
    rerun.forecasts = forecasts;
}

/// Whether the menu that is open waits for this answer.
pub fn has_asked(model: &Model, id: u64) -> bool {
    matches!(&model.dialog, Some(Dialog::Rerun(rerun)) if rerun.has_asked(id))
}

/// Takes what the daemon says a way would do.
pub fn take_forecast(model: &mut Model, id: u64, answer: CallAnswer<Box<ReuseExplanation>>) {
    if let Some(Dialog::Rerun(rerun)) = &mut model.dialog {
        rerun.take_answer(id, answer.map_err(|refusal| refusal.text));
    }
}

/// Takes a key in the menu.
pub fn press(model: &mut Model, key: Key, effects: &mut Vec<Effect>) {
    let Some(Dialog::Rerun(rerun)) = &mut model.dialog else {
        return;
    };
    match key.code {
        KeyCode::Down | KeyCode::Tab | KeyCode::Char('j') => rerun.step(1),
        KeyCode::Up | KeyCode::BackTab | KeyCode::Char('k') => rerun.step(-1),
        KeyCode::PageDown => rerun.scroll = (rerun.scroll + SCROLL_TARGETS).min(rerun.targets().len()),
        KeyCode::PageUp => rerun.scroll = rerun.scroll.saturating_sub(SCROLL_TARGETS),
        KeyCode::Enter | KeyCode::Char('y') => carry_out(model, effects),
        KeyCode::Esc | KeyCode::Char('n' | 'q') => model.dialog = None,
        KeyCode::Char(letter) => rerun.choose_letter(letter),
        _ => {}
    }
}

/// Does what was chosen, to what the menu listed and to nothing else; asks first where something is lost.
fn carry_out(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(Dialog::Rerun(rerun)) = model.dialog.take() else {
        return;
    };
    let Some(way) = rerun.chosen() else {
        return;
    };
    if requests::refuse_change(model) {
        return;
    }
    match way {
        RerunWay::Stages(mode) if mode == ReuseMode::Never || rerun.stages.len() > COUNT_ABOVE => {
            model.dialog = Some(Dialog::Confirm(Confirm::new(Question::Resubmit(mode), rerun.stages)));
        }
        RerunWay::Stages(mode) => {
            let stages = rerun.stages.into_iter().map(|target| target.row).collect();
            rows::resubmit_rows(model, stages, mode, effects);
        }
        RerunWay::Dependents => {
            model.dialog = Some(Dialog::Confirm(Confirm::new(Question::Reprocess, rerun.videos)));
        }
        RerunWay::Start => video_actions::ask_start(model, rerun.videos, false, effects),
        RerunWay::Restart => video_actions::ask_start(model, rerun.videos, true, effects),
    }
}
