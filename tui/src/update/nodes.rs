//! The page of nodes and the submit form: a node is chosen, its fields are filled in, the request is sent.

use crossterm::event::KeyCode;
use onceover_types::NodeName;
use onceover_wire::{NodeList, SubmitResponse};
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
        form::{Form, What},
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
pub fn press_in_filter(model: &mut Model, key: Key) {
    match key.code {
        KeyCode::Enter => {
            model.nodes.input = None;
            open_form(model);
        }
        KeyCode::Esc => {
            model.nodes.input = None;
            model.nodes.set_filter("");
        }
        KeyCode::Up | KeyCode::BackTab => cursor::move_cursor(model, -1),
        KeyCode::Down | KeyCode::Tab => cursor::move_cursor(model, 1),
        _ => {
            if let (Some(input), Some(request)) = (&mut model.nodes.input, line::find_edit(key)) {
                input.handle(request);
                let text = input.value().to_owned();
                if text != model.nodes.filter {
                    model.nodes.set_filter(&text);
                }
            }
        }
    }
}

/// Begins to type the filter.
pub fn open_filter(model: &mut Model) {
    model.nodes.input = Some(Input::new(model.nodes.filter.clone()));
}

/// Opens the form of the node at the cursor, with what was typed for the same node before.
pub fn open_form(model: &mut Model) {
    let Some(node) = model.nodes.at_cursor().cloned() else {
        return;
    };
    let same = |form: &Form| form.node.name == node.name && form.request.is_none();
    match model.form.take().filter(same) {
        Some(mut form) => {
            form.node = node;
            model.form = Some(form);
        }
        None => model.form = Some(Form::new(node, model.nodes.task.as_ref())),
    }
    model.page = Page::Form;
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
            field.error = None;
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
                press_in_filter(model, Key::char(c));
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

fn send(model: &mut Model, effects: &mut Vec<Effect>) {
    if requests::refuse_change(model) {
        return;
    }
    let id = model.new_id();
    let Some(form) = model.form.as_mut().filter(|form| form.request.is_none()) else {
        return;
    };
    let Some(request) = form.make_request() else {
        return;
    };
    form.request = Some(id);
    let call = Call::Submit {
        request: Box::new(request),
    };
    effects.push(Effect::Call { id, call });
}

/// Takes the daemon's answer to the form. Returns `false` if it is the answer to something else.
pub fn take_submitted(model: &mut Model, id: u64, answer: &CallAnswer<Box<SubmitResponse>>) -> bool {
    let Some(form) = model.form.as_mut().filter(|form| form.request == Some(id)) else {
        return false;
    };
    match answer {
        Ok(response) => {
            let node = form.node.name.clone();
            close_form(model, &node, response);
        }
        Err(refusal) => {
            form.show_refusal(&refusal.text, &refusal.errors);
            let text = describe_refusal(form, refusal);
            model.say(Tone::Bad, text);
        }
    }
    true
}

/// Goes from the form to the task that was submitted to.
fn close_form(model: &mut Model, node: &NodeName, response: &SubmitResponse) {
    model.form = None;
    if model.page == Page::Form {
        model.page = Page::Tasks;
        model.zoom = false;
    }
    model.wanted = Some(response.task_id.clone());
    reveal::show_wanted(model);
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
