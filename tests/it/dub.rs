//! Dubs and subtitle tracks: what is spoken lies where its cue is, and the video that comes out can be watched.

use std::{fs, path::Path, process::Command};

use onceover_common::{
    VideoId,
    wire::{Processing, ProcessingStatus, StepStatus, VideoRequest},
};
use onceover_tests::{Daemon, eventually, media};
use serde_json::{Value, json};
use tempfile::TempDir;

const MIX: &str = "ffmpeg.mix_dub";

/// A daemon, and the sample registered as `demo`.
async fn with_sample() -> (Daemon, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    media::sample(folder.path());
    let daemon = Daemon::builder().media_root(folder.path()).start().await;
    let request = VideoRequest {
        video_id: Some("demo".into()),
        path: Some(folder.path().join("clip.mp4").display().to_string()),
        ..VideoRequest::default()
    };
    daemon.client.register_video(&request).await.unwrap();
    (daemon, folder)
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
    let (daemon, sample) = with_sample().await;
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

#[tokio::test]
async fn the_sample_pipeline_ends_with_the_clip_that_carries_its_subtitles() {
    let (daemon, sample) = with_sample().await;
    let input = json!({"video_path": sample.path().join("clip.mp4"), "subtitle_path": sample.path().join("clip.srt"), "language": "en"});
    daemon.done("video-demo", "ffmpeg.mux_subtitles", input).await;
    let processing = completed(&daemon, "sample").await;
    let last = processing.tasks.last().unwrap();
    assert_eq!(
        (last.task_name.as_str(), last.status),
        ("ffmpeg.mux_subtitles", StepStatus::Completed)
    );
    // What a client asked for by hand was the very same work.
    assert_eq!(last.reuse_hit, Some(true));
    let path = output(&daemon, "ffmpeg.mux_subtitles").await["video_path"].clone();
    let streams = probe(path.as_str().unwrap(), "stream=codec_name:stream_tags=language");
    assert!(streams.contains("mov_text,eng"), "{streams}");
    // They pass the check of broadcasters but for how fast they are spoken.
    daemon
        .done(
            "video-demo",
            "wservice.check_subtitles",
            json!({"subtitle_path": sample.path().join("clip.srt")}),
        )
        .await;
    let checked = output(&daemon, "wservice.check_subtitles").await;
    assert_eq!(
        (&checked["passed"], &checked["cues_count"]),
        (&json!(true), &json!(3)),
        "{checked}"
    );
}

#[tokio::test]
async fn a_pipeline_that_needs_what_is_not_here_and_has_no_subtitles_is_refused_at_once() {
    let (daemon, sample) = with_sample().await;
    fs::remove_file(sample.path().join("clip.srt")).unwrap();
    let answer = daemon
        .post("/api/v1/videos/demo/run_sync?pipeline=dub", json!(null))
        .await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "node-not-ready"));
    assert!(answer.text.contains("faster_whisper"), "{}", answer.text);
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
