//! The chain of the nodes for transcripts, on the sample's speech: who speaks when, subtitles, sound cut by them, clips for
//! voices, corrected text. Every stage is kept byte for byte while others are added, and asked for again is a hit.

use std::{collections::BTreeMap, fs, path::Path};

use onceover_tests::{Daemon, media};
use onceover_types::StageState;
use serde_json::{Value, json};

const TASK: &str = "talk";

/// Every file below a folder.
fn files(folder: &Path, all: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), all);
        } else if kind.is_file() {
            all.insert(entry.path().display().to_string(), fs::read(entry.path()).unwrap());
        }
    }
}

/// The public JSON of each stage, and the files of each run.
async fn kept(daemon: &Daemon, nodes: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    files(&daemon.data.join("share/workflows").join(TASK).join("runs"), &mut all);
    for node in nodes {
        let json: Option<Vec<u8>> = redis::AsyncCommands::get(&mut daemon.redis().await, format!("{TASK}:node:{node}"))
            .await
            .unwrap();
        all.insert((*node).to_owned(), json.expect("the stage is there"));
    }
    all
}

fn json_at(path: &Value) -> Value {
    serde_json::from_slice(&fs::read(path.as_str().unwrap()).unwrap()).unwrap()
}

fn texts(segments: &Value) -> Vec<&str> {
    segments
        .as_array()
        .unwrap()
        .iter()
        .map(|segment| segment["text"].as_str().unwrap().trim())
        .collect()
}

#[tokio::test]
async fn the_chain_of_a_transcript_runs_once_and_leaves_earlier_stages_alone() {
    let daemon = Daemon::start().await;
    let sample = daemon.dir().join("sample");
    media::sample(&sample);
    let (transcript, who) = (sample.join("transcript.json"), sample.join("diarization.json"));
    let both = json!({"segments_file": transcript, "diarization_file": who});
    let corrected = "Onceover never does the same work twice. A stage that has succeeded is answered at once. \
        Everything else runs, and you can watch it!";
    let chain = [
        ("ffmpeg.extract_audio", json!({"video_path": sample.join("clip.mp4")})),
        ("pyannote_audio.validate_diarization", json!({"diarization_file": who})),
        (
            "pyannote_audio.get_speaker_segments",
            json!({"diarization_file": who, "speaker": "SPEAKER_00"}),
        ),
        ("wservice.merge_speaker_segments", both.clone()),
        ("wservice.merge_with_word_timestamps", both.clone()),
        ("wservice.merge_speaker_based_subtitles", both.clone()),
        ("wservice.generate_subtitle_files", both.clone()),
        ("ffmpeg.split_audio_segments", json!({"group_by_speaker": true})),
        ("wservice.prepare_tts_segments", json!({"min_duration": 1.5})),
        (
            "wservice.rebuild_subtitle_with_words",
            json!({
                "segments_file": "${{ stages.wservice.merge_with_word_timestamps.output.merged_segments_file }}",
                "optimized_text": corrected,
                "report": true,
            }),
        ),
        (
            "wservice.segment_subtitles",
            json!({
                "subtitle_file": transcript,
                "text_json_path": "join('', segments[].text)",
                "words_json_path": "segments[].words[]",
            }),
        ),
    ];
    let mut outputs: BTreeMap<&str, Value> = BTreeMap::new();
    let mut before = BTreeMap::new();
    let mut done = Vec::new();
    for (node, input) in &chain {
        let answer = daemon.submit(TASK, node, input.clone()).await;
        assert!(!answer.reuse_info.reuse_hit, "{node}");
        let stage = daemon.until_ended(TASK, node).await;
        assert_eq!(
            (stage.status, stage.error.as_deref()),
            (StageState::Success, None),
            "{node}"
        );
        outputs.insert(node, serde_json::from_str(stage.output.get()).unwrap());
        done.push(*node);
        let now = kept(&daemon, &done).await;
        for (name, bytes) in &before {
            assert_eq!(now.get(name), Some(bytes), "{name} after {node}");
        }
        before = now;
    }

    // Each again: a hit by the fields it declares, and nothing has run.
    for (node, input) in &chain {
        let hit = daemon.submit(TASK, node, input.clone()).await;
        assert!(hit.reuse_info.reuse_hit, "{node}: {:?}", hit.reuse_info.reason);
        assert_eq!(hit.reuse_info.input_changed, Some(Some(false)), "{node}");
    }
    let mut now = BTreeMap::new();
    files(&daemon.data.join("share/workflows").join(TASK).join("runs"), &mut now);
    before.retain(|name, _| !done.contains(&name.as_str()));
    assert_eq!(now.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());

    // What the sample says is in each of them.
    let spoken = [
        "Onceover never does the same work twice.",
        "A stage that succeeded is answered at once.",
        "Everything else runs, and you can watch it.",
    ];
    let speakers = ["SPEAKER_00", "SPEAKER_01", "SPEAKER_00"];
    assert_eq!(outputs["pyannote_audio.validate_diarization"]["valid"], true);
    assert_eq!(outputs["pyannote_audio.get_speaker_segments"]["total_segments"], 2);
    let merged = [
        outputs["wservice.merge_speaker_segments"]["merged_segments"].clone(),
        json_at(&outputs["wservice.merge_with_word_timestamps"]["merged_segments_file"]),
        json_at(&outputs["wservice.merge_speaker_based_subtitles"]["merged_segments_file"]),
    ];
    for merged in &merged {
        assert_eq!(texts(merged), spoken);
        let named: Vec<_> = merged
            .as_array()
            .unwrap()
            .iter()
            .map(|piece| piece["speaker"].as_str().unwrap())
            .collect();
        assert_eq!(named, speakers);
    }
    let cut = &outputs["ffmpeg.split_audio_segments"];
    assert_eq!(
        (&cut["segments_count"], &cut["failed_segments"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(cut["speaker_summary"]["SPEAKER_00"]["count"], 2);
    assert_eq!(
        cut["subtitle_source"],
        outputs["wservice.generate_subtitle_files"]["subtitle_files"]["with_speakers"]
    );
    let clips = &outputs["wservice.prepare_tts_segments"];
    assert_eq!(clips["source_stage"], "wservice.merge_with_word_timestamps");
    assert_eq!(texts(&clips["prepared_segments"]), spoken);
    let rebuilt = &outputs["wservice.rebuild_subtitle_with_words"];
    assert_eq!(
        texts(&json_at(&rebuilt["optimized_segments_file"])).join(" "),
        corrected
    );
    let report = fs::read_to_string(rebuilt["report_file"].as_str().unwrap()).unwrap();
    assert!(report.contains("inserted \"has\""), "{report}");
    let lines = json_at(&outputs["wservice.segment_subtitles"]["segmented_subtitle_file"]);
    assert_eq!(texts(&lines["segments"]).join(" "), spoken.join(" "));
    assert_eq!(lines["segments"][0]["start"], 0.5);
}
