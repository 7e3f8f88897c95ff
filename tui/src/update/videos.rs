//! The page of videos: opens it, keeps it up to date, marks videos and goes to the task of one.

use std::sync::Arc;

use onceover_types::{TaskId, Timestamp, VideoId};
use onceover_wire::VideoPage;

use super::{
    cursor,
    messages::{Call, CallAnswer, Effect},
    pipelines, requests, reveal,
};
use crate::{
    actions::{Action, format_hint},
    model::{Link, Model, Page, RowId, Tone},
};

/// Changes that come together are read together.
const REST_MS: i64 = 100;

/// Opens the page, with the cursor on the video of the task at the tree's cursor.
pub fn open_page(model: &mut Model, effects: &mut Vec<Effect>) {
    if requests::refuse_page(model) {
        return;
    }
    let of_row = model.tree.cursor.as_ref().and_then(|row| VideoId::of_task(&row.task));
    model.videos.wanted = of_row;
    model.videos.marks.clear();
    model.page = Page::Videos;
    fetch(model, effects);
    pipelines::ask_list(model, effects);
}

/// Reads what the page shows.
pub fn fetch(model: &mut Model, effects: &mut Vec<Effect>) {
    model.videos.fetch_at = None;
    if matches!(model.link, Link::Lost { .. }) {
        return;
    }
    let id = model.new_id();
    model.videos.request = Some(id);
    effects.push(Effect::Call { id, call: Call::Videos });
}

/// Takes the videos that were read.
pub fn take_videos(model: &mut Model, id: u64, answer: CallAnswer<VideoPage>) {
    if model.videos.request != Some(id) {
        return;
    }
    model.videos.request = None;
    match answer {
        Ok(page) => model.videos.set_videos(page.items, page.next_cursor.is_none()),
        Err(refusal) => model.videos.failed = Some(refusal.text),
    }
}

/// Reads the list again soon after an event about the pipeline of a video that is not in it.
pub fn follow_task(model: &mut Model, task: &TaskId) {
    if !model.videos.items.iter().any(|video| video.task_id == *task) {
        fetch_soon(model);
    }
}

/// Reads the page again soon, if it is open.
pub fn fetch_soon(model: &mut Model) {
    if model.page == Page::Videos && model.videos.fetch_at.is_none() {
        model.videos.fetch_at = Some(Timestamp::from_millis(model.now.as_millis() + REST_MS));
    }
}

/// Goes to the task of the video at the cursor, in the tree.
pub fn show_task(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(task) = model.videos.at_cursor().map(|video| video.task_id.clone()) else {
        return;
    };
    if model.store.get(&task).is_none() {
        let write = |key: &str| format!(": {key} starts its pipeline");
        let hint = format_hint(Action::Rerun, model.page, &model.bindings, write);
        model.say(Tone::Neutral, format!("this video has no task yet{hint}"));
        return;
    }
    reveal::go_to_row(model, &RowId::task(&Arc::new(task)), effects);
}

/// Marks the video at the cursor, or removes its mark.
pub fn mark(model: &mut Model) {
    let page = &mut model.videos;
    if page.list.mark(&mut page.marks, &mut page.mark_anchor) {
        cursor::move_cursor(model, 1);
    }
}

/// Marks every video from the last mark to the cursor.
pub fn mark_range(model: &mut Model) {
    let page = &mut model.videos;
    page.list.mark_range(&mut page.marks, page.mark_anchor.as_ref());
}

/// Marks every video, or removes all marks.
pub fn mark_all(model: &mut Model) {
    let page = &mut model.videos;
    page.list.mark_all(&mut page.marks);
}
