//! Answers of the daemon to what was asked: an answer to anything but the newest question of its kind is
//! dropped, and the answers to one key press are summed up in one sentence.

use onceover_types::VideoId;
use onceover_wire::{CallbackPage, DeleteReport, SubmitResponse, TaskItem, TaskView, Warning};

use super::{CallAnswer, Effect, Refusal, Reply, callbacks, nodes, pipelines, register, videos};
use crate::model::{Model, Note, Page, Subject, Tone, detail::StageText, log::LogState};

pub fn reply(model: &mut Model, id: u64, reply: Reply, effects: &mut Vec<Effect>) {
    match reply {
        Reply::Stage(answer) => stage(model, id, answer),
        Reply::Task(answer) => {
            if model.fetching.remove(&id).is_some()
                && let Ok(view) = answer
            {
                model.store.merge(item_of(&view));
                super::feed::show_wanted(model);
            }
        }
        Reply::Log(answer) if model.detail.log_request == Some(id) => {
            model.detail.log_request = None;
            match answer {
                Ok(bytes) => {
                    model.detail.log.clear();
                    model.detail.log.push(&bytes);
                    model.detail.log.state = LogState::Ended;
                }
                Err(refusal) => model.detail.log.state = LogState::Failed(refusal.text),
            }
        }
        Reply::Log(_) => {}
        Reply::Queues(answer) => {
            if model.detail.queues_request == Some(id)
                && let Ok(queues) = answer
            {
                model.detail.queues = Some(queues);
            }
        }
        Reply::Nodes(answer) => nodes::read(model, id, answer),
        Reply::Submitted(answer) if nodes::submitted(model, id, &answer) => {}
        Reply::Submitted(answer) => {
            let note = answer.map(|response| Note {
                text: outcome(&response),
                warning: warning(&response.warnings),
            });
            settle_action(model, id, note);
        }
        Reply::Cancelled(answer) => {
            let note = answer.map(|response| response.message);
            settle_action(model, id, note);
        }
        Reply::Deleted(answer) => {
            let note = answer.and_then(|report| deleted(&report));
            settle_action(model, id, note);
        }
        Reply::Reuse(answer) => {
            if model.detail.reuse_request == Some(id) {
                model.detail.reuse_request = None;
                model.detail.reuse = Some(answer.map_err(|refusal| refusal.text));
            }
        }
        Reply::Videos(answer) => videos::read(model, id, answer),
        Reply::Pipelines(answer) => pipelines::list_read(model, id, answer),
        Reply::Processing(answer) => pipelines::answered(model, id, answer, effects),
        Reply::Registered(answer) => register::answered(model, id, answer, effects),
        Reply::Started(answer) => {
            if let Ok(started) = &answer {
                // Its row is there at once, whatever is heard of it first.
                pipelines::follow(model, &started.task_id, effects);
            }
            let note = answer.map(|started| format!("{} started", started.pipeline));
            settle_action(model, id, note);
        }
        Reply::VideoDeleted(answer) => {
            let note = answer.and_then(|deletion| videos::outcome(&deletion));
            settle_action(model, id, note);
            if model.page == Page::Videos {
                videos::fetch(model, effects);
            }
        }
        Reply::Callbacks(answer) => deliveries(model, id, answer),
        Reply::Redelivered(answer) => {
            let note = answer.map(|delivery| format!("callback to {} goes out again", delivery.url));
            settle_action(model, id, note);
            if model.page == Page::Callbacks {
                callbacks::fetch(model, effects);
            }
        }
    }
}

/// What became of a delete of a task.
pub fn deleted(report: &DeleteReport) -> CallAnswer<String> {
    if report.status == "success" {
        return Ok("deleted".to_owned());
    }
    let failed: Vec<_> = report
        .results
        .iter()
        .filter(|resource| resource.status == "failed")
        .map(|resource| format!("{}: {}", resource.resource, resource.message))
        .collect();
    Err(Refusal {
        status: Some(200),
        text: format!("{}: {}", report.status, failed.join("; ")),
        ..Refusal::default()
    })
}

fn deliveries(model: &mut Model, id: u64, answer: CallAnswer<CallbackPage>) {
    if model.detail.deliveries_request == Some(id) {
        model.detail.deliveries_request = None;
        if let (Ok(page), Some((_, node))) = (answer, &model.detail.stage) {
            let mine = page.items.into_iter().filter(|item| item.task_name == **node);
            model.detail.deliveries = mine.collect();
        }
        return;
    }
    let answer = match answer {
        Ok(page) => Ok((page.items, page.next_cursor.is_none())),
        Err(refusal) => Err(refusal.text),
    };
    model.deliveries.answered(id, answer);
}

/// What became of a submit, in a few words.
pub fn outcome(response: &SubmitResponse) -> String {
    let info = &response.reuse_info;
    if info.reuse_hit && info.state.is_some() {
        return "joined the run in flight".into();
    }
    if info.reuse_hit {
        let changed = match info.input_changed {
            Some(Some(true)) => ", though its input differs",
            Some(None) => ", whether its input is the same is not known",
            _ => "",
        };
        let warnings = match info.warnings {
            0 => String::new(),
            count => format!(", {}", crate::view::warned::counted(count, info.warnings_retryable)),
        };
        return match info.saved_seconds {
            Some(saved) => format!("reused{changed}, {} saved{warnings}", crate::view::figures::long(saved)),
            None => format!("reused{changed}{warnings}"),
        };
    }
    let why = crate::view::detail::why(info.reason.as_deref()).unwrap_or("it has to run");
    format!("queued: {why}")
}

fn stage(model: &mut Model, id: u64, answer: CallAnswer<Box<TaskView>>) {
    if model.detail.request != Some(id) {
        return;
    }
    model.detail.request = None;
    match answer {
        Ok(view) => {
            let stage = model
                .detail
                .stage
                .as_ref()
                .and_then(|(_, node)| view.stages.get(&**node));
            model.detail.text = stage.map(|stage| StageText::of(stage, &view.shared_storage_path));
            model.detail.failed = None;
        }
        Err(refusal) => model.detail.failed = Some(refusal.text),
    }
}

/// One answer of a batch is in; the last one ends it with a sentence.
fn settle_action(model: &mut Model, id: u64, answer: CallAnswer<impl Into<Note>>) {
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
    match answer.map(Into::into) {
        Ok(Note { text, warning }) => {
            model.failures.remove(&subject);
            match &subject {
                // A task takes its own marked stages in.
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
            batch.notes.push(text);
            if let Some(warning) = warning {
                model.warned.insert(subject.clone(), warning.clone());
                batch.warned.push((subject.clone(), warning));
            }
        }
        Err(refusal) => {
            model.failures.insert(subject.clone(), refusal.text.clone());
            batch.failed.push((subject.clone(), refusal.text));
        }
    }
    if batch.done < batch.total {
        return;
    }
    let Some(batch) = model.batches.remove(&batch_id) else {
        return;
    };
    let (text, tone) = match (batch.total, batch.failed.as_slice()) {
        (1, [(subject, why)]) => (format!("{subject}: {} refused: {why}", batch.verb), Tone::Bad),
        (1, _) => (alone(&subject, &batch.notes.concat()), Tone::Good),
        (total, []) => (
            format!("{} of {total}: {}", batch.verb, tally(&batch.notes)),
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

/// The warnings of an answer in one sentence: the first, and how many there are beside it.
pub fn warning(warnings: &[Warning]) -> Option<String> {
    let (first, rest) = warnings.split_first()?;
    Some(match rest.len() {
        0 => first.to_string(),
        more => format!("{first} (and {more} more)"),
    })
}

/// What became of the only subject of an action.
fn alone(subject: &Subject, note: &str) -> String {
    match subject {
        Subject::Row(row) => match &row.node {
            Some(node) => format!("{node}: {note}"),
            None => format!("{}: {note}", row.task),
        },
        Subject::Delivery(_) => note.to_owned(),
    }
}

/// `reused 3, queued: ... 1`.
fn tally(notes: &[String]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for note in notes {
        let short = note.split([',', ':']).next().unwrap_or(note);
        match counts.iter_mut().find(|(text, _)| *text == short) {
            Some((_, count)) => *count += 1,
            None => counts.push((short, 1)),
        }
    }
    let parts: Vec<_> = counts.iter().map(|(text, count)| format!("{count} {text}")).collect();
    parts.join(", ")
}

pub fn log_chunk(model: &mut Model, id: u64, bytes: &[u8]) {
    if model.detail.log_request == Some(id) {
        model.detail.log.push(bytes);
        model.redraw = true;
    }
}

pub fn log_end(model: &mut Model, id: u64, error: Option<String>) {
    if model.detail.log_request == Some(id) {
        model.detail.log_request = None;
        model.detail.log.state = error.map_or(LogState::Ended, LogState::Failed);
        model.redraw = true;
    }
}

/// The view in short, as lists carry it.
pub fn item_of(view: &TaskView) -> TaskItem {
    TaskItem {
        task_id: view.task_id.clone(),
        status: view.status,
        created_at: view.created_at,
        updated_at: view.updated_at,
        task_name: view.task_name.clone(),
        callback_status: view.callback_status,
        disk_bytes: view.disk_bytes,
        stages: view
            .stages
            .iter()
            .map(|(node, stage)| (node.clone(), stage.summary()))
            .collect(),
        pipeline: None,
        damaged: None,
    }
}
