//! A small daemon's worth of data, and a dashboard to show it.

use indexmap::IndexMap;
use onceover_catalog::{Gpu, parse_node};
use onceover_tui::{
    key::parse_keys,
    model::{Model, store::RowsEnd},
    update::{Call, Effect, Reply, Snapshot, UiEvent, update},
    view::{text::lines_of, view},
};
use onceover_types::{CallbackStatus, Missing, NodeName, RunId, StageState, TaskId, TaskStatus, Timestamp};
use onceover_wire::{
    CallbackDelivery, CallbackPage, Event as Change, EventKind, LogLine, LogPage, NodeInfo, NodeList, RedisInfo,
    RedisMode, ReuseDecision, ReuseExplanation, ReuseInfo, ReuseRule, ReuseTotals, StageRow, StageSummary, StageView,
    SubmitResponse, SystemInfo, TaskCounts, TaskItem, TaskRow, TaskView,
};
use ratatui::{buffer::Buffer, layout::Rect};
use serde_json::value::RawValue;

/// 2026-11-22T12:06:01Z.
pub const NOW: i64 = 1_795_349_161_000;

pub fn at(seconds: f64) -> Timestamp {
    Timestamp::from_millis(NOW + (seconds * 1000.0) as i64)
}

pub fn task_id(text: &str) -> TaskId {
    TaskId::parse(text).unwrap()
}

pub fn node(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

pub fn stage(status: StageState) -> StageSummary {
    let ended = !status.in_flight();
    StageSummary {
        status,
        run_id: Some(RunId::parse("0190c0de-0000-7000-8000-000000000001").unwrap()),
        attempt: 1,
        revision: 1,
        queue: "cpu".into(),
        runner: Some("builtin".into()),
        progress: None,
        message: None,
        reason: Some("absent".into()),
        forced: false,
        reuse_hits: 0,
        joins: 0,
        saved_seconds: 0.0,
        queued_at: Some(at(-100.0)),
        started_at: (status != StageState::Pending).then(|| at(-90.0)),
        ended_at: ended.then(|| at(-60.0)),
        duration: if ended { 30.0 } else { 0.0 },
        error: None,
        callback_status: None,
        warnings: 0,
        warnings_retryable: false,
        damaged: None,
    }
}

pub fn item(id: &str, age: f64, stages: &[(&str, StageSummary)]) -> TaskItem {
    let stages: IndexMap<NodeName, StageSummary> =
        stages.iter().map(|(name, stage)| (node(name), stage.clone())).collect();
    let states = stages.values().map(|stage| (stage.status, stage.ended_at));
    TaskItem {
        task_id: task_id(id),
        status: TaskStatus::derive(states).unwrap_or(TaskStatus::Pending),
        created_at: at(-age),
        updated_at: at(-age),
        task_name: None,
        callback_status: None,
        disk_bytes: 0,
        stages,
        pipeline: None,
        damaged: None,
    }
}

/// The row of a task, as the daemon sends it.
pub fn row_of(item: TaskItem) -> TaskRow {
    let stages = item.stages.into_iter();
    TaskRow {
        task_id: item.task_id,
        status: item.status,
        created_ms: item.created_at.as_millis(),
        updated_ms: item.updated_at.as_millis(),
        callback_status: item.callback_status,
        stages: stages
            .map(|(node, stage)| StageRow::from_summary(node, stage))
            .collect(),
        pipeline: item.pipeline,
        damaged: item.damaged,
    }
}

/// A lecture under way, a clip that failed, one that waits, one that was reused, one cancelled.
pub fn items() -> Vec<TaskItem> {
    use StageState::*;
    let transcribe = StageSummary {
        progress: Some(62.0),
        queue: "gpu".into(),
        attempt: 2,
        message: Some("segment 42".into()),
        ..stage(Running)
    };
    let reused = StageSummary {
        reuse_hits: 4,
        joins: 1,
        saved_seconds: 120.0,
        ..stage(Success)
    };
    let failed = StageSummary {
        error: Some("no text found in 214 frames".into()),
        callback_status: Some(CallbackStatus::Failed),
        ..stage(Failed)
    };
    vec![
        item(
            "lecture-07",
            200.0,
            &[
                (
                    "ffmpeg.extract_audio",
                    StageSummary {
                        reuse_hits: 2,
                        ..stage(Success)
                    },
                ),
                ("faster_whisper.transcribe_audio", transcribe),
                ("wservice.generate_subtitle_files", stage(Pending)),
            ],
        ),
        item("clip_03", 300.0, &[("paddleocr.detect_subtitle_area", failed)]),
        item("podcast-112", 400.0, &[("ffmpeg.extract_audio", stage(Pending))]),
        item("trailer-v2", 500.0, &[("ffmpeg.extract_audio", reused)]),
        item("old", 600.0, &[("ffmpeg.extract_audio", stage(Cancelled))]),
    ]
}

pub fn system(seq: u64) -> SystemInfo {
    SystemInfo {
        version: "0.1.0".into(),
        instance: "a-1".into(),
        started_at: at(-9000.0),
        redis: RedisInfo {
            error: None,
            mode: RedisMode::Private,
            url: "redis+unix:///run/s.sock".into(),
            database: 0,
            up: true,
            latency_ms: Some(0.3),
            version: None,
            append_only: None,
        },
        events_channel: "onceover:0:events".into(),
        seq,
        tasks: TaskCounts {
            pending: 1,
            running: 1,
            completed: 1,
            failed: 1,
            cancelled: 1,
        },
        reuse: ReuseTotals {
            hits: 6,
            joins: 1,
            misses: 3,
            saved_seconds: 22_320.0,
        },
        share: "/data/share/workflows".into(),
        media_roots: Vec::new(),
    }
}

pub fn snapshot(items: Vec<TaskItem>, seq: u64) -> UiEvent {
    UiEvent::Snapshot(Box::new(Snapshot {
        system: system(seq),
        items,
        end: RowsEnd::Complete,
    }))
}

/// One change of a stage, as it comes over the wire.
pub fn change(seq: u64, task: &str, name: &str, kind: EventKind, stage: StageSummary) -> UiEvent {
    UiEvent::Change(Box::new(Change {
        v: 1,
        seq,
        ts: at(0.0),
        task_id: task_id(task),
        task_name: Some(node(name)),
        kind,
        stage: Some(stage),
        pipeline: None,
    }))
}

pub fn deleted(seq: u64, task: &str) -> UiEvent {
    UiEvent::Change(Box::new(Change {
        v: 1,
        seq,
        ts: at(0.0),
        task_id: task_id(task),
        task_name: None,
        kind: EventKind::Deleted,
        stage: None,
        pipeline: None,
    }))
}

pub fn lost(missing: onceover_tui::model::MissingPart) -> UiEvent {
    UiEvent::Lost {
        missing,
        reason: "connection refused".into(),
        retry_in_ms: 2_000,
    }
}

pub fn task_view(id: &str, name: &str, status: StageState) -> TaskView {
    let raw = |json: &str| RawValue::from_string(json.into()).unwrap();
    let view = StageView::from_summary(
        stage(status),
        raw(r#"{"video_path":"/v/강의.mp4","api_key":"***"}"#),
        raw(r#"{"audio_path":"/o/a.wav"}"#),
        None,
        None,
    );
    TaskView {
        workflow_id: task_id(id),
        task_id: task_id(id),
        status: status.into(),
        create_at: at(0.0),
        created_at: at(0.0),
        updated_at: at(0.0),
        input_params: None,
        shared_storage_path: "/data".into(),
        error: None,
        minio_files: None,
        callback_status: None,
        message: String::new(),
        stages: IndexMap::from([(node(name), view)]),
        task_name: None,
        output: None,
        duration: None,
        disk_bytes: 0,
    }
}

pub fn submitted(id: &str, info: ReuseInfo) -> SubmitResponse {
    SubmitResponse {
        task_id: task_id(id),
        status: TaskStatus::Pending,
        message: "accepted".into(),
        reuse_info: info,
        result: None,
        warnings: Vec::new(),
    }
}

/// Lines of a log from a number on, the last of which is its last.
pub fn log_page(texts: &[&str], first: u64) -> LogPage {
    let lines: Vec<_> = (first..)
        .zip(texts)
        .map(|(number, text)| LogLine {
            number,
            text: (*text).to_owned(),
        })
        .collect();
    LogPage {
        total: first + lines.len() as u64 - 1,
        lines,
        left_out: None,
        found: None,
    }
}

/// What the daemon says a submit of `ffmpeg.extract_audio` would do now.
pub fn explanation(decision: ReuseDecision, reason: &str, message: &str) -> ReuseExplanation {
    ReuseExplanation {
        task_id: task_id("lecture-07"),
        task_name: node("ffmpeg.extract_audio"),
        mode: ReuseRule::Auto,
        decision,
        reason: reason.into(),
        message: message.into(),
        reuse_fields: vec!["audio_path".into()],
        run_id: stage(StageState::Success).run_id,
        stage_status: None,
        queue_position: None,
        started_because: None,
        input_changed: None,
        cached_at: None,
        saved_seconds: None,
        warnings: 0,
        warnings_retryable: false,
        error: None,
    }
}

/// Callbacks of `clip_03`, one in each state, and one of another task.
pub fn deliveries() -> CallbackPage {
    use CallbackStatus::*;
    let delivery = |number: usize, task: &str, state, attempts, http_status: Option<u16>, url: &str| CallbackDelivery {
        id: format!("msg_{number}"),
        url: format!("http://n8n.local/webhook/{url}"),
        task_id: task_id(task),
        task_name: node("paddleocr.detect_subtitle_area"),
        run_id: stage(StageState::Failed).run_id,
        status: TaskStatus::Failed,
        state,
        attempts,
        created_at: at(number as f64 * -10.0),
        next_try_at: (state == Pending).then(|| at(20.0)),
        last_tried_at: (attempts > 0).then(|| at(-5.0)),
        detail: http_status.map(|status| format!("answered {status}")),
        http_status,
        breaker_open_until: None,
    };
    CallbackPage {
        items: vec![
            delivery(1, "clip_03", Pending, 2, Some(503), "new"),
            delivery(2, "clip_03", Failed, 5, Some(503), "clip/오래된"),
            delivery(3, "clip_03", Sent, 1, Some(200), "clip"),
            delivery(4, "other", Sent, 1, Some(204), "other"),
        ],
        next_cursor: None,
    }
}

/// The nodes whose files are given, the second of which lacks its environment.
pub fn catalog() -> NodeList {
    let ready = parse_node(
        r#"
        name = "ffmpeg.split_audio_segments"
        title = "Split audio by subtitle"
        purpose = "Cuts one sound file per subtitle cue."
        runner = { builtin = "ffmpeg.split_audio_segments" }
        reuse_fields = ["audio_segments_dir"]
        [[parameters]]
        name = "audio_path"
        type = "path"
        required = true
        meaning = "The sound file, an absolute path."
        fallbacks = [{ node = "ffmpeg.extract_audio", field = "audio_path" }]
        [[parameters]]
        name = "output_format"
        type = "string"
        default = "wav"
        allowed = ["wav", "flac", "mp3"]
        meaning = "Format of the pieces."
        [[parameters]]
        name = "sample_rate"
        type = "integer"
        default = 16000
        min = 8000
        max = 192000
        meaning = "Samples a second."
        [[parameters]]
        name = "group_by_speaker"
        type = "boolean"
        default = false
        meaning = "One folder per speaker."
        [[parameters]]
        name = "keep"
        type = "array"
        meaning = "Numbers of the cues to keep."
        [[outputs]]
        name = "audio_segments_dir"
        type = "path"
        meaning = "The folder."
        "#,
    );
    let unready = parse_node(
        r#"
        name = "faster_whisper.transcribe_audio"
        title = "음성을 글로 · Transcribe"
        purpose = "Writes down what is said."
        queue = "gpu"
        runner = { python = "faster_whisper/transcribe_audio.py" }
        [[parameters]]
        name = "audio_path"
        type = "path"
        required = true
        meaning = "The sound file."
        "#,
    );
    let missing = Missing {
        what: "the Python environment of faster_whisper".into(),
        how: "onceoverd nodes install faster_whisper".into(),
    };
    let nodes = vec![
        NodeInfo::new(&ready.unwrap(), Vec::new(), Gpu::Absent),
        NodeInfo::new(&unready.unwrap(), vec![missing], Gpu::Absent),
    ];
    NodeList {
        total_count: nodes.len(),
        nodes,
    }
}

/// Answers what was asked for of callbacks and nodes, as the daemon would.
pub fn answer(model: &mut Model, effects: &[Effect]) {
    for effect in effects {
        if let Effect::Call { id, call: Call::Nodes } = effect {
            let reply = Reply::Nodes(Ok(catalog()));
            update(model, UiEvent::Reply { id: *id, reply });
        }
        if let Effect::Call {
            id,
            call: Call::Callbacks { task },
        } = effect
        {
            let mut page = deliveries();
            page.items
                .retain(|item| task.as_ref().is_none_or(|task| item.task_id == *task));
            let reply = Reply::Callbacks(Ok(page));
            update(model, UiEvent::Reply { id: *id, reply });
        }
    }
}

/// The dashboard on the fixture's data, live.
pub fn dashboard(size: (u16, u16)) -> Model {
    dashboard_of(items(), size)
}

pub fn dashboard_of(items: Vec<TaskItem>, size: (u16, u16)) -> Model {
    let mut model = Model::new("http://127.0.0.1:8788", at(0.0), size);
    update(&mut model, snapshot(items, 100));
    tick(&mut model, 0.0);
    model
}

pub fn press(model: &mut Model, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in parse_keys(keys).unwrap() {
        effects.extend(update(model, UiEvent::Key(key)));
    }
    effects
}

/// The same, and the daemon answers in between what is asked for of callbacks and nodes.
pub fn press_answered(model: &mut Model, keys: &str) {
    for key in parse_keys(keys).unwrap() {
        let effects = update(model, UiEvent::Key(key));
        answer(model, &effects);
    }
}

/// The time is now `seconds` after the fixture's.
pub fn tick(model: &mut Model, seconds: f64) -> Vec<Effect> {
    update(model, UiEvent::Time(at(seconds)))
}

pub fn draw(model: &Model) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, model.size.0, model.size.1));
    view(model, &mut buffer);
    buffer
}

pub fn screen(model: &Model) -> Vec<String> {
    lines_of(&draw(model))
}

#[track_caller]
pub fn assert_shows(model: &Model, texts: &[&str]) {
    let lines = screen(model);
    for text in texts {
        assert!(
            lines.iter().any(|line| line.contains(text)),
            "no {text:?} in\n{}",
            lines.join("\n")
        );
    }
}

#[track_caller]
pub fn assert_hides(model: &Model, text: &str) {
    let lines = screen(model);
    assert!(
        !lines.iter().any(|line| line.contains(text)),
        "{text:?} in\n{}",
        lines.join("\n")
    );
}

/// Column and row where a text begins on the screen.
#[track_caller]
pub fn find_text(model: &Model, text: &str) -> (u16, u16) {
    let lines = screen(model);
    let row = lines.iter().position(|line| line.contains(text)).expect("the text");
    let at = lines[row].find(text).expect("the text");
    (lines[row][..at].chars().count() as u16, row as u16)
}

/// The id under the cursor.
pub fn cursor(model: &Model) -> String {
    model.tree.cursor.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// The calls among effects.
pub fn calls(effects: &[Effect]) -> Vec<Call> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Call { call, .. } => Some(call.clone()),
            _ => None,
        })
        .collect()
}

/// The calls that change something.
pub fn changing(effects: &[Effect]) -> Vec<Call> {
    calls(effects).into_iter().filter(Call::changes).collect()
}

/// The text that is copied.
pub fn copied(effects: &[Effect]) -> Option<&str> {
    effects.iter().find_map(|effect| match effect {
        Effect::Copy(text) => Some(text.as_str()),
        _ => None,
    })
}

/// The id of the first call that is wanted.
pub fn id_of(effects: &[Effect], wanted: impl Fn(&Call) -> bool) -> u64 {
    effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Call { id, call } if wanted(call) => Some(*id),
            _ => None,
        })
        .expect("such a call")
}
