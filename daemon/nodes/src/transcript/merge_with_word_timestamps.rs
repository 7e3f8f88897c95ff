//! `wservice.merge_with_word_timestamps`: a transcript's words with their speakers, regrouped by speaker.

use serde_json::{Value, json};

use super::{source, speakers};
use crate::{
    input::{compute, create_folder, path_text, write_json},
    spoken::{TranscriptSegment, Turn, millis, words_json},
};
use onceover_run::{Object, RunContext, RunError};

/// How sure the speaker of a segment without words is.
const BY_MIDDLE: f64 = 0.7;

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let sources = source::Pair::find(context)?;
    let stem = sources
        .transcript
        .stem
        .clone()
        .unwrap_or_else(|| "merged_segments".into());
    let path = create_folder(context, "data")?.join(format!("{stem}_word_timestamps_merged.json"));
    let (mut segments, turns) = sources.read(context, None).await?;
    source::with_words(context, &mut segments);
    let output = compute(move || {
        let merged = merge(&segments, &turns);
        write_json(&path, &Value::Array(merged))?;
        Ok(Object::from_iter([(
            "merged_segments_file".into(),
            json!(path_text(&path)),
        )]))
    })
    .await?;
    context.progress.report(100.0, None);
    Ok(output)
}

fn merge(segments: &[TranscriptSegment], turns: &[Turn]) -> Vec<Value> {
    let pieces = speakers::merge(segments, turns).into_iter().zip(1..);
    pieces
        .map(|(piece, id)| {
            let mut json = Object::new();
            if piece.words.is_empty() {
                json = piece.segment.json.clone();
            }
            json.insert("id".into(), json!(id));
            json.insert("start".into(), json!(millis(piece.start)));
            json.insert("end".into(), json!(millis(piece.end)));
            json.insert("duration".into(), json!(millis(piece.end - piece.start)));
            json.insert("text".into(), json!(piece.text));
            json.insert("speaker".into(), json!(piece.speaker));
            let mut confidence = BY_MIDDLE;
            if !piece.words.is_empty() {
                json.insert("word_count".into(), json!(piece.words.len()));
                json.insert("words".into(), words_json(&piece.words));
                confidence = 1.0;
            }
            json.insert("speaker_confidence".into(), json!(confidence));
            Value::Object(json)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{fixture::Fixture, transcript::fixture::worked_example};

    const NODE: &str = "wservice.merge_with_word_timestamps";

    #[tokio::test]
    async fn the_worked_example() {
        let (mut segments, turns) = worked_example();
        segments
            .as_array_mut()
            .unwrap()
            .push(json!({"start": 9.0, "end": 10.0, "text": "tail", "seek": 7}));
        let fixture = Fixture::with_input(NODE, |fixture| {
            json!({
                "segments_file": fixture.file("talk.json", segments.to_string()),
                "diarization_file": fixture.file("who.json", turns.to_string()),
            })
        });
        let output = run(&fixture.context).await.unwrap();
        let path = fixture.context.dir.join("data/talk_word_timestamps_merged.json");
        assert_eq!(output["merged_segments_file"], json!(path));
        let word = |word: &str, start: f64, end: f64, speaker: &str| json!({"word": word, "start": start, "end": end, "speaker": speaker});
        let merged: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(
            merged,
            json!([
                {
                    "id": 1, "start": 0.0, "end": 2.7, "duration": 2.7, "text": " We start now",
                    "speaker": "SPEAKER_00", "word_count": 3, "words": [
                        word(" We", 0.0, 0.5, "SPEAKER_00"),
                        word(" start", 0.5, 1.5, "SPEAKER_00"),
                        word(" now", 2.3, 2.7, "SPEAKER_00"),
                    ], "speaker_confidence": 1.0,
                },
                {
                    "id": 2, "start": 3.0, "end": 4.0, "duration": 1.0, "text": " stop.",
                    "speaker": "SPEAKER_01", "word_count": 1, "words": [word(" stop.", 3.0, 4.0, "SPEAKER_01")],
                    "speaker_confidence": 1.0,
                },
                {
                    "start": 9.0, "end": 10.0, "text": "tail", "seek": 7, "id": 3, "duration": 1.0,
                    "speaker": "SPEAKER_01", "speaker_confidence": 0.7,
                },
            ])
        );
        assert!(fixture.context.node.output_is_reusable(&output));
    }

    #[tokio::test]
    async fn d48_words_without_blanks_are_not_glued() {
        let word = |word: &str, start: f64| json!({"text": word, "start": start, "end": start + 1.0});
        let fixture = Fixture::with_input(NODE, |_| {
            json!({
                "segments_data": [{"start": 0, "end": 3, "words": [word("We", 0.0), word("start", 1.0), word("now", 2.0)]}],
                "speaker_segments_data": [{"start": 0, "end": 3, "speaker": "A"}],
            })
        });
        let output = run(&fixture.context).await.unwrap();
        let path = fixture
            .context
            .dir
            .join("data/merged_segments_word_timestamps_merged.json");
        assert_eq!(output["merged_segments_file"], json!(path));
        let merged: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(merged[0]["text"], "We start now");
        assert_eq!(merged[0]["words"][1]["word"], "start");
    }

    #[tokio::test]
    async fn words_that_have_no_times_share_those_of_their_segment() {
        let fixture = Fixture::with_input(NODE, |fixture| {
            json!({
                "segments_file": fixture.file("a.srt", "1\n00:00:00,000 --> 00:00:04,000\nWe <i>can</i> go\n\n"),
                "speaker_segments_data": [
                    {"start": 0, "end": 2.5, "speaker": "A"}, {"start": 2.5, "end": 2.5, "speaker": "C"}, {"start": 2.5, "end": 4, "speaker": "B"}],
            })
        });
        let output = run(&fixture.context).await.unwrap();
        let merged: Value =
            serde_json::from_slice(&fs::read(output["merged_segments_file"].as_str().unwrap()).unwrap()).unwrap();
        assert_eq!(
            (&merged[0]["text"], &merged[1]["text"]),
            (&json!("We can"), &json!(" go"))
        );
        assert_eq!(fixture.warning_codes(), ["times_estimated"]);
    }
}
