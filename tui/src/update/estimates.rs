//! Reads how long the runs of each node take: once at the start, and once a minute while something runs.

use onceover_wire::NodeStatistics;

use super::messages::{Call, CallAnswer, Effect};
use crate::model::Model;

/// Reads the figures where that is due.
pub fn ask_due(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.estimates_due_at().is_none_or(|due| due > model.now) {
        return;
    }
    let id = model.new_id();
    model.estimates.request = Some(id);
    model.estimates.asked_at = Some(model.now);
    effects.push(Effect::Call {
        id,
        call: Call::Statistics,
    });
}

/// Whether the estimates have asked this.
pub fn has_asked(model: &Model, id: u64) -> bool {
    model.estimates.request == Some(id)
}

/// Takes the figures; a daemon that has none leaves everything as it is.
pub fn take_statistics(model: &mut Model, answer: CallAnswer<NodeStatistics>) {
    model.estimates.request = None;
    if let Ok(known) = answer {
        model.estimates.known = known;
    }
}
