//! 2.7 health, 2.8 supported tasks, 2.9 routing, and 6 monitoring and what else there is.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{MERGE, merge_input};
use crate::{
    check::{Check, Played, check, differs, same},
    world::World,
};

/// What the gateway listed.
const LISTED: &[&str] = &[
    "ffmpeg.extract_keyframes",
    "ffmpeg.extract_audio",
    "ffmpeg.crop_subtitle_images",
    "ffmpeg.split_audio_segments",
    "faster_whisper.transcribe_audio",
    "audio_separator.separate_vocals",
    "pyannote_audio.diarize_speakers",
    "pyannote_audio.get_speaker_segments",
    "pyannote_audio.validate_diarization",
    "paddleocr.detect_subtitle_area",
    "paddleocr.create_stitched_images",
    "paddleocr.perform_ocr",
    "paddleocr.postprocess_and_finalize",
    "indextts.generate_speech",
    "wservice.generate_subtitle_files",
    "wservice.correct_subtitles",
    "wservice.ai_optimize_text",
    "wservice.translate_subtitles",
    "wservice.rebuild_subtitle_with_words",
    "wservice.merge_speaker_segments",
    "wservice.merge_with_word_timestamps",
    "wservice.prepare_tts_segments",
];

/// Nodes that it took and did not list.
const FORGOTTEN: &[&str] = &[
    "wservice.merge_speaker_based_subtitles",
    "wservice.segment_subtitles",
    "funasr.transcribe_audio",
];

const GPU_LOCK: &[(&str, &str, u16)] = &[
    ("GET", "/gpu-lock/status?lock_key=gpu_lock:0", 500),
    ("GET", "/gpu-lock/health", 200),
    ("POST", "/lock/release", 200),
    ("GET", "/timeout/status", 200),
    ("GET", "/timeout/config", 200),
    ("POST", "/timeout/check", 200),
];

const HEARTBEATS: &[(&str, &str, u16)] = &[
    ("GET", "/heartbeat/all", 200),
    ("GET", "/heartbeat/task/contract", 200),
    ("POST", "/heartbeat/task/contract/start", 200),
    ("DELETE", "/heartbeat/task/contract", 200),
    ("POST", "/heartbeat/cleanup", 200),
];

const MONITORS: &[(&str, &str, u16)] = &[
    ("GET", "/monitor/status", 200),
    ("GET", "/monitor/health", 200),
    ("POST", "/monitor/start", 200),
    ("POST", "/monitor/stop", 200),
    ("GET", "/statistics", 200),
    ("GET", "/health", 200),
];

pub fn checks() -> Vec<Check> {
    vec![
        check("2.7 health answers", health_answers),
        check("2.7 health is right", health_is_right),
        check("2.8 supported tasks are listed by service", supported),
        check("2.8 every listed node is still listed", still_listed),
        check("2.8 no node is forgotten", nothing_forgotten),
        check("2.8 utility tasks are no nodes", utility_tasks),
        check("2.9 a task can be read by its id", read_task),
        check("2.9 tasks can be listed", list_tasks),
        check("2.9 a fixed path is no id", fixed_path),
        check("6 the root has a message", root),
        check("6 docs is a page", docs),
        check("6 the description is OpenAPI", description),
        check("6 redoc leads to docs", redoc),
        check("6 a slash at the end is followed", trailing_slash_is_followed),
        check("6 a slash at the end is redirected for good", trailing_slash),
        check("6 the pages of the GPU lock are not there", |world| {
            gone(world, GPU_LOCK)
        }),
        check("6 the pages of heartbeats are not there", |world| {
            gone(world, HEARTBEATS)
        }),
        check("6 the pages of monitors are not there", |world| gone(world, MONITORS)),
        check("6 the echo is not there", echo),
    ]
}

async fn health_answers(world: Arc<World>) -> Played {
    same(
        world.get("/v1/tasks/health").await?,
        json!({"http": 200, "body": {"status": "<text>"}}),
    )
}

async fn health_is_right(world: Arc<World>) -> Played {
    differs(
        world.get("/v1/tasks/health").await?,
        json!({"http": 200, "body": {"status": "unhealthy", "error": "<text>"}}),
        json!({"http": 200, "body": {"status": "healthy", "service": "<text>"}}),
    )
}

async fn supported(world: Arc<World>) -> Played {
    same(
        world.get("/v1/tasks/supported-tasks").await?,
        json!({"http": 200, "body": {
            "supported_tasks": {"ffmpeg": {"<each>": "<begins ffmpeg.>"}, "wservice": {"<each>": "<begins wservice.>"}},
            "total_count": "<number>", "description": "<text>",
        }}),
    )
}

async fn listed(world: &World) -> anyhow::Result<Vec<String>> {
    let answer = world.get("/v1/tasks/supported-tasks").await?;
    let services = answer["body"]["supported_tasks"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let names = services.values().filter_map(Value::as_array).flatten();
    Ok(names.filter_map(Value::as_str).map(str::to_owned).collect())
}

async fn still_listed(world: Arc<World>) -> Played {
    let listed = listed(&world).await?;
    let missing: Vec<_> = LISTED
        .iter()
        .filter(|name| !listed.iter().any(|one| one == *name))
        .collect();
    same(json!({"missing": missing}), json!({"missing": []}))
}

async fn nothing_forgotten(world: Arc<World>) -> Played {
    let listed = listed(&world).await?;
    let missing: Vec<_> = FORGOTTEN
        .iter()
        .filter(|name| !listed.iter().any(|one| one == *name))
        .collect();
    differs(
        json!({"missing": missing}),
        json!({"missing": FORGOTTEN}),
        json!({"missing": []}),
    )
}

async fn utility_tasks(world: Arc<World>) -> Played {
    let answer = world
        .submit(&world.task("utility"), "audio_separator.health_check", json!({}))
        .await?;
    differs(
        answer,
        json!({"http": 200}),
        json!({"http": 422, "body": {"errors": {"<some>": {"field": "task_name"}}}}),
    )
}

async fn read_task(world: Arc<World>) -> Played {
    let task = world.task("read");
    world.done(&task, MERGE, merge_input()).await?;
    differs(
        world.get(&format!("/v1/tasks/{task}")).await?,
        json!({"http": 405}),
        json!({"http": 200, "body": {"task_id": task, "workflow_id": task, "status": "completed",
            "stages": {MERGE: {"status": "SUCCESS"}}}}),
    )
}

async fn list_tasks(world: Arc<World>) -> Played {
    let task = world.task("listed");
    world.done(&task, MERGE, merge_input()).await?;
    differs(
        world.get(&format!("/v1/tasks?search={task}")).await?,
        json!({"http": 405}),
        json!({"http": 200, "body": {"items": {"<some>": {"task_id": task}}}}),
    )
}

async fn fixed_path(world: Arc<World>) -> Played {
    let cancel = world.delete("/v1/tasks/health").await?;
    let retry = world
        .send(world.request(Method::POST, "/v1/tasks/health/retry"))
        .await?;
    differs(
        json!({"cancel": cancel["http"], "retry": retry["http"]}),
        json!({"cancel": 400, "retry": 400}),
        json!({"cancel": 405, "retry": 422}),
    )
}

async fn root(world: Arc<World>) -> Played {
    same(
        world.get("/").await?,
        json!({"http": 200, "body": {"message": "<text>"}}),
    )
}

async fn docs(world: Arc<World>) -> Played {
    let page = world.send(world.following(Method::GET, "/docs")).await?;
    same(
        page,
        json!({"http": 200, "headers": {"content-type": "<begins text/html>"}, "body": "<contains html>"}),
    )
}

async fn description(world: Arc<World>) -> Played {
    same(
        world.get("/openapi.json").await?,
        json!({"http": 200, "headers": {"content-type": "<begins application/json>"}, "body": {
            "openapi": "<begins 3.1>", "info": {"title": "<text>", "version": "<text>"},
            "paths": {
                "/v1/tasks": {"post": "<object>"},
                "/v1/tasks/{task_id}/status": {"get": "<object>"},
                "/v1/tasks/{task_id}/result": {"get": "<object>"},
                "/v1/tasks/{task_id}/delete": {"post": "<object>"},
                "/v1/tasks/{task_id}/retry": {"post": "<object>"},
                "/v1/tasks/{task_id}": {"delete": "<object>"},
                "/v1/tasks/health": {"get": "<object>"},
                "/v1/tasks/supported-tasks": {"get": "<object>"},
                "/v1/files/upload": {"post": "<object>"},
                "/v1/files/directories": {"delete": "<object>"},
            },
        }}),
    )
}

async fn redoc(world: Arc<World>) -> Played {
    differs(
        world.get("/redoc").await?,
        json!({"http": 200}),
        json!({"http": 308, "headers": {"location": "<begins /docs>"}}),
    )
}

fn submit_with_slash(task: &str) -> Value {
    json!({"task_name": MERGE, "task_id": task, "input_data": merge_input()})
}

async fn trailing_slash_is_followed(world: Arc<World>) -> Played {
    let task = world.task("slash");
    let request = world
        .following(Method::POST, "/v1/tasks/")
        .json(&submit_with_slash(&task));
    let submitted = world.send(request).await?;
    let request = world.following(Method::GET, &format!("/v1/tasks/{task}/status/"));
    let status = world.send(request).await?;
    same(
        json!({"submit": submitted, "status": status}),
        json!({"submit": {"http": 200, "body": {"task_id": task, "status": "pending"}},
            "status": {"http": 200, "body": {"task_id": task}}}),
    )
}

async fn trailing_slash(world: Arc<World>) -> Played {
    let task = world.task("slash");
    let answer = world.post("/v1/tasks/", &submit_with_slash(&task)).await?;
    differs(
        answer,
        json!({"http": 307, "headers": {"location": "<ends /v1/tasks>"}}),
        json!({"http": 308, "headers": {"location": "<ends /v1/tasks>"}}),
    )
}

async fn gone(world: Arc<World>, pages: &'static [(&str, &str, u16)]) -> Played {
    let (mut got, mut older, mut now) = (Map::new(), Map::new(), Map::new());
    for (method, page, before) in pages {
        let name = format!("{method} {page}");
        let method = method.parse().expect("a method");
        let answer = world
            .send(world.request(method, &format!("/api/v1/monitoring{page}")))
            .await?;
        got.insert(name.clone(), answer["http"].clone());
        older.insert(name.clone(), json!(before));
        now.insert(name, json!(404));
    }
    differs(got.into(), older.into(), now.into())
}

async fn echo(world: Arc<World>) -> Played {
    let get = world.get("/test").await?;
    let post = world.post("/test", &json!({"x": 1})).await?;
    differs(
        json!({"get": get["http"], "post": post["http"]}),
        json!({"get": 200, "post": 200}),
        json!({"get": 404, "post": 404}),
    )
}
