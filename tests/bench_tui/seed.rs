//! A daemon with many finished tasks: results as another worker writes them, which `onceoverd import` makes records of.

use std::time::Instant;

use onceover_tests::{Daemon, RedisServer};
use serde_json::json;

const CATALOG: &str = include_str!("../bench/nodes.toml");
/// The stages of each task; a submit of the first one is a hit.
pub const NODES: [&str; 8] = [
    "bench.nothing",
    "bench.second",
    "bench.third",
    "ffmpeg.extract_audio",
    "audio_separator.separate_vocals",
    "faster_whisper.transcribe_audio",
    "wservice.generate_subtitle_files",
    "wservice.translate_subtitles",
];
/// Results that are written at once.
const AT_ONCE: usize = 4_000;

/// Returns the name of a task.
pub fn name_task(number: usize) -> String {
    format!("seed-{number:06}")
}

/// Starts a daemon and gives it so many tasks, each with a result of every node.
pub async fn start_seeded(tasks: usize) -> (Daemon, RedisServer) {
    let own = std::env::current_exe().expect("it knows its path");
    let catalog = CATALOG.replace("@BENCH@", &own.display().to_string());
    let server = RedisServer::start(&["--save", ""]).await;
    // One of the nodes that both benches share waits in a queue with this name.
    let daemon = Daemon::builder()
        .redis(&server.url(0))
        .config("[slots]\nheld = 1")
        .nodes(&catalog)
        .start()
        .await;
    let begun = Instant::now();
    let mut redis = daemon.redis().await;
    let mut pipe = redis::pipe();
    for task in 0..tasks {
        let task = name_task(task);
        for node in NODES {
            let stage = json!({"status": "SUCCESS", "input_params": {}, "output": {"value": 7}, "error": null,
                "duration": 2.0});
            let body = json!({"workflow_id": task, "input_params": {"task_name": node, "input_data": {},
                "callback_url": null}, "stages": {node: stage}});
            pipe.set_ex(format!("{task}:node:{node}"), body.to_string(), 86_400)
                .ignore();
        }
        if pipe.len() >= AT_ONCE {
            let full = std::mem::replace(&mut pipe, redis::pipe());
            let _: () = full.query_async(&mut redis).await.expect("Redis answers");
        }
    }
    if !pipe.is_empty() {
        let _: () = pipe.query_async(&mut redis).await.expect("Redis answers");
    }
    let output = daemon.command().arg("import").output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    println!(
        "{tasks} tasks of {} stages were made in {:.0?}",
        NODES.len(),
        begun.elapsed()
    );
    (daemon, server)
}
