//! Keeps pipelines up to date: an event moves the bar at once, and what the event does not contain is read, one read at
//! a time for each video. Nothing is polled.

use onceover_types::{TaskId, VideoId};
use onceover_wire::{PipelineList, Processing};

use super::{
    messages::{Call, CallAnswer, Effect},
    reveal,
};
use crate::model::{Model, pipeline::ProcessingRead};

/// Reads the pipeline of a task, if an event has shown that more of it is known to the daemon.
pub fn follow(model: &mut Model, task: &TaskId, effects: &mut Vec<Effect>) {
    if model.store.is_behind(task)
        && let Some(video) = VideoId::of_task(task)
    {
        read(model, video, effects);
    }
}

/// Reads how far the video's pipeline is, as soon as the budget allows; if that is being read, reads it once more
/// afterwards.
pub fn read(model: &mut Model, video: VideoId, effects: &mut Vec<Effect>) {
    model.pipelines.failed.remove(&video);
    if let Some(read) = model.pipelines.reads.get_mut(&video) {
        read.again = true;
        return;
    }
    if !model.budget.take(model.now) {
        model.pipelines.waiting.insert(video);
        return;
    }
    model.pipelines.waiting.remove(&video);
    let request = model.new_id();
    model
        .pipelines
        .reads
        .insert(video.clone(), ProcessingRead { request, again: false });
    effects.push(Effect::Call {
        id: request,
        call: Call::Processing { video },
    });
}

/// Takes the processing that was read, and reads it again if it is behind.
pub fn take_processing(model: &mut Model, id: u64, answer: CallAnswer<Box<Processing>>, effects: &mut Vec<Effect>) {
    let reads = &model.pipelines.reads;
    let Some(video) = reads
        .iter()
        .find(|(_, read)| read.request == id)
        .map(|(video, _)| video.clone())
    else {
        return;
    };
    let again = model.pipelines.reads.remove(&video).is_some_and(|read| read.again);
    match answer {
        Ok(processing) => {
            let task = processing.task_id.clone();
            let known = model.store.present(&task).is_some();
            model.store.take_processing(*processing);
            if !known {
                reveal::expand_new_task(model, &task);
                reveal::show_wanted(model);
            }
        }
        Err(refusal) if refusal.status == Some(404) => model.store.drop_pipeline(&video),
        Err(_) => {
            model.pipelines.failed.insert(video.clone());
        }
    }
    if again && model.store.is_behind(&video.task()) {
        read(model, video, effects);
    }
}

/// Reads the pipelines that had to wait, as many as may be read now.
pub fn read_waiting(model: &mut Model, effects: &mut Vec<Effect>) {
    while model.is_live() && model.budget.next_at(model.now) <= model.now {
        let Some(video) = model.pipelines.waiting.pop_first() else {
            return;
        };
        read(model, video, effects);
    }
}

/// Reads again the pipelines that could not be read.
pub fn retry(model: &mut Model, effects: &mut Vec<Effect>) {
    for video in std::mem::take(&mut model.pipelines.failed) {
        read(model, video, effects);
    }
}

/// Asks the daemon for its list of pipelines.
pub fn ask_list(model: &mut Model, effects: &mut Vec<Effect>) {
    let id = model.new_id();
    model.pipelines.list_request = Some(id);
    effects.push(Effect::Call {
        id,
        call: Call::Pipelines,
    });
}

/// Takes the list of pipelines. Returns whether there is a new one; where it cannot be read, the daemon chooses.
pub fn take_list(model: &mut Model, id: u64, answer: CallAnswer<PipelineList>) -> bool {
    if model.pipelines.list_request != Some(id) {
        return false;
    }
    model.pipelines.list_request = None;
    let Ok(list) = answer else {
        return false;
    };
    model.pipelines.list = Some(list);
    true
}
