//! `wservice.prepare_tts_segments`: joins and cuts the segments of each speaker to clips that can serve as reference of
//! a voice.

use serde_json::{Value, json};

use super::{
    clips::{ClipLimits, CutClip, prepare},
    source::TranscriptSource,
};
use crate::{
    input::{Input, compute},
    spoken::{millis, words_json},
    timed_text::put_text,
};
use onceover_run::{
    Object, RunContext, RunError,
    warnings::{Code, Warning},
};

/// Fields of an earlier stage that hold segments, and files of segments, best first.
const FIELDS: [&str; 14] = [
    "merged_segments",
    "prepared_segments",
    "segments_file",
    "optimized_segments_file",
    "merged_segments_file",
    "translated_segments_file",
    "transcribe_result_file",
    "json_path",
    "json_file",
    "segmented_subtitle_file",
    "corrected_subtitle_path",
    "subtitle_path",
    "srt_file",
    "segments",
];

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let limits = ClipLimits {
        min: input.number("min_duration")?,
        max: input.number("max_duration")?,
        gap: input.number("max_gap")?,
        ends_at_sentences: input.flag("split_on_punctuation")?,
        keeps_all: input.flag("keep_short")?,
    };
    if limits.min > limits.max {
        return Err(RunError::failed(format!(
            "input_data.min_duration ({}) is above max_duration ({}), so no clip would be right",
            limits.min, limits.max
        )));
    }
    let source = find(context)?;
    let (name, stage) = (source.name.clone(), source.stage.clone());
    let segments = source.segments(context).await?;
    let all = segments.len();
    let (limits, prepared) = compute(move || {
        let prepared = prepare(&segments, &limits);
        Ok((limits, prepared))
    })
    .await?;
    if prepared.clips.is_empty() {
        return Err(RunError::failed(format!(
            "none of the {all} segments of {name} could be made a clip of {} to {} s; change min_duration, max_duration, max_gap or keep_short",
            limits.min, limits.max
        )));
    }
    if prepared.left_out > 0 {
        context.warnings.add(
            Warning::new(
                Code::LinesLeftOut,
                format!(
                    "{} clips of {name} are left out, since they are shorter than {} s or longer than {} s and keep_short is false",
                    prepared.left_out, limits.min, limits.max
                ),
            )
            .with("lines", prepared.left_out),
        );
    }
    let outside = prepared.clips.iter().filter(|clip| !limits.has(clip)).count();
    let clips: Vec<_> = prepared
        .clips
        .iter()
        .zip(1..)
        .map(|(clip, id)| json_of(clip, id))
        .collect();
    context.log.line(&format!(
        "{all} segments made {} clips, {outside} of them shorter or longer than asked for; {} left out",
        clips.len(),
        prepared.left_out
    ));
    context.progress.report(100.0, None);
    Ok(Object::from_iter([
        ("source_stage".into(), json!(stage)),
        ("total_segments".into(), json!(clips.len())),
        (
            "input_summary".into(),
            json!({
                "original_segments_count": all,
                "prepared_segments_count": clips.len(),
                "outside_limits_count": outside,
                "left_out_count": prepared.left_out,
                "data_source": name,
            }),
        ),
        ("prepared_segments".into(), Value::Array(clips)),
    ]))
}

/// Returns what the request gives, else the first stage of its list that has something.
fn find(context: &RunContext) -> Result<TranscriptSource, RunError> {
    let input = Input(context);
    let gives = |name: &str| input.value(name).is_some() && input.source_stage(name).is_none();
    if gives("segments_data") || gives("segments_file") {
        return TranscriptSource::find(context, "segments_data", "segments_file");
    }
    let names = input.value("source_stage_names").and_then(Value::as_array);
    let names: Vec<_> = names.into_iter().flatten().filter_map(Value::as_str).collect();
    for name in &names {
        let Some(stage) = context.stages.get(*name) else {
            continue;
        };
        for field in FIELDS {
            let Some(value) = stage.get(field).filter(|value| is_given(value)) else {
                continue;
            };
            match TranscriptSource::of_stage(context, name, field, value) {
                Ok(source) => return Ok(source),
                Err(why) => context.log.line(&format!("{name} is passed over: {why}")),
            }
        }
    }
    Err(RunError::failed(format!(
        "input_data.segments_data and segments_file are missing, and no stage of source_stage_names has segments; \
         give one, or run first one of {}",
        names.join(", ")
    )))
}

fn is_given(value: &Value) -> bool {
    match value {
        Value::String(path) => !path.is_empty(),
        Value::Array(segments) => !segments.is_empty(),
        _ => false,
    }
}

fn json_of(clip: &CutClip, id: usize) -> Value {
    let mut json = Object::from_iter([
        ("id".into(), json!(id)),
        ("start".into(), json!(millis(clip.start))),
        ("end".into(), json!(millis(clip.end))),
        ("duration".into(), json!(millis(clip.end - clip.start))),
        ("text".into(), json!(clip.text)),
        ("speaker".into(), json!(clip.speaker)),
        ("words".into(), words_json(&clip.words)),
    ]);
    put_text(&mut json, &clip.text, None);
    Value::Object(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, object};

    const NODE: &str = "wservice.prepare_tts_segments";

    fn example() -> Value {
        let segment = |speaker: &str, start: f64, end: f64, text: &str| json!({"speaker": speaker, "start": start, "end": end, "text": text});
        json!([
            segment("A", 0.0, 1.5, "Hello"),
            segment("A", 2.0, 3.2, "there."),
            segment("B", 3.3, 4.0, "Yes"),
            segment("A", 4.1, 8.5, "we can go"),
            segment("A", 20.0, 21.0, "Ok"),
            segment("B", 30.0, 52.0, "a very long line"),
        ])
    }

    #[tokio::test]
    async fn the_worked_example_shares_a_long_text_out_and_invents_none() {
        let fixture = Fixture::with_input(NODE, |_| json!({"segments_data": example()}));
        let output = run(&fixture.context).await.unwrap();
        let clip = |id: usize, start: f64, end: f64, duration: f64, text: &str, speaker: &str| json!({"id": id, "start": start, "end": end, "duration": duration, "text": text, "speaker": speaker, "words": []});
        // The older system joined "Hello there." and "we can go" over "Yes", left "Yes" and "Ok" out, and put the whole
        // text, after an invented `[SPLIT 1/3] `, into each of the last three.
        assert_eq!(
            output["prepared_segments"],
            json!([
                clip(1, 0.0, 3.2, 3.2, "Hello there.", "A"),
                clip(2, 3.3, 4.0, 0.7, "Yes", "B"),
                clip(3, 4.1, 8.5, 4.4, "we can go", "A"),
                clip(4, 20.0, 21.0, 1.0, "Ok", "A"),
                clip(5, 30.0, 37.333, 7.333, "a very", "B"),
                clip(6, 37.333, 44.667, 7.334, "long", "B"),
                clip(7, 44.667, 52.0, 7.333, "line", "B"),
            ])
        );
        assert_eq!(
            (&output["total_segments"], &output["source_stage"]),
            (&json!(7), &Value::Null)
        );
        assert_eq!(
            output["input_summary"],
            json!({
                "original_segments_count": 6,
                "prepared_segments_count": 7,
                "outside_limits_count": 2,
                "left_out_count": 0,
                "data_source": "input_data.segments_data",
            })
        );
        assert!(fixture.context.node.output_is_reusable(&output));
    }

    #[tokio::test]
    async fn limits_of_the_request_are_honoured() {
        let limits = json!({"segments_data": example(), "min_duration": 0.5, "max_duration": 30, "max_gap": 0.6,
            "split_on_punctuation": true});
        let output = run(&Fixture::with_input(NODE, |_| limits).context).await.unwrap();
        let texts: Vec<_> = output["prepared_segments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|clip| &clip["text"])
            .collect();
        assert_eq!(texts, ["Hello there.", "Yes", "we can go", "Ok", "a very long line"]);
        let turned = json!({"segments_data": example(), "min_duration": 11});
        let error = run(&Fixture::with_input(NODE, |_| turned).context)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("min_duration"), "{error}");
    }

    #[tokio::test]
    async fn a_stage_that_only_the_request_names_is_used() {
        let mut fixture = Fixture::of_node(NODE);
        let file = fixture.file("turns.json", example().to_string());
        fixture.stage(
            "wservice.merge_speaker_based_subtitles",
            json!({"merged_segments_file": file}),
        );
        fixture.resolve(&object(
            json!({"source_stage_names": ["no.such", "wservice.merge_speaker_based_subtitles"]}),
        ));
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(output["source_stage"], "wservice.merge_speaker_based_subtitles");
        fixture.resolve(&Object::new());
        let error = run(&fixture.context).await.unwrap_err().to_string();
        assert!(
            error.contains("segments_data") && error.contains("wservice.merge_with_word_timestamps"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn stages_are_tried_in_order_and_a_file_that_is_gone_is_passed_over() {
        let mut fixture = Fixture::of_node(NODE);
        let gone = fixture.path("gone.json");
        let file = fixture.file("a_subtitle.json", json!({"segments": example()}).to_string());
        fixture.stage(
            "faster_whisper.transcribe_audio",
            json!({"segments": [{"start": 0, "end": 4, "text": "x"}]}),
        );
        fixture.stage(
            "wservice.generate_subtitle_files",
            json!({"subtitle_path": "/a.srt", "json_path": file}),
        );
        fixture.stage(
            "wservice.merge_with_word_timestamps",
            json!({"merged_segments_file": gone}),
        );
        fixture.resolve(&Object::new());
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(output["source_stage"], "wservice.generate_subtitle_files");
        assert!(
            fixture
                .log_text()
                .contains("wservice.merge_with_word_timestamps is passed over")
        );
        fixture.stage("wservice.merge_speaker_segments", json!({"merged_segments": example()}));
        fixture.resolve(&Object::new());
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(output["source_stage"], "wservice.merge_speaker_segments");
    }

    #[tokio::test]
    async fn short_clips_are_left_out_only_when_asked_for_and_that_is_a_warning() {
        let of =
            |segments: Value| Fixture::with_input(NODE, |_| json!({"segments_data": segments, "keep_short": false}));
        let fixture = of(example());
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(
            (&output["total_segments"], &output["input_summary"]["left_out_count"]),
            (&json!(5), &json!(2))
        );
        assert_eq!(fixture.warning_codes(), ["lines_left_out"]);
        let error = run(&of(json!([{"start": 0, "end": 1, "text": "Hi"}])).context)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("none of the 1 segments") && error.contains("min_duration"),
            "{error}"
        );
    }
}
