//! The page of nodes and the submit form: choosing a node, filling in its fields, sending the request.

use crossterm::event::KeyCode;
use onceover_wire::{NodeList, SubmitResponse};
use tui_input::Input;

use super::{Call, CallAnswer, Effect, feed, keys, line, replies};
use crate::{
    actions::Action,
    key::Key,
    model::{
        Model, Page, Tone,
        form::{Form, What},
        nodes::Nodes,
    },
};

/// Opens the list; to choose a node for a submit, with the text to look for it being typed at once.
pub fn open(model: &mut Model, choose: bool, effects: &mut Vec<Effect>) {
    if model.store.seq().is_none()
        && let Some(reason) = keys::refused(model)
    {
        model.say(Tone::Bad, reason);
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
    model.nodes.filter("");
    model.page = Page::Nodes;
    fetch(model, effects);
}

pub fn fetch(model: &mut Model, effects: &mut Vec<Effect>) {
    let id = model.new_id();
    model.nodes.request = Some(id);
    effects.push(Effect::Call { id, call: Call::Nodes });
}

pub fn read(model: &mut Model, id: u64, answer: CallAnswer<NodeList>) {
    if model.nodes.request != Some(id) {
        return;
    }
    model.nodes.request = None;
    match answer {
        Ok(list) => model.nodes.take(list.nodes),
        Err(refusal) => model.nodes.failed = Some(refusal.text),
    }
}

/// Keys while the text to look for is typed.
pub fn in_filter(model: &mut Model, key: Key) {
    match key.code {
        KeyCode::Enter => {
            model.nodes.input = None;
            open_form(model);
        }
        KeyCode::Esc => {
            model.nodes.input = None;
            model.nodes.filter("");
        }
        KeyCode::Up | KeyCode::BackTab => keys::step(model, -1),
        KeyCode::Down | KeyCode::Tab => keys::step(model, 1),
        _ => {
            if let (Some(input), Some(request)) = (&mut model.nodes.input, line::request_of(key)) {
                input.handle(request);
                let text = input.value().to_owned();
                if text != model.nodes.filter {
                    model.nodes.filter(&text);
                }
            }
        }
    }
}

pub fn open_filter(model: &mut Model) {
    model.nodes.input = Some(Input::new(model.nodes.filter.clone()));
}

/// The form of the node at the cursor. What was typed for the same node before is still there.
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

/// A key that no action has: text for the field.
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
        && let Some(request) = line::request_of(key)
    {
        let field = form.focused_mut();
        let before = field.input.value().to_owned();
        field.input.handle(request);
        if field.input.value() != before {
            field.error = None;
        }
    }
}

pub fn paste(model: &mut Model, text: &str) {
    match (model.page, &mut model.form) {
        (Page::Form, Some(_)) => {
            for c in line::pasted(text) {
                type_into_form(model, Key::char(c));
            }
        }
        (Page::Nodes, _) if model.nodes.input.is_some() => {
            for c in line::pasted(text) {
                in_filter(model, Key::char(c));
            }
        }
        _ => {}
    }
}

/// An action of the form.
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
    if let Some(reason) = keys::refused(model) {
        model.say(Tone::Bad, reason);
        return;
    }
    let id = model.new_id();
    let Some(form) = model.form.as_mut().filter(|form| form.request.is_none()) else {
        return;
    };
    let Some(request) = form.take_request() else {
        return;
    };
    form.request = Some(id);
    let call = Call::Submit {
        request: Box::new(request),
    };
    effects.push(Effect::Call { id, call });
}

/// The daemon's answer to the form. False when it is to something else.
pub fn submitted(model: &mut Model, id: u64, answer: &CallAnswer<Box<SubmitResponse>>) -> bool {
    let Some(form) = model.form.as_mut().filter(|form| form.request == Some(id)) else {
        return false;
    };
    match answer {
        Ok(response) => {
            let text = format!(
                "{} › {}: {}",
                response.task_id,
                form.node.name,
                replies::outcome(response)
            );
            model.form = None;
            if model.page == Page::Form {
                model.page = Page::Tasks;
                model.zoom = false;
            }
            model.wanted = Some(response.task_id.clone());
            feed::show_wanted(model);
            match replies::warning(&response.warnings) {
                None => model.say(Tone::Good, text),
                Some(warning) => model.say(Tone::Warned, format!("{text} · {warning}")),
            }
        }
        Err(refusal) => {
            form.refused(&refusal.text, &refusal.errors);
            let node = form.node.name.clone();
            // What a field says it says itself.
            let text = match refusal.errors.len() {
                0 => format!("{node} was refused: {}", refusal.text),
                1 => format!("{node} was refused: see {}", refusal.errors[0].field),
                many => format!("{node} was refused: see {many} fields"),
            };
            model.say(Tone::Bad, text);
        }
    }
    true
}
