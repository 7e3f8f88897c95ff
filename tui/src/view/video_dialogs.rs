//! The text of questions about videos: what is started, what is ended for it, what runs again, what is removed.

use onceover_wire::{StepStatus, VideoSource};

use super::pipeline;
use crate::{
    figures,
    model::{
        Model,
        dialog::{Choice, Confirm, OfVideo, Question, Target},
    },
};

/// Says what is asked.
pub fn describe_question(question: Question, count: usize) -> String {
    let videos = figures::count_noun(count, "video");
    match question {
        Question::Start { force: false } => format!("Start a pipeline of {videos}?"),
        Question::Start { force: true } => format!("Restart {videos}?"),
        Question::Reprocess => format!("Reprocess {videos}?"),
        _ => format!("Delete {videos}?"),
    }
}

/// Says what happens to one target, in sentences.
pub fn describe_target(question: Question, target: &Target) -> Vec<String> {
    let Some(video) = &target.video else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    match question {
        Question::Start { force: false } => lines.push(describe_last(video)),
        Question::Start { force: true } => lines.extend(describe_end(video)),
        Question::Reprocess => {
            let again = video.steps_to_run();
            lines.push(format!("again: {}", again.join(", ")));
            if let Some(processing) = &video.processing {
                let kept = processing.tasks.iter().map(|step| step.name.as_str());
                let kept: Vec<_> = kept.filter(|name| again.iter().all(|other| other != name)).collect();
                if !kept.is_empty() {
                    lines.push(format!("kept: {}", kept.join(", ")));
                }
            }
            lines.extend(describe_end(video));
        }
        _ => {
            lines.extend(describe_end(video));
            if let Some((source, path)) = &video.file {
                lines.push(match source {
                    VideoSource::Path => format!("the file stays: {path}"),
                    VideoSource::Url | VideoSource::Upload => format!("the file is removed: {path}"),
                });
            }
        }
    }
    lines
}

/// Says how a video was processed last.
fn describe_last(video: &OfVideo) -> String {
    match &video.processing {
        None => "never processed".into(),
        Some(processing) if video.in_flight() => {
            format!(
                "under way: {} {}; it will be refused (restart ends it)",
                processing.pipeline,
                pipeline::describe_status(processing)
            )
        }
        Some(processing) => format!(
            "last: {} {}",
            processing.pipeline,
            pipeline::describe_status(processing)
        ),
    }
}

/// Says what is under way and will be ended, step by step.
fn describe_end(video: &OfVideo) -> Option<String> {
    let processing = video.processing.as_ref().filter(|_| video.in_flight())?;
    let names = |status| {
        let steps = processing.tasks.iter().filter(move |step| step.status == status);
        steps
            .map(|step| match step.status {
                StepStatus::Processing => format!("{} ({} %)", step.name, step.progress),
                _ => step.name.clone(),
            })
            .collect::<Vec<_>>()
            .join(", ")
    };
    let running = names(StepStatus::Processing);
    let waiting = names(StepStatus::Pending);
    let mut text = format!("ends {} at {} %", processing.pipeline, processing.progress);
    if !running.is_empty() {
        text += &format!("; running: {running}");
    }
    if !waiting.is_empty() {
        text += &format!("; not begun: {waiting}");
    }
    Some(text)
}

/// Whether a pipeline of the targets is under way.
fn has_under_way(confirm: &Confirm) -> bool {
    let mut videos = confirm.targets.iter().filter_map(|target| target.video.as_ref());
    videos.any(|video| video.in_flight())
}

/// Lists what the action does.
pub fn list_consequences(model: &Model, confirm: &Confirm) -> Vec<String> {
    let ended = "What is under way is ended first, its processes too; what it wrote so far is not used.";
    let mut lines: Vec<String> = Vec::new();
    match confirm.question {
        Question::Start { force: false } => {
            lines.push(
                "It runs in the background under the task video-<id>; a step that is done already is reused.".into(),
            );
        }
        Question::Start { .. } => {
            if has_under_way(confirm) {
                lines.push(ended.into());
            }
            lines.push(
                "Every step runs again, whatever is stored; a former result stands until the new run of its step succeeds."
                    .into(),
            );
        }
        Question::Reprocess => {
            if has_under_way(confirm) {
                lines.push(ended.into());
            }
            lines.push("A former result stands until the new run of its step succeeds.".into());
        }
        _ => {
            if has_under_way(confirm) {
                lines.push(ended.into());
            }
            let has_file = |target: &Target| target.video.as_ref().is_some_and(|video| video.file.is_some());
            let file = if confirm.targets.iter().all(has_file) {
                ""
            } else {
                " A file that was uploaded or fetched is removed too, one registered by its path stays."
            };
            lines.push(format!(
                "Removed for good: the record of the video and of its pipeline.{file}"
            ));
            if confirm.choice.as_ref().is_some_and(|choice| choice.at == 1) {
                lines.push(describe_data(model, confirm));
            } else {
                lines.push("The stages of its task, their results and files, stay.".into());
            }
        }
    }
    lines
}

/// Says what of a task is removed with its video.
fn describe_data(model: &Model, confirm: &Confirm) -> String {
    let share = model.system.as_ref().map(|system| system.share.trim_end_matches('/'));
    let folder = match (share, confirm.targets.as_slice()) {
        (Some(share), [only]) => format!("{share}/{}", only.row.task),
        (Some(share), _) => format!("{share}/<task>"),
        (None, _) => "the task folder".into(),
    };
    format!("Also removed: the Redis records of every stage of its task, and all files and logs below {folder}.")
}

/// Says what is chosen: `pipeline  ‹ subtitles ›  Subtitles, 5 steps`.
pub fn describe_choice(choice: &Choice) -> String {
    let Some(way) = choice.chosen() else {
        return String::new();
    };
    let name = if way.name.is_empty() { "…" } else { way.name.as_str() };
    let name = if choice.options.len() > 1 {
        format!("‹ {name} › ↑ ↓")
    } else {
        name.to_owned()
    };
    format!("{}  {name}  {}", choice.label, way.about)
}
