//! The line in which the filter of the tree is typed: its keys, and the filter that the text makes.

use crossterm::event::KeyCode;
use tui_input::InputRequest;

use super::line;
use crate::{
    key::Key,
    model::{FilterInput, Model, Tone, filter::Filter},
};

/// Begins to type the filter.
pub fn open_line(model: &mut Model) {
    model.zoom = false;
    let before = model.tree.filter.clone();
    let text = before.as_ref().map_or(String::new(), |filter| filter.text.clone());
    model.filter_input = Some(FilterInput {
        input: tui_input::Input::new(text),
        before,
        error: None,
    });
}

/// Takes a key while the filter is typed.
pub fn press(model: &mut Model, key: Key) {
    let request = match key.code {
        KeyCode::Enter => {
            let wrong = model
                .filter_input
                .as_ref()
                .and_then(|line| line.error.as_ref())
                .map(|error| format!("filter, column {}: {}", error.position, error.message));
            match wrong {
                Some(text) => model.say(Tone::Bad, text),
                None => model.filter_input = None,
            }
            return;
        }
        KeyCode::Esc => {
            if let Some(line) = model.filter_input.take() {
                model.tree.filter = line.before;
                model.tree.changed();
            }
            return;
        }
        _ => match line::find_edit(key) {
            Some(request) => request,
            None => return,
        },
    };
    edit(model, request);
    apply_filter(model);
}

/// Edits the text.
fn edit(model: &mut Model, request: InputRequest) {
    if let Some(line) = &mut model.filter_input {
        line.input.handle(request);
    }
}

/// Applies the filter; one that cannot be understood leaves the former result on screen.
fn apply_filter(model: &mut Model) {
    let Some(line) = &mut model.filter_input else {
        return;
    };
    match Filter::parse(line.input.value()) {
        Ok(filter) => {
            line.error = None;
            model.tree.filter = filter;
            model.tree.changed();
        }
        Err(error) => line.error = Some(error),
    }
}

/// Types a pasted text.
pub fn paste(model: &mut Model, text: &str) {
    for c in line::list_pasted(text) {
        edit(model, InputRequest::InsertChar(c));
    }
    apply_filter(model);
}
