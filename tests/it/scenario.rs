//! Real media work: ffmpeg on real clips, through the shipped nodes.

use std::{fs, path::Path};

use onceover_tests::{Daemon, events::Sse, media};
use onceover_types::StageState;
use onceover_wire::{Event, EventKind, StageView};
use serde_json::{Value, json};

const AUDIO: &str = "ffmpeg.extract_audio";
const KEYFRAMES: &str = "ffmpeg.extract_keyframes";
const SUBTITLES: &str = "wservice.generate_subtitle_files";
const SPLIT: &str = "ffmpeg.split_audio_segments";

fn output(stage: &StageView) -> Value {
    serde_json::from_str(stage.output.get()).expect("JSON")
}

async fn ended(daemon: &Daemon, node: &str) -> Value {
    let stage = daemon.until_ended("lecture-07", node).await;
    assert_eq!(
        (stage.status, stage.error.as_deref()),
        (StageState::Success, None),
        "{node}"
    );
    output(&stage)
}

#[tokio::test]
async fn a_video_is_worked_on_once_and_every_stage_of_it_is_in_a_later_hit() {
    let daemon = Daemon::start().await;
    let video = daemon.dir().join("lecture.mp4");
    media::clip(&video, 4);
    let input = json!({"video_path": video});
    daemon.submit("lecture-07", AUDIO, input.clone()).await;
    let audio = ended(&daemon, AUDIO).await["audio_path"].as_str().unwrap().to_owned();
    assert_eq!(&fs::read(&audio).unwrap()[..4], b"RIFF");
    let hit = daemon.submit("lecture-07", AUDIO, input.clone()).await;
    assert!(hit.reuse_info.reuse_hit);
    assert!(hit.reuse_info.saved_seconds.unwrap() > 0.0);

    daemon
        .submit(
            "lecture-07",
            KEYFRAMES,
            json!({"video_path": video, "keyframe_sample_count": 5}),
        )
        .await;
    let frames = ended(&daemon, KEYFRAMES).await;
    assert_eq!(frames["keyframe_files_count"], 5);
    let folder = Path::new(frames["keyframe_dir"].as_str().unwrap());
    assert_eq!(fs::read_dir(folder).unwrap().count(), 5);
    let hit = daemon.submit("lecture-07", AUDIO, input.clone()).await;
    assert!(hit.reuse_info.reuse_hit, "another stage has not changed it");
    let view = hit.result.unwrap();
    let names: Vec<_> = view.stages.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, [AUDIO, KEYFRAMES]);
    assert!(view.stages.values().all(|stage| stage.status == StageState::Success));

    // Subtitles of a transcript, then the sound cut by them; both files come from the earlier stages.
    let transcript = daemon.dir().join("transcript.json");
    let segments = json!({"segments": [
        {"start": 0.0, "end": 1.5, "text": "The first sentence."},
        {"start": 1.5, "end": 3.5, "text": "第二句话。"},
    ]});
    fs::write(&transcript, segments.to_string()).unwrap();
    daemon
        .submit("lecture-07", SUBTITLES, json!({"segments_file": transcript}))
        .await;
    let srt = ended(&daemon, SUBTITLES).await["subtitle_path"]
        .as_str()
        .unwrap()
        .to_owned();
    let text = fs::read_to_string(&srt).unwrap();
    assert!(
        text.contains("00:00:01,500 --> 00:00:03,500") && text.contains("第二句话"),
        "{text}"
    );
    daemon.submit("lecture-07", SPLIT, json!({})).await;
    let pieces = ended(&daemon, SPLIT).await;
    assert_eq!(
        (&pieces["segments_count"], &pieces["failed_segments"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(pieces["audio_source"], json!(audio));
    assert_eq!(pieces["subtitle_source"], json!(srt));
    let total = pieces["total_duration"].as_f64().unwrap();
    assert!((total - 3.5).abs() < 0.1, "{total}");

    // A frame that was removed makes that stage, and only that one, run again.
    fs::remove_file(folder.join("frame_0003.jpg")).unwrap();
    let answer = daemon
        .submit(
            "lecture-07",
            KEYFRAMES,
            json!({"video_path": video, "keyframe_sample_count": 5}),
        )
        .await;
    assert_eq!(answer.reuse_info.reason.as_deref(), Some("artifact_missing"));
    assert_eq!(ended(&daemon, KEYFRAMES).await["keyframe_files_count"], 5);
    for node in [AUDIO, SUBTITLES, SPLIT] {
        let answer = daemon.submit("lecture-07", node, json!({"video_path": video})).await;
        assert!(answer.reuse_info.reuse_hit, "{node}");
    }
}

#[tokio::test]
async fn v3_progress_of_ffmpeg_is_real_and_its_run_can_be_cancelled() {
    let daemon = Daemon::start().await;
    let sound = daemon.dir().join("long.wav");
    media::sound(&sound, 4 * 3600);
    let mut events = Sse::open(&daemon, None).await;
    daemon.submit("t1", AUDIO, json!({"video_path": sound})).await;
    let (mut last, mut inside) = (0.0, 0);
    loop {
        let event: Event = serde_json::from_str(&events.next().await.data).unwrap();
        let progress = event.stage.and_then(|stage| stage.progress).unwrap_or(last);
        assert!(progress >= last, "{progress} after {last}");
        inside += usize::from(event.kind == EventKind::Progress && progress > last && progress < 100.0);
        last = progress;
        match event.kind {
            EventKind::Succeeded => break,
            EventKind::Failed => panic!("it failed"),
            _ => {}
        }
    }
    assert!(inside >= 1, "nothing between start and end");

    daemon.submit("t2", AUDIO, json!({"video_path": sound})).await;
    daemon.until("t2", AUDIO, StageState::Running).await;
    onceover_tests::eventually("ffmpeg", || async { (!daemon.children().is_empty()).then_some(()) }).await;
    assert_eq!(daemon.call("DELETE", "/v1/tasks/t2", None).await.status, 200);
    onceover_tests::until_equal("processes", 0, || async { daemon.children().len() }).await;
    assert_eq!(daemon.stage("t2", AUDIO).await.unwrap().status, StageState::Cancelled);
}

#[tokio::test]
async fn a_file_that_is_no_video_fails_with_what_ffmpeg_said_and_can_be_tried_again() {
    let daemon = Daemon::start().await;
    let video = daemon.dir().join("broken.mp4");
    fs::write(&video, "not a film").unwrap();
    daemon.submit("t1", AUDIO, json!({"video_path": video})).await;
    let stage = daemon.until_ended("t1", AUDIO).await;
    assert_eq!(stage.status, StageState::Failed);
    assert!(!stage.error.unwrap().is_empty());
    media::clip(&video, 1);
    let answer = daemon.submit("t1", AUDIO, json!({"video_path": video})).await;
    assert_eq!(answer.reuse_info.reason.as_deref(), Some("failed"));
    daemon.until("t1", AUDIO, StageState::Success).await;
    // A file that is lost before its run begins fails it, and the error names the parameter.
    let lost = daemon.dir().join("lost.mp4");
    fs::write(&lost, "").unwrap();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for n in 0..cores {
        daemon.submit(&format!("hold-{n}"), "test.told", json!({})).await;
        daemon
            .until(&format!("hold-{n}"), "test.told", StageState::Running)
            .await;
    }
    daemon.submit("t2", AUDIO, json!({"video_path": lost})).await;
    fs::remove_file(&lost).unwrap();
    for n in 0..cores {
        let run = daemon
            .stage(&format!("hold-{n}"), "test.told")
            .await
            .unwrap()
            .run_id
            .unwrap();
        daemon.tell(run.as_str(), &json!({"output": {"value": 1}}));
    }
    let error = daemon.until("t2", AUDIO, StageState::Failed).await.error.unwrap();
    assert!(
        error.contains("video_path") && error.contains("there is no such file"),
        "{error}"
    );
}
