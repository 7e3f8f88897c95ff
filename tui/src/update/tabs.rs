//! Goes from page to page: by number keys in the order of the second line, and back the way that the user came.

use crossterm::event::KeyCode;

use super::{callbacks, events, machine, messages::Effect, nodes, observed, queues, videos, workers};
use crate::{
    actions::{Action, owner_of, page_of_digit},
    key::Key,
    model::{Model, Page},
};

/// Opens the page of an action, or of a number key.
pub fn open_by(model: &mut Model, action: Action, key: Key, effects: &mut Vec<Effect>) {
    let page = match (action, key.code) {
        (Action::Queues, _) => Some(Page::Queues),
        (Action::Machine, _) => Some(Page::Machine),
        (Action::Workers, _) => Some(Page::Workers),
        (Action::Events, _) => Some(Page::Events),
        (Action::CommandLog, _) => Some(Page::Commands),
        (_, KeyCode::Char(digit)) => page_of_digit(digit),
        _ => None,
    };
    if let Some(page) = page.filter(|page| *page != model.page) {
        open_page(model, page, effects);
    }
}

/// Opens a page as its own key does.
pub(super) fn open_page(model: &mut Model, page: Page, effects: &mut Vec<Effect>) {
    if page == Page::Workers {
        return workers::open_page(model, effects);
    }
    match owner_of(page) {
        Page::Callbacks => callbacks::open_any(model, effects),
        Page::Nodes => nodes::open_page(model, false, effects),
        Page::Videos => videos::open_page(model, effects),
        Page::Queues => queues::open_page(model, effects),
        Page::Machine => machine::open_page(model, effects),
        Page::Events => events::open_page(model),
        Page::Commands => model.page = Page::Commands,
        _ => model.page = Page::Tasks,
    }
}

/// Keeps the way back in step with a key that may have changed the page; with a step back, reads again what the page
/// shows, which nothing has kept up to date meanwhile.
pub fn follow_page(model: &mut Model, before: Page, is_back: bool, effects: &mut Vec<Effect>) {
    if model.page == before {
        return;
    }
    if !is_back {
        model.trail.leave(before);
        return;
    }
    model.trail.go_back_to(model.page);
    match model.page {
        Page::Callbacks => callbacks::fetch(model, effects),
        Page::Videos if before != Page::Register => videos::fetch(model, effects),
        Page::Queues | Page::Machine | Page::Workers => observed::fetch(model, effects),
        _ => {}
    }
}
