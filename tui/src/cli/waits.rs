//! What a command that waits for an end says meanwhile, to stderr: what keeps the end from coming, once for each
//! reason.

use onceover_types::{NodeName, StageState, TaskId};
use onceover_wire::{
    Event, Queues, StageSummary, StageView, TaskView,
    client::{Client, ClientError},
};

use super::{
    out::{print_note, rewrite_note},
    terminal::has_note_line,
};
use crate::{figures, theme::word};

/// Progress is reported in steps of so many percent.
const PERCENT_STEP: u8 = 10;
/// Columns of a bar.
const BAR_COLUMNS: u16 = 24;

/// Prints each text once, until another one is printed; as a bar, each in place of the one before.
#[derive(Debug)]
pub struct Teller {
    last: Option<String>,
    is_bar: bool,
}

impl Teller {
    /// Rewrites one line where that is wanted and standard error is a terminal.
    pub fn new(wants_bar: bool) -> Self {
        Self {
            last: None,
            is_bar: wants_bar && has_note_line(),
        }
    }

    /// Whether one line is rewritten.
    pub fn is_bar(&self) -> bool {
        self.is_bar
    }

    /// Prints the text, unless it was the last one.
    pub fn say(&mut self, text: String) {
        if self.last.as_ref() == Some(&text) {
            return;
        }
        match self.is_bar {
            true => rewrite_note(&text),
            false => print_note(&text),
        }
        self.last = Some(text);
    }

    /// Notes that the last text is no longer true: it is printed again when it is.
    pub fn forget(&mut self) {
        self.remove_line();
        self.last = None;
    }

    /// Removes the line that would be rewritten.
    fn remove_line(&self) {
        if self.is_bar && self.last.is_some() {
            rewrite_note("");
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.remove_line();
    }
}

/// Says what the stage waits for, or what of the whole task is in flight; `None` if nothing is.
pub async fn explain_wait(
    client: &Client,
    task: &TaskId,
    node: Option<&NodeName>,
) -> Result<Option<String>, ClientError> {
    let view = match client.task(task).await {
        Err(error) if error.status() == Some(404) => return Ok(Some(format!("waiting: there is no task {task} yet"))),
        other => other?,
    };
    let waits = stages_in_flight(&view, node).any(|(_, stage)| stage.status == StageState::Pending);
    let queues = match waits {
        true => Some(client.queues().await?),
        false => None,
    };
    let reasons: Vec<_> = stages_in_flight(&view, node)
        .map(|(name, stage)| describe_stage(task, name, stage, queues.as_ref()))
        .collect();
    Ok((!reasons.is_empty()).then(|| format!("waiting: {}", reasons.join("; "))))
}

fn stages_in_flight<'a>(
    view: &'a TaskView,
    node: Option<&'a NodeName>,
) -> impl Iterator<Item = (&'a NodeName, &'a StageView)> {
    let stages = view.stages.iter();
    stages.filter(move |(name, stage)| stage.status.in_flight() && node.is_none_or(|node| node == *name))
}

/// Says how far a stage is that an event is about; `None` while it waits: then its position is asked for.
pub fn describe_event(event: &Event) -> Option<String> {
    let (node, stage) = event.task_name.as_ref().zip(event.stage.as_ref())?;
    match stage.status {
        StageState::Pending => None,
        StageState::Running => Some(format!("waiting: {}", describe_running(node, stage))),
        ended => Some(format!("waiting: {node} has ended: {}", word(ended))),
    }
}

/// Draws how far the stage or the pipeline is that an event is about, as the dashboard does; `None` while it waits.
pub fn draw_bar(event: &Event, has_pipeline: bool) -> Option<String> {
    let bar = |name: &str, progress: f64, message: &str| {
        let percent = figures::round_percent(progress);
        format!(
            "{name}  {} {percent:>3} %  {message}",
            figures::format_bar(progress, BAR_COLUMNS)
        )
    };
    if let Some(pipeline) = event.pipeline.as_ref().filter(|_| has_pipeline) {
        return Some(bar(pipeline.video_id.as_str(), f64::from(pipeline.progress), ""));
    }
    let (node, stage) = event.task_name.as_ref().zip(event.stage.as_ref())?;
    match (stage.status, stage.progress) {
        (StageState::Running, Some(progress)) => Some(bar(
            node.as_str(),
            progress,
            stage.message.as_deref().unwrap_or_default(),
        )),
        _ => describe_event(event),
    }
}

/// Says that a stage runs, and how much of it is done: in steps, so that a log of it stays short.
fn describe_running(node: &NodeName, stage: &StageSummary) -> String {
    if stage.runner.as_deref() == Some("foreign") {
        return format!("{node} is run by another worker");
    }
    let attempt = match stage.attempt {
        0 | 1 => String::new(),
        attempt => format!(", attempt {attempt}"),
    };
    let percent = stage.progress.map_or(0, figures::round_percent) / PERCENT_STEP * PERCENT_STEP;
    let progress = match percent {
        0 => String::new(),
        percent => format!(", {percent} %"),
    };
    format!("{node} is running{attempt}{progress}")
}

fn describe_stage(task: &TaskId, node: &NodeName, stage: &StageView, queues: Option<&Queues>) -> String {
    if stage.status == StageState::Running {
        return describe_running(node, &stage.summary());
    }
    if let Some(reason) = &stage.waiting {
        return format!("{node}: {reason}");
    }
    let queue = queues.and_then(|queues| queues.queues.iter().find(|queue| queue.name == stage.queue));
    let Some(queue) = queue else {
        return format!("{node} is pending in {}", stage.queue);
    };
    let position = queue
        .next
        .iter()
        .position(|run| run.task_id == *task && run.task_name == *node);
    let wait = match position {
        Some(position) => format!("{node} is {} in {}", figures::format_ordinal(position + 1), queue.name),
        None => format!("{node} is one of {} in {}", queue.pending, queue.name),
    };
    match queue.slots {
        0 => format!("{wait}, which has no slots on this daemon (slots.{} = 0)", queue.name),
        slots => format!("{wait}; {} of {slots} slots in use", queue.running),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_says_how_far_its_stage_is_in_steps() {
        let say = |status: &str, progress: Option<f64>| {
            let event = json!({"v": 1, "seq": 7, "ts": "2026-01-02T12:00:00.000Z", "task_id": "film",
                "task_name": "a.first", "kind": "progress",
                "stage": {"status": status, "attempt": 1, "revision": 1, "queue": "cpu", "reuse_hits": 0, "joins": 0,
                    "saved_seconds": 0.0, "duration": 0.0, "progress": progress}});
            describe_event(&serde_json::from_value(event).unwrap())
        };
        assert_eq!(say("PENDING", None), None);
        assert_eq!(say("RUNNING", None).unwrap(), "waiting: a.first is running");
        assert_eq!(say("RUNNING", Some(9.0)), say("RUNNING", None));
        assert_eq!(say("RUNNING", Some(47.3)).unwrap(), "waiting: a.first is running, 40 %");
        assert_eq!(say("SUCCESS", None).unwrap(), "waiting: a.first has ended: done");
    }

    #[test]
    fn tui20_a_wait_has_the_dashboards_bar() {
        let event = json!({"v": 1, "seq": 7, "ts": "2026-01-02T12:00:00.000Z", "task_id": "film",
            "task_name": "a.first", "kind": "progress",
            "stage": {"status": "RUNNING", "attempt": 1, "revision": 1, "queue": "cpu", "reuse_hits": 0, "joins": 0,
                "saved_seconds": 0.0, "duration": 0.0, "progress": 50.0, "message": "half"}});
        let event = serde_json::from_value(event).unwrap();
        let drawn = draw_bar(&event, false).unwrap();
        assert_eq!(
            drawn,
            format!("a.first  {}{}  50 %  half", "█".repeat(12), "·".repeat(12))
        );
    }
}
