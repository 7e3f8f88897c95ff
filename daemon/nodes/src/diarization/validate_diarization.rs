//! `pyannote_audio.validate_diarization`: checks whether a diarization is plausible.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::open;
use crate::{
    input::Input,
    spoken::millis,
    timed_text::{seconds, speaker, time},
};
use onceover_run::{Object, RunContext, RunError};

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let (file, segments) = open(context)?;
    let input = Input(context);
    let limits = Limits {
        min: input.number("min_segment_duration")?,
        max: input.number("max_segment_duration")?,
        speakers: input.count("max_speakers")?,
    };
    let output = validate(&file, &segments, &limits);
    context.progress.report(100.0, None);
    Ok(output)
}

struct Limits {
    /// Seconds.
    min: f64,
    max: f64,
    speakers: u64,
}

fn validate(file: &Value, segments: &[Value], limits: &Limits) -> Object {
    let mut issues = Vec::new();
    let mut total = 0.0;
    for (segment, number) in segments.iter().zip(1..) {
        let Some(duration) = duration(segment) else {
            issues.push(format!("segment {number} has neither a duration nor times"));
            continue;
        };
        total += duration;
        if duration < limits.min {
            issues.push(format!("segment {number} is too short ({duration:.2} s)"));
        } else if duration > limits.max {
            issues.push(format!("segment {number} is too long ({duration:.2} s)"));
        }
    }
    let labels = segments.iter().filter_map(speaker).collect::<HashSet<_>>().len() as u64;
    let speakers = file.get("total_speakers").and_then(Value::as_u64).unwrap_or(labels);
    if segments.is_empty() {
        issues.push("there are no segments".into());
    } else if speakers < 1 {
        issues.push("there are no speakers".into());
    } else if speakers > limits.speakers {
        issues.push(format!("{speakers} speakers are more than {}", limits.speakers));
    }
    if !segments.is_empty() && labels < speakers {
        issues.push(format!(
            "some speakers are incomplete: segments name {labels} of {speakers}"
        ));
    }
    let speakers = if segments.is_empty() { 0 } else { speakers };
    let average = if segments.is_empty() {
        0.0
    } else {
        total / segments.len() as f64
    };
    let summary = if issues.is_empty() {
        format!("valid: {} segments of {speakers} speakers", segments.len())
    } else {
        format!(
            "not valid: {} segments of {speakers} speakers, issues: {}",
            segments.len(),
            issues.len()
        )
    };
    Object::from_iter([
        ("valid".into(), json!(issues.is_empty())),
        ("total_segments".into(), json!(segments.len())),
        ("total_speakers".into(), json!(speakers)),
        ("total_duration".into(), json!(millis(total))),
        ("avg_segment_duration".into(), json!(millis(average))),
        ("issues".into(), json!(issues)),
        ("summary".into(), json!(summary)),
    ])
}

/// Returns the duration that the file has; computed from the times if it has none.
fn duration(segment: &Value) -> Option<f64> {
    let (start, end) = seconds(segment);
    // Whole milliseconds: 3.1 - 2.6 is not 0.5.
    let length = || Some(millis(end? - start?));
    segment.get("duration").and_then(time).or_else(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    const NODE: &str = "pyannote_audio.validate_diarization";

    async fn of(json: Value) -> Object {
        let fixture = Fixture::with_input(
            NODE,
            |fixture| json!({"diarization_file": fixture.file("who.json", json.to_string())}),
        );
        let output = run(&fixture.context).await.unwrap();
        assert!(fixture.context.node.output_is_reusable(&output));
        output
    }

    #[tokio::test]
    async fn the_worked_example_has_three_issues_in_order() {
        let segment =
            |speaker: &str, duration: f64| json!({"start": 0, "end": 9, "speaker": speaker, "duration": duration});
        let segments = [segment("00", 0.3), segment("01", 32.5), segment("00", 2.0)];
        let output = of(json!({"total_speakers": 3, "segments": segments})).await;
        assert_eq!(
            Value::Object(output),
            json!({
                "valid": false, "total_segments": 3, "total_speakers": 3, "total_duration": 34.8,
                "avg_segment_duration": 11.6,
                "issues": [
                    "segment 1 is too short (0.30 s)",
                    "segment 2 is too long (32.50 s)",
                    "some speakers are incomplete: segments name 2 of 3",
                ],
                "summary": "not valid: 3 segments of 3 speakers, issues: 3",
            })
        );
    }

    #[tokio::test]
    async fn a_duration_that_is_not_stored_is_computed() {
        // The older system took it as 0 and called the segment too short.
        let output = of(json!({"segments": [{"start": 1.1, "end": 3.6, "speaker": "A"}]})).await;
        assert_eq!(
            (&output["valid"], &output["total_duration"]),
            (&json!(true), &json!(2.5))
        );
        assert_eq!(output["total_speakers"], 1);
    }

    #[tokio::test]
    async fn times_are_read_as_other_nodes_read_them() {
        let huge = json!({"duration": 1e308, "speaker": "A"});
        let output = of(json!([huge, huge])).await;
        assert_eq!(output["total_duration"], json!(0.0));
        assert_eq!(
            output["issues"],
            json!([
                "segment 1 has neither a duration nor times",
                "segment 2 has neither a duration nor times"
            ])
        );
        let output = of(json!([
            {"startTime": "00:00:01,000", "endTime": "3.5", "speaker": "A"},
            {"duration": "1.5", "speaker": "A"},
        ]))
        .await;
        assert_eq!(
            (&output["valid"], &output["total_duration"]),
            (&json!(true), &json!(4.0))
        );
    }

    #[tokio::test]
    async fn a_diarization_in_which_nobody_speaks_is_not_valid() {
        let output = of(json!({"total_speakers": 0, "segments": []})).await;
        assert_eq!(output["issues"], json!(["there are no segments"]));
        assert_eq!(
            (&output["valid"], &output["total_duration"]),
            (&json!(false), &json!(0.0))
        );
        let many = of(json!({"total_speakers": 11, "segments": [{"start": 0, "end": 1}]})).await;
        assert_eq!(many["issues"].as_array().unwrap().len(), 2);
        let timeless = of(json!([{"speaker": "A"}])).await;
        assert_eq!(
            timeless["issues"],
            json!(["segment 1 has neither a duration nor times"])
        );
    }
}
