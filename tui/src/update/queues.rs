//! The page of queues: opens it and goes from it to a stage that waits.

use super::{messages::Effect, observed, requests, reveal};
use crate::model::{Model, Page, observed::QueueRow};

/// Opens the page.
pub fn open_page(model: &mut Model, effects: &mut Vec<Effect>) {
    if requests::refuse_page(model) {
        return;
    }
    model.page = Page::Queues;
    observed::fetch(model, effects);
}

/// Goes to the stage at the cursor, in the tree.
pub fn show_stage(model: &mut Model, effects: &mut Vec<Effect>) {
    if let Some(QueueRow::Run { row, .. }) = model.observed.rows.cursor().cloned() {
        reveal::go_to_row(model, &row, effects);
    }
}
