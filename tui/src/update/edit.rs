//! Runs stages again with changes: opens the form on the stored requests, asks what they would do, shows what differs,
//! and sends what was confirmed.

use crossterm::event::KeyCode;
use onceover_types::Timestamp;
use onceover_wire::{ReuseExplanation, ReuseMode, TaskView};

use super::{
    messages::{Call, CallAnswer, Effect},
    nodes, requests,
};
use crate::{
    actions::Action,
    figures::count_noun,
    key::Key,
    model::{
        Model, Page, RowId, Subject, Tone,
        dialog::{Dialog, Review, ReviewTarget, ReviewedChange},
        form::{Form, FormPurpose, FormTarget, FormerRequest, MOST_TARGETS, What},
    },
};

/// What is typed has to stand this long before the daemon is asked what it would do with that.
const REST_MS: i64 = 300;
/// Lines that a page key scrolls by.
const SCROLL_LINES: usize = 5;

/// Opens the form on the marked rows, or on the row at the cursor; says why where there is nothing to change.
pub fn open(model: &mut Model, effects: &mut Vec<Effect>) {
    if requests::refuse_page(model) {
        return;
    }
    let mut rows: Vec<_> = model
        .subjects()
        .iter()
        .filter_map(|row| model.newest_stage_of(row))
        .collect();
    rows.sort();
    rows.dedup();
    let Some(first) = rows.first() else {
        model.say(Tone::Neutral, "nothing to run again: no stage is here");
        return;
    };
    let problem = if rows.iter().any(|row| row.node != first.node) {
        Some("the marked stages are of several nodes: mark stages of one node".to_owned())
    } else if rows.len() > MOST_TARGETS {
        Some(format!(
            "{} stages are marked: at most {MOST_TARGETS} change together",
            rows.len()
        ))
    } else {
        None
    };
    if let Some(problem) = problem {
        model.say(Tone::Bad, problem);
        return;
    }
    model.nodes.edited = rows;
    if model.nodes.read {
        open_wanted(model, effects);
    } else {
        model.say(Tone::Neutral, "reading the catalog …");
        nodes::fetch(model, effects);
    }
}

/// Opens the form that waits for the catalog, unless another page is open by now.
pub fn open_wanted(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.nodes.request.is_some() {
        return;
    }
    let rows = std::mem::take(&mut model.nodes.edited);
    let Some(name) = rows.first().and_then(|row| row.node.clone()) else {
        return;
    };
    if model.page != Page::Tasks {
        return;
    }
    if let Some(why) = model.nodes.failed.clone().filter(|_| !model.nodes.read) {
        model.say(Tone::Bad, format!("the catalog could not be read: {why}"));
        return;
    }
    let Some(node) = model.nodes.get(&name).cloned() else {
        model.say(Tone::Bad, format!("the daemon has no node {name} any more"));
        return;
    };
    model.toast = None;
    let task = match rows.as_slice() {
        [only] => Some((*only.task).clone()),
        _ => None,
    };
    let mut form = Form::new(node, task.as_ref());
    form.purpose = FormPurpose::Edit;
    if rows.len() > 1 {
        form.targets = ask_targets(model, rows, effects);
    }
    nodes::show_form(model, form, effects);
}

/// Asks for the stored request of each of several stages.
fn ask_targets(model: &mut Model, rows: Vec<RowId>, effects: &mut Vec<Effect>) -> Vec<FormTarget> {
    let mut targets = Vec::new();
    for row in rows {
        let id = model.new_id();
        let task = (*row.task).clone();
        effects.push(Effect::Call {
            id,
            call: Call::Stage { task },
        });
        targets.push(FormTarget::await_stored(row, id));
    }
    targets
}

/// Asks again for stored requests that could not be read.
pub fn retry_stored(model: &mut Model, effects: &mut Vec<Effect>) {
    nodes::retry_stored(model, effects);
    let mut next = model.next_id;
    let Some(form) = &mut model.form else {
        return;
    };
    let is_unread = |target: &&mut FormTarget| matches!(target.stored, FormerRequest::Unread(_));
    for target in form.targets.iter_mut().filter(is_unread) {
        next += 1;
        target.stored = FormerRequest::Reading(next);
        let task = target.task().clone();
        effects.push(Effect::Call {
            id: next,
            call: Call::Stage { task },
        });
    }
    model.next_id = next;
}

fn find_target(model: &mut Model, id: u64) -> Option<&mut FormTarget> {
    let targets = &mut model.form.as_mut()?.targets;
    targets
        .iter_mut()
        .find(|target| target.stored == FormerRequest::Reading(id))
}

/// Whether the form waits for this answer of several.
pub fn has_asked_target(model: &Model, id: u64) -> bool {
    let is_asked = |target: &FormTarget| target.stored == FormerRequest::Reading(id);
    model
        .form
        .as_ref()
        .is_some_and(|form| form.targets.iter().any(is_asked))
}

/// Takes the stored request of one of several stages.
pub fn take_target(model: &mut Model, id: u64, answer: CallAnswer<Box<TaskView>>) {
    let Some(target) = find_target(model, id) else {
        return;
    };
    let Some(node) = target.row.node.clone() else {
        return;
    };
    target.stored = match answer {
        Ok(view) => match nodes::find_stored(&view, &node) {
            Some(Ok(values)) => {
                target.former = values;
                FormerRequest::Taken
            }
            Some(Err(error)) => FormerRequest::Unread(error.to_string()),
            None => FormerRequest::Absent,
        },
        Err(refusal) if refusal.status == Some(404) => FormerRequest::Absent,
        Err(refusal) => FormerRequest::Unread(refusal.text),
    };
}

/// Asks what the request that is typed would do, once it has stood for a moment.
pub fn ask_forecast(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.page != Page::Form || !model.is_live() {
        return;
    }
    let (now, id) = (model.now, model.next_id + 1);
    let Some(form) = &mut model.form else {
        return;
    };
    let Some((task, request)) = form.row.task.clone().zip(form.find_question()) else {
        form.forecast.ask_at = None;
        return;
    };
    let forecast = &mut form.forecast;
    match forecast.ask_at {
        None => forecast.ask_at = Some(Timestamp::from_millis(now.as_millis() + REST_MS)),
        Some(at) if at <= now => {
            forecast.ask_at = None;
            forecast.asked = Some(request.clone());
            forecast.answer = None;
            forecast.request = Some(id);
            let node = form.row.node.clone();
            model.next_id = id;
            effects.push(Effect::Call {
                id,
                call: Call::Forecast { task, node, request },
            });
        }
        Some(_) => {}
    }
}

/// Whether the form that is open waits for this answer.
pub fn has_asked_forecast(model: &Model, id: u64) -> bool {
    let form = model.form.as_ref();
    form.is_some_and(|form| form.forecast.request == Some(id))
}

/// Takes what the daemon says that the request would do.
pub fn take_forecast(model: &mut Model, answer: CallAnswer<Box<ReuseExplanation>>) {
    if let Some(form) = &mut model.form {
        form.forecast.request = None;
        form.forecast.answer = Some(answer.map_err(|refusal| match refusal.status {
            Some(422) => format!("would be refused: {}", refusal.text),
            _ => format!("the daemon does not say what it would do: {}", refusal.text),
        }));
    }
}

/// Whether an action would send the form of a rerun with changes, which is reviewed before.
pub fn is_sending(model: &Model, action: Action) -> bool {
    let form = model.form.as_ref().filter(|form| form.purpose == FormPurpose::Edit);
    form.is_some_and(|form| action == Action::Send || action == Action::Confirm && form.focused().what == What::Send)
}

/// Shows what differs, before it is sent. Where the input differs and no reuse mode is chosen, chooses the one that
/// runs for other input.
pub fn open_review(model: &mut Model) {
    if requests::refuse_change(model) {
        return;
    }
    let Some(form) = model.form.as_mut().filter(|form| form.request.is_none()) else {
        return;
    };
    let not_yet = form.stored.why_not_yet().filter(|_| form.targets.is_empty());
    if let Some(reason) = not_yet {
        model.say(Tone::Bad, reason);
        return;
    }
    // A text that is no JSON where nothing else can be is refused at its field.
    if form.make_request().is_none() {
        return;
    }
    let targets = list_review(form);
    let differs = |target: &ReviewTarget| matches!(&target.change, ReviewedChange::Differs(differences) if !differences.is_empty());
    if form.reuse_mode().is_none() && targets.iter().any(differs) {
        form.set_reuse(ReuseMode::Strict);
    }
    model.dialog = Some(Dialog::Review(Review { targets, scroll: 0 }));
}

/// Lists each target with what differs.
fn list_review(form: &Form) -> Vec<ReviewTarget> {
    if form.targets.is_empty() {
        let Some(task) = form.row.task.clone() else {
            return Vec::new();
        };
        return vec![ReviewTarget {
            row: RowId::stage(&task.into(), &form.row.node.clone().into()),
            change: ReviewedChange::Differs(form.list_differences()),
        }];
    }
    let review = |target: &FormTarget| ReviewTarget {
        row: target.row.clone(),
        change: match form.make_request_for(target) {
            Ok(_) => ReviewedChange::Differs(form.list_differences_of(target)),
            Err(why) => ReviewedChange::LeftOut(why),
        },
    };
    form.targets.iter().map(review).collect()
}

/// Takes a key in the review.
pub fn press_in_review(model: &mut Model, key: Key, effects: &mut Vec<Effect>) {
    let Some(Dialog::Review(review)) = &mut model.dialog else {
        return;
    };
    let mode = match (key.code, key.ctrl) {
        (KeyCode::Enter | KeyCode::Char('y'), false) | (KeyCode::Char('s'), true) => return send(model, effects),
        (KeyCode::Esc | KeyCode::Char('n' | 'q'), _) => {
            model.dialog = None;
            return;
        }
        (KeyCode::Down | KeyCode::PageDown | KeyCode::Char('j'), _) => {
            review.scroll = (review.scroll + scroll_step(key.code)).min(count_lines(review).saturating_sub(1));
            return;
        }
        (KeyCode::Up | KeyCode::PageUp | KeyCode::Char('k'), _) => {
            review.scroll = review.scroll.saturating_sub(scroll_step(key.code));
            return;
        }
        (KeyCode::Char('a'), false) => ReuseMode::Auto,
        (KeyCode::Char('s'), false) => ReuseMode::Strict,
        (KeyCode::Char('f'), false) => ReuseMode::Never,
        _ => return,
    };
    if let Some(form) = &mut model.form {
        form.set_reuse(mode);
    }
}

fn scroll_step(code: KeyCode) -> usize {
    match code {
        KeyCode::PageDown | KeyCode::PageUp => SCROLL_LINES,
        _ => 1,
    }
}

/// Counts the lines of the targets: each of several, and what differs in it.
fn count_lines(review: &Review) -> usize {
    let heads = usize::from(review.targets.len() > 1);
    let lines = |target: &ReviewTarget| match &target.change {
        ReviewedChange::Differs(differences) => heads + differences.len().max(1),
        ReviewedChange::LeftOut(_) => heads + 1,
    };
    review.targets.iter().map(lines).sum()
}

/// Sends what was reviewed, once, and to nothing else.
fn send(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(Dialog::Review(review)) = model.dialog.take() else {
        return;
    };
    if model.form.as_ref().is_some_and(|form| form.targets.is_empty()) {
        nodes::send(model, effects);
        return;
    }
    if requests::refuse_change(model) {
        return;
    }
    let Some(form) = model.form.take() else {
        return;
    };
    let is_reviewed = |row: &RowId| {
        let mut targets = review.targets.iter();
        targets.any(|target| target.row == *row && matches!(target.change, ReviewedChange::Differs(_)))
    };
    let reviewed = form.targets.iter().filter(|target| is_reviewed(&target.row));
    let make_call = |target: &FormTarget| {
        let call = Call::Submit {
            request: Box::new(form.make_request_for(target).ok()?),
            form: form.number,
        };
        Some((Subject::Row(target.row.clone()), call))
    };
    let calls: Vec<_> = reviewed.filter_map(make_call).collect();
    model.page = Page::Tasks;
    if calls.is_empty() {
        model.say(Tone::Bad, "nothing was sent: every stage was left out");
        return;
    }
    requests::send_batch(model, "rerun with changes", calls, effects);
}

/// Opens the request in the text editor.
pub fn open_editor(model: &mut Model, effects: &mut Vec<Effect>) {
    let id = model.new_id();
    let Some(form) = &mut model.form else {
        return;
    };
    if matches!(form.stored, FormerRequest::Reading(_)) {
        model.say(Tone::Bad, "not yet: the stored request is being read");
        return;
    }
    form.editor = Some(id);
    let text = form.write_document(None);
    effects.push(Effect::EditText { id, text });
}

/// Takes the edited request. One that cannot be read goes back to the editor with what is wrong in it; left unchanged
/// there, it is kept for the next time.
pub fn take_edited(model: &mut Model, id: u64, result: Result<String, String>, effects: &mut Vec<Effect>) {
    let Some(form) = model.form.as_mut().filter(|form| form.editor == Some(id)) else {
        return;
    };
    form.editor = None;
    let text = match result {
        Ok(text) => text,
        Err(why) => return model.say(Tone::Bad, why),
    };
    let before = form.broken.clone();
    let Err(error) = form.take_document(&text) else {
        let changes = form.list_differences().len();
        let text = match changes {
            0 => "nothing differs from the former request".to_owned(),
            count => format!("{} from the former request", count_noun(count, "difference")),
        };
        return model.say(Tone::Neutral, text);
    };
    let is_same = |former: &String| without_first_line(former) == without_first_line(&text);
    if before.as_ref().is_some_and(is_same) {
        let sentence = format!("not taken over: {}; the text is kept for the next time", error.message);
        return model.say(Tone::Bad, sentence);
    }
    let id = model.new_id();
    if let Some(form) = &mut model.form {
        form.editor = Some(id);
        let text = form.write_document(Some(&error));
        effects.push(Effect::EditText { id, text });
    }
}

/// Returns a text without the line that says what is wrong with it.
fn without_first_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, rest)| rest).trim_end()
}
