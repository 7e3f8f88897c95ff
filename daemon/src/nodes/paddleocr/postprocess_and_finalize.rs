//! `paddleocr.postprocess_and_finalize`: what was read in each frame becomes subtitles with times, SRT and JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    executor::run::{Object, RunContext, RunError},
    nodes::{
        ffmpeg,
        input::{Input, compute, create_folder, path_text, read, stem, write},
        similarity,
        subtitles::compose_srt,
    },
};

/// Seconds between two subtitles of the same text that make them one.
const GAP: f64 = 1.0;
/// Times are quotients; what is this close to a limit is meant to be at it.
const CLOSE: f64 = 1e-9;

pub(in crate::nodes) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let results = input.file("ocr_results_path")?;
    let video = input.file("video_path")?;
    let rule = Rule {
        fps: ffmpeg::frame_rate(context, &video).await?,
        min_duration: input.number("min_duration_seconds")?,
        similarity: input.number("similarity_threshold")?,
    };
    let frames = parse(&read(&results)?)
        .map_err(|why| RunError::failed(format!("{} cannot be used: {why}", results.display())))?;
    let count = frames.len();
    context.progress.report(10.0, Some(format!("{count} frames with text")));
    let subtitles = compute(move || Ok(rule.subtitles(&frames))).await?;
    if subtitles.is_empty() {
        return Err(RunError::failed(format!(
            "no subtitle is left of {count} frames with text in {}: none stays for the {} s of min_duration_seconds",
            results.display(),
            rule.min_duration
        )));
    }
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
    ]))
}

fn indented(subtitles: &[Subtitle]) -> Result<Vec<u8>, RunError> {
    let mut bytes = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    subtitles
        .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, form))
        .map_err(|why| RunError::failed(why.to_string()))?;
    Ok(bytes)
}

/// What was read in a frame: the text, trimmed, and the corners of its box.
#[derive(Debug, Clone, PartialEq)]
struct Reading {
    text: String,
    corners: Vec<[i64; 2]>,
}

/// The file `paddleocr.perform_ocr` writes, by number of frame. The error is a sentence's second half.
fn parse(bytes: &[u8]) -> Result<BTreeMap<u64, Reading>, String> {
    let json: Value = serde_json::from_slice(bytes).map_err(|why| format!("it is not JSON: {why}"))?;
    let Value::Object(frames) = json else {
        return Err("it is not an object with a frame's number, text and box".into());
    };
    if frames.is_empty() {
        return Err("it has no frames: no text was read".into());
    }
    frames
        .into_iter()
        .map(|(key, value)| {
            let number = key
                .trim()
                .parse()
                .map_err(|_| format!("its key '{key}' is not the number of a frame"))?;
            let text = value
                .get(0)
                .and_then(Value::as_str)
                .ok_or_else(|| format!("its frame {key} is not [text, box]"))?;
            let corners = value.get(1).and_then(corners).unwrap_or_default();
            let text = text.trim().to_owned();
            Ok((number, Reading { text, corners }))
        })
        .collect()
}

/// Whole pixels; None for what is not a list of points.
fn corners(json: &Value) -> Option<Vec<[i64; 2]>> {
    json.as_array()?
        .iter()
        .map(|point| match point.as_array()?.as_slice() {
            [x, y] => Some([x.as_f64()? as i64, y.as_f64()? as i64]),
            _ => None,
        })
        .collect()
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

/// Frames in a row with nearly the same text.
struct Stretch<'a> {
    first: u64,
    last: u64,
    reading: &'a Reading,
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    fps: f64,
    /// Seconds; what is shown for less was misread.
    min_duration: f64,
    /// From which on two texts are the same one, 0 to 1.
    similarity: f64,
}

impl Rule {
    /// The subtitles in order, numbered from 1.
    fn subtitles(&self, frames: &BTreeMap<u64, Reading>) -> Vec<Subtitle> {
        let mut kept: Vec<Stretch<'_>> = Vec::new();
        for stretch in self.stretches(frames) {
            if self.seconds(stretch.last - stretch.first) < self.min_duration - CLOSE {
                continue;
            }
            match kept.last_mut() {
                Some(before)
                    if self.is_same(before.reading, stretch.reading)
                        && self.seconds(stretch.first - before.last) < GAP - CLOSE =>
                {
                    before.last = stretch.last;
                }
                _ => kept.push(stretch),
            }
        }
        kept.iter()
            .zip(1..)
            .map(|(stretch, id)| self.subtitle(stretch, id))
            .collect()
    }

    /// Frames without text, or without a number next to the last one's, end a stretch.
    fn stretches<'a>(&self, frames: &'a BTreeMap<u64, Reading>) -> Vec<Stretch<'a>> {
        let mut stretches: Vec<Stretch<'_>> = Vec::new();
        for (&number, reading) in frames.iter().filter(|(_, reading)| !reading.text.is_empty()) {
            match stretches.last_mut() {
                Some(open) if open.last + 1 == number && self.is_same(open.reading, reading) => open.last = number,
                _ => stretches.push(Stretch {
                    first: number,
                    last: number,
                    reading,
                }),
            }
        }
        stretches
    }

    fn is_same(&self, first: &Reading, other: &Reading) -> bool {
        first.text == other.text || similarity::text_ratio(&first.text, &other.text) >= self.similarity
    }

    fn seconds(&self, frames: u64) -> f64 {
        frames as f64 / self.fps
    }

    fn subtitle(&self, stretch: &Stretch<'_>, id: usize) -> Subtitle {
        let millis = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
        Subtitle {
            start: millis(self.seconds(stretch.first)),
            end: millis(self.seconds(stretch.last)),
            text: stretch.reading.text.clone(),
            bbox: stretch.reading.corners.clone(),
            frames: [stretch.first, stretch.last],
            id,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::{collection::btree_map, prelude::*, sample::select};

    use super::*;
    use crate::{executor::fixture::Fixture, nodes::ffmpeg::clip};

    const RULE: Rule = Rule {
        fps: 25.0,
        min_duration: 0.2,
        similarity: 0.6,
    };

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
        Fixture::of("paddleocr.postprocess_and_finalize", |fixture| {
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
            "1\n00:00:00,400 --> 00:00:01,400\nWhere are you\n\n2\n00:00:01,440 --> 00:00:01,960\nI am at home\n\n"
        );
        let json_file = fs::read_to_string(fixture.context.dir.join("data/my clip.json")).unwrap();
        assert!(
            json_file.starts_with("[\n    {\n        \"startTime\": 0.4,"),
            "{json_file}"
        );
        let json: Value = serde_json::from_str(&json_file).unwrap();
        let bbox = json!([[1, 2], [30, 2], [30, 20], [1, 20]]);
        assert_eq!(
            json,
            json!([
                {"startTime": 0.4, "endTime": 1.4, "text": "Where are you", "bbox": bbox, "frameRange": [10, 35], "id": 1},
                {"startTime": 1.44, "endTime": 1.96, "text": "I am at home", "bbox": bbox, "frameRange": [36, 49], "id": 2},
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
        assert_eq!(count(json!({"min_duration_seconds": 0.5})).await, 1);
        let strict = json!({"similarity_threshold": 1, "min_duration_seconds": 0});
        assert_eq!(
            count(strict).await,
            5,
            "'yau' is a text of its own, between two of the same"
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
        let fixture = Fixture::of("paddleocr.postprocess_and_finalize", |fixture| {
            let results = fixture.file("ocr.json", worked().to_string());
            json!({"video_path": fixture.file("clip.mp4", "no video"), "ocr_results_file": results})
        });
        let error = run(&fixture.context).await.unwrap_err().to_string();
        assert!(error.contains("clip.mp4"), "{error}");
    }

    #[test]
    fn results_that_are_none_say_why() {
        let error = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert!(error("{").contains("not JSON"));
        assert!(error("[]").contains("not an object"));
        assert!(error("{}").contains("no text was read"));
        assert!(error(r#"{"one": ["a", []]}"#).contains("'one' is not the number"));
        assert!(error(r#"{"1": "a"}"#).contains("frame 1 is not [text, box]"));
        let read = parse(br#"{"1": [" a ", [[1, "x"]]]}"#).unwrap();
        let expected = Reading {
            text: "a".into(),
            corners: Vec::new(),
        };
        assert_eq!(read[&1], expected, "a malformed box is an empty one");
    }

    #[test]
    fn six_frames_at_25_a_second_are_a_fifth_of_a_second_wherever_they_stand() {
        for first in 1..200 {
            let reading = Reading {
                text: "a".into(),
                corners: Vec::new(),
            };
            let frames = (first..first + 6).map(|number| (number, reading.clone())).collect();
            assert_eq!(RULE.subtitles(&frames).len(), 1, "from {first}");
        }
    }

    proptest! {
        #[test]
        fn any_reading_gives_ordered_subtitles_that_do_not_overlap_and_stay_long_enough(
            readings in btree_map(1..600_u64, select(vec!["", "where are you", "where are yau", "at home", "你好吗", "x"]), 0..400),
            fps in select(vec![1.0, 15.0, 24_000.0 / 1001.0, 25.0, 30_000.0 / 1001.0, 60.0, 240.0]),
            min_duration in 0.0..1.0_f64,
            similarity in 0.0..=1.0_f64,
        ) {
            let rule = Rule { fps, min_duration, similarity };
            let frames = readings
                .iter()
                .map(|(number, text)| (*number, Reading { text: (*text).into(), corners: Vec::new() }))
                .collect();
            let subtitles = rule.subtitles(&frames);
            for (subtitle, id) in subtitles.iter().zip(1..) {
                prop_assert_eq!(subtitle.id, id);
                prop_assert!(!subtitle.text.is_empty());
                prop_assert!(subtitle.end - subtitle.start >= min_duration - 0.001_001, "{subtitle:?}");
                let [first, last] = subtitle.frames;
                prop_assert!(readings[&first] == subtitle.text && readings.contains_key(&last));
            }
            for pair in subtitles.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start && pair[0].frames[1] < pair[1].frames[0], "{pair:?}");
            }
        }
    }
}
