//! Takes what the mouse does: it selects, opens, scrolls, moves the border, and does what the footer offers.

use crossterm::event::KeyCode;

use super::{cursor, dialog, keys, messages::Effect, past, stage_log, tabs};
use crate::{
    actions::{Action, list_actions},
    key::Key,
    layout::Split,
    model::{Model, Page, dialog::Dialog},
    pointer::{Gesture, PointerEvent},
    view::{
        footer::FooterTarget,
        hit::{ScreenTarget, find_target},
    },
};

/// Rows or lines that a step of the wheel scrolls by.
const WHEEL_LINES: isize = 3;

/// Takes one event of the mouse.
pub fn take_event(model: &mut Model, event: PointerEvent, effects: &mut Vec<Effect>) {
    if !model.pointer.is_used {
        return;
    }
    match event.gesture {
        Gesture::Press => press(model, event, effects),
        Gesture::Drag => drag(model, event),
        Gesture::Release => model.pointer.drags_border = false,
        Gesture::WheelUp => turn_wheel(model, event, -1, effects),
        Gesture::WheelDown => turn_wheel(model, event, 1, effects),
    }
    model.settle();
}

/// Selects what is clicked; the second click opens it.
fn press(model: &mut Model, event: PointerEvent, effects: &mut Vec<Effect>) {
    let is_double = model.pointer.click(event.column, event.row, model.now);
    model.pointer.drags_border = false;
    let before = model.page;
    let target = find_target(model, event.column, event.row);
    match target {
        ScreenTarget::Button { acts } => press_button(model, acts, effects),
        ScreenTarget::Way(way) => choose_way(model, way, is_double, effects),
        ScreenTarget::Dialog if matches!(model.dialog, Some(Dialog::Help { .. })) => model.dialog = None,
        ScreenTarget::TreeRow(index) => {
            model.tree.go(index);
            if is_double {
                act(model, Action::Open, effects);
            }
        }
        ScreenTarget::ListRow(index) => {
            cursor::go_in_list(model, index);
            let open = match model.page {
                Page::Nodes => Some(Action::OpenForm),
                Page::Videos => Some(Action::ShowTask),
                Page::Queues | Page::Workers | Page::Events => Some(Action::ShowStage),
                Page::Commands => Some(Action::CopyCommand),
                Page::Preview => Some(Action::WholePage),
                _ => None,
            };
            if let Some(action) = open.filter(|_| is_double) {
                act(model, action, effects);
            }
        }
        ScreenTarget::Border => model.pointer.drags_border = true,
        ScreenTarget::Tab(tab) => {
            model.detail.tab = tab;
            model.detail.scroll = 0;
            model.log_view.top = None;
            model.detail.reuse_ground = None;
        }
        ScreenTarget::Detail if is_double && !model.zoom => act(model, Action::Open, effects),
        ScreenTarget::Footer(FooterTarget::Action(action)) => act(model, action, effects),
        ScreenTarget::Footer(FooterTarget::Sentence) => model.toast = None,
        _ => {}
    }
    let is_back = target == ScreenTarget::Footer(FooterTarget::Action(Action::Back));
    tabs::follow_page(model, before, is_back, effects);
}

/// Presses a key in what is open over the page.
fn press_in_dialog(model: &mut Model, key: Key, effects: &mut Vec<Effect>) {
    past::act_on_present(model, |model| dialog::press(model, key, effects));
}

/// Presses a button of the question that is open, as its focus and Enter do.
fn press_button(model: &mut Model, acts: bool, effects: &mut Vec<Effect>) {
    if let Some(Dialog::Confirm(confirm)) = &mut model.dialog {
        confirm.go = acts;
        press_in_dialog(model, Key::new(KeyCode::Enter), effects);
    }
}

/// Chooses a way to run again; the second click takes it, as Enter does.
fn choose_way(model: &mut Model, way: usize, is_double: bool, effects: &mut Vec<Effect>) {
    if let Some(Dialog::Rerun(menu)) = &mut model.dialog {
        menu.at = way;
        if is_double {
            press_in_dialog(model, Key::new(KeyCode::Enter), effects);
        }
    }
}

/// Moves the border between tree and detail to the pointer.
fn drag(model: &mut Model, event: PointerEvent) {
    if model.pointer.drags_border
        && let Some(split) = Split::nearest_to(model.size, event.column, event.row)
    {
        model.split = split;
    }
}

/// Scrolls what is under the pointer.
fn turn_wheel(model: &mut Model, event: PointerEvent, by: isize, effects: &mut Vec<Effect>) {
    match find_target(model, event.column, event.row) {
        ScreenTarget::Button { .. } | ScreenTarget::Way(_) | ScreenTarget::Dialog => {
            let code = if by > 0 { KeyCode::Down } else { KeyCode::Up };
            press_in_dialog(model, Key::new(code), effects);
        }
        ScreenTarget::TreeRow(_) | ScreenTarget::Tree | ScreenTarget::ListRow(_) | ScreenTarget::List => {
            cursor::move_cursor(model, by * WHEEL_LINES);
        }
        ScreenTarget::Detail | ScreenTarget::Tab(_) | ScreenTarget::Item => {
            cursor::scroll_text(model, by * WHEEL_LINES);
        }
        ScreenTarget::Log => stage_log::scroll(model, by * WHEEL_LINES),
        ScreenTarget::Border | ScreenTarget::Footer(_) | ScreenTarget::Nothing => {}
    }
}

/// Carries out an action of the page, as its key does.
fn act(model: &mut Model, action: Action, effects: &mut Vec<Effect>) {
    if let Some(spec) = list_actions(model.page).find(|spec| spec.action == action) {
        let key = spec.keys.first().copied().unwrap_or(Key::new(KeyCode::Enter));
        keys::act(model, spec, key, effects);
    }
}
