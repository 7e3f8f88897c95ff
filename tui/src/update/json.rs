//! The input and the output of the stage in the detail, as trees: read, folded, searched, on the whole screen.

use std::sync::Arc;

use crossterm::event::KeyCode;
use tui_input::Input;

use super::{line, messages::Effect};
use crate::{
    actions::Action,
    key::Key,
    layout,
    model::{
        Model, Page, Tone,
        detail::{StagePart, Tab},
        json_tree::JsonTree,
    },
};

/// Bytes of a text that is read at once; a longer one is read beside the loop.
const AT_ONCE: usize = 64 * 1024;
/// Lines of the page around the tree: what it is, and where the cursor is.
const LINES_AROUND: usize = 2;

/// Reads the texts of the detail that have not been read yet.
pub fn read_missing(model: &mut Model, effects: &mut Vec<Effect>) {
    for part in StagePart::ALL {
        let id = model.new_id();
        let Some(text) = &mut model.detail.text else {
            return;
        };
        let json = text.part_mut(part);
        if json.tree.is_some() || json.request.is_some() {
            continue;
        }
        if json.raw.len() <= AT_ONCE {
            json.tree = Some(JsonTree::parse(&json.raw));
        } else {
            json.request = Some(id);
            let json = Arc::clone(&json.raw);
            effects.push(Effect::ParseJson { id, json });
        }
    }
}

/// Takes a text that was read beside the loop.
pub fn take_parsed(model: &mut Model, id: u64, tree: JsonTree) {
    let Some(text) = &mut model.detail.text else {
        return;
    };
    let asked = StagePart::ALL
        .into_iter()
        .find(|part| text.part(*part).request == Some(id));
    if let Some(part) = asked {
        let json = text.part_mut(part);
        json.request = None;
        json.tree = Some(tree);
        model.redraw = true;
    }
}

/// Whether the tab that is open shows such a text of a stage.
pub fn is_shown(model: &Model) -> bool {
    let is_stage = model.tree.cursor.as_ref().is_some_and(|row| row.node.is_some());
    is_stage && StagePart::of_tab(model.detail.tab).is_some()
}

/// Counts the rows of the tree that the screen has room for.
pub fn count_rows(model: &Model) -> usize {
    match model.page {
        Page::Json => {
            let panes = layout::lay_out_panes(model.size, true);
            usize::from(panes.inner(panes.detail).height).saturating_sub(LINES_AROUND)
        }
        _ => model.panes().detail_rows(),
    }
}

/// Moves the cursor in the tree.
pub fn move_cursor(model: &mut Model, by: isize) {
    let rows = count_rows(model);
    if let Some(tree) = model.detail.shown_json_mut() {
        tree.move_cursor(by, rows);
    }
}

/// Gives the tree the whole screen.
pub fn open_page(model: &mut Model) {
    // The cursor must not go to a task that begins now.
    model.tree.touched = true;
    model.page = Page::Json;
}

/// Gives the tree the whole screen, and begins to type what is searched.
pub fn open_search(model: &mut Model) {
    open_page(model);
    let search = model.detail.shown_json().and_then(|tree| tree.search.as_ref());
    let text = search.map_or(String::new(), |search| search.text.clone());
    model.detail.json_input = Some(Input::new(text));
}

/// Goes back: from the search, else from the page.
pub fn go_back(model: &mut Model) {
    match model.detail.shown_json_mut() {
        Some(tree) if tree.search.is_some() => tree.search = None,
        _ => model.page = Page::Tasks,
    }
}

/// Shows the other of the two texts.
pub fn turn_part(model: &mut Model) {
    model.detail.tab = match model.detail.tab {
        Tab::Input => Tab::Output,
        _ => Tab::Input,
    };
}

/// Takes a key while a search is typed.
pub fn type_text(model: &mut Model, key: Key) {
    match key.code {
        KeyCode::Esc => model.detail.json_input = None,
        KeyCode::Enter => {
            let typed = model.detail.json_input.take();
            if let (Some(typed), Some(tree)) = (typed, model.detail.shown_json_mut()) {
                tree.begin_search(typed.value().trim());
            }
        }
        _ => {
            if let (Some(request), Some(typed)) = (line::find_edit(key), &mut model.detail.json_input) {
                typed.handle(request);
            }
        }
    }
}

/// Types a pasted text.
pub fn paste(model: &mut Model, text: &str) {
    for c in line::list_pasted(text) {
        type_text(model, Key::char(c));
    }
}

/// Carries out an action on the tree.
pub fn act(model: &mut Model, action: Action) {
    let Some(tree) = model.detail.shown_json_mut() else {
        return;
    };
    match action {
        Action::Fold => tree.toggle(),
        Action::FoldAll => tree.toggle_all(),
        Action::OpenValue => tree.open(),
        Action::CloseValue => tree.close(),
        Action::NextMatch | Action::PreviousMatch
            if tree.search.is_some() && !tree.go_to_match(action == Action::NextMatch) =>
        {
            model.say(Tone::Neutral, "nothing has what is searched");
        }
        _ => {}
    }
}
