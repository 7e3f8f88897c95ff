//! The page of workers: opens it and goes from it to a stage that a worker runs.

use super::{messages::Effect, observed, requests, reveal};
use crate::model::{Model, Page, workers::WorkerRow};

/// Opens the page.
pub fn open_page(model: &mut Model, effects: &mut Vec<Effect>) {
    if requests::refuse_page(model) {
        return;
    }
    model.page = Page::Workers;
    observed::fetch(model, effects);
}

/// Goes to the stage at the cursor, in the tree.
pub fn show_stage(model: &mut Model, effects: &mut Vec<Effect>) {
    if let Some(WorkerRow::Stage { row, .. }) = model.workers.list.cursor().cloned() {
        reveal::go_to_row(model, &row, effects);
    }
}
