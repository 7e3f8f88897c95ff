//! Burnt-in subtitles of the sample clip, found, read by RapidOCR and timed: every stage real.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use onceover_tests::Daemon;
use onceover_types::StageState;
use serde_json::{Value, json};

use super::{daemon, output, sample};

const KEYFRAMES: &str = "ffmpeg.extract_keyframes";
const DETECT: &str = "paddleocr.detect_subtitle_area";
const CROP: &str = "ffmpeg.crop_subtitle_images";
const STITCH: &str = "paddleocr.create_stitched_images";
const READ: &str = "paddleocr.perform_ocr";
const FINALIZE: &str = "paddleocr.postprocess_and_finalize";

/// Frames a second and seconds of the sample, and how long reading one more picture may take.
const FPS: f64 = 25.0;
const LENGTH: f64 = 12.0;
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for the end of a stage for as long as it gets on.
async fn gets_on(daemon: &Daemon, node: &str) -> Value {
    let mut seen = (None, tokio::time::Instant::now());
    loop {
        let stage = daemon.stage("clip", node).await.expect("it was submitted");
        if !stage.status.in_flight() {
            return output(daemon, "clip", node).await;
        }
        if stage.progress != seen.0 {
            assert!(
                stage.progress > seen.0,
                "progress went back from {seen:?} to {:?}",
                stage.progress
            );
            seen = (stage.progress, tokio::time::Instant::now());
        }
        assert!(seen.1.elapsed() < PATIENCE, "{node} stands still at {:?}", seen.0);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// When a burnt-in text is on the screen: ffmpeg draws it on each frame whose time lies in the segment.
fn shown(segment: &Value) -> (f64, f64) {
    let time = |name: &str| segment[name].as_f64().unwrap();
    let (first, last) = ((time("start") * FPS).ceil(), (time("end") * FPS).floor());
    (first / FPS, (last + 1.0) / FPS)
}

/// Letters and digits only: models differ on the width of blanks.
fn letters(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .collect::<String>()
        .to_lowercase()
}

#[tokio::test]
#[ignore = "make test-nodes runs it: it needs RapidOCR from PyPI"]
async fn d41_burnt_in_subtitles_are_found_read_and_timed_and_a_second_round_runs_nothing() {
    let models = tempfile::tempdir().unwrap();
    let sample = sample();
    let daemon = daemon(models.path()).media_root(&sample).start().await;
    let video = sample.join("clip.mp4");
    // What is left out comes from the stages before.
    let inputs = [
        (KEYFRAMES, json!({"video_path": video, "keyframe_sample_count": 12})),
        (DETECT, json!({})),
        (CROP, json!({"video_path": video})),
        (STITCH, json!({})),
        (READ, json!({})),
        (FINALIZE, json!({"video_path": video})),
    ];
    let (mut outputs, mut took) = (Vec::new(), Vec::new());
    for (node, input) in &inputs {
        let start = Instant::now();
        daemon.submit("clip", node, input.clone()).await;
        outputs.push(gets_on(&daemon, node).await);
        took.push(start.elapsed().as_secs_f64());
        println!("{node}: {:.1} s", took[took.len() - 1]);
    }
    let [_, found, cropped, stitched, read, finished] = &outputs[..] else {
        unreachable!("six nodes")
    };
    // The text stands 52 pixels above the lower edge of 640 x 360.
    let area: Vec<u64> = serde_json::from_value(found["subtitle_area"].clone()).unwrap();
    assert!(
        area[0] == 0 && area[2] == 640 && area[1] > 240 && area[1] < 308 && area[3] > 332,
        "{area:?}"
    );
    assert_eq!(
        (&found["input_source"], &found["engine"]),
        (&json!("workflow_ffmpeg"), &json!("rapidocr"))
    );
    assert_eq!(cropped["frames_count"], 300);
    assert_eq!(cropped["cropped_images_files_count"], stitched["frames_count"]);
    assert_eq!(read["statistics"]["frames"], 300);
    let strips = read["statistics"]["read"].as_u64().unwrap();
    assert!(strips <= 100, "{strips} of 300 frames were read");
    assert!(read["ocr_results_count"].as_u64().unwrap() > 150, "{read}");
    let took: f64 = took.iter().sum();
    println!(
        "burnt-in subtitles: the chain took {took:.1} s for a clip of {LENGTH} s ({:.1} times as long); {strips} of 300 frames were read",
        took / LENGTH
    );

    let transcript: Value = serde_json::from_slice(&fs::read(sample.join("transcript.json")).unwrap()).unwrap();
    let segments = transcript["segments"].as_array().unwrap();
    let cues: Value = serde_json::from_slice(&fs::read(finished["json_file"].as_str().unwrap()).unwrap()).unwrap();
    let cues = cues.as_array().unwrap();
    assert_eq!(cues.len(), segments.len(), "{cues:#?}");
    let srt = fs::read_to_string(finished["srt_file"].as_str().unwrap()).unwrap();
    for (cue, segment) in cues.iter().zip(segments) {
        assert_eq!(
            letters(cue["text"].as_str().unwrap()),
            letters(segment["text"].as_str().unwrap())
        );
        assert!(srt.contains(cue["text"].as_str().unwrap()), "{srt}");
        let (start, end) = shown(segment);
        for (time, due) in [("startTime", start), ("endTime", end)] {
            let off = cue[time].as_f64().unwrap() - due;
            assert!(off.abs() <= 1.0 / FPS + 0.001, "{time} is {off} s off in {cue}");
        }
    }
    for (node, input) in inputs {
        let again = daemon.submit("clip", node, input).await;
        assert!(again.reuse_info.reuse_hit, "{node}");
        assert_eq!(again.result.unwrap().stages.len(), 6, "{node}");
    }
}

#[tokio::test]
#[ignore = "make test-nodes runs it: it needs RapidOCR from PyPI"]
async fn d54_a_model_that_cannot_be_loaded_fails_the_run_and_is_no_empty_result() {
    let models = tempfile::tempdir().unwrap();
    fs::write(models.path().join("broken.onnx"), "no model").unwrap();
    let daemon = daemon(models.path()).start().await;
    let frames = daemon.dir().join("frames");
    fs::create_dir(&frames).unwrap();
    picture(&frames.join("frame_0001.jpg"));
    for (model, why) in [
        ("broken.onnx", "cannot be started"),
        ("none.onnx", "input_data.recognition_model"),
    ] {
        let input = json!({"keyframe_dir": frames, "recognition_model": model});
        daemon.submit(model, DETECT, input).await;
        let stage = daemon.until_ended(model, DETECT).await;
        assert_eq!(stage.status, StageState::Failed);
        let error = stage.error.unwrap();
        assert!(error.contains(why), "{error}");
    }
    // A picture without text is reported as that.
    daemon.submit("blank", DETECT, json!({"keyframe_dir": frames})).await;
    let error = daemon.until_ended("blank", DETECT).await.error.unwrap();
    assert!(error.contains("no text was found in 1 frames"), "{error}");
}

fn picture(path: &Path) {
    let made = std::process::Command::new("ffmpeg")
        .args([
            "-loglevel",
            "error",
            "-f",
            "lavfi",
            "-i",
            "color=gray:size=320x180",
            "-frames:v",
            "1",
        ])
        .arg(path)
        .status()
        .expect("ffmpeg is installed (make deps)");
    assert!(made.success());
}
