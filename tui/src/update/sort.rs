//! The choice of the column by which tasks are sorted.

use crossterm::event::KeyCode;

use crate::{
    actions::{Action, find_action},
    key::Key,
    model::{
        Model, Page, Tone,
        dialog::{Dialog, SortMenu},
        sort::{SortColumn, TaskSort},
    },
};

/// Opens the choice, on the column that is sorted by.
pub fn open_menu(model: &mut Model) {
    let chosen = model.tree.sort.column;
    model.dialog = Some(Dialog::Sort(SortMenu { chosen }));
}

/// Changes between what is active first and what is newest first.
pub fn toggle_active(model: &mut Model) {
    let column = match model.tree.sort.column {
        SortColumn::Active => SortColumn::Created,
        _ => SortColumn::Active,
    };
    model.tree.sort = TaskSort::by(column);
    model.tree.changed();
    say_order(model);
}

/// Takes a key in the choice.
pub fn press(model: &mut Model, key: Key) {
    let Some(Dialog::Sort(menu)) = &mut model.dialog else {
        return;
    };
    match key.code {
        KeyCode::Down | KeyCode::Char('j') | KeyCode::Tab => menu.step(1),
        KeyCode::Up | KeyCode::Char('k') | KeyCode::BackTab => menu.step(-1),
        KeyCode::Enter => {
            let column = menu.chosen;
            choose(model, column);
        }
        code => match find_column(code).or_else(|| find_reversed(model, key)) {
            Some(column) => choose(model, column),
            None => model.dialog = None,
        },
    }
}

/// Finds the column that a letter stands for.
fn find_column(code: KeyCode) -> Option<SortColumn> {
    let mut columns = SortColumn::ALL.into_iter();
    columns.find(|column| code == KeyCode::Char(column.key()))
}

/// Returns the column that is sorted by already, which the key that opened the choice reverses.
fn find_reversed(model: &Model, key: Key) -> Option<SortColumn> {
    let spec = find_action(Page::Tasks, key, &model.bindings)?;
    (spec.action == Action::Sort).then_some(model.tree.sort.column)
}

fn choose(model: &mut Model, column: SortColumn) {
    model.dialog = None;
    model.tree.sort_by(column);
    say_order(model);
}

fn say_order(model: &mut Model) {
    let sort = model.tree.sort;
    model.say(
        Tone::Neutral,
        format!("sorted by {}: {}", sort.column.name(), sort.describe()),
    );
}
