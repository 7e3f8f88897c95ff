//! What is known of the workers of one broker, and what follows from it. Silence is no verdict: a worker with the pool
//! `solo` answers nothing while it runs a task. One that does not answer counts as a listener for as long as its
//! heartbeats come, or the broker knows of a connected worker that was silent.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use onceover_limits::Limit;
use onceover_types::Timestamp;
use onceover_wire::{StageOnWorker, WorkerState};

/// In this time a worker sends three heartbeats.
pub(super) const SILENT: Duration = Duration::from_secs(6);
/// Workers of one broker that are remembered.
pub(crate) const MOST_WORKERS: usize = 5_000;
/// Workers that a reason names.
const MOST_NAMED: usize = 5;

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
pub(super) struct KnownWorker {
    pub(super) answer: WorkerAnswer,
    /// Whether it has answered the last question.
    pub(super) has_answered: bool,
    pub(super) has_stopped: bool,
    pub(super) newest: WorkerBeat,
    /// When its last heartbeat came; `None` for one that sends none.
    pub(super) beat: Option<Instant>,
    pub(super) heard: Instant,
    pub(super) heard_at: Timestamp,
}

/// A run that was sent.
#[derive(Debug)]
pub(super) struct SentRun {
    /// The Celery queue.
    pub(super) queue: String,
    pub(super) stage: StageOnWorker,
}

/// What is known of the workers of one broker.
#[derive(Debug, Default)]
pub(super) struct BrokerState {
    /// When its workers were asked last, with or without success.
    pub(super) asked: Option<Instant>,
    pub(super) asked_at: Option<Timestamp>,
    pub(super) error: Option<String>,
    pub(super) mute: u32,
    pub(super) workers: BTreeMap<String, KnownWorker>,
    pub(super) depths: HashMap<String, u64>,
    /// By message id.
    pub(super) runs: BTreeMap<String, SentRun>,
}

impl BrokerState {
    /// Judges a worker by what was heard of it.
    pub(super) fn judge(&self, worker: &KnownWorker, now: Instant) -> WorkerState {
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
    pub(super) fn list_listeners(&self, queue: &str, now: Instant) -> Vec<(&KnownWorker, WorkerState)> {
        let judged = self.workers.values().map(|worker| (worker, self.judge(worker, now)));
        let listens = |worker: &KnownWorker| worker.answer.queues.iter().any(|name| name == queue);
        judged
            .filter(|(worker, state)| state.is_listening() && listens(worker))
            .collect()
    }

    /// Measures what the workers that listen to a queue can take.
    pub(super) fn measure(&self, queue: &str, now: Instant) -> Capacity {
        let listeners = self.list_listeners(queue, now);
        let mute = listeners.iter().filter(|(_, state)| *state == WorkerState::Mute);
        let watched = self.depths.keys().map(String::as_str);
        let busy: Vec<&str> = watched
            .filter(|other| *other != queue && self.has_messages(other))
            .collect();
        let room = listeners
            .iter()
            .map(|(worker, _)| find_share(worker, &busy))
            .fold(0, u32::saturating_add);
        let is_open = !listeners.is_empty() && self.error.is_none();
        Capacity {
            listeners: count(listeners.len()),
            slots: if is_open { room.saturating_add(1) } else { 0 },
            mute: count(mute.count()),
        }
    }

    /// Whether messages wait in a queue, or this daemon has sent any that have not ended.
    fn has_messages(&self, queue: &str) -> bool {
        self.depths.get(queue).is_some_and(|depth| *depth > 0) || self.runs.values().any(|run| run.queue == queue)
    }

    /// Says why nothing of a queue is sent; `None` while a worker listens.
    pub(super) fn find_reason(&self, broker: &str, queue: &str, waiting: u64, now: Instant) -> Option<String> {
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

    /// Takes what one worker has answered. One that has not named its queues in time still listens to those it had.
    pub(super) fn note_answer(&mut self, mut answer: WorkerAnswer, now: Instant) {
        let hostname = answer.hostname.clone();
        if self.workers.len() >= MOST_WORKERS && !self.workers.contains_key(&hostname) {
            Limit::KnownWorkers.reached();
            return;
        }
        let mut known = self.workers.remove(&hostname).filter(|worker| !worker.has_stopped);
        if let Some(known) = known.as_mut().filter(|_| self.mute > 0 && answer.queues.is_empty()) {
            answer.queues = std::mem::take(&mut known.answer.queues);
        }
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
        self.workers.insert(hostname, worker);
    }
}

/// Finds what of a worker's concurrency is for one of its queues, of which these others are `busy`. A queue in which there
/// is nothing leaves its share to the others.
fn find_share(worker: &KnownWorker, busy: &[&str]) -> u32 {
    let queues = worker.answer.queues.iter();
    let others = queues.filter(|queue| busy.contains(&queue.as_str())).count();
    worker
        .answer
        .concurrency
        .max(1)
        .div_ceil(count(others).saturating_add(1))
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(hostname: &str, queues: &[&str], concurrency: u32) -> WorkerAnswer {
        WorkerAnswer {
            hostname: hostname.to_owned(),
            queues: queues.iter().map(|queue| (*queue).to_owned()).collect(),
            concurrency,
            ..WorkerAnswer::default()
        }
    }

    #[test]
    fn a_worker_of_several_queues_is_shared_between_those_that_have_messages() {
        let now = Instant::now();
        let mut state = BrokerState {
            depths: [("a", 0), ("b", 0), ("c", 3)]
                .map(|(queue, depth)| (queue.to_owned(), depth))
                .into(),
            ..BrokerState::default()
        };
        state.note_answer(answer("w1@x", &["a", "b"], 4), now);
        state.note_answer(answer("w2@x", &["a", "c"], 3), now);
        let slots = |state: &BrokerState, queue: &str| state.measure(queue, now).slots;
        // Nothing is in `b`; what is in `c` takes half of the second worker, rounded up.
        assert_eq!([slots(&state, "a"), slots(&state, "b"), slots(&state, "c")], [7, 5, 4]);
        state.depths.insert("a".to_owned(), 1);
        state.depths.insert("b".to_owned(), 1);
        assert_eq!([slots(&state, "a"), slots(&state, "b"), slots(&state, "c")], [5, 3, 3]);
    }

    #[test]
    fn more_workers_than_are_remembered_are_passed_over_and_known_ones_are_not() {
        let now = Instant::now();
        let mut state = BrokerState::default();
        for number in 0..MOST_WORKERS {
            state.note_answer(answer(&format!("w{number}@x"), &["a"], 1), now);
        }
        let before = Limit::KnownWorkers.times_reached();
        state.note_answer(answer("other@x", &["a"], 1), now);
        assert!(Limit::KnownWorkers.times_reached() > before);
        state.note_answer(answer("w0@x", &["b"], 1), now);
        assert_eq!(state.workers.len(), MOST_WORKERS);
        assert_eq!(state.workers["w0@x"].answer.queues, ["b"]);
    }
}
