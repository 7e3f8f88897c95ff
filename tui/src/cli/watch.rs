//! `onceover watch`: events as JSON lines, and waiting for the end of a task or stage. A broken connection
//! is taken up again after the last event seen, so that none is missed.

use std::{collections::HashMap, time::Duration};

use futures_util::StreamExt;
use onceover_common::{
    Event, EventKind, NodeName, StageState, TaskId, Timestamp,
    client::{Client, ClientError, Feed},
};
use tokio::time::{Instant, sleep, timeout};

use super::{Failure, Outcome, args::Watch, print};

/// A daemon that is restarted is back within this time; longer, and the command gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// While waiting for an end, it is looked up this often beside the events.
const LOOK_EVERY: Duration = Duration::from_secs(5);

pub async fn run(client: &Client, args: Watch) -> Outcome {
    let Some(task) = args.task else {
        follow(
            client,
            |event| {
                print(&serde_json::to_string(event)?)?;
                Ok(None)
            },
            async || Ok(None::<()>),
        )
        .await?;
        return Ok(true);
    };
    let end = until_end(client, &task, None, |event| print(&serde_json::to_string(event)?)).await?;
    Ok(end == StageState::Success)
}

/// Waits until the stage, or everything of the task, has ended; `on_event` sees the task's events.
pub async fn until_end(
    client: &Client,
    task: &TaskId,
    node: Option<&NodeName>,
    mut on_event: impl FnMut(&Event) -> Result<(), Failure>,
) -> Result<StageState, Failure> {
    let mut stages: HashMap<NodeName, (StageState, Option<Timestamp>)> = HashMap::new();
    let end = follow(
        client,
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
            // The events before this command are not known: whether all has ended is asked, not guessed.
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
                None => Some(crate::theme::as_state(view.status)),
            };
            Ok(state.filter(|state| !state.in_flight()))
        },
    )
    .await?;
    end.ok_or_else(|| Failure::new("the event stream ended"))
}

/// Follows the events. `seen` says when it is worth a look whether the end is there, `look` whether it is;
/// it is asked after connecting too, and now and then.
pub async fn follow<T>(
    client: &Client,
    mut seen: impl FnMut(&Event) -> Result<Option<()>, Failure>,
    mut look: impl AsyncFnMut() -> Result<Option<T>, ClientError>,
) -> Result<Option<T>, Failure> {
    let mut last: Option<u64> = None;
    let mut away_since: Option<Instant> = None;
    let mut connected_once = false;
    loop {
        let error: Failure = match client.events(last).await {
            Err(error @ ClientError::Refused(_)) if error.status() != Some(503) => {
                return Err(error.into());
            }
            Err(error) => error.into(),
            Ok(stream) => {
                connected_once = true;
                away_since = None;
                let mut stream = std::pin::pin!(stream);
                let mut worth_a_look = true;
                loop {
                    if std::mem::take(&mut worth_a_look) {
                        match look().await {
                            Ok(Some(end)) => return Ok(Some(end)),
                            Ok(None) => {}
                            Err(error @ ClientError::Unreachable { .. }) => break error.into(),
                            Err(error) => return Err(error.into()),
                        }
                    }
                    match timeout(LOOK_EVERY, stream.next()).await {
                        Err(_) => worth_a_look = true,
                        Ok(Some(Ok(Feed::Event(event)))) => {
                            if last.is_some_and(|last| event.seq <= last) {
                                continue;
                            }
                            last = Some(event.seq);
                            worth_a_look = seen(&event)?.is_some();
                        }
                        Ok(Some(Ok(Feed::Reset(seq)))) => {
                            last = Some(seq);
                            worth_a_look = true;
                        }
                        Ok(Some(Err(error))) => break error.into(),
                        Ok(None) => break Failure::new("the daemon closed the event stream"),
                    }
                }
            }
        };
        let since = *away_since.get_or_insert_with(Instant::now);
        if !connected_once || since.elapsed() > PATIENCE {
            return Err(error);
        }
        sleep(Duration::from_millis(500)).await;
    }
}
