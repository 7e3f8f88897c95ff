//! Reads what the pages of the machine, of the queues and of workers show, while one of them is open.

use onceover_types::Timestamp;
use onceover_wire::{MachineLoad, NodeStatistics, Queues, SystemHistory, WorkersReport};

use super::messages::{Call, CallAnswer, Effect};
use crate::model::{
    Model, Page,
    observed::{LatestAnswer, READ_EVERY_MS},
};

/// Reads what the open page shows, and says when that is done again.
pub fn fetch(model: &mut Model, effects: &mut Vec<Effect>) {
    model.observed.fetch_at = None;
    if !model.is_live() {
        return;
    }
    let calls = match model.page {
        Page::Machine => vec![Call::Machine, Call::Queues],
        Page::Queues => vec![Call::Queues, Call::History, Call::Statistics],
        Page::Workers => vec![Call::Workers],
        _ => return,
    };
    for call in calls {
        let id = model.new_id();
        let observed = &mut model.observed;
        match call {
            Call::Machine => observed.machine.ask(id),
            Call::History => observed.history.ask(id),
            Call::Statistics => observed.statistics.ask(id),
            Call::Workers => model.workers.report.ask(id),
            _ => observed.queues.ask(id),
        }
        effects.push(Effect::Call { id, call });
    }
    model.observed.fetch_at = Some(Timestamp::from_millis(model.now.as_millis() + READ_EVERY_MS));
}

/// Whether a read of the queues was one for these pages.
pub fn has_asked_queues(model: &Model, id: u64) -> bool {
    model.observed.queues.has_asked(id)
}

/// Takes the queues that were read.
pub fn take_queues(model: &mut Model, id: u64, answer: CallAnswer<Queues>) {
    if take_latest(&mut model.observed.queues, id, answer) {
        model.observed.set_rows();
    }
}

/// Takes the samples that were read.
pub fn take_machine(model: &mut Model, id: u64, answer: CallAnswer<MachineLoad>) {
    take_latest(&mut model.observed.machine, id, answer);
}

/// Takes the minutes that were read.
pub fn take_history(model: &mut Model, id: u64, answer: CallAnswer<SystemHistory>) {
    take_latest(&mut model.observed.history, id, answer);
}

/// Takes the statistics that were read.
pub fn take_statistics(model: &mut Model, id: u64, answer: CallAnswer<NodeStatistics>) {
    take_latest(&mut model.observed.statistics, id, answer);
}

/// Takes what was read of workers.
pub fn take_workers(model: &mut Model, id: u64, answer: CallAnswer<WorkersReport>) {
    if take_latest(&mut model.workers.report, id, answer) {
        model.workers.set_rows();
    }
}

fn take_latest<T>(latest: &mut LatestAnswer<T>, id: u64, answer: CallAnswer<T>) -> bool {
    latest.take_answer(id, answer.map_err(|refusal| refusal.text))
}
