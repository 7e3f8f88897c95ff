//! What is done to videos: start, force, reprocess, delete. From the page of videos and from the tasks of videos in
//! the tree; on one or many.

use std::collections::{BTreeMap, BTreeSet};

use onceover_types::{Timestamp, VideoId};
use onceover_wire::ReprocessRequest;

use super::{Call, Effect, keys::refused, pipelines, rows};
use crate::model::{
    Model, Page, PendingDelete, RowId, Subject, Tone, UNDO_MS,
    dialog::{Choice, Confirm, Dialog, OfVideo, Question, Target, Way},
};
use crate::view::figures::counted;

/// The videos an action is about, with the steps of the tree that are marked or at the cursor.
fn subjects(model: &Model) -> Vec<OfVideo> {
    if model.page == Page::Videos {
        let of = |video: &onceover_wire::Video| OfVideo {
            id: video.video_id.clone(),
            processing: model.processing_of(video).cloned(),
            chosen: BTreeSet::new(),
            file: Some((video.source, video.path.clone())),
        };
        return model.videos.subjects().into_iter().map(of).collect();
    }
    // A task's row stands for all of its steps.
    let mut chosen: BTreeMap<VideoId, Option<BTreeSet<String>>> = BTreeMap::new();
    for row in model.subjects() {
        let Some(task) = model.store.get(&row.task) else {
            continue;
        };
        let (Some(video), Some(pipeline)) = (VideoId::of_task(&task.id), &task.pipeline) else {
            continue;
        };
        match &row.node {
            None => {
                chosen.insert(video, None);
            }
            Some(node) => {
                let steps = chosen.entry(video).or_insert_with(|| Some(BTreeSet::new()));
                if let (Some(steps), Some(step)) = (steps, pipeline.step(node)) {
                    steps.insert(step.name.clone());
                }
            }
        }
    }
    let of = |(id, steps): (VideoId, Option<BTreeSet<String>>)| {
        let known = model.videos.get(&id);
        let task = model.store.get(&id.task());
        OfVideo {
            processing: task
                .and_then(|task| task.pipeline.as_ref())
                .map(|pipeline| pipeline.processing.clone()),
            file: known.map(|video| (video.source, video.path.clone())),
            chosen: steps.unwrap_or_default(),
            id,
        }
    };
    chosen.into_iter().map(of).collect()
}

/// Whether an action on videos is about anything.
pub fn on_video(model: &Model) -> bool {
    if model.page == Page::Videos {
        return model.videos.at_cursor().is_some();
    }
    let of_video = |row: &RowId| model.store.get(&row.task).is_some_and(|task| task.pipeline.is_some());
    if model.tree.marks.is_empty() {
        model.tree.cursor.as_ref().is_some_and(of_video)
    } else {
        model.tree.marks.iter().any(of_video)
    }
}

/// As targets of a question; none of those that are being acted on already.
fn targets(model: &Model, videos: Vec<OfVideo>) -> Vec<Target> {
    let of = |video: OfVideo| {
        let row = RowId::task(&video.id.task().into());
        let known = rows::target(model, row.clone());
        let bare = Target {
            row,
            stages: 0,
            pending: 0,
            running: 0,
            delivery: None,
            video: None,
        };
        Target {
            video: Some(Box::new(video)),
            ..known.unwrap_or(bare)
        }
    };
    let busy = |target: &Target| {
        let going = model.deletes.iter().flat_map(|delete| &delete.targets);
        model.under_way.contains_key(&Subject::Row(target.row.clone()))
            || going.into_iter().any(|other| other.row.task == target.row.task)
    };
    videos.into_iter().map(of).filter(|target| !busy(target)).collect()
}

/// None, and why, where there is nothing to act on.
fn askable(model: &mut Model) -> Option<Vec<Target>> {
    let videos = subjects(model);
    if videos.is_empty() {
        let text = match model.page {
            Page::Videos if !model.videos.read => "the videos are still being read",
            Page::Videos => "no video here: a registers one",
            _ => "this is no task of a video; v lists the videos",
        };
        model.say(Tone::Neutral, text);
        return None;
    }
    let targets = targets(model, videos);
    if targets.is_empty() {
        model.say(Tone::Neutral, "it is being acted on already");
        return None;
    }
    Some(targets)
}

pub fn ask_start(model: &mut Model, force: bool, effects: &mut Vec<Effect>) {
    let Some(targets) = askable(model) else {
        return;
    };
    let only = model
        .pipelines
        .list
        .as_ref()
        .is_some_and(|list| list.pipelines.len() == 1);
    if only && targets.len() == 1 && !force {
        start(model, targets, None, force, effects);
        return;
    }
    let mut confirm = Confirm::new(Question::Start { force }, targets);
    confirm.choice = Some(Choice {
        label: "pipeline",
        options: vec![Way {
            name: String::new(),
            about: "the daemon's default".into(),
        }],
        at: 0,
    });
    model.dialog = Some(Dialog::Confirm(confirm));
    offer_pipelines(model);
    pipelines::ask_list(model, effects);
}

/// Puts the daemon's pipelines into the question that is open. What was chosen stays; at first it is the pipeline that
/// a single video was processed with before, else the default.
pub fn offer_pipelines(model: &mut Model) {
    let (Some(list), Some(Dialog::Confirm(confirm))) = (&model.pipelines.list, &mut model.dialog) else {
        return;
    };
    let (Question::Start { .. }, Some(choice)) = (confirm.question, &mut confirm.choice) else {
        return;
    };
    if list.pipelines.is_empty() {
        return;
    }
    let before = match confirm.targets.as_slice() {
        [only] => only.video.as_ref().and_then(|video| video.processing.as_ref()),
        _ => None,
    };
    let wanted = [
        choice.chosen().map(|way| way.name.as_str()),
        before.map(|processing| processing.pipeline.as_str()),
        Some(list.default.as_str()),
    ];
    let place = |name: &str| list.pipelines.iter().position(|pipeline| pipeline.name == name);
    let at = wanted.into_iter().flatten().find_map(place).unwrap_or(0);
    let way = |pipeline: &onceover_wire::PipelineInfo| {
        let mut about = counted(pipeline.steps.len(), "step");
        if !pipeline.title.is_empty() {
            about = format!("{}, {about}", pipeline.title);
        }
        if pipeline.name == list.default {
            about += ", the default";
        }
        let lacking = pipeline
            .steps
            .iter()
            .filter(|step| !step.optional && !step.missing.is_empty());
        let lacking: Vec<_> = lacking.map(|step| step.name.as_str()).collect();
        if !lacking.is_empty() {
            about += &format!("; cannot run here: {}", lacking.join(", "));
        }
        Way {
            name: pipeline.name.clone(),
            about,
        }
    };
    choice.options = list.pipelines.iter().map(way).collect();
    choice.at = at;
    model.redraw = true;
}

pub fn ask_reprocess(model: &mut Model) {
    let Some(targets) = askable(model) else {
        return;
    };
    let (done, never): (Vec<_>, Vec<_>) = targets.into_iter().partition(|target| {
        target
            .video
            .as_ref()
            .is_some_and(|video| !video.steps_to_run().is_empty())
    });
    if done.is_empty() {
        let many = if never.len() > 1 { "these were" } else { "it was" };
        model.say(Tone::Neutral, format!("{many} never processed: t starts a pipeline"));
        return;
    }
    // The row at the cursor is no step of the pipeline.
    let stray = model.page == Page::Tasks
        && model.tree.marks.is_empty()
        && model.tree.cursor.as_ref().is_some_and(|row| {
            let task = model.store.get(&row.task);
            row.node
                .as_ref()
                .is_some_and(|node| task.is_none_or(|task| task.step(node).is_none()))
        });
    if stray {
        model.say(Tone::Neutral, "this stage is no step of the pipeline: R runs it again");
        return;
    }
    model.dialog = Some(Dialog::Confirm(Confirm::new(Question::Reprocess, done)));
}

pub fn ask_delete(model: &mut Model) {
    let Some(targets) = askable(model) else {
        return;
    };
    let stages: usize = targets.iter().map(|target| target.stages).sum();
    let tasks = match targets.as_slice() {
        [only] => format!("task {}", only.row.task),
        many => counted(many.len(), "task"),
    };
    let mut confirm = Confirm::new(Question::DeleteVideo, targets);
    let way = |name: &str, about: String| Way {
        name: name.into(),
        about,
    };
    confirm.choice = Some(Choice {
        label: "results",
        options: vec![
            way(
                "keep",
                format!("the data of {tasks} ({}) stays", counted(stages, "stage")),
            ),
            way(
                "delete too",
                format!("{tasks} ({}): records, files, logs", counted(stages, "stage")),
            ),
        ],
        at: 0,
    });
    model.dialog = Some(Dialog::Confirm(confirm));
}

/// The answer to one of these questions was yes.
pub fn confirmed(model: &mut Model, confirm: Confirm, effects: &mut Vec<Effect>) {
    let way = confirm.choice.as_ref().and_then(Choice::chosen).cloned();
    match confirm.question {
        Question::Start { force } => {
            let pipeline = way.map(|way| way.name).filter(|name| !name.is_empty());
            start(model, confirm.targets, pipeline, force, effects);
        }
        Question::Reprocess => reprocess(model, confirm.targets, effects),
        _ => {
            let due = Timestamp::from_millis(model.now.as_millis() + UNDO_MS);
            model.quit_asked = false;
            model.toast = None;
            model.deletes.push(PendingDelete {
                targets: confirm.targets,
                videos: Some(confirm.choice.is_some_and(|choice| choice.at == 1)),
                due,
            });
        }
    }
}

fn start(model: &mut Model, targets: Vec<Target>, pipeline: Option<String>, force: bool, effects: &mut Vec<Effect>) {
    if let Some(reason) = refused(model) {
        model.say(Tone::Bad, reason);
        return;
    }
    let call = |video: OfVideo| Call::RunVideo {
        video: video.id,
        pipeline: pipeline.clone(),
        force,
    };
    let verb = if force { "restart" } else { "start" };
    rows::send(model, verb, calls(targets, call), effects);
}

fn reprocess(model: &mut Model, targets: Vec<Target>, effects: &mut Vec<Effect>) {
    let call = |video: OfVideo| Call::Reprocess {
        request: ReprocessRequest {
            steps: video.chosen.iter().cloned().collect(),
            pipeline: video.processing.as_ref().map(|processing| processing.pipeline.clone()),
            // The question said what is ended.
            force: video.in_flight(),
        },
        video: video.id,
    };
    rows::send(model, "reprocess", calls(targets, call), effects);
}

fn calls(targets: Vec<Target>, call: impl Fn(OfVideo) -> Call) -> Vec<(Subject, Call)> {
    let of = |target: Target| Some((Subject::Row(target.row), call(*target.video?)));
    targets.into_iter().filter_map(of).collect()
}
