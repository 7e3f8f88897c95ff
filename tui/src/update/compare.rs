//! The page that compares two runs: chooses which, reads them and the ends of their logs.

use onceover_wire::{EventKind, LogPage, StageRuns, client::LogQuery};

use super::{
    messages::{Call, CallAnswer, Effect},
    requests,
};
use crate::{
    figures,
    model::{
        Link, Model, Page, RowId, Tone,
        compare::{ComparePage, CompareSide, LOG_LINES},
        store::Applied,
    },
};

/// Opens the page: with two marked stages of one node these, else with the newest two runs of the stage at the cursor.
pub fn open_page(model: &mut Model, effects: &mut Vec<Effect>) {
    if requests::refuse_page(model) {
        return;
    }
    let rows: Vec<RowId> = model.subjects().into_iter().collect();
    let page = match rows.as_slice() {
        [row] => row.node.as_ref().map(|node| {
            let side = |index| CompareSide::new(&row.task, node, index);
            ComparePage::open(side(1), side(0))
        }),
        [left, right] => match (&left.node, &right.node) {
            (Some(before), Some(after)) if before == after => Some(ComparePage::open(
                CompareSide::new(&left.task, before, 0),
                CompareSide::new(&right.task, after, 0),
            )),
            _ => None,
        },
        _ => None,
    };
    let Some(page) = page else {
        let text = "go to a stage to compare its newest two runs, or mark two stages of one node";
        model.say(Tone::Neutral, text);
        return;
    };
    model.compare = page;
    model.tree.touched = true;
    model.page = Page::Compare;
    fetch(model, effects);
}

/// Reads the runs of both stages, and the ends of their logs.
pub fn fetch(model: &mut Model, effects: &mut Vec<Effect>) {
    if matches!(model.link, Link::Lost { .. }) {
        return;
    }
    // Of two runs of one stage both sides take the same answers.
    let count = if model.compare.has_one_stage() { 1 } else { 2 };
    for index in 0..count {
        let (runs, log) = (model.new_id(), model.new_id());
        let Some(sides) = &mut model.compare.sides else { return };
        let side = &mut sides[index];
        side.request = Some(runs);
        side.log_request = Some(log);
        let (task, node) = ((*side.task).clone(), (*side.node).clone());
        let query = LogQuery {
            lines: LOG_LINES,
            ..LogQuery::default()
        };
        effects.push(Effect::Call {
            id: runs,
            call: Call::StageRuns {
                task: task.clone(),
                node: node.clone(),
            },
        });
        effects.push(Effect::Call {
            id: log,
            call: Call::Log { task, node, query },
        });
    }
}

/// Notes that a run of a side has begun or ended. Progress changes no run.
pub fn follow(model: &mut Model, applied: &Applied) {
    let change = &applied.change;
    if model.page != Page::Compare || change.kind == EventKind::Progress {
        return;
    }
    let is_of_side = |side: &CompareSide| {
        *side.task == change.task_id && change.task_name.as_ref().is_some_and(|name| *name == *side.node)
    };
    model.compare.is_stale |= model.compare.sides.iter().flatten().any(is_of_side);
}

/// Reads the runs again after a change, as the budget allows.
pub fn ask_stale(model: &mut Model, effects: &mut Vec<Effect>) {
    let is_due = model.page == Page::Compare && model.is_live() && model.compare.wants_read();
    if is_due && model.budget.take(model.now) {
        model.compare.is_stale = false;
        fetch(model, effects);
    }
}

/// Whether the page has asked for these runs, or for this log.
pub fn has_asked(model: &Model, id: u64) -> bool {
    let mut sides = model.compare.sides.iter().flatten();
    sides.any(|side| side.request == Some(id) || side.log_request == Some(id))
}

/// Returns the sides that an answer is for.
fn sides_of(model: &mut Model, is_asked: impl Fn(&CompareSide) -> bool) -> Vec<&mut CompareSide> {
    let has_one_stage = model.compare.has_one_stage();
    let sides = model.compare.sides.iter_mut().flatten();
    sides.filter(|side| has_one_stage || is_asked(side)).collect()
}

/// Takes the runs of a stage.
pub fn take_runs(model: &mut Model, id: u64, answer: CallAnswer<Box<StageRuns>>) {
    for side in sides_of(model, |side| side.request == Some(id)) {
        side.request = None;
        match &answer {
            Ok(answer) => {
                side.failed = None;
                side.set_runs(answer.runs.clone());
            }
            Err(refusal) => side.failed = Some(refusal.text.clone()),
        }
    }
    if model.compare.has_one_stage() && answer.is_ok_and(|answer| answer.runs.len() == 1) {
        let text = "one run of this stage is kept: none to compare it with";
        model.say(Tone::Neutral, text);
    }
    compare(model);
}

/// Takes the end of a stage's log.
pub fn take_log(model: &mut Model, id: u64, answer: CallAnswer<LogPage>) {
    // Without its log a run is compared all the same.
    let page = answer.unwrap_or_default();
    for side in sides_of(model, |side| side.log_request == Some(id)) {
        side.log_request = None;
        side.set_log(page.clone());
    }
    compare(model);
}

fn compare(model: &mut Model) {
    let (now, tz) = (model.now, model.tz.clone());
    model.compare.compare(|time| figures::format_time(time, now, &tz));
}

/// Chooses an earlier run of the chosen side, or a later one.
pub fn choose_run(model: &mut Model, is_earlier: bool) {
    model.compare.choose_run(is_earlier);
    compare(model);
}
