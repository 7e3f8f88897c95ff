//! `retention.files = "with_record"`: a daemon collects the files of tasks in its own data folder as their records go. It
//! hears of that from the events, and looks at every folder only at its start and when events were missed.

use std::{collections::HashMap, time::Duration};

use onceover_common::{Event, EventKind, TaskId};
use tokio::{sync::broadcast::error::RecvError, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Collector, Kept};
use crate::hub::{Change, Hub};

/// When a folder is looked at again that somebody had, or that could not be looked at.
const AGAIN: Duration = Duration::from_secs(30);
/// A folder that stays young for long is looked at no sooner.
const SOON: Duration = Duration::from_millis(50);

/// Collects until stopped. `after` is how long a deletion gets to remove the files itself, and to say so.
pub async fn follow(collector: Collector, hub: Hub, after: Duration, stop: CancellationToken) {
    let mut changes = hub.changes();
    // When to look at which task.
    let mut due: HashMap<TaskId, Instant> = HashMap::new();
    add_all(&collector, &mut due).await;
    loop {
        let next = due.values().min().copied();
        let timer = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            change = changes.recv() => match change {
                Ok(Change::Event { json, .. }) => {
                    if let Some(task) = gone(&json) {
                        due.insert(task, Instant::now() + after);
                    }
                }
                Ok(Change::Reset { .. }) | Err(RecvError::Lagged(_)) => add_all(&collector, &mut due).await,
                Err(RecvError::Closed) => return,
            },
            () = timer => {
                let now = Instant::now();
                let ready: Vec<_> = due.iter().filter(|(_, at)| **at <= now).map(|(task, _)| task.clone()).collect();
                for task in ready {
                    due.remove(&task);
                    if let Some(wait) = collect(&collector, &task).await {
                        due.insert(task, Instant::now() + wait);
                    }
                    if stop.is_cancelled() {
                        return;
                    }
                }
            }
        }
    }
}

/// The task that an event tells is gone.
fn gone(json: &str) -> Option<TaskId> {
    // Most events are of another kind, and need no parsing.
    if !json.contains("\"deleted\"") {
        return None;
    }
    let event: Event = serde_json::from_str(json).ok()?;
    (event.kind == EventKind::Deleted).then_some(event.task_id)
}

async fn add_all(collector: &Collector, due: &mut HashMap<TaskId, Instant>) {
    let listing = collector.clone();
    let listed = tokio::task::spawn_blocking(move || listing.tasks()).await;
    match listed.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(tasks) => {
            let now = Instant::now();
            due.extend(tasks.into_iter().map(|task| (task, now)));
        }
        Err(error) => {
            let share = collector.share.display();
            tracing::warn!(%error, %share, "the folders of tasks cannot be listed, so what expired is not collected");
        }
    }
}

/// Looks at one task; answers when to look again, if at all.
async fn collect(collector: &Collector, task: &TaskId) -> Option<Duration> {
    match collector.look(task).await {
        Ok(looked) => {
            for gone in looked.removed {
                let (files, bytes) = (gone.files, gone.bytes);
                tracing::info!(task_id = %task, attempt = gone.attempt, files, bytes, "collected files");
            }
            match looked.kept? {
                Kept::Young(left) => Some(left.max(SOON)),
                Kept::Held | Kept::Callbacks => Some(AGAIN),
                // Their end is told, or never comes.
                Kept::Known | Kept::Video | Kept::Stranger | Kept::NoRuns => None,
            }
        }
        Err(error) => {
            tracing::warn!(%error, task_id = %task, "files not collected; they are looked at again");
            Some(AGAIN)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_a_task_makes_its_files_be_looked_at() {
        let event =
            |kind: &str| format!(r#"{{"v":1,"seq":3,"ts":"2026-11-22T03:20:26.123Z","task_id":"t1","kind":"{kind}"}}"#);
        assert_eq!(gone(&event("deleted")).unwrap().as_str(), "t1");
        assert!(gone(&event("succeeded")).is_none());
    }
}
