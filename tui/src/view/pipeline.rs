//! Describes pipelines: what a planned step waits for, how far a pipeline is, its steps one by one.

use onceover_types::{NodeName, StageState, Timestamp};
use onceover_wire::{Processing, ProcessingKind, ProcessingStatus, ProcessingStep, StepStatus};
use ratatui::style::Style;

use super::{block::Block, text::width, warned};
use crate::{
    figures,
    model::{
        pipeline::Pipeline,
        task::{Standing, Task},
    },
    theme::{Theme, glyph, processing_state, word},
};

/// Describes a step that has not begun: `… waits for extract_audio`, `… next try in 12 s`, `↷ skipped: why`.
pub fn describe_wait(task: &Task, node: &NodeName, clock: Timestamp) -> String {
    let Some((pipeline, step)) = task
        .pipeline
        .as_ref()
        .and_then(|pipeline| Some((pipeline, pipeline.step(node)?)))
    else {
        return String::new();
    };
    describe_unstarted(&pipeline.processing, step, clock)
}

fn describe_unstarted(processing: &Processing, step: &ProcessingStep, clock: Timestamp) -> String {
    if step.status == StepStatus::Skipped {
        return match &step.error {
            Some(why) => format!("↷ skipped: {why}"),
            None => "↷ skipped".into(),
        };
    }
    format!("… {}", describe_cause(processing, step, clock))
}

/// Says what a step that has not begun waits for.
fn describe_cause(processing: &Processing, step: &ProcessingStep, clock: Timestamp) -> String {
    let blocked = processing.blocked_by(step);
    if let Some(at) = step.retry_at {
        let left = at.seconds_since(clock).ceil();
        return if left > 0.0 {
            format!("next try in {}", figures::format_whole(left))
        } else {
            "next try now".into()
        };
    }
    if processing.clearing {
        return "waits for the earlier run's end".into();
    }
    let halted = processing.tasks.iter().any(|other| match other.status {
        StepStatus::Failed => !other.optional,
        StepStatus::Cancelled => true,
        _ => false,
    });
    if halted {
        return "will be skipped".into();
    }
    if blocked.is_empty() {
        return "waiting".into();
    }
    format!("waits for {}", blocked.join(", "))
}

/// Describes the pipeline beside its task's id, with the step that it failed at; empty if there is no room.
pub fn describe_beside_id(pipeline: &Pipeline, room: u16, theme: Theme) -> (String, Style) {
    let name = &pipeline.processing.pipeline;
    let (text, style) = match pipeline.failed_step() {
        Some(step) if width(name) + width(&step.name) + 3 <= room => (format!("{name} ✖ {}", step.name), theme.bad()),
        // The step matters more than the pipeline's name.
        Some(step) => (format!("✖ {}", step.name), theme.bad()),
        None => (name.clone(), theme.faint()),
    };
    // A name that is cut is of use, a letter of it is not.
    if width(&text) > room && room < 6 {
        return (String::new(), style);
    }
    (text, style)
}

/// Describes how far a pipeline is: `● running 43 %`, `✔ done ⚠2`.
pub fn describe_status(processing: &Processing) -> String {
    let state = processing_state(processing.status);
    let figure = if processing.status == ProcessingStatus::Processing {
        format!(" {} %", processing.progress)
    } else {
        String::new()
    };
    let words = format!("{} {}{figure}", glyph(state), word(state));
    warned::join_mark(&words, processing.warnings())
}

/// Describes how far a step is, in glyph and word, with the mark of its result.
pub fn describe_step(processing: &Processing, step: &ProcessingStep, clock: Timestamp) -> String {
    let words = match step.status {
        StepStatus::Pending | StepStatus::Skipped => describe_unstarted(processing, step, clock),
        StepStatus::Processing => format!("{} running {} %", glyph(StageState::Running), step.progress),
        StepStatus::Completed if step.reuse_hit == Some(true) => "↺ reused".into(),
        ended => {
            let state = step_state(ended);
            format!("{} {}", glyph(state), word(state))
        }
    };
    warned::join_mark(&words, step.warnings)
}

fn step_state(status: StepStatus) -> StageState {
    match status {
        StepStatus::Completed => StageState::Success,
        StepStatus::Failed => StageState::Failed,
        StepStatus::Cancelled | StepStatus::Skipped => StageState::Cancelled,
        StepStatus::Pending => StageState::Pending,
        StepStatus::Processing => StageState::Running,
    }
}

pub fn choose_step_style(step: &ProcessingStep, theme: Theme) -> Style {
    match step.status {
        StepStatus::Completed if step.reuse_hit == Some(true) => theme.reuse(),
        StepStatus::Skipped => theme.faint(),
        status => theme.state(step_state(status)),
    }
}

/// Adds the pipeline as facts: its name, how far it is, what it failed at.
pub fn add_facts(block: &mut Block, processing: &Processing, theme: Theme) {
    let kind = match processing.kind {
        ProcessingKind::First => "",
        ProcessingKind::Reprocess => ", chosen steps again",
    };
    let steps = &processing.tasks;
    let ended = steps.iter().filter(|step| step.status.has_ended()).count();
    let total = figures::count_noun(steps.len(), "step");
    let style = theme.state(processing_state(processing.status));
    block.add_fact("pipeline", &format!("{}{kind}", processing.pipeline), theme.plain());
    block.add_fact(
        "state",
        &format!("{}, {ended} of {total} ended", describe_status(processing)),
        style,
    );
    if processing.status.in_flight() {
        let bar = figures::format_bar(f64::from(processing.progress), 24);
        block.add_fact("progress", &bar, theme.accent());
    }
    if processing.clearing {
        block.add_fact(
            "",
            "the earlier run is being ended; nothing starts before",
            theme.warn(),
        );
    }
    if processing.warnings() > 0 {
        let retryable = processing.tasks.iter().any(|step| step.warnings_retryable);
        block.add_fact(
            "warnings",
            &warned::count_warnings(processing.warnings(), retryable),
            theme.warn(),
        );
    }
    if let Some(error) = &processing.error {
        block.add_fact("error", error, theme.bad());
    }
}

/// Adds the steps, a line each.
pub fn add_steps(block: &mut Block, processing: &Processing, clock: Timestamp, theme: Theme) {
    for step in &processing.tasks {
        let status = describe_step(processing, step, clock);
        let (glyph, word) = status.split_once(' ').unwrap_or((status.as_str(), ""));
        block.say(
            &format!("{glyph} {}  {word}", step.name),
            choose_step_style(step, theme),
        );
        if let Some(error) = step.error.as_ref().filter(|_| step.status != StepStatus::Skipped) {
            block.add_nested(error, theme.bad());
        }
    }
}

/// Adds what the pipeline plans for a row: what it waits for, why it is skipped, its tries, its weight.
pub fn add_step(block: &mut Block, task: &Task, node: &NodeName, clock: Timestamp, theme: Theme) {
    let Some((pipeline, step)) = task
        .pipeline
        .as_ref()
        .and_then(|pipeline| Some((pipeline, pipeline.step(node)?)))
    else {
        return;
    };
    let processing = &pipeline.processing;
    let standing = task.standing(node);
    if standing == Some(Standing::Waiting) {
        let text = describe_cause(processing, step, clock);
        let mut text = match text.strip_prefix("waits ") {
            Some(what) => what.to_owned(),
            None if text == "waiting" => "for its turn".into(),
            None => text,
        };
        if step.retry_at.is_some() {
            text += &format!(", after {}", count_failures(step));
        }
        block.add_fact("waits", &text, theme.warn());
    }
    if standing == Some(Standing::Skipped) {
        let why = step.error.as_deref().unwrap_or("the pipeline ended before it began");
        block.add_fact("skipped", why, theme.warn());
    } else if let Some(error) = step.error.as_ref().filter(|_| task.current_stage(node).is_none()) {
        block.add_fact("error", error, theme.bad());
    }
    let mut about = format!("{} of {}, weight {}", step.name, processing.pipeline, step.weight);
    if step.optional {
        about += ", optional";
    }
    if step.failures > 0 && step.retry_at.is_none() {
        about += &format!(", {}", count_failures(step));
    }
    block.add_fact("step", &about, theme.plain());
    if !step.needs.is_empty() {
        block.add_fact("needs", &step.needs.join(", "), theme.plain());
    }
    if !step.status.has_ended() && step.fresh {
        block.add_fact("runs", "again, whatever is stored", theme.plain());
    }
}

fn count_failures(step: &ProcessingStep) -> String {
    if step.failures == 1 {
        "1 failed try".into()
    } else {
        format!("{} failed tries", step.failures)
    }
}
