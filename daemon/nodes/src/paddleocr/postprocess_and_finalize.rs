//! `paddleocr.postprocess_and_finalize`: what was read in each frame becomes subtitles with times, SRT and JSON.

use serde::Serialize;
use serde_json::json;

use super::{
    joiner::{Joined, Rule},
    readings,
};
use crate::{
    ffmpeg::{timeline, tracks::TrackKind},
    input::{Input, compute, create_folder, path_text, read, stem, write},
    spoken::millis,
    timed_text::compose_srt,
};
use onceover_run::{
    Object, RunContext, RunError,
    warnings::{Code, Warning},
};

/// The part of a cue's time for which its text was read; below it, the text is doubtful.
const AGREED: f64 = 0.5;
/// How sure a reader is of a text that is not doubtful.
const SURE: f64 = 0.7;
/// Seconds from which on a doubtful text is kept. What is shown for less and is not sure is no text but a pattern.
const KEPT: f64 = 1.0;

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let results = input.file("ocr_results_path")?;
    let video = input.file("video_path")?;
    let rule = Rule {
        min_duration: input.number("min_duration_seconds")?,
        similarity: input.number("similarity_threshold")?,
    };
    let track = TrackKind::Video.wanted(&input);
    let readings = readings::parse(&read(&results)?)
        .map_err(|why| RunError::failed(format!("{} cannot be used: {why}", results.display())))?;
    let count = readings.len();
    context.progress.report(10.0, Some(format!("{count} frames with text")));
    let last = readings.last_key_value().map_or(0, |(number, _)| *number);
    let times = timeline::frame_times(context, &video, track.as_deref(), last).await?;
    let beyond = readings.range(times.len() as u64 + 1..).count();
    if beyond == count && count > 0 {
        return Err(RunError::failed(format!(
            "{} is of another video: it begins at frame {}, and {} has {}",
            results.display(),
            readings.first_key_value().map_or(0, |(number, _)| *number),
            video.display(),
            times.len()
        )));
    }
    let mut joined = compute(move || Ok(rule.join(&readings, &times))).await?;
    let all = joined.len();
    joined.retain(|cue| !is_unsure(cue) || cue.end - cue.start >= KEPT);
    if joined.is_empty() {
        return Err(RunError::failed(format!(
            "no subtitle is left of {count} frames with text in {}: none is sure and stays for the {} s of min_duration_seconds",
            results.display(),
            rule.min_duration
        )));
    }
    warn(context, &joined, beyond);
    warn_of_patterns(context, all - joined.len());
    let statistics = json!({
        "frames_with_text": count,
        "readings": joined.iter().map(|cue| cue.readings).sum::<usize>(),
        "subtitles": joined.len(),
    });
    let subtitles: Vec<_> = joined.into_iter().zip(1..).map(Subtitle::new).collect();
    let stem = stem(&video.to_string_lossy()).unwrap_or_else(|| "subtitles".into());
    let srt = create_folder(context, "subtitles")?.join(format!("{stem}.srt"));
    let cues = subtitles
        .iter()
        .map(|subtitle| (subtitle.start, subtitle.end, subtitle.text.as_str()));
    write(&srt, &compose_srt(cues))?;
    let json = create_folder(context, "data")?.join(format!("{stem}.json"));
    write(&json, &indented(&subtitles)?)?;
    Ok(Object::from_iter([
        ("srt_file".into(), json!(path_text(&srt))),
        ("json_file".into(), json!(path_text(&json))),
        ("subtitles_count".into(), json!(subtitles.len())),
        ("statistics".into(), statistics),
    ]))
}

fn is_unsure(cue: &Joined) -> bool {
    cue.confidence.is_some_and(|confidence| confidence < SURE)
}

fn warn_of_patterns(context: &RunContext, count: usize) {
    if count > 0 {
        let text = format!(
            "{count} texts that are shown for less than {KEPT} s and that the reader was not sure of are left out"
        );
        context
            .warnings
            .add(Warning::new(Code::LinesLeftOut, text).with("lines", count));
    }
}

/// Warns of doubtful parts of the result.
fn warn(context: &RunContext, cues: &[Joined], beyond: usize) {
    if beyond > 0 {
        let text = format!("{beyond} readings are of frames that the video does not have; is it another one?");
        context
            .warnings
            .add(Warning::new(Code::RecordsSkipped, text).with("skipped", beyond));
    }
    let is_doubtful = |cue: &&Joined| cue.agreement < AGREED || is_unsure(cue);
    let doubtful: Vec<_> = cues.iter().filter(is_doubtful).collect();
    if let Some(first) = doubtful.first() {
        let text = format!(
            "of {} of {} subtitles the readings differ or are unsure; the first is at {:.2} s: {}",
            doubtful.len(),
            cues.len(),
            first.start,
            first.text.replace('\n', " / ")
        );
        context
            .warnings
            .add(Warning::new(Code::DoubtfulText, text).with("lines", doubtful.len()));
    }
}

fn indented(subtitles: &[Subtitle]) -> Result<Vec<u8>, RunError> {
    let mut bytes = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    subtitles
        .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, form))
        .map_err(|why| RunError::failed(why.to_string()))?;
    Ok(bytes)
}

/// One subtitle, as the JSON file has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Subtitle {
    /// Seconds.
    #[serde(rename = "startTime")]
    start: f64,
    #[serde(rename = "endTime")]
    end: f64,
    text: String,
    bbox: Vec<[i64; 2]>,
    /// First and last frame, from 1.
    #[serde(rename = "frameRange")]
    frames: [u64; 2],
    id: usize,
}

impl Subtitle {
    fn new((cue, id): (Joined, usize)) -> Self {
        Self {
            start: millis(cue.start),
            end: millis(cue.end),
            text: cue.text,
            bbox: cue.corners,
            frames: cue.frames,
            id,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;
    use crate::{ffmpeg::clip, fixture::Fixture};

    fn worked() -> Value {
        let mut frames = Object::new();
        let mut add = |range: std::ops::RangeInclusive<u32>, text: &str| {
            for number in range {
                let quad = json!([[1.9, 2.9], [30.0, 2.0], [30.0, 20.0], [1.0, 20.0]]);
                frames.insert(number.to_string(), json!([text, quad]));
            }
        };
        // Not in order, as the reading may end in any.
        add(36..=49, "I am at home");
        add(10..=20, "Where are you");
        add(21..=21, "Where are yau");
        add(22..=24, " ");
        add(25..=35, "Where are you");
        add(60..=60, "blip");
        frames.into()
    }

    fn fixture(results: &Value, input: Value) -> Fixture {
        Fixture::with_input("paddleocr.postprocess_and_finalize", |fixture| {
            let clip = ["-f", "lavfi", "-i", "color=black:size=64x48:rate=25:duration=3"];
            clip::make(&fixture.path("my clip.mp4"), &clip);
            let mut input = input;
            input["video_path"] = json!(fixture.path("my clip.mp4"));
            input["ocr_results_path"] = json!(fixture.file("ocr_results.json", results.to_string()));
            input
        })
    }

    #[tokio::test]
    async fn the_worked_example_of_two_subtitles() {
        let fixture = fixture(&worked(), json!({}));
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(output["subtitles_count"], 2);
        let srt = fixture.context.dir.join("subtitles/my clip.srt");
        assert_eq!(output["srt_file"], json!(srt));
        assert_eq!(
            fs::read_to_string(srt).unwrap(),
            "1\n00:00:00,360 --> 00:00:01,400\nWhere are you\n\n2\n00:00:01,400 --> 00:00:01,960\nI am at home\n\n"
        );
        let json_file = fs::read_to_string(fixture.context.dir.join("data/my clip.json")).unwrap();
        assert!(
            json_file.starts_with("[\n    {\n        \"startTime\": 0.36,"),
            "{json_file}"
        );
        let json: Value = serde_json::from_str(&json_file).unwrap();
        let bbox = json!([[1, 2], [30, 2], [30, 20], [1, 20]]);
        assert_eq!(
            json,
            json!([
                {"startTime": 0.36, "endTime": 1.4, "text": "Where are you", "bbox": bbox, "frameRange": [10, 35], "id": 1},
                {"startTime": 1.4, "endTime": 1.96, "text": "I am at home", "bbox": bbox, "frameRange": [36, 49], "id": 2},
            ])
        );
        assert!(fixture.context.node.output_is_reusable(&output));
    }

    #[tokio::test]
    async fn d45_the_limits_of_the_request_apply() {
        let count = async |input| run(&fixture(&worked(), input).context).await.unwrap()["subtitles_count"].clone();
        assert_eq!(
            count(json!({"min_duration_seconds": 0})).await,
            3,
            "the single frame stays"
        );
        assert_eq!(count(json!({"min_duration_seconds": 0.6})).await, 1);
        let strict = json!({"similarity_threshold": 1, "min_duration_seconds": 0});
        assert_eq!(
            count(strict).await,
            5,
            "'yau' is a separate text, between two of the same"
        );
    }

    #[tokio::test]
    async fn d9_without_a_subtitle_the_run_fails_and_says_why() {
        let fixture = fixture(&json!({"1": ["blip", []], "9": ["blop", []]}), json!({}));
        let error = run(&fixture.context).await.unwrap_err().to_string();
        assert!(
            error.contains("2 frames") && error.contains("min_duration_seconds"),
            "{error}"
        );
        assert!(!fixture.context.dir.join("subtitles").exists(), "no empty file is left");
    }

    #[tokio::test]
    async fn a_video_that_cannot_be_read_is_an_error_and_not_30_frames_a_second() {
        let fixture = Fixture::with_input("paddleocr.postprocess_and_finalize", |fixture| {
            let results = fixture.file("ocr.json", worked().to_string());
            json!({"video_path": fixture.file("clip.mp4", "no video"), "ocr_results_file": results})
        });
        let error = run(&fixture.context).await.unwrap_err().to_string();
        assert!(error.contains("clip.mp4"), "{error}");
    }

    #[tokio::test]
    async fn times_are_those_of_the_frames_whatever_the_rate() {
        // A hundred frames in two seconds, then two a second: the text is shown from 12 s to 17 s.
        let fixture = Fixture::with_input("paddleocr.postprocess_and_finalize", |fixture| {
            let video = fixture.path("vfr.mkv");
            let source = ["-f", "lavfi", "-i", "color=black:size=64x48:rate=50:duration=22"];
            let rule = ["-vf", "select='lt(t,2)+not(mod(n,25))'", "-fps_mode", "vfr"];
            clip::make(&video, &[&source[..], &rule].concat());
            let frames: Object = (121..=130)
                .map(|number| (number.to_string(), json!(["a word", []])))
                .collect();
            let results = fixture.file("ocr.json", Value::Object(frames).to_string());
            json!({"video_path": video, "ocr_results_path": results})
        });
        let output = run(&fixture.context).await.unwrap();
        let srt = fs::read_to_string(output["srt_file"].as_str().unwrap()).unwrap();
        assert_eq!(srt, "1\n00:00:12,000 --> 00:00:17,000\na word\n\n");
    }

    #[tokio::test]
    async fn readings_of_another_video_are_an_error_and_a_few_beyond_the_end_a_warning() {
        let frames = |numbers: std::ops::RangeInclusive<u32>| -> Value {
            numbers
                .map(|number| (number.to_string(), json!(["a word", []])))
                .collect::<Object>()
                .into()
        };
        let other = fixture(&frames(100..=120), json!({}));
        let error = run(&other.context).await.unwrap_err().to_string();
        assert!(error.contains("another video") && error.contains("has 75"), "{error}");
        let few = fixture(&frames(60..=77), json!({}));
        assert_eq!(run(&few.context).await.unwrap()["subtitles_count"], 1);
        let mut output = Object::new();
        few.context.warnings.write_into(&mut output);
        assert_eq!(output["warnings"][0]["code"], "records_skipped");
    }

    #[tokio::test]
    async fn a_pattern_that_was_taken_for_text_is_left_out_and_told() {
        let frames: Object = (1..=40_u32)
            .map(|number| {
                let (text, confidence) = match number {
                    1..=20 => ("So we leave now", 0.97),
                    21..=30 => ("ww5", 0.65),
                    _ => ("so", 0.6),
                };
                (number.to_string(), json!([text, [], confidence]))
            })
            .collect();
        let fixture = fixture(&frames.into(), json!({}));
        assert_eq!(run(&fixture.context).await.unwrap()["subtitles_count"], 1);
        let mut output = Object::new();
        fixture.context.warnings.write_into(&mut output);
        assert_eq!(output["warnings"][0]["code"], "lines_left_out");
        assert_eq!(output["warnings"][0]["numbers"]["lines"], 2);
    }

    #[tokio::test]
    async fn a_text_its_readings_do_not_agree_on_is_a_warning() {
        let words = ["Where are you", "Whore are you", "Where arc you", "Where are yau"];
        let frames: Object = (0..8_usize)
            .map(|at| ((at + 1).to_string(), json!([words[at / 2], []])))
            .collect();
        let fixture = fixture(&frames.into(), json!({}));
        assert_eq!(run(&fixture.context).await.unwrap()["subtitles_count"], 1);
        let mut output = Object::new();
        fixture.context.warnings.write_into(&mut output);
        assert_eq!(output["warnings"][0]["code"], "doubtful_text");
        assert_eq!(output["warnings"][0]["numbers"]["lines"], 1);
    }
}
