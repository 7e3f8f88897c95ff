//! `retention.files = "with_record"`: a daemon collects the files of tasks in its own data folder as their records go. It
//! hears of that from the events, and looks at every folder only at its start and when events were missed.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use onceover_types::TaskId;
use onceover_wire::{Event, EventKind};
use tokio::{
    sync::broadcast::error::{RecvError, TryRecvError},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{Collector, Kept};
use crate::events::{Change, EventBus};

/// When a folder is looked at again that was in use, or that could not be looked at.
const AGAIN: Duration = Duration::from_secs(30);
/// A folder that stays young for long is looked at no sooner.
const SOON: Duration = Duration::from_millis(50);
/// Folders that are looked at at a time, and before the events are heard again.
const AT_A_TIME: usize = 4;
const BATCH: usize = 64;

/// When to look at which task, soonest first.
#[derive(Debug, Default)]
struct Due {
    times: BTreeSet<(Instant, TaskId)>,
    tasks: HashMap<TaskId, Instant>,
}

impl Due {
    /// Looks at a task at a time, whatever was meant before.
    fn set(&mut self, task: TaskId, at: Instant) {
        if let Some(before) = self.tasks.insert(task.clone(), at) {
            self.times.remove(&(before, task.clone()));
        }
        self.times.insert((at, task));
    }

    fn next(&self) -> Option<Instant> {
        self.times.first().map(|(at, _)| *at)
    }

    /// Some that are due, which are due no more.
    fn take(&mut self, now: Instant, most: usize) -> Vec<TaskId> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((at, task)) = self.times.pop_first()
        {
            if at > now {
                self.times.insert((at, task));
                break;
            }
            self.tasks.remove(&task);
            taken.push(task);
        }
        taken
    }
}

/// Collects until stopped. `after` is how long a deletion gets to remove the files itself, and to say so.
pub async fn follow(collector: Collector, bus: EventBus, after: Duration, stop: CancellationToken) {
    let mut changes = bus.changes();
    let mut due = Due::default();
    add_all(&collector, &mut due).await;
    loop {
        let next = due.next();
        let timer = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let mut missed = false;
        tokio::select! {
            () = stop.cancelled() => return,
            change = changes.recv() => match change {
                Ok(change) => missed = hear(&change, after, &mut due),
                Err(RecvError::Lagged(_)) => missed = true,
                Err(RecvError::Closed) => return,
            },
            () = timer => collect_due(&collector, &mut due).await,
        }
        // What was heard meanwhile, so that none is missed.
        loop {
            match changes.try_recv() {
                Ok(change) => missed |= hear(&change, after, &mut due),
                Err(TryRecvError::Lagged(_)) => missed = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if missed {
            add_all(&collector, &mut due).await;
        }
    }
}

/// Collects the folders whose time has come. Those that could not be collected yet are due again later.
async fn collect_due(collector: &Collector, due: &mut Due) {
    let ready = due.take(Instant::now(), BATCH);
    let tries = stream::iter(ready).map(|task| async {
        let wait = collect(collector, &task).await;
        (task, wait)
    });
    let tried: Vec<_> = tries.buffer_unordered(AT_A_TIME).collect().await;
    for (task, wait) in tried {
        if let Some(wait) = wait {
            due.set(task, Instant::now() + wait);
        }
    }
}

/// Takes note of a change. Answers whether some were missed.
fn hear(change: &Change, after: Duration, due: &mut Due) -> bool {
    match change {
        Change::Event { json, .. } => {
            if let Some(task) = gone(json) {
                due.set(task, Instant::now() + after);
            }
            false
        }
        Change::Reset { .. } => true,
    }
}

/// The task that was deleted, if an event is about one.
fn gone(json: &str) -> Option<TaskId> {
    // Most events are of another kind, and need no parsing.
    if !json.contains("\"deleted\"") {
        return None;
    }
    let event: Event = serde_json::from_str(json).ok()?;
    (event.kind == EventKind::Deleted).then_some(event.task_id)
}

async fn add_all(collector: &Collector, due: &mut Due) {
    let listing = collector.clone();
    let listed = tokio::task::spawn_blocking(move || listing.tasks()).await;
    match listed.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(tasks) => {
            let now = Instant::now();
            for task in tasks {
                // One that is to be looked at later already stays so.
                if !due.tasks.contains_key(&task) {
                    due.set(task, now);
                }
            }
        }
        Err(error) => {
            let share = collector.share.display();
            tracing::warn!(%error, %share, "the folders of tasks cannot be listed, so what expired is not collected");
        }
    }
}

/// Looks at one task; answers when to look again, if at all.
async fn collect(collector: &Collector, task: &TaskId) -> Option<Duration> {
    match collector.judge(task).await {
        Ok(looked) => {
            for gone in looked.removed {
                let (files, bytes) = (gone.files, gone.bytes);
                tracing::info!(task_id = %task, attempt = gone.attempt, files, bytes, "collected files");
            }
            match looked.kept? {
                Kept::Young(left) => Some(left.max(SOON)),
                Kept::Held | Kept::Callbacks => Some(AGAIN),
                // An event reports their end, or it never comes.
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

    #[test]
    fn tasks_are_due_once_each_in_order_of_time_and_some_at_a_time() {
        let now = Instant::now();
        let task = |name: &str| TaskId::parse(name).unwrap();
        let mut due = Due::default();
        due.set(task("late"), now + AGAIN);
        due.set(task("b"), now);
        due.set(task("c"), now + AGAIN);
        due.set(task("a"), now - SOON);
        due.set(task("c"), now);
        assert_eq!(due.take(now, 2), [task("a"), task("b")]);
        assert_eq!(due.take(now, 2), [task("c")]);
        assert!(due.take(now, 2).is_empty());
        assert_eq!((due.next(), due.tasks.len()), (Some(now + AGAIN), 1));
    }
}
