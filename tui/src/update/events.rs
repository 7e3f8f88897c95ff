//! The page of events: opens it, filters it, and goes from an event to its row.

use crossterm::event::KeyCode;
use tui_input::{Input, InputRequest};

use super::{line, messages::Effect, requests, reveal};
use crate::{
    key::Key,
    model::{Model, Page},
};

/// Opens the page.
pub fn open_page(model: &mut Model) {
    if requests::refuse_page(model) {
        return;
    }
    model.page = Page::Events;
}

/// Goes to the row of the event at the cursor, in the tree.
pub fn show_row(model: &mut Model, effects: &mut Vec<Effect>) {
    if let Some(row) = model.events.at_cursor().map(|event| event.row.clone()) {
        reveal::go_to_row(model, &row, effects);
    }
}

/// Begins to type the words that events are filtered by.
pub fn open_filter(model: &mut Model) {
    model.events.input = Some(Input::new(model.events.filter.clone()));
}

/// Takes a key while these words are typed: the list follows at once.
pub fn type_text(model: &mut Model, key: Key) {
    match key.code {
        KeyCode::Enter => model.events.input = None,
        KeyCode::Esc => {
            model.events.input = None;
            model.events.set_filter("");
        }
        _ => edit(model, line::find_edit(key)),
    }
}

/// Takes a pasted text.
pub fn paste(model: &mut Model, text: &str) {
    for c in line::list_pasted(text) {
        edit(model, Some(InputRequest::InsertChar(c)));
    }
}

fn edit(model: &mut Model, request: Option<InputRequest>) {
    let (Some(input), Some(request)) = (&mut model.events.input, request) else {
        return;
    };
    input.handle(request);
    let text = input.value().to_owned();
    model.events.set_filter(&text);
}
