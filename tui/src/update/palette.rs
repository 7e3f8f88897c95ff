//! The command palette: lists what can be done and gone to, narrows that by what is typed, and returns what was chosen
//! to the dispatcher that carries it out.

use crossterm::event::KeyCode;
use onceover_types::TaskId;
use tui_input::InputRequest;

use super::line;
use crate::{
    actions::{Action, ActionSpec, Group, format_keys, is_offered, list_actions, list_offered},
    key::Key,
    model::{
        Model, Page,
        dialog::Dialog,
        palette::{Palette, PaletteEntry, PaletteTarget},
    },
};

/// Actions of the page of tasks that open another page.
const PAGES: [Action; 9] = [
    Action::Callbacks,
    Action::Nodes,
    Action::Videos,
    Action::Submit,
    Action::Queues,
    Action::Machine,
    Action::Workers,
    Action::Events,
    Action::CommandLog,
];
/// Actions that mean nothing in the palette: the palette itself, and the number keys, each of which is another page.
const LEFT_OUT: [Action; 2] = [Action::Palette, Action::ShowTab];
/// The name of the page of tasks, which is no action.
pub const TASKS: &str = "tasks";
/// Tasks that are listed at most, and characters that have to be typed before any is.
const MOST_TASKS: usize = 10;
const LEAST_CHARS: usize = 2;
/// Entries that a page key moves by.
const PAGE_STEP: usize = 8;

/// Opens the palette on everything that applies now.
pub fn open(model: &mut Model) {
    let mut all: Vec<_> = list_offered(model)
        .filter(|spec| spec.group != Group::Move && !LEFT_OUT.contains(&spec.action) && (spec.applies)(model))
        .map(|spec| make_entry(model, spec, model.page, PaletteTarget::Action(spec.name)))
        .collect();
    if model.page != Page::Tasks {
        all.push(PaletteEntry {
            target: PaletteTarget::Page(TASKS),
            name: TASKS.to_owned(),
            about: "go to the tree of tasks".to_owned(),
            keys: String::new(),
        });
        let is_listed = |name| all.iter().any(|entry| entry.target == PaletteTarget::Action(name));
        let pages = list_actions(Page::Tasks).filter(|spec| PAGES.contains(&spec.action) && is_offered(model, spec));
        let pages = pages.filter(|spec| !is_listed(spec.name)).map(|spec| PaletteEntry {
            keys: String::new(),
            ..make_entry(model, spec, Page::Tasks, PaletteTarget::Page(spec.name))
        });
        let pages: Vec<_> = pages.collect();
        all.extend(pages);
    }
    all.extend(model.nodes.all.iter().map(|node| PaletteEntry {
        target: PaletteTarget::Node(node.name.clone()),
        name: format!("node {}", node.name),
        about: node.title.clone(),
        keys: String::new(),
    }));
    model.dialog = Some(Dialog::Palette(Palette::new(all)));
}

fn make_entry(model: &Model, spec: &ActionSpec, page: Page, target: PaletteTarget) -> PaletteEntry {
    PaletteEntry {
        target,
        name: spec.name.replace('-', " "),
        about: spec.help.to_owned(),
        keys: format_keys(spec, page, &model.bindings),
    }
}

/// Takes a key. Returns what was chosen, once the palette is closed.
pub fn press(model: &mut Model, key: Key) -> Option<PaletteTarget> {
    let Some(Dialog::Palette(palette)) = &mut model.dialog else {
        return None;
    };
    match key.code {
        KeyCode::Esc => model.dialog = None,
        KeyCode::Enter => {
            let chosen = palette.chosen().map(|entry| entry.target.clone());
            if chosen.is_some() {
                model.dialog = None;
            }
            return chosen;
        }
        KeyCode::Down | KeyCode::Tab => palette.step(1),
        KeyCode::Up | KeyCode::BackTab => palette.step(-1),
        KeyCode::PageDown => palette.at = (palette.at + PAGE_STEP).min(palette.shown.len().saturating_sub(1)),
        KeyCode::PageUp => palette.at = palette.at.saturating_sub(PAGE_STEP),
        _ => {
            if let Some(request) = line::find_edit(key) {
                palette.input.handle(request);
                narrow(model);
            }
        }
    }
    None
}

/// Types a pasted text.
pub fn paste(model: &mut Model, text: &str) {
    if let Some(Dialog::Palette(palette)) = &mut model.dialog {
        for c in line::list_pasted(text) {
            palette.input.handle(InputRequest::InsertChar(c));
        }
        narrow(model);
    }
}

/// Shows what matches what is typed, tasks included.
fn narrow(model: &mut Model) {
    let Some(Dialog::Palette(palette)) = &model.dialog else {
        return;
    };
    let tasks = find_tasks(model, palette.input.value().trim());
    let entries = tasks.into_iter().map(|task| PaletteEntry {
        name: format!("task {task}"),
        about: "go to this task".to_owned(),
        keys: String::new(),
        target: PaletteTarget::Task(task),
    });
    let entries = entries.collect();
    if let Some(Dialog::Palette(palette)) = &mut model.dialog {
        palette.narrow(entries);
    }
}

/// Finds the tasks whose ids contain a text.
fn find_tasks(model: &Model, text: &str) -> Vec<TaskId> {
    let text = text.strip_prefix("task ").unwrap_or(text).trim();
    if text.chars().count() < LEAST_CHARS {
        return Vec::new();
    }
    let ids = model.store.tasks().map(|task| &task.id);
    let found = ids.filter(|id| id.as_str().contains(text)).take(MOST_TASKS);
    found.map(|id| (**id).clone()).collect()
}
