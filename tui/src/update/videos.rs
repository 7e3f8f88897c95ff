//! The page of videos: opening it, keeping it up to date, marks, going to a video's task.

use onceover_types::{TaskId, Timestamp, VideoId};
use onceover_wire::{VideoDeletion, VideoPage};

use super::{
    Call, CallAnswer, Effect, feed,
    keys::{refused, step},
    pipelines,
    replies::deleted,
};
use crate::model::{Link, Model, Page, Tone};

/// Changes that come together are read together.
const REST_MS: i64 = 100;

pub fn open(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.store.seq().is_none()
        && let Some(reason) = refused(model)
    {
        model.say(Tone::Bad, reason);
        return;
    }
    let of_row = model.tree.cursor.as_ref().and_then(|row| VideoId::of_task(&row.task));
    model.videos.wanted = of_row;
    model.videos.marks.clear();
    model.page = Page::Videos;
    fetch(model, effects);
    pipelines::ask_list(model, effects);
}

pub fn fetch(model: &mut Model, effects: &mut Vec<Effect>) {
    model.videos.fetch_at = None;
    if matches!(model.link, Link::Lost { .. }) {
        return;
    }
    let id = model.new_id();
    model.videos.request = Some(id);
    effects.push(Effect::Call { id, call: Call::Videos });
}

pub fn read(model: &mut Model, id: u64, answer: CallAnswer<VideoPage>) {
    if model.videos.request != Some(id) {
        return;
    }
    model.videos.request = None;
    match answer {
        Ok(page) => model.videos.take(page.items, page.next_cursor.is_none()),
        Err(refusal) => model.videos.failed = Some(refusal.text),
    }
}

/// There was word of a task's pipeline: of a video that is not in the list, it is read again.
pub fn follow(model: &mut Model, task: &TaskId) {
    if !model.videos.items.iter().any(|video| video.task_id == *task) {
        changed(model);
    }
}

/// A video came or went: what is on the screen is read again.
pub fn changed(model: &mut Model) {
    if model.page == Page::Videos && model.videos.fetch_at.is_none() {
        model.videos.fetch_at = Some(Timestamp::from_millis(model.now.as_millis() + REST_MS));
    }
}

/// The task of the video at the cursor, in the tree.
pub fn show_task(model: &mut Model) {
    let Some(task) = model.videos.at_cursor().map(|video| video.task_id.clone()) else {
        return;
    };
    if model.store.get(&task).is_none() {
        model.say(Tone::Neutral, "this video has no task yet: t starts its pipeline");
        return;
    }
    model.page = Page::Tasks;
    model.zoom = false;
    if model.tree.narrowed() {
        // A filter must not hide what is gone to.
        model.tree.filter = None;
        model.tree.quick = None;
        model.tree.changed();
    }
    model.wanted = Some(task);
    feed::show_wanted(model);
}

pub fn mark(model: &mut Model) {
    let page = &mut model.videos;
    if page.list.mark(&mut page.marks, &mut page.mark_anchor) {
        step(model, 1);
    }
}

pub fn mark_range(model: &mut Model) {
    let page = &mut model.videos;
    page.list.mark_range(&mut page.marks, page.mark_anchor.as_ref());
}

pub fn mark_all(model: &mut Model) {
    let page = &mut model.videos;
    page.list.mark_all(&mut page.marks);
}

/// What became of a delete of a video.
pub fn outcome(deletion: &VideoDeletion) -> CallAnswer<String> {
    if let Some(report) = &deletion.task {
        deleted(report)?;
    }
    let mut note = "video deleted".to_owned();
    if deletion.file_removed {
        note += ", its file too";
    }
    if deletion.task.is_some() {
        note += ", and its task";
    }
    Ok(note)
}
