//! The whole pipeline `hard-subtitles-translated`: found and read with RapidOCR, translated by a model of the tests, burnt in.

use std::time::{Duration, Instant};

use onceover_tests::{chat::ChatServer, model::ModelServer};
use onceover_types::VideoId;
use onceover_wire::{Processing, VideoRequest};
use serde_json::Value;

use super::{daemon, sample};

/// How long the clip is, and how much longer the pipeline may take.
const CLIP_SECONDS: f64 = 12.0;
const PATIENCE: Duration = Duration::from_secs(900);

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
