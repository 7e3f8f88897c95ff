//! What a command that waits for an end says meanwhile, to stderr: what keeps the end from coming, once for each
//! reason.

use onceover_types::{NodeName, StageState, TaskId};
use onceover_wire::{
    Queues, StageView, TaskView,
    client::{Client, ClientError},
};

use super::out::print_note;
use crate::figures;

/// Prints each text once, until another one is printed.
#[derive(Debug, Default)]
pub struct Teller {
    last: Option<String>,
}

impl Teller {
    /// Prints the text, unless it was the last one.
    pub fn say(&mut self, text: String) {
        if self.last.as_ref() != Some(&text) {
            print_note(&text);
            self.last = Some(text);
        }
    }

    /// Notes that the last text is no longer true: it is printed again when it is.
    pub fn forget(&mut self) {
        self.last = None;
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

fn describe_stage(task: &TaskId, node: &NodeName, stage: &StageView, queues: Option<&Queues>) -> String {
    if stage.status == StageState::Running {
        return match (stage.runner.as_deref(), stage.attempt) {
            (Some("foreign"), _) => format!("{node} is run by another worker"),
            (_, 0 | 1) => format!("{node} is running"),
            (_, attempt) => format!("{node} is running, attempt {attempt}"),
        };
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
