//! Which Celery workers there are, which queues they listen to and what they can run: what dispatching goes by, and what
//! people are shown. It gets what workers answer from `watch`, and what their events say; it asks nobody itself, and holds
//! a lock for the time of a copy alone. `known` judges what was heard.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use onceover_celery::CeleryClient;
use onceover_types::Timestamp;
use onceover_wire::{BrokerSeen, StageOnWorker, WorkerQueue, WorkerSeen, WorkerState, WorkersReport};
use tokio::sync::Notify;

use super::known::{BrokerAnswer, BrokerState, SentRun};
pub use super::known::{Capacity, WorkerBeat};
use crate::{events::EventBus, services::WorkerDirectory};

/// Between two questions to the workers of a broker.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Between two questions while a queue has no listener, and the oldest answer that runs are sent by.
const ASK_SOON: Duration = Duration::from_millis(1_500);
/// How long a worker that has stopped or is lost is shown.
const KEPT: Duration = Duration::from_secs(600);

/// A Celery queue that stages are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedQueue {
    /// The name that workers listen by.
    pub name: String,
    /// The daemon's queue, in which stages wait.
    pub queue: String,
}

/// A broker whose workers are watched.
#[derive(Clone)]
pub struct WatchedBroker {
    /// What the configuration and the journal call it: its URL without user or password.
    pub name: String,
    /// Asks its workers, by another connection than runs have: their messages may be large.
    pub client: CeleryClient,
    pub queues: Vec<WatchedQueue>,
}

struct BrokerWatch {
    broker: WatchedBroker,
    state: Mutex<BrokerState>,
    /// Asks for a question to the workers.
    wanted: Notify,
}

/// Knows the workers of all brokers of the configuration.
pub struct WorkerRegistry {
    brokers: Vec<BrokerWatch>,
    bus: EventBus,
}

/// A run that the registry shows; it is removed with this.
pub struct RunMark {
    registry: Arc<WorkerRegistry>,
    index: usize,
    message: String,
}

impl BrokerWatch {
    fn lock(&self) -> MutexGuard<'_, BrokerState> {
        self.state
            .lock()
            .expect("no thread panics with what is known of workers")
    }

    /// Measures every queue, by the daemon's name of it.
    fn measure_all(&self, state: &BrokerState, now: Instant) -> Vec<(String, Capacity)> {
        let queues = self.broker.queues.iter();
        queues
            .map(|queue| (queue.queue.clone(), state.measure(&queue.name, now)))
            .collect()
    }
}

impl WorkerRegistry {
    /// Makes a registry of the workers of these brokers. `bus` hears when a queue can take more runs.
    pub fn new(brokers: Vec<WatchedBroker>, bus: EventBus) -> Self {
        let brokers = brokers.into_iter().map(|broker| BrokerWatch {
            broker,
            state: Mutex::default(),
            wanted: Notify::new(),
        });
        Self {
            brokers: brokers.collect(),
            bus,
        }
    }

    fn find(&self, broker: &str) -> Option<(usize, &BrokerWatch)> {
        let mut brokers = self.brokers.iter().enumerate();
        brokers.find(|(_, watch)| watch.broker.name == broker)
    }

    /// Finds a queue by the daemon's name of it.
    fn find_queue(&self, queue: &str) -> Option<(&BrokerWatch, &WatchedQueue)> {
        self.brokers.iter().find_map(|watch| {
            let mut queues = watch.broker.queues.iter();
            Some((watch, queues.find(|watched| watched.queue == queue)?))
        })
    }

    /// Measures what the workers that listen to a Celery queue can take. What is older than a moment is asked for again.
    pub fn capacity(&self, broker: &str, queue: &str) -> Capacity {
        let Some((_, watch)) = self.find(broker) else {
            return Capacity::default();
        };
        let now = Instant::now();
        let state = watch.lock();
        if state.asked.is_none_or(|asked| now.duration_since(asked) >= ASK_SOON) {
            watch.wanted.notify_one();
        }
        state.measure(queue, now)
    }

    /// Judges a worker of a broker by what was heard of it; `None` for one that is not known.
    pub(super) fn judge_worker(&self, broker: &str, hostname: &str) -> Option<WorkerState> {
        let (_, watch) = self.find(broker)?;
        let state = watch.lock();
        let worker = state.workers.get(hostname)?;
        Some(state.judge(worker, Instant::now()))
    }

    /// Asks the workers of a broker soon: something may have changed that no event has said, as after a reconnect.
    pub fn recheck(&self, broker: &str) {
        if let Some((_, watch)) = self.find(broker) {
            watch.wanted.notify_one();
        }
    }

    /// Notes that a worker has started: it is asked for its queues at once.
    pub fn note_online(&self, broker: &str, hostname: &str, version: Option<&str>) {
        let Some((_, watch)) = self.find(broker) else { return };
        let mut state = watch.lock();
        if let Some(worker) = state.workers.get_mut(hostname) {
            worker.beat = Some(Instant::now());
            worker.newest = WorkerBeat {
                version: version.map(str::to_owned),
                ..WorkerBeat::default()
            };
        }
        watch.wanted.notify_one();
    }

    /// Notes a heartbeat. A worker that is not known yet is asked for its queues.
    pub fn note_beat(&self, broker: &str, hostname: &str, beat: WorkerBeat) {
        let Some((_, watch)) = self.find(broker) else { return };
        let now = Instant::now();
        let mut state = watch.lock();
        let known = state.workers.get_mut(hostname).filter(|worker| !worker.has_stopped);
        let Some(worker) = known else {
            watch.wanted.notify_one();
            return;
        };
        worker.beat = Some(now);
        worker.heard = now;
        worker.heard_at = Timestamp::now();
        worker.newest = beat;
    }

    /// Notes that a worker has said that it stops.
    pub fn note_offline(&self, broker: &str, hostname: &str) {
        let Some((_, watch)) = self.find(broker) else { return };
        if let Some(worker) = watch.lock().workers.get_mut(hostname) {
            worker.has_stopped = true;
            worker.has_answered = false;
            worker.newest.active = None;
        }
        watch.wanted.notify_one();
    }

    /// Shows a run that was sent to a Celery queue, until the mark is dropped. Returns `None` for a broker that is not
    /// watched.
    pub fn add_run(self: &Arc<Self>, broker: &str, queue: &str, stage: StageOnWorker) -> Option<RunMark> {
        let (index, watch) = self.find(broker)?;
        let message = stage.message_id.clone();
        let run = SentRun {
            queue: queue.to_owned(),
            stage,
        };
        watch.lock().runs.insert(message.clone(), run);
        Some(RunMark {
            registry: Arc::clone(self),
            index,
            message,
        })
    }

    /// Counts the brokers.
    pub(super) fn count_brokers(&self) -> usize {
        self.brokers.len()
    }

    pub(super) fn broker(&self, index: usize) -> &WatchedBroker {
        &self.brokers[index].broker
    }

    /// Takes what the workers of a broker have answered.
    pub(super) fn take_answer(&self, index: usize, answer: BrokerAnswer, now: Instant) {
        let watch = &self.brokers[index];
        let mut state = watch.lock();
        let before = watch.measure_all(&state, now);
        if state.error.take().is_some() {
            tracing::info!(broker = watch.broker.name, "the broker of Celery workers answers again");
        }
        state.asked = Some(now);
        state.asked_at = Some(Timestamp::now());
        state.mute = answer.mute;
        state.depths = answer.depths;
        for worker in state.workers.values_mut() {
            worker.has_answered = false;
        }
        for worker in answer.workers {
            state.note_answer(worker, now);
        }
        let mut workers = std::mem::take(&mut state.workers);
        workers.retain(|_, worker| state.judge(worker, now).is_listening() || now.duration_since(worker.heard) < KEPT);
        state.workers = workers;
        let after = watch.measure_all(&state, now);
        drop(state);
        self.report_changes(watch, &before, &after);
    }

    /// Notes that the workers of a broker could not be asked.
    pub(super) fn note_failure(&self, index: usize, error: &str, now: Instant) {
        let watch = &self.brokers[index];
        let mut state = watch.lock();
        if state.error.as_deref() != Some(error) {
            tracing::warn!(
                broker = watch.broker.name,
                error,
                "the broker of Celery workers does not answer"
            );
        }
        state.error = Some(error.to_owned());
        state.asked = Some(now);
        state.depths.clear();
    }

    /// Returns how long the next question to the workers of a broker may wait.
    pub(super) fn find_pause(&self, index: usize, now: Instant) -> Duration {
        let watch = &self.brokers[index];
        let state = watch.lock();
        let is_closed = |queue: &WatchedQueue| state.measure(&queue.name, now).slots == 0;
        match watch.broker.queues.iter().any(is_closed) {
            true => ASK_SOON,
            false => ASK_EVERY,
        }
    }

    /// Waits until a question to the workers of a broker is wanted.
    pub(super) async fn question_wanted(&self, index: usize) {
        self.brokers[index].wanted.notified().await;
    }

    /// Wakes what waits for a queue that can take more, and logs where nobody listens any more.
    fn report_changes(&self, watch: &BrokerWatch, before: &[(String, Capacity)], after: &[(String, Capacity)]) {
        for ((queue, before), (_, after)) in before.iter().zip(after) {
            if after.slots > before.slots {
                self.bus.run_queued(queue);
            }
            match (before.listeners, after.listeners) {
                (0, 1..) => tracing::info!(broker = watch.broker.name, queue, "Celery workers listen"),
                (1.., 0) => tracing::warn!(broker = watch.broker.name, queue, "no Celery worker listens any more"),
                _ => {}
            }
        }
    }
}

impl WorkerDirectory for WorkerRegistry {
    fn snapshot(&self) -> WorkersReport {
        let now = Instant::now();
        let mut report = WorkersReport::default();
        for watch in &self.brokers {
            let state = watch.lock();
            let broker = &watch.broker.name;
            report.brokers.push(BrokerSeen {
                broker: broker.clone(),
                up: state.asked_at.is_some() && state.error.is_none(),
                error: state.error.clone(),
                asked_at: state.asked_at,
                mute: state.mute,
            });
            let queues = watch.broker.queues.iter();
            report
                .queues
                .extend(queues.map(|queue| describe_queue(watch, &state, queue, now)));
            let workers = state.workers.iter();
            report.workers.extend(workers.map(|(hostname, worker)| WorkerSeen {
                hostname: hostname.clone(),
                broker: broker.clone(),
                state: state.judge(worker, now),
                queues: worker.answer.queues.clone(),
                pool: worker.answer.pool.clone(),
                concurrency: worker.answer.concurrency,
                active: worker.newest.active,
                processed: worker.newest.processed,
                version: worker.newest.version.clone(),
                heard_at: Some(worker.heard_at),
            }));
        }
        report
    }

    fn find_reason(&self, queue: &str, waiting: u64) -> Option<String> {
        let (watch, queue) = self.find_queue(queue)?;
        let state = watch.lock();
        state.find_reason(&watch.broker.name, &queue.name, waiting, Instant::now())
    }

    fn count_slots(&self, queue: &str) -> Option<u32> {
        let (watch, queue) = self.find_queue(queue)?;
        Some(watch.lock().measure(&queue.name, Instant::now()).slots)
    }
}

/// Describes a queue, but for what Redis knows of it.
fn describe_queue(watch: &BrokerWatch, state: &BrokerState, queue: &WatchedQueue, now: Instant) -> WorkerQueue {
    let listeners = state.list_listeners(&queue.name, now);
    let runs = state.runs.values().filter(|run| run.queue == queue.name);
    WorkerQueue {
        name: queue.name.clone(),
        broker: watch.broker.name.clone(),
        queue: queue.queue.clone(),
        depth: state.depths.get(&queue.name).copied(),
        waiting: 0,
        in_flight: 0,
        slots: state.measure(&queue.name, now).slots,
        listeners: listeners
            .iter()
            .map(|(worker, _)| worker.answer.hostname.clone())
            .collect(),
        reason: None,
        stages: runs.map(|run| run.stage.clone()).collect(),
    }
}

impl RunMark {
    /// Notes which worker runs it.
    pub fn note_hostname(&self, hostname: &str) {
        let mut state = self.registry.brokers[self.index].lock();
        if let Some(run) = state.runs.get_mut(&self.message) {
            run.stage.hostname = Some(hostname.to_owned());
        }
    }
}

impl Drop for RunMark {
    fn drop(&mut self) {
        self.registry.brokers[self.index].lock().runs.remove(&self.message);
    }
}

#[cfg(test)]
mod tests;
