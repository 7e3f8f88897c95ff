//! `pyannote_audio.get_speaker_segments`: when one speaker speaks, or how often each does.

use serde_json::{Map, Value, json};

use super::open;
use crate::{input::Input, timed_text::speaker};
use onceover_run::{Object, RunContext, RunError};

/// Speaker of a segment that names none.
const UNKNOWN: &str = "unknown";

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let (_, segments) = open(context)?;
    let input = Input(context);
    let wanted = input.text("speaker").filter(|speaker| !speaker.is_empty());
    let output = select(segments, wanted)?;
    context.progress.report(100.0, None);
    Ok(output)
}

fn select(segments: Vec<Value>, wanted: Option<&str>) -> Result<Object, RunError> {
    if segments.is_empty() {
        return Err(RunError::failed("the diarization has no segments: nobody speaks"));
    }
    let all = segments.len();
    let counts = counts(&segments);
    let speakers: Vec<_> = counts.keys().map(String::as_str).collect();
    let Some(wanted) = wanted else {
        return Ok(Object::from_iter([
            (
                "summary".into(),
                json!(format!(
                    "{all} segments of {} speakers: {}",
                    counts.len(),
                    speakers.join(", ")
                )),
            ),
            ("total_segments".into(), json!(all)),
            ("speaker_statistics".into(), json!(counts)),
            ("segments".into(), Value::Array(segments)),
        ]));
    };
    let kept: Vec<_> = segments
        .into_iter()
        .filter(|segment| label(segment) == wanted)
        .collect();
    if kept.is_empty() {
        return Err(RunError::failed(format!(
            "input_data.speaker: nobody in the diarization is '{wanted}'; there are {}",
            speakers.join(", ")
        )));
    }
    Ok(Object::from_iter([
        (
            "summary".into(),
            json!(format!("{} of {all} segments are of {wanted}", kept.len())),
        ),
        ("total_segments".into(), json!(kept.len())),
        ("speaker_filter".into(), json!(wanted)),
        ("segments".into(), Value::Array(kept)),
    ]))
}

fn label(segment: &Value) -> String {
    speaker(segment).unwrap_or_else(|| UNKNOWN.into())
}

/// Segments per speaker, first heard first.
fn counts(segments: &[Value]) -> Map<String, Value> {
    let mut counts = Map::new();
    for segment in segments {
        let count = counts.entry(label(segment)).or_insert(json!(0));
        *count = json!(count.as_u64().unwrap_or(0) + 1);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    const NODE: &str = "pyannote_audio.get_speaker_segments";

    const SEGMENTS: &str = r#"{"success":true,"total_speakers":2,"segments":[
        {"start":0.0,"end":0.3,"speaker":"SPEAKER_00","duration":0.3},
        {"start":1.0,"end":33.5,"speaker":"SPEAKER_01","duration":32.5},
        {"start":34.0,"end":36.0,"speaker":"SPEAKER_00","duration":2.0}]}"#;

    async fn of(text: &str, speaker: Value) -> Result<Object, String> {
        let mut fixture = Fixture::of_node(NODE);
        let file = fixture.file("who.json", text);
        fixture.stage("pyannote_audio.diarize_speakers", json!({"diarization_file": file}));
        fixture.resolve(&Object::from_iter([("speaker".into(), speaker)]));
        let output = run(&fixture.context).await.map_err(|error| error.to_string())?;
        assert!(fixture.context.node.output_is_reusable(&output));
        Ok(output)
    }

    #[tokio::test]
    async fn the_worked_example_of_one_speaker() {
        let output = of(SEGMENTS, json!("SPEAKER_00")).await.unwrap();
        assert_eq!(
            (&output["total_segments"], &output["speaker_filter"]),
            (&json!(2), &json!("SPEAKER_00"))
        );
        assert_eq!(
            output["segments"],
            json!([
                {"start": 0.0, "end": 0.3, "speaker": "SPEAKER_00", "duration": 0.3},
                {"start": 34.0, "end": 36.0, "speaker": "SPEAKER_00", "duration": 2.0},
            ])
        );
        assert!(output.get("speaker_statistics").is_none());
    }

    #[tokio::test]
    async fn the_worked_example_of_all_speakers() {
        let output = of(SEGMENTS, Value::Null).await.unwrap();
        assert_eq!(output["total_segments"], 3);
        assert_eq!(output["segments"].as_array().unwrap().len(), 3);
        assert_eq!(
            output["speaker_statistics"].to_string(),
            r#"{"SPEAKER_00":2,"SPEAKER_01":1}"#
        );
        let nameless = of(r#"{"segments":[{"start":0,"end":1}]}"#, Value::Null).await.unwrap();
        assert_eq!(nameless["speaker_statistics"], json!({"unknown": 1}));
    }

    #[tokio::test]
    async fn nothing_found_is_a_failure_that_names_who_there_is() {
        let error = of(SEGMENTS, json!("SPEAKER_09")).await.unwrap_err();
        assert!(
            error.contains("input_data.speaker") && error.contains("SPEAKER_00, SPEAKER_01"),
            "{error}"
        );
        for (text, why) in [
            (r#"{"segments":[]}"#, "nobody speaks"),
            (r#"{"success":false}"#, "failed"),
            ("{}", "'segments'"),
            ("x", "not JSON"),
        ] {
            let error = of(text, Value::Null).await.unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
