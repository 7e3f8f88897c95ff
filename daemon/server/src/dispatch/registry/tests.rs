//! The registry hears what workers answer, and judges by it.

use std::collections::HashMap;

use onceover_celery::BrokerSettings;
use onceover_types::RunId;

use super::*;
use crate::dispatch::known::{SILENT, WorkerAnswer};

const BROKER: &str = "redis://broker:6379/0";
const QUEUE: &str = "faster_whisper_queue";
const OWN: &str = "celery:faster_whisper_queue";

fn registry() -> (Arc<WorkerRegistry>, EventBus) {
    let bus = EventBus::default();
    let broker = WatchedBroker {
        name: BROKER.into(),
        client: CeleryClient::new(&BrokerSettings::parse(BROKER, None).unwrap()),
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
    registry.take_answer(0, answer(vec![worker("a@x", 2)], 0), Instant::now());
    let beat = WorkerBeat {
        version: Some("5.3.4".into()),
        active: Some(1),
        processed: Some(8),
    };
    registry.note_beat(BROKER, "a@x", beat);
    registry.take_answer(0, answer(vec![worker("a@x", 2)], 0), Instant::now());
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

#[test]
fn a_worker_that_has_not_named_its_queues_in_time_keeps_them() {
    let (registry, _) = registry();
    registry.take_answer(0, answer(vec![worker("a@x", 2)], 0), Instant::now());
    let nameless = WorkerAnswer {
        queues: Vec::new(),
        ..worker("a@x", 2)
    };
    registry.take_answer(0, answer(vec![nameless.clone()], 1), Instant::now());
    assert_eq!(registry.capacity(BROKER, QUEUE).listeners, 1);
    registry.take_answer(0, answer(vec![nameless], 0), Instant::now());
    assert_eq!(
        registry.capacity(BROKER, QUEUE).listeners,
        0,
        "it has said that it has none"
    );
}
