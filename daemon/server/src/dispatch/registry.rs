//! Which Celery workers there are, which queues they listen to and what they can run: what dispatching goes by, and what
//! people are shown. It gets what workers answer from `watch`, and what their events say; it asks nobody itself, and holds
//! a lock for the time of a copy alone.
//!
//! Silence is no verdict: a worker with the pool `solo` answers nothing while it runs a task. One that does not answer
//! counts as a listener for as long as its heartbeats come or the broker knows of a connected worker that was silent.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use onceover_celery::BrokerSettings;
use onceover_types::Timestamp;
use onceover_wire::{BrokerSeen, StageOnWorker, WorkerQueue, WorkerSeen, WorkerState, WorkersReport};
use tokio::sync::Notify;

use crate::{events::EventBus, services::WorkerDirectory};

/// Between two questions to the workers of a broker.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Between two questions while a queue has no listener, and the oldest answer that runs are sent by.
const ASK_SOON: Duration = Duration::from_millis(1_500);
/// In this time a worker sends three heartbeats.
const SILENT: Duration = Duration::from_secs(6);
/// How long a worker that has stopped or is lost is shown.
const KEPT: Duration = Duration::from_secs(600);
/// Workers that a reason names.
const MOST_NAMED: usize = 5;

/// A Celery queue that stages are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedQueue {
    /// The name that workers listen by.
    pub name: String,
    /// The daemon's queue, in which stages wait.
    pub queue: String,
}

/// A broker whose workers are watched.
#[derive(Debug, Clone)]
pub struct WatchedBroker {
    /// What the configuration and the journal call it: its URL without user or password.
    pub name: String,
    pub settings: BrokerSettings,
    pub queues: Vec<WatchedQueue>,
}

/// What the workers that listen to a queue can take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    pub listeners: u32,
    /// Runs that may be in flight at a time, over all daemons. 0 while nobody listens or the broker does not answer.
    pub slots: u32,
    /// Of the listeners, those that do not answer.
    pub mute: u32,
}

/// What one worker answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct WorkerAnswer {
    pub(super) hostname: String,
    pub(super) queues: Vec<String>,
    pub(super) pool: Option<String>,
    /// Whether it is silent while it runs a task.
    pub(super) is_solo: bool,
    pub(super) concurrency: u32,
    pub(super) version: Option<String>,
}

/// What the heartbeat of a worker says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerBeat {
    pub version: Option<String>,
    /// Tasks that run.
    pub active: Option<u64>,
    /// Tasks that have ended since it started.
    pub processed: Option<u64>,
}

/// What is heard of the workers of a broker when they are asked.
#[derive(Debug, Default)]
pub(super) struct BrokerAnswer {
    pub(super) workers: Vec<WorkerAnswer>,
    /// Workers that the question reached and that did not answer it.
    pub(super) mute: u32,
    /// Messages that wait, by Celery queue.
    pub(super) depths: HashMap<String, u64>,
}

/// A worker that has answered at least once.
#[derive(Debug)]
struct KnownWorker {
    answer: WorkerAnswer,
    /// Whether it has answered the last question.
    has_answered: bool,
    has_stopped: bool,
    newest: WorkerBeat,
    /// When its last heartbeat came; `None` for one that sends none.
    beat: Option<Instant>,
    heard: Instant,
    heard_at: Timestamp,
}

#[derive(Debug)]
struct SentRun {
    /// The Celery queue.
    queue: String,
    stage: StageOnWorker,
}

#[derive(Debug, Default)]
struct BrokerState {
    /// When its workers were asked last, with or without success.
    asked: Option<Instant>,
    asked_at: Option<Timestamp>,
    error: Option<String>,
    mute: u32,
    workers: BTreeMap<String, KnownWorker>,
    depths: HashMap<String, u64>,
    /// By message id.
    runs: BTreeMap<String, SentRun>,
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

impl BrokerState {
    /// Judges a worker by what was heard of it.
    fn judge(&self, worker: &KnownWorker, now: Instant) -> WorkerState {
        let beats = worker.beat.is_some_and(|beat| now.duration_since(beat) < SILENT);
        // One with other pools answers while it runs tasks, but not at once on a busy machine.
        let is_late = now.duration_since(worker.heard) < SILENT;
        match worker {
            KnownWorker { has_stopped: true, .. } => WorkerState::Offline,
            KnownWorker { has_answered: true, .. } => WorkerState::Online,
            _ if beats || self.mute > 0 && (worker.answer.is_solo || is_late) => WorkerState::Mute,
            _ => WorkerState::Lost,
        }
    }

    /// Lists the workers that listen to a queue, with how they are.
    fn list_listeners(&self, queue: &str, now: Instant) -> Vec<(&KnownWorker, WorkerState)> {
        let judged = self.workers.values().map(|worker| (worker, self.judge(worker, now)));
        let listens = |worker: &KnownWorker| worker.answer.queues.iter().any(|name| name == queue);
        judged
            .filter(|(worker, state)| state.is_listening() && listens(worker))
            .collect()
    }

    fn measure(&self, queue: &str, now: Instant) -> Capacity {
        let listeners = self.list_listeners(queue, now);
        let mute = listeners.iter().filter(|(_, state)| *state == WorkerState::Mute);
        let room = listeners
            .iter()
            .map(|(worker, _)| worker.answer.concurrency.max(1))
            .fold(0, u32::saturating_add);
        let is_open = !listeners.is_empty() && self.error.is_none();
        Capacity {
            listeners: count(listeners.len()),
            slots: if is_open { room.saturating_add(1) } else { 0 },
            mute: count(mute.count()),
        }
    }

    /// Says why nothing of a queue is sent; `None` while a worker listens.
    fn find_reason(&self, broker: &str, queue: &str, waiting: u64, now: Instant) -> Option<String> {
        if let Some(error) = &self.error {
            return Some(format!(
                "the broker {broker} does not answer: {error} ({waiting} waiting)"
            ));
        }
        if self.asked.is_none() {
            return Some(format!(
                "the workers of {broker} have not been asked yet ({waiting} waiting)"
            ));
        }
        if self.measure(queue, now).listeners > 0 {
            return None;
        }
        let mut seen: Vec<_> = self.workers.keys().take(MOST_NAMED).cloned().collect();
        if self.workers.len() > MOST_NAMED {
            seen.push(format!("{} more", self.workers.len() - MOST_NAMED));
        }
        let seen = match seen.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        let mute = match self.mute {
            0 => String::new(),
            mute => format!("; {mute} connected without an answer"),
        };
        Some(format!(
            "no worker is listening on {queue} ({waiting} waiting; workers seen: {seen}{mute})"
        ))
    }
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

    /// Describes brokers, queues and workers, but for what Redis knows of the queues.
    pub fn snapshot(&self) -> WorkersReport {
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
                version: worker.newest.version.clone().or_else(|| worker.answer.version.clone()),
                heard_at: Some(worker.heard_at),
            }));
        }
        report
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
            note_answer(&mut state, worker, now);
        }
        let listening: Vec<String> = {
            let judged = state.workers.iter();
            let kept = judged.filter(|(_, worker)| {
                state.judge(worker, now).is_listening() || now.duration_since(worker.heard) < KEPT
            });
            kept.map(|(hostname, _)| hostname.clone()).collect()
        };
        state.workers.retain(|hostname, _| listening.contains(hostname));
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

/// Takes what one worker has answered.
fn note_answer(state: &mut BrokerState, answer: WorkerAnswer, now: Instant) {
    let hostname = answer.hostname.clone();
    let known = state.workers.remove(&hostname).filter(|worker| !worker.has_stopped);
    let (newest, beat) = known.map_or((WorkerBeat::default(), None), |worker| (worker.newest, worker.beat));
    let worker = KnownWorker {
        answer,
        has_answered: true,
        has_stopped: false,
        newest,
        beat,
        heard: now,
        heard_at: Timestamp::now(),
    };
    state.workers.insert(hostname, worker);
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl WorkerDirectory for WorkerRegistry {
    fn snapshot(&self) -> WorkersReport {
        Self::snapshot(self)
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
mod tests {
    use onceover_types::RunId;

    use super::*;

    const BROKER: &str = "redis://broker:6379/0";
    const QUEUE: &str = "faster_whisper_queue";
    const OWN: &str = "celery:faster_whisper_queue";

    fn registry() -> (Arc<WorkerRegistry>, EventBus) {
        let bus = EventBus::default();
        let broker = WatchedBroker {
            name: BROKER.into(),
            settings: BrokerSettings::parse(BROKER, None).unwrap(),
            queues: vec![WatchedQueue {
                name: QUEUE.into(),
                queue: OWN.into(),
            }],
        };
        (Arc::new(WorkerRegistry::new(vec![broker], bus.clone())), bus)
    }

    fn worker(hostname: &str, concurrency: u32) -> WorkerAnswer {
        WorkerAnswer {
            hostname: hostname.into(),
            queues: vec![QUEUE.into()],
            pool: Some("prefork".into()),
            is_solo: false,
            concurrency,
            version: Some("5.7.0".into()),
        }
    }

    fn answer(workers: Vec<WorkerAnswer>, mute: u32) -> BrokerAnswer {
        BrokerAnswer {
            workers,
            mute,
            depths: HashMap::from([(QUEUE.to_owned(), 3)]),
        }
    }

    fn state_of(registry: &WorkerRegistry, hostname: &str) -> WorkerState {
        let report = registry.snapshot();
        let found = report.workers.iter().find(|worker| worker.hostname == hostname);
        found
            .unwrap_or_else(|| panic!("{hostname} is not shown: {report:?}"))
            .state
    }

    #[test]
    fn a_queue_takes_what_its_listeners_can_run_and_one_more_and_nothing_without_any() {
        let (registry, _) = registry();
        assert_eq!(registry.capacity(BROKER, QUEUE), Capacity::default());
        registry.take_answer(0, answer(vec![worker("a@x", 2), worker("b@x", 4)], 0), Instant::now());
        let capacity = registry.capacity(BROKER, QUEUE);
        assert_eq!((capacity.listeners, capacity.slots, capacity.mute), (2, 7, 0));
        assert_eq!(registry.capacity(BROKER, "other_queue"), Capacity::default());
        assert_eq!(registry.count_slots(OWN), Some(7));
        registry.note_failure(0, "connection refused", Instant::now());
        let capacity = registry.capacity(BROKER, QUEUE);
        assert_eq!((capacity.listeners, capacity.slots), (2, 0), "nothing can be sent");
    }

    #[test]
    fn the_reason_names_the_queue_what_waits_and_the_workers_that_were_seen() {
        let (registry, _) = registry();
        let reason = |waiting| registry.find_reason(OWN, waiting);
        assert!(reason(1).unwrap().contains("have not been asked yet"));
        registry.take_answer(0, answer(Vec::new(), 0), Instant::now());
        assert_eq!(
            reason(3).unwrap(),
            "no worker is listening on faster_whisper_queue (3 waiting; workers seen: none)"
        );
        let other = WorkerAnswer {
            queues: vec!["ffmpeg_queue".into()],
            ..worker("b@x", 1)
        };
        registry.take_answer(0, answer(vec![other], 0), Instant::now());
        assert_eq!(
            reason(1).unwrap(),
            "no worker is listening on faster_whisper_queue (1 waiting; workers seen: b@x)"
        );
        registry.take_answer(0, answer(vec![worker("a@x", 2)], 0), Instant::now());
        assert_eq!(reason(1), None);
        assert_eq!(registry.find_reason("cpu", 1), None, "no queue of workers");
        registry.note_failure(0, "connection refused", Instant::now());
        assert!(reason(1).unwrap().contains("does not answer: connection refused"));
    }

    #[test]
    fn a_worker_that_is_silent_is_a_listener_while_it_beats_or_the_broker_knows_of_a_silent_one() {
        let (registry, _) = registry();
        let start = Instant::now();
        let solo = WorkerAnswer {
            pool: Some("solo".into()),
            is_solo: true,
            ..worker("solo@x", 1)
        };
        registry.take_answer(0, answer(vec![solo.clone()], 0), start);
        // The question has reached it, and it runs a task.
        registry.take_answer(0, answer(Vec::new(), 1), start);
        assert_eq!(state_of(&registry, "solo@x"), WorkerState::Mute);
        assert_eq!(registry.capacity(BROKER, QUEUE).mute, 1);
        assert_eq!(registry.find_reason(OWN, 1), None);
        // Nobody else is connected: it was killed.
        registry.take_answer(0, answer(Vec::new(), 0), start);
        assert_eq!(state_of(&registry, "solo@x"), WorkerState::Lost);
        assert!(registry.find_reason(OWN, 1).unwrap().contains("workers seen: solo@x"));
        registry.note_beat(BROKER, "solo@x", WorkerBeat::default());
        assert_eq!(state_of(&registry, "solo@x"), WorkerState::Mute);
    }

    #[test]
    fn a_prefork_worker_that_was_killed_is_lost_also_beside_a_silent_one() {
        let (registry, _) = registry();
        let start = Instant::now();
        registry.take_answer(0, answer(vec![worker("a@x", 2)], 0), start);
        registry.take_answer(0, answer(Vec::new(), 1), start + SILENT);
        let state = registry.brokers[0].lock();
        assert_eq!(state.judge(&state.workers["a@x"], start + SILENT), WorkerState::Lost);
    }

    #[test]
    fn a_heartbeat_says_what_a_worker_runs_and_its_version() {
        let (registry, _) = registry();
        let unknown = WorkerAnswer {
            version: None,
            ..worker("a@x", 2)
        };
        registry.take_answer(0, answer(vec![unknown.clone()], 0), Instant::now());
        let beat = WorkerBeat {
            version: Some("5.3.4".into()),
            active: Some(1),
            processed: Some(8),
        };
        registry.note_beat(BROKER, "a@x", beat);
        registry.take_answer(0, answer(vec![unknown], 0), Instant::now());
        let shown = registry.snapshot().workers.remove(0);
        assert_eq!((shown.active, shown.processed), (Some(1), Some(8)));
        assert_eq!(shown.version.as_deref(), Some("5.3.4"));
    }

    #[test]
    fn a_worker_that_stops_is_no_listener_at_once_and_is_shown_for_a_while() {
        let (registry, _) = registry();
        let start = Instant::now();
        registry.take_answer(0, answer(vec![worker("a@x", 2)], 0), start);
        registry.note_offline(BROKER, "a@x");
        assert_eq!(state_of(&registry, "a@x"), WorkerState::Offline);
        assert_eq!(registry.capacity(BROKER, QUEUE).slots, 0);
        // A heartbeat that was under way does not bring it back; an answer does.
        registry.note_beat(BROKER, "a@x", WorkerBeat::default());
        assert_eq!(state_of(&registry, "a@x"), WorkerState::Offline);
        registry.take_answer(0, answer(Vec::new(), 0), start + KEPT * 2);
        assert!(registry.snapshot().workers.is_empty());
        registry.take_answer(0, answer(vec![worker("a@x", 2)], 0), start + KEPT * 2);
        assert_eq!(state_of(&registry, "a@x"), WorkerState::Online);
    }

    #[tokio::test]
    async fn a_queue_that_can_take_more_wakes_the_claims() {
        let (registry, bus) = registry();
        let is_wanted = async || {
            let wanted = tokio::time::timeout(Duration::ZERO, bus.run_wanted()).await;
            wanted.is_ok_and(|wanted| wanted.names(OWN))
        };
        registry.take_answer(0, answer(vec![worker("a@x", 2)], 0), Instant::now());
        assert!(is_wanted().await, "a worker listens");
        registry.take_answer(0, answer(vec![worker("a@x", 2)], 0), Instant::now());
        assert!(!is_wanted().await, "nothing has changed");
        registry.take_answer(0, answer(vec![worker("a@x", 2), worker("b@x", 1)], 0), Instant::now());
        assert!(is_wanted().await, "a second one listens");
    }

    #[test]
    fn workers_are_asked_sooner_while_a_queue_has_no_listener() {
        let (registry, _) = registry();
        let start = Instant::now();
        assert_eq!(registry.find_pause(0, start), ASK_SOON);
        registry.take_answer(0, answer(vec![worker("a@x", 2)], 0), start);
        assert_eq!(registry.find_pause(0, start), ASK_EVERY);
        registry.note_offline(BROKER, "a@x");
        assert_eq!(registry.find_pause(0, start), ASK_SOON);
    }

    #[test]
    fn a_run_is_shown_with_its_worker_until_it_ends() {
        let (registry, _) = registry();
        registry.take_answer(0, answer(Vec::new(), 0), Instant::now());
        let stage = StageOnWorker {
            task_id: "t1".parse().unwrap(),
            task_name: "faster_whisper.transcribe_audio".parse().unwrap(),
            run_id: RunId::generate(),
            attempt: 1,
            message_id: "60b11c95-7539-49f0-8651-fa75c6a6af3f".into(),
            hostname: None,
            sent_at: Timestamp::from_millis(0),
        };
        assert!(registry.add_run("redis://other", QUEUE, stage.clone()).is_none());
        let mark = registry.add_run(BROKER, QUEUE, stage).unwrap();
        mark.note_hostname("a@x");
        let shown = registry.snapshot().queues.remove(0);
        assert_eq!((shown.depth, shown.stages.len()), (Some(3), 1));
        assert_eq!(shown.stages[0].hostname.as_deref(), Some("a@x"));
        drop(mark);
        assert!(registry.snapshot().queues[0].stages.is_empty());
    }
}
