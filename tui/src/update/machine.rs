//! The page of the machine: opens it and goes through its samples.

use super::{messages::Effect, observed, requests};
use crate::{
    actions::Action,
    model::{Model, Page},
};

/// Opens the page, at the newest sample.
pub fn open_page(model: &mut Model, effects: &mut Vec<Effect>) {
    if requests::refuse_page(model) {
        return;
    }
    model.page = Page::Machine;
    model.observed.cursor = None;
    observed::fetch(model, effects);
}

/// Goes to the sample before, or to the one after.
pub fn act(model: &mut Model, action: Action) {
    let by = if action == Action::EarlierSample { -1 } else { 1 };
    model.observed.move_cursor(by);
}
