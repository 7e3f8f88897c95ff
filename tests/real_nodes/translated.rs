//! The whole pipeline `hard-subtitles-translated`: found and read with RapidOCR, translated by a model of the tests, burnt in.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use onceover_tests::{chat::ChatServer, model::ModelServer};
use onceover_types::VideoId;
use onceover_wire::{Processing, VideoRequest};
use serde_json::Value;

use super::{daemon, sample};

/// How long the clip is, and how much longer the pipeline may take.
const CLIP_SECONDS: f64 = 12.0;
const PATIENCE: Duration = Duration::from_secs(900);
/// Bytes that may be left of the whole pipeline.
const MOST_LEFT: u64 = 10_000_000;

#[tokio::test]
#[ignore = "make test-nodes runs it: it needs RapidOCR from PyPI"]
async fn burnt_in_subtitles_are_read_translated_and_burnt_in_again() {
    let models = tempfile::tempdir().unwrap();
    let sample = sample();
    let server = ChatServer::start().await;
    server.serve(ModelServer::new([]));
    let config = format!(
        "[llm]\nprovider = 'local'\n[llm.providers.local]\nurl = '{}'\nmodel = 'test-model'\n",
        server.url()
    );
    let daemon = daemon(models.path())
        .media_root(&sample)
        .config(&config)
        .env("NO_PROXY", "127.0.0.1")
        .start()
        .await;
    let clip = VideoId::parse("clip").unwrap();
    let request = VideoRequest {
        video_id: Some("clip".into()),
        path: Some(sample.join("clip.mp4").display().to_string()),
        ..VideoRequest::default()
    };
    daemon.client.register_video(&request).await.unwrap();
    let begun = Instant::now();
    let pipeline = "hard-subtitles-translated";
    daemon.client.run_video(&clip, Some(pipeline), false).await.unwrap();
    let ended: Processing = loop {
        let processing = daemon.client.processing(&clip).await.unwrap();
        if !processing.status.in_flight() {
            break processing;
        }
        assert!(begun.elapsed() < PATIENCE, "{processing:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let cost = begun.elapsed().as_secs_f64();
    let left = bytes_below(&daemon.data.join("share/workflows").join(clip.task().as_str()));
    println!("{pipeline}: {:.1} MB are left of it", left as f64 / 1e6);
    assert!(left <= MOST_LEFT, "{left} bytes are left");
    println!(
        "{pipeline}: {cost:.1} s for a clip of {CLIP_SECONDS} s ({:.1} times its length)",
        cost / CLIP_SECONDS
    );
    assert_eq!(ended.progress, 100, "{ended:#?}");
    let burnt = daemon.stage("video-clip", "ffmpeg.burn_subtitles").await.unwrap();
    let burnt: Value = serde_json::from_str(burnt.output.get()).unwrap();
    assert_eq!(burnt["cues_count"], 3, "{burnt}");
    // The original is covered where it was found.
    assert_eq!(burnt["covered_area"].as_array().map(Vec::len), Some(4), "{burnt}");
    assert!(
        burnt["video_path"].as_str().unwrap().ends_with("clip_subtitled.mp4"),
        "{burnt}"
    );
}

/// Bytes of all files below a folder.
fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("the folder can be read").flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |file| file.len()),
        _ => 0,
    });
    sizes.sum()
}
