//! What answers of the daemon say in a sentence.

use onceover_wire::{DeleteReport, DeletionStatus, ResourceOutcome, SubmitResponse, VideoDeletion, Warning};

use super::messages::{CallAnswer, Refusal};
use crate::{figures, view};

/// Says in a few words what became of a submit.
pub fn describe_submit(response: &SubmitResponse) -> String {
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
            count => format!(", {}", view::warned::count_warnings(count, info.warnings_retryable)),
        };
        return match info.saved_seconds {
            Some(saved) => format!("reused{changed}, {} saved{warnings}", figures::format_long(saved)),
            None => format!("reused{changed}{warnings}"),
        };
    }
    let why = view::reasons::describe_reason(info.reason.as_deref()).unwrap_or("it has to run");
    format!("queued: {why}")
}

/// Says what became of the deletion of a task.
pub fn describe_deletion(report: &DeleteReport) -> CallAnswer<String> {
    if report.status == DeletionStatus::Success {
        return Ok("deleted".to_owned());
    }
    let failed: Vec<_> = report
        .results
        .iter()
        .filter(|resource| resource.status == ResourceOutcome::Failed)
        .map(|resource| format!("{}: {}", resource.resource, resource.message))
        .collect();
    Err(Refusal {
        status: Some(200),
        text: format!("{}: {}", report.status, failed.join("; ")),
        ..Refusal::default()
    })
}

/// Says what became of the deletion of a video.
pub fn describe_video_deletion(deletion: &VideoDeletion) -> CallAnswer<String> {
    if let Some(report) = &deletion.task {
        describe_deletion(report)?;
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

/// Puts the warnings of an answer into one sentence: the first, and how many there are beside it.
pub fn join_warnings(warnings: &[Warning]) -> Option<String> {
    let (first, rest) = warnings.split_first()?;
    Some(match rest.len() {
        0 => first.to_string(),
        more => format!("{first} (and {more} more)"),
    })
}

/// Counts equal notes: `3 reused, 1 queued`.
pub fn tally_notes(notes: &[String]) -> String {
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
