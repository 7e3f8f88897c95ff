//! Freezes the view and steps through what it has shown. What is shown stands still; actions look at the present.

use crate::{
    actions::{Action, format_first_key},
    figures,
    model::{
        Model, Page, RowId, Tone,
        dialog::Dialog,
        past::{MOST_SHOWN_BYTES, PastPosition},
        task::StageRun,
    },
    theme::word,
};

/// Changed rows that a sentence names; of more, it says how many there are.
const MOST_NAMED: usize = 3;

/// Freezes the view, shows the present again, or steps.
pub fn act(model: &mut Model, action: Action) {
    match action {
        Action::StepBack => step_back(model),
        Action::StepForward => step_forward(model),
        _ => toggle(model),
    }
}

/// Freezes the view, or shows the present again.
fn toggle(model: &mut Model) {
    if go_to_present(model) {
        return;
    }
    if model.store.seq().is_none() {
        model.say(Tone::Neutral, "nothing to freeze: nothing is read yet");
        return;
    }
    let now = model.clock();
    model.store.freeze(now);
    // From now on the cursor stays on its row, also where that is the first.
    model.tree.touched = true;
}

/// Shows the present again. Returns `false` if it is shown already.
pub fn go_to_present(model: &mut Model) -> bool {
    let is_frozen = model.store.is_frozen();
    model.store.unfreeze();
    is_frozen
}

/// Ends a frozen view that needs too much memory.
pub fn end_large(model: &mut Model) {
    if model.store.is_past_too_large() {
        model.store.unfreeze();
        model.redraw = true;
        let most = figures::format_bytes(MOST_SHOWN_BYTES as u64);
        let text = format!("this is the present again: what has changed since needs more than {most}");
        model.say(Tone::Warned, text);
    }
}

/// Shows the state before the last change that is shown.
fn step_back(model: &mut Model) {
    if !model.store.is_frozen() {
        toggle(model);
    }
    if model.store.is_frozen() && !model.store.step_back() {
        model.say(Tone::Neutral, "no earlier change is kept");
    }
}

/// Shows the state after the next change.
fn step_forward(model: &mut Model) {
    let Some(position) = model.store.past_position() else {
        model.say(Tone::Neutral, "this is the present");
        return;
    };
    if !model.store.step_forward() {
        let text = match position.arrived {
            0 => "nothing has changed since".to_owned(),
            _ => {
                let key = format_first_key(Action::Freeze, Page::Tasks, &model.bindings);
                format!("what came next is not kept: {key} shows the present")
            }
        };
        model.say(Tone::Neutral, text);
    }
}

/// Lets something see the present, whatever is shown. It must not bring the tree up to date.
pub fn see_present<T>(model: &mut Model, see: impl FnOnce(&mut Model) -> T) -> T {
    let frozen = model.store.set_shown_aside();
    let seen = see(model);
    model.store.put_shown_back(frozen);
    seen
}

/// Lets an action see the present; what it asks then says what has changed since what is shown.
pub fn act_on_present(model: &mut Model, act: impl FnOnce(&mut Model)) {
    let Some(position) = model.store.past_position() else {
        act(model);
        return;
    };
    let (had_dialog, before) = (model.dialog.is_some(), model.page);
    see_present(model, act);
    // The action may have brought the tree up to date with the present.
    model.store.note_all_shown();
    let changes = list_changes(model);
    let has_form = model.page == Page::Form && before != Page::Form;
    let is_opened = !had_dialog && model.dialog.is_some() || has_form;
    if is_opened && let Some(text) = join_changes(&changes) {
        let since = figures::format_clock(position.at, &model.tz);
        model.say(Tone::Warned, format!("since {since}: {text}"));
    }
    if let Some(Dialog::Confirm(confirm)) = &mut model.dialog {
        confirm.since = Some(describe_since(position, &changes, &model.tz));
    }
}

/// Says in the dialog what has changed since the time that is shown.
fn describe_since(position: PastPosition, changes: &[String], tz: &jiff::tz::TimeZone) -> String {
    let at = figures::format_clock(position.at, tz);
    match join_changes(changes) {
        Some(text) => format!("You see {at}. Since then: {text}."),
        None => format!("You see {at}. Nothing of this has changed since."),
    }
}

/// Joins the first sentences, and how many there are beside them.
fn join_changes(changes: &[String]) -> Option<String> {
    let (named, others) = changes.split_at(changes.len().min(MOST_NAMED));
    if named.is_empty() {
        return None;
    }
    let text = named.join("; ");
    Some(match others.len() {
        0 => text,
        more => format!("{text}; and {more} more"),
    })
}

/// Lists what is different in the present about the rows of the dialog, or those that an action is about.
fn list_changes(model: &Model) -> Vec<String> {
    let rows: Vec<RowId> = match &model.dialog {
        Some(Dialog::Confirm(confirm)) => confirm.targets.iter().map(|target| target.row.clone()).collect(),
        Some(Dialog::Rerun(rerun)) => rerun.targets().iter().map(|target| target.row.clone()).collect(),
        _ => model.subjects().into_iter().collect(),
    };
    rows.iter().filter_map(|row| describe_change(model, row)).collect()
}

/// Says how a row differs now from what is shown; `None` if it does not.
fn describe_change(model: &Model, row: &RowId) -> Option<String> {
    let shown = model.store.get(&row.task).and_then(|task| StageRun::of_row(task, row));
    let present = model
        .store
        .present(&row.task)
        .and_then(|task| StageRun::of_row(task, row));
    match (shown, present) {
        (Some(shown), Some(present)) if shown.state != present.state => Some(format!(
            "{row} is {} now, it was {}",
            word(present.state),
            word(shown.state)
        )),
        (Some(shown), Some(present)) if shown != present => Some(format!("{row} has run again")),
        (Some(_), None) => Some(format!("{row} was deleted")),
        (None, Some(present)) => Some(format!("{row} is new, and {}", word(present.state))),
        _ => None,
    }
}
