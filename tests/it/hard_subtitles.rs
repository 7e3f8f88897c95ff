//! Burnt-in subtitles, as far as no model is needed: strips of every frame, stacks of them, and cues of what was read.

use std::{fs, path::Path};

use onceover_tests::{Daemon, media};
use serde_json::{Map, Value, json};

const CROP: &str = "ffmpeg.crop_subtitle_images";
const STITCH: &str = "paddleocr.create_stitched_images";
const FINALIZE: &str = "paddleocr.postprocess_and_finalize";

fn files(folder: &Value) -> usize {
    let files = fs::read_dir(folder.as_str().unwrap()).unwrap();
    files
        .filter(|file| {
            file.as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|suffix| suffix == "jpg")
        })
        .count()
}

#[tokio::test]
async fn every_frame_is_cropped_stacked_and_timed_and_a_second_round_runs_nothing() {
    let daemon = Daemon::start().await;
    let video = daemon.dir().join("talk.mp4");
    media::clip(&video, 4);
    // Reading takes a model; this is what one has read.
    let read = daemon.dir().join("read.json");
    let frames: Map<_, _> = (26..=60)
        .map(|frame| {
            (
                frame.to_string(),
                json!(["Hello there", [[10, 5], [90, 5], [90, 30], [10, 30]]]),
            )
        })
        .collect();
    fs::write(&read, Value::Object(frames).to_string()).unwrap();
    let inputs = [
        (
            CROP,
            json!({"video_path": video, "subtitle_area": [0, 200, 320, 240], "every_frame": true}),
        ),
        (
            STITCH,
            json!({"subtitle_area": [0, 200, 320, 240], "concat_batch_size": 15}),
        ),
        (FINALIZE, json!({"video_path": video, "ocr_results_path": read})),
    ];
    let mut outputs = Vec::new();
    for (node, input) in &inputs {
        let stage = daemon.done("talk", node, input.clone()).await;
        outputs.push(serde_json::from_str::<Value>(stage.output.get()).unwrap());
    }
    let [crop, stitch, finalize] = &outputs[..] else {
        unreachable!("three nodes")
    };
    assert_eq!(
        (files(&crop["cropped_images_path"]), &crop["cropped_images_files_count"]),
        (100, &json!(100))
    );
    assert_eq!(
        (files(&stitch["multi_frames_path"]), &stitch["frames_count"]),
        (7, &json!(100))
    );
    let manifest: Value =
        serde_json::from_slice(&fs::read(stitch["manifest_path"].as_str().unwrap()).unwrap()).unwrap();
    let last = json!({
        "frame_idx": 100, "height": 40, "y_offset": 360, "x_offset": 0, "first": 100, "last": 100, "stretch": 100,
    });
    assert_eq!(manifest["mf_00000007.jpg"]["sub_images"][9], last);
    let srt = Path::new(finalize["srt_file"].as_str().unwrap());
    assert_eq!(srt.file_name().unwrap(), "talk.srt");
    assert_eq!(
        fs::read_to_string(srt).unwrap(),
        "1\n00:00:01,000 --> 00:00:02,400\nHello there\n\n"
    );
    for (node, input) in inputs {
        let again = daemon.submit("talk", node, input).await;
        assert!(again.reuse_info.reuse_hit, "{node}");
        assert_eq!(again.result.unwrap().stages.len(), 3);
    }
}
