//! Takes in the answers of the daemon: an answer to anything but the newest question of its kind is dropped, and the
//! answers to one key press are summed up in one sentence.

use onceover_types::VideoId;
use onceover_wire::{CallbackPage, SubmitResponse, TaskView};

use super::{
    callbacks, compare, detail, edit, estimates,
    messages::{CallAnswer, Effect, Reply},
    nodes, observed, pager, pipelines, preview, register, rerun, reveal,
    sentences::{describe_deletion, describe_submit, describe_video_deletion, join_warnings, tally_notes},
    stage_log, task_log, timeline, video_actions, videos,
};
use crate::model::{Batch, Model, Note, Page, Subject, Tone, access::Access, task::summarize_view};

/// Takes an answer to a call.
pub fn take_reply(model: &mut Model, id: u64, reply: Reply, effects: &mut Vec<Effect>) {
    match reply {
        Reply::Stage(answer) if edit::has_asked_target(model, id) => edit::take_target(model, id, answer),
        Reply::Stage(answer) if nodes::has_asked_stored(model, id) => nodes::take_stored(model, answer),
        Reply::Stage(answer) => detail::take_stage(model, id, answer, effects),
        Reply::Task(answer) => take_task(model, id, answer),
        Reply::Log(answer) if compare::has_asked(model, id) => compare::take_log(model, id, answer),
        Reply::Log(answer) if task_log::has_asked(model, id) => task_log::take_page(model, id, answer),
        Reply::Log(answer) => stage_log::take_page(model, id, answer),
        Reply::Queues(answer) if observed::has_asked_queues(model, id) => observed::take_queues(model, id, answer),
        Reply::WholeLog(answer) => pager::take_log(model, id, answer, effects),
        Reply::ResultFiles(answer) => preview::take_files(model, id, answer),
        Reply::Preview(answer) => preview::take_content(model, id, answer),
        Reply::Queues(answer) => detail::take_queues(model, id, answer),
        Reply::Statistics(answer) if estimates::has_asked(model, id) => estimates::take_statistics(model, answer),
        Reply::StageRuns(answer) if compare::has_asked(model, id) => compare::take_runs(model, id, answer),
        Reply::StageRuns(answer) => timeline::take_runs(model, id, answer),
        Reply::Machine(answer) => observed::take_machine(model, id, answer),
        Reply::History(answer) => observed::take_history(model, id, answer),
        Reply::Workers(answer) => observed::take_workers(model, id, answer),
        Reply::Statistics(answer) => observed::take_statistics(model, id, answer),
        Reply::Reuse(answer) if edit::has_asked_forecast(model, id) => edit::take_forecast(model, answer),
        Reply::Reuse(answer) if rerun::has_asked(model, id) => rerun::take_forecast(model, id, answer),
        Reply::Reuse(answer) => detail::take_reuse(model, id, answer),
        Reply::Nodes(answer) => {
            nodes::take_nodes(model, id, answer);
            edit::open_wanted(model, effects);
        }
        Reply::Submitted(answer) => take_submitted(model, id, answer),
        Reply::Cancelled(answer) => take_outcome(model, id, answer.map(|response| response.message)),
        Reply::Deleted(answer) => take_outcome(model, id, answer.and_then(|report| describe_deletion(&report))),
        Reply::Videos(answer) => videos::take_videos(model, id, answer),
        Reply::Pipelines(answer) => {
            if pipelines::take_list(model, id, answer) {
                video_actions::offer_pipelines(model);
            }
        }
        Reply::Processing(answer) => pipelines::take_processing(model, id, answer, effects),
        Reply::Registered(answer) => {
            note_access(model, &answer);
            if register::take_registered(model, id, answer) {
                videos::fetch(model, effects);
            }
        }
        Reply::Started(answer) => {
            if let Ok(started) = &answer {
                // Its row is shown at once, whichever event comes first.
                pipelines::follow(model, &started.task_id, effects);
            }
            let note = answer.map(|started| format!("{} started", started.pipeline));
            take_outcome(model, id, note);
        }
        Reply::VideoDeleted(answer) => {
            let note = answer.and_then(|deletion| describe_video_deletion(&deletion));
            take_outcome(model, id, note);
            if model.page == Page::Videos {
                videos::fetch(model, effects);
            }
        }
        Reply::Callbacks(answer) => take_callbacks(model, id, answer),
        Reply::Redelivered(answer) => {
            let note = answer.map(|delivery| format!("the callback to {} is sent again", delivery.url));
            take_outcome(model, id, note);
            if model.page == Page::Callbacks {
                callbacks::fetch(model, effects);
            }
        }
    }
}

/// Notes that the token is one for reading, where the daemon has refused a change for that.
fn note_access<T>(model: &mut Model, answer: &CallAnswer<T>) {
    if answer.as_ref().is_err_and(|refusal| refusal.lacks_scope) {
        model.access = Access::ReadToken;
    }
}

/// Takes a task that was read on its own.
fn take_task(model: &mut Model, id: u64, answer: CallAnswer<Box<TaskView>>) {
    let Some(task) = model.fetching.remove(&id) else {
        return;
    };
    match answer {
        Ok(view) => {
            model.store.merge(summarize_view(&view));
            reveal::show_wanted(model);
        }
        // It is not asked for again before another event names it.
        Err(_) => model.store.note_read(&task),
    }
}

/// Takes the answer to a submit: of the form, or of an action on rows.
fn take_submitted(model: &mut Model, id: u64, answer: CallAnswer<Box<SubmitResponse>>) {
    note_access(model, &answer);
    if nodes::take_submitted(model, id, &answer) {
        return;
    }
    let note = answer.map(|response| Note {
        text: describe_submit(&response),
        warning: join_warnings(&response.warnings),
    });
    take_outcome(model, id, note);
}

/// Takes callbacks: of the stage in the detail, or of the page.
fn take_callbacks(model: &mut Model, id: u64, answer: CallAnswer<CallbackPage>) {
    if detail::has_asked_deliveries(model, id) {
        detail::take_deliveries(model, answer);
        return;
    }
    let answer = match answer {
        Ok(page) => Ok((page.items, page.next_cursor.is_none())),
        Err(refusal) => Err(refusal.text),
    };
    model.deliveries.take_answer(id, answer);
}

/// Takes what became of one subject of an action; the last one of a batch ends it with a sentence.
fn take_outcome(model: &mut Model, id: u64, answer: CallAnswer<impl Into<Note>>) {
    note_access(model, &answer);
    let Some((subject, batch_id)) = model
        .under_way
        .iter()
        .find(|(_, under_way)| under_way.request == id)
        .map(|(subject, under_way)| (subject.clone(), under_way.batch))
    else {
        return;
    };
    model.under_way.remove(&subject);
    let Some(batch) = model.batches.get_mut(&batch_id) else {
        return;
    };
    batch.done += 1;
    let is_last = batch.done >= batch.total;
    match answer.map(Into::into) {
        Ok(Note { text, warning }) => {
            batch.notes.push(text);
            if let Some(warning) = warning {
                model.warned.insert(subject.clone(), warning.clone());
                batch.warned.push((subject.clone(), warning));
            }
            model.failures.remove(&subject);
            remove_marks(model, &subject);
        }
        Err(refusal) => {
            model.failures.insert(subject.clone(), refusal.text.clone());
            batch.failed.push((subject.clone(), refusal.text));
        }
    }
    if is_last && let Some(batch) = model.batches.remove(&batch_id) {
        say_outcome(model, &subject, &batch);
    }
}

/// Removes the mark of a subject whose action succeeded.
fn remove_marks(model: &mut Model, subject: &Subject) {
    match subject {
        // A marked task includes its marked stages.
        Subject::Row(row) if row.node.is_none() => {
            model.tree.marks.retain(|mark| mark.task != row.task);
            if let Some(video) = VideoId::of_task(&row.task) {
                model.videos.marks.remove(&video);
            }
        }
        Subject::Row(row) => {
            model.tree.marks.remove(row);
        }
        Subject::Delivery(id) => {
            model.deliveries.marks.remove(id);
        }
    }
}

/// Says what became of a batch whose answers are all in; `last` is the subject of the last one.
fn say_outcome(model: &mut Model, last: &Subject, batch: &Batch) {
    let (text, tone) = match (batch.total, batch.failed.as_slice()) {
        (1, [(subject, why)]) => (format!("{subject}: {} refused: {why}", batch.verb), Tone::Bad),
        (1, _) => (describe_only(last, &batch.notes.concat()), Tone::Good),
        (total, []) => (
            format!("{} of {total}: {}", batch.verb, tally_notes(&batch.notes)),
            Tone::Good,
        ),
        (total, [(subject, why), ..]) => (
            format!(
                "{}: {} of {total} refused and still marked; {subject}: {why}",
                batch.verb,
                batch.failed.len()
            ),
            Tone::Bad,
        ),
    };
    match batch.warned.as_slice() {
        [] => model.say(tone, text),
        [(_, warning)] if batch.total == 1 => model.say(Tone::Warned, format!("{text} · {warning}")),
        [(subject, warning), ..] => {
            let tone = if tone == Tone::Bad { tone } else { Tone::Warned };
            let count = batch.warned.len();
            model.say(tone, format!("{text} · {count} with warnings, {subject}: {warning}"));
        }
    }
}

/// Says what became of the only subject of an action.
fn describe_only(subject: &Subject, note: &str) -> String {
    match subject {
        Subject::Row(row) => match &row.node {
            Some(node) => format!("{node}: {note}"),
            None => format!("{}: {note}", row.task),
        },
        Subject::Delivery(_) => note.to_owned(),
    }
}
