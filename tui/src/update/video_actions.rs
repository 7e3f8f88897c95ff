//! Actions on videos: start, restart, reprocess, delete. They are about videos of their page, or about tasks of videos
//! in the tree; one or many.

use std::collections::{BTreeMap, BTreeSet};

use onceover_types::VideoId;
use onceover_wire::ReprocessRequest;

use super::{
    messages::{Call, Effect},
    pipelines, requests,
};
use crate::{
    actions::{Action, format_hint},
    figures::count_noun,
    model::{
        Model, Page, RowId, Subject, Tone,
        dialog::{Choice, Confirm, Dialog, OfVideo, Question, Target, Way},
    },
};

/// Lists the videos that an action is about, with the steps of the tree that are marked or at the cursor.
fn list_subjects(model: &Model) -> Vec<OfVideo> {
    if model.page == Page::Videos {
        let subject = |video: &onceover_wire::Video| OfVideo {
            id: video.video_id.clone(),
            processing: model.processing_of(video).cloned(),
            chosen: BTreeSet::new(),
            file: Some((video.source, video.path.clone())),
        };
        return model.videos.subjects().into_iter().map(subject).collect();
    }
    // A task's row stands for all its steps.
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
    let subject = |(id, steps): (VideoId, Option<BTreeSet<String>>)| {
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
    chosen.into_iter().map(subject).collect()
}

/// Makes targets of a question; leaves out videos with a request in flight.
fn make_targets(model: &Model, videos: Vec<OfVideo>) -> Vec<Target> {
    let target = |video: OfVideo| {
        let row = RowId::task(&video.id.task().into());
        let known = Target::for_row(&model.store, row.clone());
        Target {
            video: Some(Box::new(video)),
            ..known.unwrap_or_else(|| Target::without_stages(row))
        }
    };
    let is_busy = |target: &Target| {
        let deleted = model.deletes.iter().flat_map(|delete| &delete.targets);
        model.under_way.contains_key(&Subject::Row(target.row.clone()))
            || deleted.into_iter().any(|other| other.row.task == target.row.task)
    };
    videos
        .into_iter()
        .map(target)
        .filter(|target| !is_busy(target))
        .collect()
}

/// Lists the videos that an action is about now; those with a request in flight are left out.
pub fn list_targets(model: &Model) -> Vec<Target> {
    make_targets(model, list_subjects(model))
}

/// Returns the targets to ask about; `None` if there are none, and then says why.
pub fn find_targets(model: &mut Model) -> Option<Vec<Target>> {
    let videos = list_subjects(model);
    if videos.is_empty() {
        let (page, bindings) = (model.page, &model.bindings);
        let text = match page {
            Page::Videos if !model.videos.read => "the videos are still being read".to_owned(),
            Page::Videos => {
                let write = |key: &str| format!(": {key} registers one");
                format!("no video here{}", format_hint(Action::Register, page, bindings, write))
            }
            _ => {
                let write = |key: &str| format!("; {key} lists the videos");
                let hint = format_hint(Action::Videos, page, bindings, write);
                format!("this is no task of a video{hint}")
            }
        };
        model.say(Tone::Neutral, text);
        return None;
    }
    let targets = make_targets(model, videos);
    if targets.is_empty() {
        model.say(Tone::Neutral, "it is being acted on already");
        return None;
    }
    Some(targets)
}

/// Starts the only pipeline there is for one video at once; asks which one otherwise.
pub fn ask_start(model: &mut Model, targets: Vec<Target>, force: bool, effects: &mut Vec<Effect>) {
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

/// Puts the daemon's pipelines into the question that is open. The choice stays; at first it is the pipeline that a
/// single video was processed with last, else the default.
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
    let position = |name: &str| list.pipelines.iter().position(|pipeline| pipeline.name == name);
    let at = wanted.into_iter().flatten().find_map(position).unwrap_or(0);
    let way = |pipeline: &onceover_wire::PipelineInfo| {
        let mut about = count_noun(pipeline.steps.len(), "step");
        if !pipeline.title.is_empty() {
            about = format!("{}, {about}", pipeline.title);
        }
        if pipeline.name == list.default {
            about += ", the default";
        }
        let blocked = pipeline
            .steps
            .iter()
            .filter(|step| !step.optional && !step.missing.is_empty());
        let blocked: Vec<_> = blocked.map(|step| step.name.as_str()).collect();
        if !blocked.is_empty() {
            about += &format!("; cannot run here: {}", blocked.join(", "));
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

/// Asks before videos are deleted, and whether the data of their tasks is deleted with them.
pub fn ask_delete(model: &mut Model) {
    let Some(targets) = find_targets(model) else {
        return;
    };
    let stages: usize = targets.iter().map(|target| target.stages).sum();
    let tasks = match targets.as_slice() {
        [only] => format!("task {}", only.row.task),
        many => count_noun(many.len(), "task"),
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
                format!("the data of {tasks} ({}) stays", count_noun(stages, "stage")),
            ),
            way(
                "delete too",
                format!("{tasks} ({}): records, files, logs", count_noun(stages, "stage")),
            ),
        ],
        at: 0,
    });
    model.dialog = Some(Dialog::Confirm(confirm));
}

/// Does what one of these questions asked for.
pub fn carry_out(model: &mut Model, confirm: Confirm, effects: &mut Vec<Effect>) {
    let way = confirm.choice.as_ref().and_then(Choice::chosen).cloned();
    match confirm.question {
        Question::Start { force } => {
            let pipeline = way.map(|way| way.name).filter(|name| !name.is_empty());
            start(model, confirm.targets, pipeline, force, effects);
        }
        Question::Reprocess => reprocess(model, confirm.targets, effects),
        _ => {
            let videos = confirm.choice.is_some_and(|choice| choice.at == 1);
            model.delete_later(confirm.targets, Some(videos));
        }
    }
}

/// Starts a pipeline of each video.
fn start(model: &mut Model, targets: Vec<Target>, pipeline: Option<String>, force: bool, effects: &mut Vec<Effect>) {
    if requests::refuse_change(model) {
        return;
    }
    let call = |video: OfVideo| Call::RunVideo {
        video: video.id,
        pipeline: pipeline.clone(),
        force,
    };
    let verb = if force { "restart" } else { "start" };
    requests::send_batch(model, verb, make_calls(targets, call), effects);
}

/// Runs the chosen steps of each video again.
fn reprocess(model: &mut Model, targets: Vec<Target>, effects: &mut Vec<Effect>) {
    let call = |video: OfVideo| Call::Reprocess {
        request: ReprocessRequest {
            steps: video.chosen.iter().cloned().collect(),
            pipeline: video.processing.as_ref().map(|processing| processing.pipeline.clone()),
            // The question has named what is ended.
            force: video.in_flight(),
        },
        video: video.id,
    };
    requests::send_batch(model, "reprocess", make_calls(targets, call), effects);
}

/// Makes a call for each video.
fn make_calls(targets: Vec<Target>, call: impl Fn(OfVideo) -> Call) -> Vec<(Subject, Call)> {
    let call_of = |target: Target| Some((Subject::Row(target.row), call(*target.video?)));
    targets.into_iter().filter_map(call_of).collect()
}
