//! Actions on rows of the tree: marks, what is asked first, what is sent.

use onceover_types::StageState;
use onceover_wire::ReuseMode;

use super::{
    Call, Effect,
    keys::{refused, step},
};
use crate::model::{
    Batch, Model, RowId, Subject, Tone, UnderWay,
    dialog::{Confirm, Dialog, Question, Target},
};
use crate::view::figures::counted;

pub fn mark(model: &mut Model) {
    let Some(row) = model.tree.cursor.clone() else {
        return;
    };
    if !model.tree.marks.remove(&row) {
        model.tree.marks.insert(row.clone());
    }
    model.tree.mark_anchor = Some(row);
    step(model, 1);
}

pub fn mark_range(model: &mut Model) {
    let anchor = model.tree.mark_anchor.clone();
    let from = anchor
        .and_then(|anchor| model.tree.rows.iter().position(|row| *row == anchor))
        .unwrap_or(model.tree.index);
    let (low, high) = (from.min(model.tree.index), from.max(model.tree.index));
    let rows: Vec<_> = model.tree.rows.iter().skip(low).take(high - low + 1).cloned().collect();
    model.tree.marks.extend(rows);
}

pub fn mark_all(model: &mut Model) {
    if !model.tree.marks.is_empty() {
        model.tree.marks.clear();
        return;
    }
    let rows: Vec<_> = model
        .tree
        .rows
        .iter()
        .filter(|row| row.node.is_none())
        .cloned()
        .collect();
    model.tree.marks.extend(rows);
}

pub fn target(model: &Model, row: RowId) -> Option<Target> {
    let task = model.store.get(&row.task)?;
    let stages: Vec<_> = task
        .stages
        .iter()
        .filter(|(node, _)| row.node.as_ref().is_none_or(|wanted| wanted == *node))
        .map(|(_, stage)| stage.status)
        .collect();
    let count = |state| stages.iter().filter(|status| **status == state).count();
    Some(Target {
        stages: stages.len(),
        pending: count(StageState::Pending),
        running: count(StageState::Running),
        delivery: None,
        video: None,
        row,
    })
}

fn ask(model: &mut Model, question: Question, rows: impl IntoIterator<Item = RowId>) {
    let targets = rows.into_iter().filter_map(|row| target(model, row)).collect();
    model.dialog = Some(Dialog::Confirm(Confirm::new(question, targets)));
}

pub fn ask_cancel(model: &mut Model) {
    let subjects = model.subjects();
    // A marked task takes its own marked stages in.
    let rows: Vec<_> = subjects
        .iter()
        .filter(|row| row.node.is_none() || !subjects.contains(&RowId::task(&row.task)))
        .filter(|row| model.in_flight(row))
        .cloned()
        .collect();
    if rows.is_empty() {
        model.say(Tone::Neutral, "nothing to cancel: nothing waits or runs here");
        return;
    }
    ask(model, Question::Cancel, rows);
}

pub fn ask_delete(model: &mut Model) {
    let mut rows: Vec<_> = model
        .subjects()
        .into_iter()
        .map(|row| RowId::task(&row.task))
        .filter(|row| model.delete_due(&row.task).is_none() && !model.is_requested(row))
        .collect();
    rows.dedup();
    if rows.is_empty() {
        model.say(Tone::Neutral, "nothing to delete that is not being acted on already");
        return;
    }
    ask(model, Question::Delete, rows);
}

pub fn undo(model: &mut Model) {
    match model.deletes.pop() {
        Some(delete) => {
            let text = format!(
                "taken back: {} not deleted",
                counted(delete.targets.len(), delete.noun())
            );
            model.say(Tone::Good, text);
        }
        None => model.say(Tone::Neutral, "nothing to take back"),
    }
}

pub fn resubmit(model: &mut Model, reuse: ReuseMode, effects: &mut Vec<Effect>) {
    let subjects = model.subjects();
    let mut rows: Vec<_> = subjects.iter().filter_map(|row| model.newest_stage_of(row)).collect();
    rows.sort();
    rows.dedup();
    rows.retain(|row| !model.under_way.contains_key(&Subject::Row(row.clone())));
    if rows.is_empty() {
        model.say(Tone::Neutral, "nothing to resubmit that has not been asked for already");
    } else if rows.len() > 1 {
        ask(model, Question::Resubmit(reuse), rows);
    } else {
        resubmit_rows(model, rows, reuse, effects);
    }
}

pub fn resubmit_rows(model: &mut Model, rows: Vec<RowId>, reuse: ReuseMode, effects: &mut Vec<Effect>) {
    if let Some(reason) = refused(model) {
        model.say(Tone::Bad, reason);
        return;
    }
    let calls = rows
        .into_iter()
        .filter_map(|row| {
            let node = row.node.as_deref().cloned()?;
            let call = Call::Resubmit {
                task: (*row.task).clone(),
                node,
                reuse,
            };
            Some((Subject::Row(row), call))
        })
        .collect();
    let verb = if reuse == ReuseMode::Never {
        "force rerun"
    } else {
        "resubmit"
    };
    send(model, verb, calls, effects);
}

/// Sends one call a subject; these show "requested" until the answers are in.
pub fn send(model: &mut Model, verb: &'static str, calls: Vec<(Subject, Call)>, effects: &mut Vec<Effect>) {
    let batch = model.new_id();
    let mut total = 0;
    for (subject, call) in calls {
        if model.under_way.contains_key(&subject) {
            continue;
        }
        let request = model.new_id();
        model.failures.remove(&subject);
        model.warned.remove(&subject);
        model.under_way.insert(subject, UnderWay { request, batch });
        effects.push(Effect::Call { id: request, call });
        total += 1;
    }
    if total > 0 {
        model.batches.insert(
            batch,
            Batch {
                verb,
                total,
                ..Batch::default()
            },
        );
    }
}
