//! The filter line: what its keys do, and the filter that comes of the text.

use crossterm::event::KeyCode;
use tui_input::InputRequest;

use super::line;
use crate::{
    key::Key,
    model::{FilterInput, Model, Tone, filter::Filter},
};

pub fn open(model: &mut Model) {
    model.zoom = false;
    let before = model.tree.filter.clone();
    let text = before.as_ref().map_or(String::new(), |filter| filter.text.clone());
    model.filter_input = Some(FilterInput {
        input: tui_input::Input::new(text),
        before,
        error: None,
    });
}

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
        _ => match line::request_of(key) {
            Some(request) => request,
            None => return,
        },
    };
    edit(model, request);
    apply_filter(model);
}

fn edit(model: &mut Model, request: InputRequest) {
    if let Some(line) = &mut model.filter_input {
        line.input.handle(request);
    }
}

/// A filter that cannot be understood leaves the former result on screen.
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

/// Text from the clipboard.
pub fn paste(model: &mut Model, text: &str) {
    for c in line::pasted(text) {
        edit(model, InputRequest::InsertChar(c));
    }
    apply_filter(model);
}
