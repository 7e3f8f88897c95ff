//! Pipelines kept up to date: an event moves the bar at once, and what it does not tell is read, one read at a time
//! for each video. Nothing is polled.

use onceover_types::{TaskId, VideoId};
use onceover_wire::{PipelineList, Processing};

use super::{Call, CallAnswer, Effect, feed, video_actions};
use crate::model::{Model, pipeline::Read};

/// There was word of a task's pipeline.
pub fn follow(model: &mut Model, task: &TaskId, effects: &mut Vec<Effect>) {
    if model.store.is_behind(task)
        && let Some(video) = VideoId::of_task(task)
    {
        read(model, video, effects);
    }
}

/// Reads how far the video's pipeline is, if that is not being read; then once more.
pub fn read(model: &mut Model, video: VideoId, effects: &mut Vec<Effect>) {
    model.pipelines.failed.remove(&video);
    if let Some(read) = model.pipelines.reads.get_mut(&video) {
        read.again = true;
        return;
    }
    let request = model.new_id();
    model
        .pipelines
        .reads
        .insert(video.clone(), Read { request, again: false });
    effects.push(Effect::Call {
        id: request,
        call: Call::Processing { video },
    });
}

pub fn answered(model: &mut Model, id: u64, answer: CallAnswer<Box<Processing>>, effects: &mut Vec<Effect>) {
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
            let known = model.store.get(&task).is_some();
            model.store.take_processing(*processing);
            if !known {
                feed::expand_new(model, &task);
                feed::show_wanted(model);
            }
        }
        Err(refusal) if refusal.status == Some(404) => model.store.drop_pipeline(&video),
        Err(_) => {
            model.pipelines.failed.insert(video.clone());
        }
    }
    if again && (model.store.is_behind(&video.task())) {
        read(model, video, effects);
    }
}

/// Reads again what could not be read.
pub fn retry(model: &mut Model, effects: &mut Vec<Effect>) {
    for video in std::mem::take(&mut model.pipelines.failed) {
        read(model, video, effects);
    }
}

/// Asks the daemon what pipelines there are.
pub fn ask_list(model: &mut Model, effects: &mut Vec<Effect>) {
    let id = model.new_id();
    model.pipelines.list_request = Some(id);
    effects.push(Effect::Call {
        id,
        call: Call::Pipelines,
    });
}

pub fn list_read(model: &mut Model, id: u64, answer: CallAnswer<PipelineList>) {
    if model.pipelines.list_request != Some(id) {
        return;
    }
    model.pipelines.list_request = None;
    // Where it cannot be read, the daemon chooses.
    if let Ok(list) = answer {
        model.pipelines.list = Some(list);
        video_actions::offer_pipelines(model);
    }
}
