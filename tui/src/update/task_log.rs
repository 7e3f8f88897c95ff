//! The logs of all stages of a task as one, on the page of a log: which are followed, which pages are read and when.

use bytes::Bytes;
use onceover_wire::{LogPage, client::LogQuery};

use super::{
    messages::{Call, CallAnswer, Effect},
    requests, stage_log,
};
use crate::model::{
    Model, Page, Tone,
    log::{LogEntry, PAGE_LINES},
    task_log::{LogRead, TaskLog},
};

/// Lines that are read at once where all are wanted.
const LARGE_PAGE: u64 = 5_000;
/// With so many entries left above the screen, those above them are read.
const NEAR: usize = 200;

/// Opens the page of a log with all stages of the task at the cursor.
pub fn open_page(model: &mut Model, effects: &mut Vec<Effect>) {
    if requests::refuse_page(model) {
        return;
    }
    let Some(task) = model.tree.cursor.as_ref().and_then(|row| model.store.get(&row.task)) else {
        return;
    };
    model.task_log = Some(TaskLog::new(task));
    model.log_view.turn_to_another();
    // The cursor must not go to a task that begins now.
    model.tree.touched = true;
    model.page = Page::Log;
    advance(model, effects);
}

/// Turns from the log of a stage to those of its whole task, and back.
pub fn toggle(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.task_log.is_none() {
        open_page(model, effects);
    } else if model.detail.stage.is_none() {
        model.say(Tone::Neutral, "these are the logs of a task: go to a stage for its own");
    } else {
        close(model, effects);
    }
}

fn close(model: &mut Model, effects: &mut Vec<Effect>) {
    model.task_log = None;
    model.log_view.turn_to_another();
    model.redraw = true;
    effects.push(Effect::StopTaskLog);
}

/// Begins again after a connection that was lost: what was followed has ended.
pub fn restart(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(log) = &model.task_log else { return };
    let Some(task) = model.store.get(&log.task) else {
        close(model, effects);
        return;
    };
    model.task_log = Some(TaskLog::new(task));
    model.log_view.turn_to_another();
    effects.push(Effect::StopTaskLog);
    advance(model, effects);
}

/// Reads what the screen needs and is not here, and follows what runs. Closes what is not shown any more.
pub fn advance(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(mut log) = model.task_log.take() else {
        return;
    };
    if model.page != Page::Log {
        close(model, effects);
        return;
    }
    if let Some(task) = model.store.get(&log.task) {
        for source in log.follow_stages(task) {
            for matches in model.log_view.matches_mut() {
                matches.remove_source(source);
            }
            model.redraw = true;
        }
    }
    if model.is_live() {
        let wants_all = model.log_view.search.is_some() || model.log_view.filter.is_some();
        let above = match model.log_view.top {
            _ if wants_all => Some(0),
            Some(top) if log.lines.find(top) <= NEAR => Some(0),
            Some(top) => Some(log.place_above(top, NEAR).number),
            None => None,
        };
        let most = if wants_all { LARGE_PAGE } else { PAGE_LINES };
        for (index, read) in log.list_reads(model.now, above, most) {
            let id = model.new_id();
            let (task, node) = ((*log.task).clone(), (*log.stages[index].node).clone());
            log.note_request(index, read, id, model.now);
            let query = match read {
                LogRead::Follow => {
                    effects.push(Effect::FollowTaskLog { id, task, node });
                    continue;
                }
                LogRead::End => LogQuery {
                    lines: PAGE_LINES,
                    ..LogQuery::default()
                },
                LogRead::Lines { from, lines } => LogQuery {
                    from: Some(from),
                    lines,
                    search: None,
                },
            };
            let call = Call::Log { task, node, query };
            effects.push(Effect::Call { id, call });
        }
    }
    model.task_log = Some(log);
    note_whole(model);
}

/// Notes that no more lines can be found, where all are here.
fn note_whole(model: &mut Model) {
    let is_whole = model.task_log.as_ref().is_some_and(TaskLog::is_whole);
    for matches in model.log_view.matches_mut() {
        matches.is_complete = is_whole;
    }
}

fn find_request(model: &Model, id: u64) -> Option<usize> {
    model.task_log.as_ref()?.find_request(id)
}

/// Whether the logs of the task have asked this.
pub fn has_asked(model: &Model, id: u64) -> bool {
    find_request(model, id).is_some()
}

/// Takes lines of a stage's log.
pub fn take_page(model: &mut Model, id: u64, answer: CallAnswer<LogPage>) {
    let (Some(index), Some(log)) = (find_request(model, id), &mut model.task_log) else {
        return;
    };
    match answer {
        Ok(page) => {
            let entries = log.take_page(index, page);
            offer(model, &entries);
        }
        Err(refusal) => {
            log.note_failure(index);
            let node = log.stages[index].node.clone();
            model.say(Tone::Bad, format!("the log of {node} cannot be read: {}", refusal.text));
        }
    }
    note_whole(model);
    if model.log_view.search.is_some() && model.log_view.at_match.is_none() {
        stage_log::go_to_nearest(model);
    }
}

/// Takes the next piece of a log that is followed. Returns `false` if it is not one of the task's.
pub fn take_chunk(model: &mut Model, id: u64, bytes: &Bytes) -> bool {
    let (Some(index), Some(log)) = (find_request(model, id), &mut model.task_log) else {
        return false;
    };
    let entries = log.take_chunk(index, bytes);
    offer(model, &entries);
    model.redraw = true;
    true
}

/// Takes the end of a log that is followed. Returns `false` if it is not one of the task's.
pub fn take_end(model: &mut Model, id: u64, error: Option<&String>) -> bool {
    let (Some(index), Some(log)) = (find_request(model, id), &mut model.task_log) else {
        return false;
    };
    log.take_end(index, error.is_some(), model.now);
    model.redraw = true;
    true
}

/// Takes over lines that the search or the filter finds.
fn offer(model: &mut Model, entries: &[LogEntry]) {
    for matches in model.log_view.matches_mut() {
        matches.offer_between(entries);
    }
}
