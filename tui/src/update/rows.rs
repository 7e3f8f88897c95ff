//! Actions on rows of the tree: marks rows, asks before an action, sends what it needs.

use onceover_wire::ReuseMode;

use super::{
    cursor,
    messages::{Call, Effect},
    requests,
};
use crate::{
    figures::count_noun,
    model::{
        Model, RowId, Subject, Tone,
        dialog::{Confirm, Dialog, Question, Target},
    },
};

/// Marks the row at the cursor, or removes its mark.
pub fn mark(model: &mut Model) {
    let Some(row) = model.tree.cursor.clone() else {
        return;
    };
    if !model.tree.marks.remove(&row) {
        model.tree.marks.insert(row.clone());
    }
    model.tree.mark_anchor = Some(row);
    cursor::move_cursor(model, 1);
}

/// Marks every row from the last mark to the cursor.
pub fn mark_range(model: &mut Model) {
    let anchor = model.tree.mark_anchor.clone();
    let from = anchor
        .and_then(|anchor| model.tree.rows.iter().position(|row| *row == anchor))
        .unwrap_or(model.tree.index);
    let (low, high) = (from.min(model.tree.index), from.max(model.tree.index));
    let rows: Vec<_> = model.tree.rows.iter().skip(low).take(high - low + 1).cloned().collect();
    model.tree.marks.extend(rows);
}

/// Marks every task shown, or removes all marks.
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

/// Asks before an action on rows.
fn ask(model: &mut Model, question: Question, rows: impl IntoIterator<Item = RowId>) {
    let targets = rows.into_iter().filter_map(|row| Target::for_row(&model.store, row));
    let targets = targets.collect();
    model.dialog = Some(Dialog::Confirm(Confirm::new(question, targets)));
}

/// Asks before runs are cancelled.
pub fn ask_cancel(model: &mut Model) {
    let subjects = model.subjects();
    // A marked task includes its marked stages.
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

/// Asks before tasks are deleted.
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

/// Takes back the delete that was confirmed last and is not sent yet.
pub fn undo(model: &mut Model) {
    match model.deletes.pop() {
        Some(delete) => {
            let text = format!(
                "taken back: {} not deleted",
                count_noun(delete.targets.len(), delete.noun())
            );
            model.say(Tone::Good, text);
        }
        None => model.say(Tone::Neutral, "nothing to take back"),
    }
}

/// Resubmits these stages.
pub fn resubmit_rows(model: &mut Model, rows: Vec<RowId>, reuse: ReuseMode, effects: &mut Vec<Effect>) {
    if requests::refuse_change(model) {
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
    requests::send_batch(model, verb, calls, effects);
}
