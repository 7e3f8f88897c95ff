//! The page of workers: what it reads, what it shows, and the way to a stage that a worker runs.

use onceover_tui::{
    model::{Model, Page},
    update::{Call, Effect, Refusal, Reply, UiEvent, update},
};
use onceover_types::RunId;
use onceover_wire::{
    BrokerSeen, StageOnWorker, WarmProcess, WarmState, WorkerQueue, WorkerSeen, WorkerState, WorkersReport,
};

use crate::fixture::*;

const BROKER: &str = "redis://broker:6379/0";

fn queue(name: &str, listeners: &[&str], reason: Option<&str>) -> WorkerQueue {
    WorkerQueue {
        name: name.into(),
        broker: BROKER.into(),
        queue: format!("celery:{name}"),
        depth: Some(3),
        waiting: 2,
        in_flight: listeners.len() as u64,
        slots: if listeners.is_empty() { 0 } else { 3 },
        listeners: listeners.iter().map(ToString::to_string).collect(),
        reason: reason.map(String::from),
        stages: Vec::new(),
    }
}

fn worker(hostname: &str, state: WorkerState) -> WorkerSeen {
    WorkerSeen {
        hostname: hostname.into(),
        broker: BROKER.into(),
        state,
        queues: vec!["faster_whisper_queue".into()],
        pool: Some("prefork".into()),
        concurrency: 2,
        active: Some(1),
        processed: Some(70),
        version: Some("5.7.0".into()),
        heard_at: Some(at(-4.0)),
    }
}

fn report() -> WorkersReport {
    let mut whisper = queue("faster_whisper_queue", &["whisper@gpu-1"], None);
    whisper.stages = vec![StageOnWorker {
        task_id: task_id("lecture-07"),
        task_name: node("faster_whisper.transcribe_audio"),
        run_id: RunId::generate(),
        attempt: 2,
        message_id: "60b11c95-7539-49f0-8651-fa75c6a6af3f".into(),
        hostname: Some("whisper@gpu-1".into()),
        sent_at: at(-90.0),
    }];
    let reason = "no worker is listening on indextts_queue (2 waiting; workers seen: whisper@gpu-1)";
    WorkersReport {
        brokers: vec![BrokerSeen {
            broker: BROKER.into(),
            up: true,
            error: None,
            asked_at: Some(at(0.0)),
            mute: 0,
        }],
        queues: vec![whisper, queue("indextts_queue", &[], Some(reason))],
        workers: vec![
            worker("whisper@gpu-1", WorkerState::Online),
            worker("whisper@gpu-2\u{1b}[31m", WorkerState::Lost),
        ],
        warm: Vec::new(),
    }
}

/// Opens the page, and the daemon answers.
fn open(size: (u16, u16), answer: Result<WorkersReport, Refusal>) -> Model {
    let mut model = dashboard(size);
    let effects = press(&mut model, "B");
    let id = id_of(&effects, |call| *call == Call::Workers);
    let reply = Reply::Workers(answer);
    update(&mut model, UiEvent::Reply { id, reply });
    model
}

fn asks_for_workers(effects: &[Effect]) -> bool {
    calls(effects).contains(&Call::Workers)
}

#[test]
fn queues_workers_and_what_they_run_are_shown_and_the_reason_where_nobody_listens() {
    let mut model = open((120, 36), Ok(report()));
    assert_shows(
        &model,
        &[
            "Workers · 1 listening",
            "faster_whisper_queue",
            "1 of 3",
            "2 waiting here · 3 in the broker",
            "lecture-07 › faster_whisper.transcri",
            "on whisper@gpu-1, attempt 2",
            "no worker is listening on indextts_queue",
            "● online",
            "prefork · 5.7.0 · faster_whisper_queue",
            "whisper@gpu-2␛[31m",
            "✖ lost",
            // All of the queue at the cursor.
            "1 of 3 that may be sent",
            "2 in celery:faster_whisper_queue",
        ],
    );
    press(&mut model, "<end><up>");
    assert_shows(
        &model,
        &[
            "it answers",
            "4 s ago",
            "70 tasks",
            "lecture-07 › faster_whisper.transcribe_audio",
        ],
    );
    press(&mut model, "<end>");
    assert_shows(&model, &["it does not answer and sends no heartbeat"]);
}

#[test]
fn processes_that_keep_their_models_are_shown_with_what_they_hold() {
    let report = WorkersReport {
        warm: vec![WarmProcess {
            task_name: node("faster_whisper.transcribe_audio"),
            device: Some("cuda".into()),
            state: WarmState::Idle,
            pid: 4711,
            runs: 3,
            memory: Some(1 << 30),
            gpu_memory: Some(3 << 30),
            started_at: at(-600.0),
            since: at(-4.0),
        }],
        ..WorkersReport::default()
    };
    let model = open((120, 36), Ok(report));
    assert_shows(
        &model,
        &[
            "faster_whisper.transcribe_audio",
            "● idle",
            "3 runs",
            "keeps its model here",
            "of the GPU",
            "it waits for a run",
            "4 s ago",
            "4711",
        ],
    );
}

#[test]
fn enter_goes_to_the_stage_that_a_worker_runs_and_esc_comes_back() {
    let mut model = open((120, 36), Ok(report()));
    assert_hides(&model, "enter stage");
    press(&mut model, "<enter>");
    assert_eq!(model.page, Page::Workers, "a queue is no stage");
    press(&mut model, "j");
    assert_shows(&model, &["enter stage"]);
    press(&mut model, "<enter>");
    assert_eq!(model.page, Page::Tasks);
    assert_eq!(model.tree.cursor.as_ref().unwrap().task.as_str(), "lecture-07");
    let effects = press(&mut model, "<esc>");
    assert_eq!(model.page, Page::Workers);
    assert!(asks_for_workers(&effects), "what was not read meanwhile is read");
    press(&mut model, "<esc>");
    assert_eq!(model.page, Page::Tasks);
}

#[test]
fn the_page_of_workers_is_read_every_five_seconds_while_it_is_open_and_not_otherwise() {
    let mut model = open((120, 36), Ok(report()));
    assert!(!asks_for_workers(&tick(&mut model, 4.0)), "too early");
    assert!(asks_for_workers(&tick(&mut model, 5.0)));
    press(&mut model, "<esc>");
    assert!(!asks_for_workers(&tick(&mut model, 60.0)), "it is closed");
}

#[test]
fn a_daemon_without_workers_and_one_that_refuses_say_so() {
    let model = open((120, 36), Ok(WorkersReport::default()));
    assert_shows(&model, &["no service of this daemon is run by Celery workers"]);
    let refusal = Refusal {
        status: Some(404),
        text: "there is nothing here".into(),
        ..Refusal::default()
    };
    let model = open((120, 36), Err(refusal));
    assert_shows(&model, &["there is nothing here"]);
    let mut silent = report();
    silent.brokers[0].up = false;
    silent.brokers[0].error = Some("connection refused".into());
    let model = open((120, 36), Ok(silent));
    assert_shows(&model, &["1 broker without answer"]);
}

#[test]
fn the_page_of_workers_at_two_sizes() {
    for size in [(120, 36), (60, 16)] {
        let model = open(size, Ok(report()));
        let name = format!("workers_{}x{}", size.0, size.1);
        insta::assert_snapshot!(name, screen(&model).join("\n"));
    }
}

#[test]
fn the_page_of_workers_is_drawn_at_any_size_in_ascii() {
    for size in [(1, 1), (2, 3), (5, 24), (12, 5), (40, 12), (80, 24), (300, 100)] {
        let mut model = open(size, Ok(report()));
        model.glyphs = onceover_tui::glyphs::Glyphs::Ascii;
        for line in screen(&model) {
            assert!(line.is_ascii(), "{size:?}: {line}");
        }
    }
}
