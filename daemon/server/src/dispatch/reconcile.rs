//! The reconciler of messages: ends those that no run has any more, and moves stages that wait for workers to this machine
//! where the configuration says so. Every daemon does it: what one has ended another finds ended.
//!
//! A worker keeps a revocation in memory alone, so a message is revoked again and again until it has ended or is nowhere.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use onceover_celery::{CeleryError, MessageId, Whereabouts};
use onceover_store::{Dispatch, StoreError};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Dispatcher, dispatcher::QUESTION, services::WorkerService};
use crate::config::dispatch_queue;

/// Between two checks of what waits.
const INTERVAL: Duration = Duration::from_secs(2);
/// Between two checks of messages, and while some are to be ended.
const SETTLE_EVERY: Duration = Duration::from_secs(10);
const SETTLE_AGAIN: Duration = Duration::from_secs(5);
/// Checks in a row that find a message nowhere before it is forgotten.
const MISSES: u32 = 2;

/// Whether a message has to be checked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// It has ended, was taken back, or was found nowhere often enough.
    Over,
    /// It was found nowhere this time.
    Missed,
    /// A worker has it, or may have it.
    Underway,
}

/// What a reconciler remembers from one check to the next.
#[derive(Default)]
struct Memory {
    /// How often messages were found nowhere, by id.
    misses: HashMap<String, u32>,
    /// Since when nobody has listened for a service.
    unheard: HashMap<String, Instant>,
    /// When messages are checked next; none: at once.
    next_settle: Option<Instant>,
}

/// Reconciles until `stop`.
pub async fn run(dispatcher: Arc<Dispatcher>, stop: CancellationToken) {
    let mut memory = Memory::default();
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            // A run that was cancelled while it had no owner has a message that nobody else ends.
            () = dispatcher.bus.message_end_wanted() => memory.next_settle = None,
            _ = interval.tick() => {}
        }
        let checked = async {
            if memory.next_settle.is_none_or(|next| next <= Instant::now()) {
                let wait = match settle_all(&dispatcher, &mut memory).await? {
                    0 => SETTLE_EVERY,
                    _ => SETTLE_AGAIN,
                };
                memory.next_settle = Some(Instant::now() + wait);
            }
            move_waiting(&dispatcher, &mut memory).await
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            checked = checked => if let Err(error) = checked {
                tracing::debug!(%error, "messages of workers are not checked yet");
            }
        }
    }
}

/// Ends the messages whose runs are over. Returns how many are still to be ended.
async fn settle_all(dispatcher: &Dispatcher, memory: &mut Memory) -> Result<usize, StoreError> {
    let mut open = HashSet::new();
    let mut left = 0;
    let mut held: HashMap<String, HashSet<String>> = HashMap::new();
    for (dispatch, stage) in dispatcher.store.list_dispatches().await? {
        if stage.is_some() {
            continue;
        }
        let attempts = match held.entry(dispatch_queue(&dispatch.queue)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let attempts = dispatcher.store.list_held(new.key()).await?;
                new.insert(attempts)
            }
        };
        // Its owner is ending it, and knows more of it.
        if attempts.contains(&dispatch.attempt_name()) {
            left += 1;
            continue;
        }
        // Without a broker nothing can be done; its journal entry says where the message is.
        let Some(service) = dispatcher.services.get(&dispatch.service) else {
            continue;
        };
        let settled = settle(dispatcher, service, &dispatch).await.unwrap_or_else(|error| {
            tracing::debug!(%error, message = dispatch.message, "a message that no run has is not ended yet");
            Settled::Underway
        });
        let misses = memory.misses.entry(dispatch.message.clone()).or_default();
        *misses = match settled {
            Settled::Missed => *misses + 1,
            Settled::Over | Settled::Underway => 0,
        };
        if settled == Settled::Over || *misses >= MISSES {
            dispatcher.store.forget_dispatch(&dispatch).await?;
            tracing::info!(message = dispatch.message, task_id = %dispatch.task, task_name = %dispatch.node,
                "a message that no run has any more has ended");
        } else {
            open.insert(dispatch.message);
        }
    }
    memory.misses.retain(|message, _| open.contains(message));
    Ok(left + open.len())
}

/// Ends one message, as far as that can be done now.
async fn settle(dispatcher: &Dispatcher, service: &WorkerService, dispatch: &Dispatch) -> Result<Settled, CeleryError> {
    let client = service.broker.client();
    let Ok(id) = MessageId::parse(&dispatch.message) else {
        return Ok(Settled::Over);
    };
    let result = client.results(&[id]).await?.into_iter().flatten().next();
    if result.is_some_and(|result| result.state.is_terminal()) {
        return Ok(Settled::Over);
    }
    let envelope = dispatch.envelope.as_bytes();
    if client.take_back(&dispatch.queue, envelope).await? {
        return Ok(Settled::Over);
    }
    let place = client.locate(&dispatch.queue, &id, envelope).await?;
    let capacity = dispatcher.registry.capacity(service.broker.name(), &service.queue);
    let may_be_found = place != Whereabouts::Nowhere || capacity.mute > 0;
    if !may_be_found && client.query_tasks(&[id], QUESTION).await?.is_empty() {
        return Ok(Settled::Missed);
    }
    client.revoke(&id, Some(service.cancel_signal)).await?;
    Ok(Settled::Underway)
}

/// Moves stages that wait for workers to this machine, where their service runs here now, or no worker has listened for
/// as long as they are to wait.
async fn move_waiting(dispatcher: &Dispatcher, memory: &mut Memory) -> Result<(), StoreError> {
    for (name, service) in &dispatcher.services {
        let targets = dispatcher.targets(name);
        let Some(waited) = find_patience(dispatcher, service, memory).filter(|_| !targets.is_empty()) else {
            continue;
        };
        let queue = dispatch_queue(&service.queue);
        let moved = dispatcher.store.reroute(&queue, targets, waited).await?;
        if moved > 0 {
            tracing::info!(
                service = name,
                queue,
                moved,
                "stages that waited for workers run on this machine"
            );
        }
    }
    Ok(())
}

/// How long stages of a service must have waited to be moved; `None` while they wait for workers.
fn find_patience(dispatcher: &Dispatcher, service: &WorkerService, memory: &mut Memory) -> Option<Duration> {
    if !service.is_used {
        return Some(Duration::ZERO);
    }
    let after = service.local_after?;
    let capacity = dispatcher.registry.capacity(service.broker.name(), &service.queue);
    if capacity.listeners > 0 {
        memory.unheard.remove(&service.name);
        return None;
    }
    let since = memory.unheard.entry(service.name.clone()).or_insert_with(Instant::now);
    (since.elapsed() >= after).then_some(after)
}
