//! The files that examples are recorded on: a clip of two seconds and what stages make of such a clip.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::media;

/// Fills a folder with them.
pub fn make(folder: &Path) {
    fs::create_dir_all(folder).expect("the folder of samples is made");
    let clip = folder.join("lecture.mp4");
    media::clip(&clip, 2);
    media::sound(&folder.join("lecture.wav"), 4);
    frames(
        &clip,
        &folder.join("keyframes"),
        "frame_%04d.jpg",
        "select=not(mod(n\\,10))",
    );
    frames(&clip, &folder.join("cropped"), "%08d.jpg", "crop=320:60:0:180");
    frames(
        &clip,
        &folder.join("multi_frames"),
        "mf_%08d.jpg",
        "crop=320:60:0:180,tile=1x10",
    );
    write(folder, "lecture_segments.json", &transcript().to_string());
    write(folder, "diarization.json", &diarization().to_string());
    let clip = json!({"id": 1, "start": 0.5, "end": 2.9, "text": "Good morning all.", "audio_path": "lecture.wav", "duration": 2.0});
    write(folder, "clips.json", &json!({"clips": [clip]}).to_string());
    write(folder, "multi_frames.json", &manifest().to_string());
    write(folder, "ocr_results.json", &ocr_results().to_string());
    write(
        folder,
        "lecture.srt",
        "1\n00:00:00,500 --> 00:00:02,900\n[SPEAKER_00] Good morning all.\n\n\
         2\n00:00:03,000 --> 00:00:03,900\n[SPEAKER_01] Hi Ann, ready?\n\n",
    );
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("a sample is written");
}

fn frames(clip: &Path, folder: &Path, names: &str, filter: &str) {
    fs::create_dir_all(folder).expect("a folder of frames is made");
    let made = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-i"])
        .arg(clip)
        .args(["-vf", filter, "-fps_mode", "vfr", "-q:v", "2"])
        .arg(folder.join(names))
        .status()
        .expect("ffmpeg is installed (make deps)");
    assert!(made.success(), "ffmpeg made {}", folder.display());
}

fn transcript() -> Value {
    let word = |word: &str, start: f64, end: f64| json!({"word": word, "start": start, "end": end, "probability": 0.9});
    json!({"metadata": {"language": "en"}, "segments": [
        {"id": 1, "start": 0.5, "end": 2.9, "text": " Good morning all.", "speaker": "SPEAKER_00", "words": [
            word(" Good", 0.5, 1.0), word(" morning", 1.0, 1.6), word(" all.", 1.7, 2.9)]},
        {"id": 2, "start": 3.0, "end": 6.9, "text": " Hi Ann, ready?", "speaker": "SPEAKER_01", "words": [
            word(" Hi", 3.0, 3.2), word(" Ann,", 3.2, 3.5), word(" ready?", 3.5, 6.9)]},
    ]})
}

fn diarization() -> Value {
    json!({"success": true, "total_speakers": 2, "segments": [
        {"start": 0.0, "end": 2.95, "speaker": "SPEAKER_00", "duration": 2.95},
        {"start": 2.95, "end": 7.0, "speaker": "SPEAKER_01", "duration": 4.05},
    ]})
}

fn manifest() -> Value {
    let strips = |from: usize| -> Vec<Value> {
        let strip = |n: usize| json!({"frame_idx": from + n, "height": 60, "y_offset": 60 * n, "x_offset": 0});
        (0..10).map(strip).collect()
    };
    (1..=5)
        .map(|n| {
            let name = format!("mf_{n:08}.jpg");
            (name, json!({"stitched_height": 600, "sub_images": strips(n * 10 - 9)}))
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn ocr_results() -> Value {
    let line = |text: &str| json!([text, [[10, 5], [200, 5], [200, 40], [10, 40]]]);
    let words = |frame: usize| {
        if frame <= 25 {
            "Good morning all"
        } else {
            "Hi Ann, ready?"
        }
    };
    (1..=50)
        .map(|frame| (frame.to_string(), line(words(frame))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
