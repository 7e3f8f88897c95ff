//! What a command that waits for an end says meanwhile, to stderr: what keeps the end from coming. Once for each reason.

use onceover_types::{NodeName, StageState, TaskId};
use onceover_wire::{
    Queues, StageView, TaskView,
    client::{Client, ClientError},
};

use super::out::tell;
use crate::view::figures;

/// Says each thing when it is new.
#[derive(Debug, Default)]
pub struct Teller {
    said: Option<String>,
}

impl Teller {
    pub fn say(&mut self, text: String) {
        if self.said.as_ref() != Some(&text) {
            tell(&text);
            self.said = Some(text);
        }
    }

    /// What was said holds no longer: it is said again when it does.
    pub fn forget(&mut self) {
        self.said = None;
    }
}

/// What the stage waits for, or of the whole task what is in flight; None where there is nothing to tell.
pub async fn reason(client: &Client, task: &TaskId, node: Option<&NodeName>) -> Result<Option<String>, ClientError> {
    let view = match client.task(task).await {
        Err(error) if error.status() == Some(404) => return Ok(Some(format!("waiting: there is no task {task} yet"))),
        other => other?,
    };
    let waits = of_interest(&view, node).any(|(_, stage)| stage.status == StageState::Pending);
    let queues = match waits {
        true => Some(client.queues().await?),
        false => None,
    };
    let reasons: Vec<_> = of_interest(&view, node)
        .map(|(name, stage)| in_words(task, name, stage, queues.as_ref()))
        .collect();
    Ok((!reasons.is_empty()).then(|| format!("waiting: {}", reasons.join("; "))))
}

fn of_interest<'a>(
    view: &'a TaskView,
    node: Option<&'a NodeName>,
) -> impl Iterator<Item = (&'a NodeName, &'a StageView)> {
    let stages = view.stages.iter();
    stages.filter(move |(name, stage)| stage.status.in_flight() && node.is_none_or(|node| node == *name))
}

fn in_words(task: &TaskId, node: &NodeName, stage: &StageView, queues: Option<&Queues>) -> String {
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
    let place = queue
        .next
        .iter()
        .position(|run| run.task_id == *task && run.task_name == *node);
    let place = match place {
        Some(place) => format!("{node} is {} in {}", figures::ordinal(place + 1), queue.name),
        None => format!("{node} is one of {} in {}", queue.pending, queue.name),
    };
    match queue.slots {
        0 => format!("{place}, which has no slots on this daemon (slots.{} = 0)", queue.name),
        slots => format!("{place}; {} of {slots} slots in use", queue.running),
    }
}
