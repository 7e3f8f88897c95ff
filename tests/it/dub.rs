//! Dubs and subtitle tracks: what is spoken lies where its cue is, and the video that comes out can be watched.

use std::{fs, path::Path, process::Command};

use onceover_tests::{Daemon, eventually, media};
use onceover_types::VideoId;
use onceover_wire::{Processing, ProcessingStatus, StepStatus, VideoRequest};
use serde_json::{Value, json};
use tempfile::TempDir;

const MIX: &str = "ffmpeg.mix_dub";

/// A daemon with one more pipeline, and the sample registered as `demo`.
async fn with_sample(pipeline: &str) -> (Daemon, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    media::sample(folder.path());
    fs::write(folder.path().join("pipeline.toml"), pipeline).unwrap();
    let config = format!("pipelines.dirs = ['{}']", folder.path().display());
    let daemon = Daemon::builder()
        .media_root(folder.path())
        .config(&config)
        .start()
        .await;
    register(&daemon, folder.path()).await;
    (daemon, folder)
}

async fn register(daemon: &Daemon, folder: &Path) {
    let request = VideoRequest {
        video_id: Some("demo".into()),
        path: Some(folder.join("clip.mp4").display().to_string()),
        ..VideoRequest::default()
    };
    daemon.client.register_video(&request).await.unwrap();
}

async fn completed(daemon: &Daemon, pipeline: &str) -> Processing {
    let demo = VideoId::parse("demo").unwrap();
    daemon.client.run_video(&demo, Some(pipeline), false).await.unwrap();
    eventually(&format!("{pipeline} completed"), || async {
        let processing = daemon.client.processing(&demo).await.ok()?;
        assert!(
            processing.status.in_flight() || processing.status == ProcessingStatus::Completed,
            "{processing:#?}"
        );
        (processing.status == ProcessingStatus::Completed).then_some(processing)
    })
    .await
}

async fn output(daemon: &Daemon, node: &str) -> Value {
    let stage = daemon.stage("video-demo", node).await.unwrap();
    serde_json::from_str(stage.output.get()).unwrap()
}

/// When the cues of the sample begin.
fn cues(sample: &Path) -> Vec<f64> {
    let transcript: Value = serde_json::from_slice(&fs::read(sample.join("transcript.json")).unwrap()).unwrap();
    let segments = transcript["segments"].as_array().unwrap().iter();
    segments.map(|segment| segment["start"].as_f64().unwrap()).collect()
}

/// When something is heard after a silence of at least 0.3 s.
fn onsets(video: &str) -> Vec<f64> {
    let made = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostats", "-i", video, "-vn"])
        .args(["-af", "silencedetect=noise=-45dB:d=0.3", "-f", "null", "-"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&made.stderr).into_owned();
    let ends = told.lines().filter_map(|line| line.split("silence_end: ").nth(1));
    ends.map(|end| end.split_whitespace().next().unwrap().parse().unwrap())
        .collect()
}

fn probe(video: &str, entries: &str) -> String {
    let made = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", entries, "-of", "csv=p=0", video])
        .output()
        .unwrap();
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn the_dub_of_the_sample_has_its_voice_within_100_ms_of_the_cues() {
    let (daemon, sample) = with_sample(TRACKS).await;
    let processing = completed(&daemon, "dub").await;
    let status = |name: &str| processing.tasks.iter().find(|step| step.name == name).unwrap().status;
    // The subtitles lie beside the clip, and no language model is there.
    assert_eq!(
        (status("transcribe"), status("translate")),
        (StepStatus::Skipped, StepStatus::Skipped)
    );
    let spoken = output(&daemon, "indextts.generate_speech").await;
    assert_eq!(
        (&spoken["engine"], &spoken["clips_count"]),
        (&json!("espeak"), &json!(3))
    );
    assert_eq!(spoken["warnings"][0]["code"], "voice_not_cloned");
    let dub = output(&daemon, MIX).await;
    let path = dub["dubbed_path"].as_str().unwrap();
    assert!(path.ends_with("clip_dubbed.mp4"), "{path}");
    assert_eq!(probe(path, "stream=codec_name"), "h264\naac");
    let duration: f64 = probe(path, "format=duration").parse().unwrap();
    assert!((duration - 12.0).abs() < 0.1, "{duration}");
    let loudness = dub["loudness"]["after"]["integrated_lufs"].as_f64().unwrap();
    assert!((loudness + 16.0).abs() <= 1.0, "{loudness}");

    // The same dub without the voice that spoke before at the same times.
    let video = sample.path().join("clip.mp4");
    let input = json!({"video_path": video, "clips_file": spoken["clips_file"], "original": "replace"});
    let alone = daemon.done("alone", MIX, input).await;
    let alone: Value = serde_json::from_str(alone.output.get()).unwrap();
    let mut heard = onsets(alone["dubbed_path"].as_str().unwrap());
    // The silence at the end ends with the file.
    heard.retain(|onset| *onset < 11.9);
    let cues = cues(sample.path());
    assert_eq!(heard.len(), cues.len(), "{heard:?} for {cues:?}");
    for (heard, due) in heard.iter().zip(&cues) {
        assert!((heard - due).abs() <= 0.1, "{heard:?} for {cues:?}");
    }
}

/// A step that adds the subtitles beside the video, and one that is not needed where there are some.
const TRACKS: &str = r#"
name = "tracks"
[[steps]]
node = "ffmpeg.extract_audio"
unless = "${{ video.subtitles }}"
parameters = { video_path = "${{ video.path }}" }
[[steps]]
node = "ffmpeg.mux_subtitles"
needs = ["extract_audio"]
optional = true
parameters = { video_path = "${{ video.path }}", subtitle_path = "${{ video.subtitles }}", language = "en" }
"#;

#[tokio::test]
async fn subtitles_beside_a_video_become_its_track_and_without_them_it_is_as_it_was() {
    let (daemon, sample) = with_sample(TRACKS).await;
    let statuses = |processing: &Processing| -> Vec<_> { processing.tasks.iter().map(|step| step.status).collect() };
    let with = completed(&daemon, "tracks").await;
    assert_eq!(
        statuses(&with),
        [StepStatus::Skipped, StepStatus::Completed],
        "{with:#?}"
    );
    let why = with.tasks[0].error.clone().unwrap();
    assert!(why.contains("clip.srt"), "{why}");
    let path = output(&daemon, "ffmpeg.mux_subtitles").await["video_path"].clone();
    let streams = probe(path.as_str().unwrap(), "stream=codec_name:stream_tags=language");
    assert!(streams.contains("mov_text,eng"), "{streams}");
    let subtitles = json!({"subtitle_path": sample.path().join("clip.srt")});
    daemon.done("video-demo", "wservice.check_subtitles", subtitles).await;
    let checked = output(&daemon, "wservice.check_subtitles").await;
    assert_eq!(
        (&checked["passed"], &checked["cues_count"]),
        (&json!(true), &json!(3)),
        "{checked}"
    );

    fs::remove_file(sample.path().join("clip.srt")).unwrap();
    daemon
        .client
        .delete_video(&VideoId::parse("demo").unwrap(), true, false)
        .await
        .unwrap();
    register(&daemon, sample.path()).await;
    let without = completed(&daemon, "tracks").await;
    assert_eq!(
        statuses(&without),
        [StepStatus::Completed, StepStatus::Skipped],
        "{without:#?}"
    );
}

#[tokio::test]
async fn a_pipeline_that_needs_what_is_not_here_and_has_no_subtitles_is_refused_at_once() {
    let (daemon, sample) = with_sample(TRACKS).await;
    fs::remove_file(sample.path().join("clip.srt")).unwrap();
    let answer = daemon
        .post("/api/v1/videos/demo/run_sync?pipeline=dub", json!(null))
        .await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "node-not-ready"));
    assert!(answer.text.contains("faster_whisper"), "{}", answer.text);
}

#[tokio::test]
async fn a_dub_with_another_engine_needs_what_that_engine_needs() {
    let shipped = include_str!("../../assets/pipelines/dub.toml");
    let with_piper = shipped.replace(r#"engine = "espeak""#, r#"engine = "piper""#);
    assert_ne!(with_piper, shipped);
    let (daemon, _sample) = with_sample(&with_piper).await;
    let answer = daemon
        .post("/api/v1/videos/demo/run_sync?pipeline=dub", json!(null))
        .await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "node-not-ready"));
    assert!(answer.text.contains("onceoverd nodes install piper"), "{}", answer.text);
    assert!(!answer.text.contains("nodes install indextts"), "{}", answer.text);
}

#[tokio::test]
async fn the_engine_decides_what_a_run_needs_and_where_it_waits() {
    let daemon = Daemon::start().await;
    let refused = daemon
        .post(
            "/v1/tasks",
            json!({"task_name": "indextts.generate_speech", "input_data": {"text": "Hello"}}),
        )
        .await;
    // No sample of a voice.
    assert_eq!(refused.status, 422, "{}", refused.text);
    let refused = daemon
        .post(
            "/v1/tasks",
            json!({"task_name": "indextts.generate_speech", "input_data": {"text": "Hello", "engine": "piper"}}),
        )
        .await;
    assert_eq!((refused.status, refused.problem().as_str()), (409, "node-not-ready"));
    assert!(
        refused.text.contains("onceoverd nodes install piper"),
        "{}",
        refused.text
    );
    let input = json!({"text": "Hello there", "engine": "espeak", "language": "de"});
    let stage = daemon.done("spoken", "indextts.generate_speech", input.clone()).await;
    assert_eq!(
        (stage.queue.as_str(), stage.runner.as_deref()),
        ("cpu", Some("builtin"))
    );
    let output: Value = serde_json::from_str(stage.output.get()).unwrap();
    assert_eq!(
        output["warnings"][0]["numbers"],
        json!({"engine": "espeak", "voice": "de"})
    );
    let again = daemon.submit("spoken", "indextts.generate_speech", input).await;
    assert!(again.reuse_info.reuse_hit);
}
