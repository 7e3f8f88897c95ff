//! The page of nodes and the submit form: a node is chosen, its fields are filled in, the request is sent.

use crossterm::event::KeyCode;
use onceover_types::NodeName;
use onceover_wire::{NodeList, SubmitResponse, TaskView};
use tui_input::Input;

use super::{
    cursor, line,
    messages::{Call, CallAnswer, Effect, Refusal},
    requests, reveal, sentences,
};
use crate::{
    actions::Action,
    key::Key,
    model::{
        Model, Page, Tone,
        drafts::FormDraft,
        form::{Form, FormPurpose, FormRow, FormerRequest, StoredValues, What},
        nodes::Nodes,
    },
};

/// Opens the page; to choose a node for a submit, with the filter being typed at once.
pub fn open_page(model: &mut Model, choose: bool, effects: &mut Vec<Effect>) {
    if requests::refuse_page(model) {
        return;
    }
    let cursor = model.tree.cursor.clone();
    let former = std::mem::take(&mut model.nodes);
    model.nodes = Nodes {
        // Shown until the answer is in.
        all: former.all,
        read: former.read,
        input: choose.then(Input::default),
        wanted: cursor.as_ref().and_then(|row| row.node.as_deref().cloned()),
        task: cursor.map(|row| (*row.task).clone()),
        ..Nodes::default()
    };
    model.nodes.set_filter("");
    model.page = Page::Nodes;
    fetch(model, effects);
}

/// Reads the catalog.
pub fn fetch(model: &mut Model, effects: &mut Vec<Effect>) {
    let id = model.new_id();
    model.nodes.request = Some(id);
    effects.push(Effect::Call { id, call: Call::Nodes });
}

/// Takes the catalog that was read.
pub fn take_nodes(model: &mut Model, id: u64, answer: CallAnswer<NodeList>) {
    if model.nodes.request != Some(id) {
        return;
    }
    model.nodes.request = None;
    match answer {
        Ok(list) => model.nodes.set_nodes(list.nodes),
        Err(refusal) => model.nodes.failed = Some(refusal.text),
    }
}

/// Takes a key while the filter is typed.
pub fn press_in_filter(model: &mut Model, key: Key, effects: &mut Vec<Effect>) {
    match key.code {
        KeyCode::Enter => {
            model.nodes.input = None;
            open_form(model, effects);
        }
        KeyCode::Esc => {
            model.nodes.input = None;
            model.nodes.set_filter("");
        }
        KeyCode::Up | KeyCode::BackTab => cursor::move_cursor(model, -1),
        KeyCode::Down | KeyCode::Tab => cursor::move_cursor(model, 1),
        _ => type_into_filter(model, key),
    }
}

/// Edits the filter.
fn type_into_filter(model: &mut Model, key: Key) {
    if let (Some(input), Some(request)) = (&mut model.nodes.input, line::find_edit(key)) {
        input.handle(request);
        let text = input.value().to_owned();
        if text != model.nodes.filter {
            model.nodes.set_filter(&text);
        }
    }
}

/// Begins to type the filter.
pub fn open_filter(model: &mut Model) {
    model.nodes.input = Some(Input::new(model.nodes.filter.clone()));
}

/// Opens the form of the node at the cursor, for the row that the page was opened from. Where the row is a stage, the
/// form begins with its stored request.
pub fn open_form(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(node) = model.nodes.at_cursor().cloned() else {
        return;
    };
    let form = Form::new(node, model.nodes.task.as_ref());
    show_form(model, form, effects);
}

/// Opens a form of a row, and asks for the row's stored request. A form of this row that waits for its answer is shown
/// again.
pub fn show_form(model: &mut Model, mut form: Form, effects: &mut Vec<Effect>) {
    model.page = Page::Form;
    let waits = |draft: &FormDraft| draft.form.request.is_some();
    if model.drafts.find(&form.row).is_some_and(waits) {
        model.form = model.drafts.take(&form.row).map(|draft| draft.form);
        return;
    }
    form.number = model.new_id();
    model.form = Some(form);
    read_stored(model, effects);
}

/// Asks for the stored request of the stage that the form was opened on, if there is such a stage.
fn read_stored(model: &mut Model, effects: &mut Vec<Effect>) {
    let id = model.new_id();
    let Some(form) = &mut model.form else {
        return;
    };
    let Some(task) = form.row.task.clone() else {
        return;
    };
    if model.store.kept_stage(&task, &form.row.node).is_some() {
        form.stored = FormerRequest::Reading(id);
        effects.push(Effect::Call {
            id,
            call: Call::Stage { task },
        });
    } else if form.stored != FormerRequest::Absent {
        note_removed(form);
    }
}

/// Asks again for a stored request that could not be read.
pub fn retry_stored(model: &mut Model, effects: &mut Vec<Effect>) {
    let is_unread = |form: &Form| matches!(form.stored, FormerRequest::Unread(_));
    if model.form.as_ref().is_some_and(is_unread) {
        read_stored(model, effects);
    }
}

/// Whether the form waits for this answer to begin with its values.
pub fn has_asked_stored(model: &Model, id: u64) -> bool {
    let form = model.form.as_ref();
    form.is_some_and(|form| form.stored == FormerRequest::Reading(id))
}

/// Lets the form begin with the stored request that was read.
pub fn take_stored(model: &mut Model, answer: CallAnswer<Box<TaskView>>) {
    let Some(form) = &mut model.form else {
        return;
    };
    match answer {
        Ok(view) => match find_stored(&view, &form.row.node) {
            Some(Ok(values)) => form.start_from(&values),
            Some(Err(error)) => form.stored = FormerRequest::Unread(error.to_string()),
            None => note_removed(form),
        },
        Err(refusal) if refusal.status == Some(404) => note_removed(form),
        Err(refusal) => form.stored = FormerRequest::Unread(refusal.text),
    }
}

/// Notes that the stage was removed meanwhile.
fn note_removed(form: &mut Form) {
    form.stored = FormerRequest::Absent;
    form.notes = vec!["the stage was removed: the fields are empty, which stands for the node's defaults".to_owned()];
}

/// Finds the values of a stage's stored request; `None` if the task has no such stage.
pub fn find_stored(view: &TaskView, node: &NodeName) -> Option<Result<StoredValues, serde_json::Error>> {
    let stage = view.stages.get(node)?;
    let newest = view.input_params.as_ref().filter(|newest| newest.task_name == *node);
    let callback = newest.and_then(|newest| newest.callback_url.clone());
    let input = serde_json::from_str(stage.input_params.get());
    Some(input.map(|input| StoredValues { input, callback }))
}

/// Leaves the form. What was typed is kept as a draft, and a submit under way is waited for.
pub fn leave_form(model: &mut Model) {
    model.page = Page::Nodes;
    if model
        .form
        .as_ref()
        .is_some_and(|form| form.purpose == FormPurpose::Edit)
    {
        model.page = Page::Tasks;
    }
    if let Some(form) = model.form.take()
        && (form.is_touched() || form.request.is_some())
    {
        if form.request.is_none() {
            model.say(Tone::Neutral, "what was typed is kept as a draft");
        }
        model.drafts.keep(form, model.now);
    }
}

/// Takes over what was typed into the draft of this row. What is typed now becomes the draft.
pub fn restore_draft(model: &mut Model) {
    let Some(form) = &mut model.form else {
        return;
    };
    let Some(draft) = model.drafts.take(&form.row) else {
        model.say(Tone::Neutral, "no draft of this row is kept");
        return;
    };
    if form.is_touched() {
        model.drafts.keep(form.clone(), model.now);
    }
    form.restore(&draft.form);
}

/// Types a key that is bound to no action into the field.
pub fn type_into_form(model: &mut Model, key: Key) {
    let Some(form) = &mut model.form else {
        return;
    };
    let what = form.focused().what;
    if !form.choices(what).is_empty() {
        match (key.code, key.ctrl) {
            (KeyCode::Char(' '), false) => form.cycle(1),
            (KeyCode::Char(letter), false) => form.cycle_to(letter),
            (KeyCode::Backspace | KeyCode::Delete, _) | (KeyCode::Char('u'), true) => {
                form.focused_mut().input = Input::default();
            }
            _ => {}
        }
    } else if what != What::Send
        && let Some(request) = line::find_edit(key)
    {
        let field = form.focused_mut();
        let before = field.input.value().to_owned();
        field.input.handle(request);
        if field.input.value() != before {
            form.check_focused();
        }
    }
}

/// Types a pasted text into the field or the filter.
pub fn paste(model: &mut Model, text: &str) {
    match (model.page, &mut model.form) {
        (Page::Form, Some(_)) => {
            for c in line::list_pasted(text) {
                type_into_form(model, Key::char(c));
            }
        }
        (Page::Nodes, _) if model.nodes.input.is_some() => {
            for c in line::list_pasted(text) {
                type_into_filter(model, Key::char(c));
            }
        }
        _ => {}
    }
}

/// Carries out an action of the form.
pub fn act_in_form(model: &mut Model, action: Action, key: Key, effects: &mut Vec<Effect>) {
    let Some(form) = &mut model.form else {
        return;
    };
    match action {
        Action::NextField => form.step(1),
        Action::PreviousField => form.step(-1),
        Action::NextValue | Action::PreviousValue if form.choices(form.focused().what).is_empty() => {
            type_into_form(model, key);
        }
        Action::NextValue => form.cycle(1),
        Action::PreviousValue => form.cycle(-1),
        Action::Confirm if form.focused().what != What::Send => form.step(1),
        _ => send(model, effects),
    }
}

/// Sends the request that is typed, once.
pub fn send(model: &mut Model, effects: &mut Vec<Effect>) {
    if requests::refuse_change(model) {
        return;
    }
    let id = model.new_id();
    let Some(form) = model.form.as_mut().filter(|form| form.request.is_none()) else {
        return;
    };
    if let Some(reason) = form.stored.why_not_yet() {
        model.say(Tone::Bad, reason);
        return;
    }
    let Some(request) = form.make_request() else {
        return;
    };
    form.request = Some(id);
    let call = Call::Submit {
        request: Box::new(request),
        form: form.number,
    };
    effects.push(Effect::Call { id, call });
}

/// Takes the daemon's answer to the form, or to a form that was left. Returns `false` if it is the answer to something
/// else.
pub fn take_submitted(model: &mut Model, id: u64, answer: &CallAnswer<Box<SubmitResponse>>) -> bool {
    if let Some(draft) = model.drafts.take_submitted(id) {
        take_answer_to_draft(model, draft, answer);
        return true;
    }
    let Some(form) = model.form.as_mut().filter(|form| form.request == Some(id)) else {
        return false;
    };
    match answer {
        Ok(response) => {
            let row = form.row.clone();
            close_form(model, &row, response);
        }
        Err(refusal) => {
            form.show_refusal(&refusal.text, &refusal.errors);
            let text = describe_refusal(form, refusal);
            model.say(Tone::Bad, text);
        }
    }
    true
}

/// Takes the answer to a form that was left meanwhile; where it was refused, its draft stays.
fn take_answer_to_draft(model: &mut Model, mut draft: FormDraft, answer: &CallAnswer<Box<SubmitResponse>>) {
    match answer {
        Ok(response) => say_submitted(model, &draft.form.row.node, response),
        Err(refusal) => {
            draft.form.show_refusal(&refusal.text, &refusal.errors);
            let text = format!("{}; its draft is kept", describe_refusal(&draft.form, refusal));
            model.drafts.keep(draft.form, draft.left_at);
            model.say(Tone::Bad, text);
        }
    }
}

/// Goes from the form to the stage that was submitted, or to its task while the stage is not known.
fn close_form(model: &mut Model, row: &FormRow, response: &SubmitResponse) {
    model.form = None;
    // A draft of before has had its turn.
    model.drafts.take(row);
    if model.page == Page::Form {
        model.page = Page::Tasks;
        model.zoom = false;
    }
    model.wanted = Some(response.task_id.clone());
    reveal::show_wanted(model);
    reveal::show_stage(model, &response.task_id, &row.node);
    say_submitted(model, &row.node, response);
}

/// Says what became of a submit.
fn say_submitted(model: &mut Model, node: &NodeName, response: &SubmitResponse) {
    let text = format!(
        "{} › {node}: {}",
        response.task_id,
        sentences::describe_submit(response)
    );
    match sentences::join_warnings(&response.warnings) {
        None => model.say(Tone::Good, text),
        Some(warning) => model.say(Tone::Warned, format!("{text} · {warning}")),
    }
}

/// Says that a submit was refused, and where the form says why.
fn describe_refusal(form: &Form, refusal: &Refusal) -> String {
    let node = &form.node.name;
    match refusal.errors.as_slice() {
        [] => format!("{node} was refused: {}", refusal.text),
        [only] => format!("{node} was refused: see {}", only.field),
        several => format!("{node} was refused: see {} fields", several.len()),
    }
}
