//! Chains of nodes under one task, in any order: a later stage leaves every earlier one as it is.

use std::{fs, path::Path};

use onceover_tests::{Daemon, fixture_node, media};
use onceover_types::StageState;
use redis::AsyncCommands;
use serde_json::{Value, json};

const AUDIO: &str = "ffmpeg.extract_audio";
const VOCALS: &str = "audio_separator.separate_vocals";
const KEYFRAMES: &str = "ffmpeg.extract_keyframes";
const SUBTITLES: &str = "wservice.generate_subtitle_files";
const SPLIT: &str = "ffmpeg.split_audio_segments";

/// A daemon on which the separation is the fixture program.
async fn daemon() -> Daemon {
    let nodes = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = nodes.join("nodes/separate_vocals_fixture.py");
    let shared = nodes.join("../assets/nodes");
    let command = [
        "env",
        &format!("PYTHONPATH={}", shared.display()),
        "python3",
        "-B",
        "-S",
        &program.display().to_string(),
    ];
    Daemon::builder().nodes(&fixture_node(VOCALS, &command)).start().await
}

/// What the daemon publishes of a stage, byte for byte.
async fn published(daemon: &Daemon, task: &str, node: &str) -> Vec<u8> {
    let mut redis = daemon.redis().await;
    redis
        .get(format!("{task}:node:{node}"))
        .await
        .expect("the stage is there")
}

/// The files below a folder, with what is in them.
fn files(folder: &Path, into: &mut Vec<(std::path::PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    into.sort();
}

async fn run_in_order(daemon: &Daemon, task: &str, nodes: &[&str]) {
    let video = daemon.dir().join("clip.mp4");
    let transcript = daemon.dir().join("transcript.json");
    let input = |node: &str| match node {
        AUDIO => json!({"video_path": video}),
        KEYFRAMES => json!({"video_path": video, "keyframe_sample_count": 4}),
        SUBTITLES => json!({"segments_file": transcript}),
        // From the earlier stages.
        _ => json!({}),
    };
    let mut earlier: Vec<(&str, Vec<u8>)> = Vec::new();
    let folder = daemon.data.join("share/workflows").join(task).join("runs");
    for node in nodes {
        let mut before = Vec::new();
        files(&folder, &mut before);
        let answer = daemon.submit(task, node, input(node)).await;
        assert!(!answer.reuse_info.reuse_hit, "{task} {node}");
        let stage = daemon.until_ended(task, node).await;
        assert_eq!(
            (stage.status, stage.error.as_deref()),
            (StageState::Success, None),
            "{task} {node}"
        );
        earlier.push((node, published(daemon, task, node).await));
        // A hit shows every stage so far and changes none.
        let hit = daemon.submit(task, node, input(node)).await;
        assert!(hit.reuse_info.reuse_hit, "{task} {node}");
        let view = hit.result.expect("a hit has the result");
        let names: Vec<_> = view.stages.keys().map(|name| name.as_str()).collect();
        assert_eq!(names, nodes[..earlier.len()], "{task}");
        for (node, bytes) in &earlier {
            let now = published(daemon, task, node).await;
            assert_eq!(
                String::from_utf8_lossy(&now),
                String::from_utf8_lossy(bytes),
                "{task} {node}"
            );
        }
        let mut after = Vec::new();
        files(&folder, &mut after);
        for file in before {
            assert!(after.contains(&file), "{task} {node} changed {}", file.0.display());
        }
    }
}

fn prepare(daemon: &Daemon) {
    media::clip(&daemon.dir().join("clip.mp4"), 3);
    let segments =
        json!({"segments": [{"start": 0.0, "end": 1.5, "text": "One."}, {"start": 1.5, "end": 3.0, "text": "Two."}]});
    fs::write(daemon.dir().join("transcript.json"), segments.to_string()).unwrap();
}

#[tokio::test]
async fn r6_sound_voice_and_frames_of_one_video_one_after_another_leave_each_other_as_they_are() {
    let daemon = daemon().await;
    prepare(&daemon);
    run_in_order(&daemon, "one", &[AUDIO, VOCALS, KEYFRAMES]).await;
    let stage = daemon.stage("one", VOCALS).await.unwrap();
    let output: Value = serde_json::from_str(stage.output.get()).unwrap();
    assert_eq!(output["quality_mode"], "default");
    let voice = output["vocal_audio"].as_str().unwrap();
    assert_eq!(&fs::read(voice).unwrap()[..4], b"fLaC");
}

#[tokio::test]
async fn r6_chains_in_mixed_order_leave_every_earlier_stage_byte_for_byte() {
    let daemon = daemon().await;
    prepare(&daemon);
    for (task, nodes) in [
        ("frames-first", &[KEYFRAMES, AUDIO, VOCALS][..]),
        ("all", &[AUDIO, KEYFRAMES, VOCALS, SUBTITLES, SPLIT]),
        ("split-before-voice", &[SUBTITLES, KEYFRAMES, AUDIO, SPLIT, VOCALS]),
        ("text-last", &[AUDIO, VOCALS, KEYFRAMES, SUBTITLES]),
    ] {
        run_in_order(&daemon, task, nodes).await;
    }
    // Where the voice was there it was cut, else the whole sound.
    for (task, source) in [("all", "_(Vocals)_fixture.flac"), ("split-before-voice", "clip.wav")] {
        let stage = daemon.stage(task, SPLIT).await.unwrap();
        let output: Value = serde_json::from_str(stage.output.get()).unwrap();
        assert!(output["audio_source"].as_str().unwrap().ends_with(source), "{output}");
    }
}
