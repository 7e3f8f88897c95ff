use std::{process::Command, time::Duration};

use super::*;
use crate::{
    ffmpeg::clip,
    fixture::Fixture,
    speech::wav::{self, WavWriter},
};

const NODE: &str = "ffmpeg.mix_dub";

/// Twelve seconds of picture and a quiet low tone; the picture begins where `args` say.
fn video(path: &Path) {
    let tone = "sine=frequency=200:duration=12,volume=0.5";
    let picture = "testsrc=duration=12:size=64x48:rate=5";
    clip::make(
        path,
        &[
            "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone, "-pix_fmt", "yuv420p", "-c:a", "aac",
        ],
    );
}

/// Clips in one file: high tones of these lengths, one second apart.
fn voices(fixture: &Fixture, lengths: &[u32]) -> String {
    let path = fixture.path("voices.wav");
    let total: u32 = lengths.iter().map(|length| length + 1).sum();
    let mut at = 0;
    let mut heard = Vec::new();
    for length in lengths {
        heard.push(format!("between(t,{at},{})", at + length));
        at += length + 1;
    }
    let tones = format!(
        "aevalsrc='0.5*sin(2*PI*2000*t)*({})':s=22050:d={total}",
        heard.join("+")
    );
    clip::make(&path, &["-f", "lavfi", "-i", &tones]);
    path.display().to_string()
}

fn clips(file: &str, cues: &[(f64, f64, f64, f64)]) -> Value {
    let clip = |(start, end, offset, duration): &(f64, f64, f64, f64)| json!({"id": start, "start": start, "end": end, "text": "x", "audio_path": file, "offset": offset, "duration": duration});
    cues.iter().map(clip).collect()
}

fn fixture(cues: &[(f64, f64, f64, f64)], lengths: &[u32], more: Value) -> Fixture {
    Fixture::with_input(NODE, |fixture| {
        video(&fixture.path("clip.mp4"));
        let file = voices(fixture, lengths);
        let mut input = json!({"video_path": fixture.path("clip.mp4"), "clips": clips(&file, cues)});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    })
}

/// The high tone (the voice) or the low one (the original) of the result, at 8000 samples a second.
fn heard(path: &Value, band: &str) -> Vec<i16> {
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-i", path.as_str().unwrap(), "-af", band])
        .args(["-ac", "1", "-ar", "8000", "-f", "s16le", "-"])
        .output()
        .unwrap();
    assert!(made.status.success());
    wav::samples(&made.stdout)
}

const VOICE: &str = "highpass=f=1500,highpass=f=1500";
const ORIGINAL: &str = "lowpass=f=400,lowpass=f=400";

/// From when to when something is heard, in seconds.
fn spans(samples: &[i16]) -> Vec<(f64, f64)> {
    let mut spans: Vec<(f64, f64)> = Vec::new();
    for (position, sample) in samples
        .iter()
        .enumerate()
        .filter(|(_, sample)| sample.unsigned_abs() > 300)
    {
        let time = position as f64 / 8000.0;
        let _ = sample;
        match spans.last_mut() {
            Some(last) if time - last.1 < 0.1 => last.1 = time,
            _ => spans.push((time, time)),
        }
    }
    spans
}

fn level(samples: &[i16], from: f64, to: f64) -> f64 {
    let part = &samples[(from * 8000.0) as usize..(to * 8000.0) as usize];
    let sum: f64 = part.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    20.0 * (sum / part.len() as f64).sqrt().max(1.0).log10()
}

fn warnings(fixture: &Fixture) -> Vec<Value> {
    let mut output = Object::new();
    fixture.context.warnings.write_into(&mut output);
    output
        .remove("warnings")
        .and_then(|list| list.as_array().cloned())
        .unwrap_or_default()
}

#[tokio::test]
async fn the_voice_lies_at_its_cues_and_the_original_is_quiet_beneath_it() {
    // As long as its cue; twice as long as its cue and the pause allow.
    let cues = [(1.0, 3.0, 0.0, 2.0), (6.0, 7.0, 3.0, 4.0), (9.0, 10.0, 8.0, 1.0)];
    let fixture = fixture(
        &cues,
        &[2, 4, 1],
        json!({"overrun": 1.0, "max_speed": 2.0, "duck_db": -20}),
    );
    let output = run(&fixture.context).await.unwrap();
    let spans = spans(&heard(&output["dubbed_path"], VOICE));
    assert_eq!(spans.len(), 3, "{spans:?}");
    for ((start, end), (due, until)) in spans.iter().zip([(1.0, 3.0), (6.0, 8.0), (9.0, 10.0)]) {
        assert!((start - due).abs() < 0.04 && (end - until).abs() < 0.06, "{spans:?}");
    }
    let original = heard(&output["dubbed_path"], ORIGINAL);
    let quieter = level(&original, 4.5, 5.5) - level(&original, 1.5, 2.5);
    assert!((quieter - 20.0).abs() < 1.5, "{quieter} dB");
    assert_eq!(
        (
            &output["clips_count"],
            &output["stretched_count"],
            &output["highest_speed"],
            &output["too_long_count"]
        ),
        (&json!(3), &json!(1), &json!(2.0), &json!(0))
    );
    let loudness = output["loudness"]["after"]["integrated_lufs"].as_f64().unwrap();
    assert!((loudness + 16.0).abs() < 1.0, "{}", output["loudness"]);
    assert!(warnings(&fixture).is_empty());
    assert!(fixture.context.node.output_is_reusable(&output));
    assert!(!fixture.context.dir.join("scratch").exists());
    assert_eq!(
        probe::media(&fixture.context, Path::new(output["dubbed_path"].as_str().unwrap()))
            .await
            .unwrap()
            .duration()
            .map(f64::round),
        Some(12.0)
    );
}

#[tokio::test]
async fn what_does_not_fit_and_what_has_no_sound_is_told_with_numbers() {
    let mut fixture = fixture(
        &[(1.0, 2.0, 0.0, 4.0), (4.0, 5.0, 5.0, 1.0)],
        &[4, 1],
        json!({"max_speed": 1.25, "original": "replace"}),
    );
    let clips = fixture.context.input["clips"].as_array_mut().unwrap();
    clips.push(json!({"id": "gone", "start": 6, "end": 7, "audio_path": "/gone.wav"}));
    clips.push(json!({"id": "mute", "start": 7, "end": 8, "text": "..."}));
    clips.push(json!({"id": "late", "start": 70, "end": 80, "audio_path": clips[0]["audio_path"]}));
    let output = run(&fixture.context).await.unwrap();
    assert_eq!(
        (
            &output["clips_count"],
            &output["left_out_count"],
            &output["too_long_count"]
        ),
        (&json!(2), &json!(3), &json!(1))
    );
    let warnings = warnings(&fixture);
    let left_out = &warnings[0];
    assert_eq!(
        (&left_out["code"], &left_out["numbers"]),
        (&json!("lines_left_out"), &json!({"lines": 3, "of": 5}))
    );
    assert!(
        left_out["text"].as_str().unwrap().contains("gone, mute, late"),
        "{left_out}"
    );
    let too_long = &warnings[1];
    assert_eq!(too_long["code"], "clips_too_long");
    // Four seconds at 1.25 are 3.2; there are two.
    let over = too_long["numbers"]["over_by"].as_f64().unwrap();
    assert!((over - 1.2).abs() < 0.05, "{too_long}");
    let report: Value =
        serde_json::from_slice(&std::fs::read(output["report_path"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(
        (report["clips"][0]["speed"].as_f64(), &report["left_out"][1]["id"]),
        (Some(1.25), &json!("mute"))
    );
    // Nothing of the original is left.
    assert!(level(&heard(&output["dubbed_path"], ORIGINAL), 8.0, 11.0) < 10.0);
}

#[tokio::test]
async fn the_clock_is_that_of_players_also_for_late_sound_and_a_clock_that_begins_elsewhere() {
    let mut fixture = fixture(&[(2.0, 3.0, 0.0, 1.0)], &[1], json!({"original": "keep"}));
    let path = fixture.path("late.ts");
    let args = [
        "-f",
        "lavfi",
        "-i",
        "testsrc=duration=6:size=64x48:rate=25",
        "-itsoffset",
        "4",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=200:duration=2",
        "-output_ts_offset",
        "95440",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
    ];
    clip::make(&path, &args);
    fixture.context.input["video_path"] = json!(path);
    let output = run(&fixture.context).await.unwrap();
    let voice = spans(&heard(&output["dubbed_path"], VOICE));
    assert!(voice.len() == 1 && (voice[0].0 - 2.0).abs() < 0.04, "{voice:?}");
    let original = spans(&heard(&output["dubbed_path"], ORIGINAL));
    // Where the voice begins and ends there is a click.
    let tone = original.iter().find(|(start, end)| end - start > 0.5).unwrap();
    assert!((tone.0 - 4.0).abs() < 0.06, "{original:?}");
}

#[tokio::test]
async fn sound_alone_gives_sound_alone_and_no_clip_at_all_is_a_failure() {
    let mut fixture = fixture(&[(0.5, 1.5, 0.0, 1.0)], &[1], json!({}));
    let path = fixture.path("talk.wav");
    clip::tone(&path, 3);
    fixture.context.input["video_path"] = json!(path);
    let output = run(&fixture.context).await.unwrap();
    assert!(
        output["dubbed_path"].as_str().unwrap().ends_with("dub/talk_dubbed.wav"),
        "{output:?}"
    );
    fixture.context.input["clips"] = json!([{"start": 0, "end": 1, "text": "a"}]);
    let error = run(&fixture.context).await.unwrap_err().to_string();
    assert!(error.contains("none of the 1 clips"), "{error}");
}

/// How many of the clips of a folder this process has open.
fn open_clips(folder: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter_map(|link| std::fs::read_link(link.path()).ok())
        .filter(|path| path.parent() == Some(folder) && path.extension().is_some_and(|suffix| suffix == "wav"))
        .count()
}

#[tokio::test]
async fn few_files_are_open_and_each_is_decoded_once_however_many_clips_there_are() {
    const FILES: usize = 6;
    let mut fixture = fixture(&[(0.0, 1.0, 0.0, 1.0)], &[1], json!({"original": "replace"}));
    let folder = fixture.path("clips");
    std::fs::create_dir(&folder).unwrap();
    let file = |number: usize| folder.join(format!("{}.wav", number % FILES));
    for number in 0..FILES {
        let mut voice = WavWriter::create(&file(number), 8000).unwrap();
        let tone: Vec<_> = (0..4000).map(|at| if at % 4 < 2 { 8000 } else { -8000 }).collect();
        voice.add(&tone).unwrap();
        voice.finish().unwrap();
    }
    // Each file is needed again after all others.
    let clip = |number: usize| {
        let start = number as f64 * 0.9;
        json!({"start": start, "end": start + 0.4, "audio_path": file(number), "offset": (number / FILES) as f64 * 0.25, "duration": 0.25})
    };
    fixture.context.input["clips"] = (0..2 * FILES).map(clip).collect();
    let mut most = 0;
    let running = run(&fixture.context);
    tokio::pin!(running);
    let output = loop {
        tokio::select! {
            output = &mut running => break output.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(1)) => most = most.max(open_clips(&folder)),
        }
    };
    assert_eq!(output["clips_count"], 2 * FILES);
    assert!(most <= 1, "{most} clips were open at a time");
    let log = fixture.log_text();
    let decoded = log
        .lines()
        .filter(|line| line.contains("$ ffmpeg") && line.contains("decoded-"));
    assert_eq!(decoded.count(), FILES, "{log}");
    let heard = spans(&heard(&output["dubbed_path"], VOICE));
    assert_eq!(heard.len(), 2 * FILES, "{heard:?}");
}
