//! `onceover watch`: prints events as JSON lines, and waits for the end of a task or stage.

use std::{collections::HashMap, convert::Infallible};

use onceover_types::{NodeName, StageState, TaskId, Timestamp};
use onceover_wire::{Event, EventKind, client::Client};

use super::{
    args::Watch,
    failure::{CommandResult, Failure},
    follow::{About, FollowedSubject, WaitStyle, follow},
    out::print_json_line,
};

/// Runs the command.
pub async fn run(client: &Client, args: Watch) -> CommandResult {
    let Some(task) = args.task else {
        let never: Infallible = follow(
            client,
            About::Everything,
            |event| {
                print_json_line(event)?;
                Ok(None)
            },
            async || Ok(None),
        )
        .await?;
        match never {}
    };
    // The events are printed beside it.
    let end = wait_for_end(client, &task, None, WaitStyle::Lines, print_json_line).await?;
    Ok(end == StageState::Success)
}

/// Waits until the stage, or everything of the task, has ended. Returns its state; `on_event` gets the task's events.
pub async fn wait_for_end(
    client: &Client,
    task: &TaskId,
    node: Option<&NodeName>,
    style: WaitStyle,
    mut on_event: impl FnMut(&Event) -> Result<(), Failure>,
) -> Result<StageState, Failure> {
    let mut stages: HashMap<NodeName, (StageState, Option<Timestamp>)> = HashMap::new();
    follow(
        client,
        About::One(FollowedSubject { task, node }, style),
        |event| {
            if event.task_id != *task {
                return Ok(None);
            }
            on_event(event)?;
            if event.kind == EventKind::Deleted {
                return Err(Failure::new(format!("{task} was deleted")));
            }
            let (Some(name), Some(stage)) = (&event.task_name, &event.stage) else {
                return Ok(None);
            };
            stages.insert(name.clone(), (stage.status, stage.ended_at));
            // The events before this command are not known: whether everything has ended is asked, not guessed.
            let ended = match node {
                Some(node) => name == node && !stage.status.in_flight(),
                None => stages.values().all(|(state, _)| !state.in_flight()),
            };
            Ok(ended.then_some(()))
        },
        async || {
            let view = client.task(task).await?;
            let state = match node {
                Some(node) => view.stages.get(node).map(|stage| stage.status),
                None => Some(crate::theme::task_state(view.status)),
            };
            Ok(state.filter(|state| !state.in_flight()))
        },
    )
    .await
}
