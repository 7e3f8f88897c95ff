//! `wservice.merge_speaker_based_subtitles`: one piece per turn of a diarization, with the words spoken in it.

use serde_json::{Value, json};

use super::{source, speakers::Timeline};
use crate::{
    input::{Input, compute, create_folder, path_text, write_json},
    spoken::{TranscriptSegment, Turn, Word, millis, text_of, words_json},
};
use onceover_run::{Object, RunContext, RunError};

/// Speaker of a turn that names none.
const UNKNOWN: &str = "SPEAKER_UNKNOWN";

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let sources = source::Pair::find(context)?;
    let threshold = Input(context).number("overlap_threshold")?;
    let stem = sources
        .transcript
        .stem
        .clone()
        .unwrap_or_else(|| "merged_segments".into());
    let path = create_folder(context, "data")?.join(format!("{stem}_speaker_based.json"));
    let (mut segments, turns) = sources.read(context, Some(UNKNOWN)).await?;
    source::with_words(context, &mut segments);
    let output = compute(move || {
        let words = words_of(&segments);
        let all = words.len();
        let merged = Merged::merge(words, &turns, threshold);
        let empty = merged.taken.iter().filter(|words| words.is_empty()).count();
        if merged.outside == all {
            return Err(RunError::failed(format!(
                "none of the {all} words lies in one of the {} turns; is it the diarization of the same sound?",
                turns.len()
            )));
        }
        write_json(&path, &merged.json(&turns))?;
        Ok(Object::from_iter([
            ("merged_segments_file".into(), json!(path_text(&path))),
            ("total_segments".into(), json!(turns.len())),
            ("matched_segments".into(), json!(turns.len() - empty)),
            ("empty_segments".into(), json!(empty)),
            ("unmatched_words".into(), json!(merged.outside)),
        ]))
    })
    .await?;
    context.progress.report(100.0, None);
    Ok(output)
}

/// Returns all words by when they start, each with the speaker its segment names.
fn words_of(segments: &[TranscriptSegment]) -> Vec<Word> {
    let mut words: Vec<_> = segments
        .iter()
        .flat_map(|segment| {
            segment.timed_words().into_iter().map(|word| Word {
                probability: word.probability.or(Some(1.0)),
                speaker: word.speaker.clone().or_else(|| segment.speaker.clone()),
                ..word
            })
        })
        .collect();
    words.sort_by(|a, b| a.start.total_cmp(&b.start));
    words
}

/// The words of each turn, in the order of the turns.
struct Merged {
    taken: Vec<Vec<Word>>,
    /// Words that touch each turn, taken by it or not.
    in_range: Vec<usize>,
    /// Words that lie in no turn, which the nearest took.
    outside: usize,
}

impl Merged {
    fn merge(words: Vec<Word>, turns: &[Turn], threshold: f64) -> Self {
        let mut order: Vec<_> = (0..turns.len()).collect();
        order.sort_by(|&a, &b| turns[a].start.total_cmp(&turns[b].start));
        let timeline = Timeline::new(turns);
        let mut merged = Self {
            taken: vec![Vec::new(); turns.len()],
            in_range: vec![0; turns.len()],
            outside: 0,
        };
        let mut chosen = Vec::with_capacity(words.len());
        for word in &words {
            let touched: Vec<_> = timeline.touching(word.start, word.end).collect();
            for &at in &touched {
                merged.in_range[order[at]] += 1;
            }
            merged.outside += usize::from(touched.is_empty());
            chosen.extend(choose(word, &touched, &timeline, threshold));
        }
        timeline.snap(&words, &mut chosen);
        for (word, at) in words.into_iter().zip(chosen) {
            merged.taken[order[at]].push(word);
        }
        merged
    }

    fn json(&self, turns: &[Turn]) -> Value {
        let turn = |(at, turn): (usize, &Turn)| {
            let words = &self.taken[at];
            let full = words.iter().filter(|word| overlap(word, turn) >= 1.0).count();
            json!({
                "id": at + 1,
                "start": millis(turn.start),
                "end": millis(turn.end),
                "duration": millis(turn.end - turn.start),
                "speaker": turn.speaker,
                "text": text_of(words),
                "word_count": words.len(),
                "words": words_json(words),
                "speaker_confidence": turn.confidence.unwrap_or(1.0),
                "match_quality": {
                    "matched_words": words.len(),
                    "total_words_in_range": self.in_range[at],
                    "coverage_ratio": (coverage(words, turn) * 10_000.0).round() / 10_000.0,
                    "partial_overlaps": words.len() - full,
                    "full_matches": full,
                },
            })
        };
        turns.iter().enumerate().map(turn).collect()
    }
}

/// Returns the turn that takes a word: of those in which enough of it lies the one in which most does, the first of
/// equals. A word that has enough in none goes where its middle lies, else to the nearest turn.
fn choose(word: &Word, touched: &[usize], timeline: &Timeline, threshold: f64) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for &at in touched {
        let overlap = overlap(word, timeline.turn(at));
        if overlap >= threshold && best.is_none_or(|(_, most)| overlap > most) {
            best = Some((at, overlap));
        }
    }
    best.map(|(at, _)| at).or_else(|| timeline.turn_at(word.middle()))
}

/// Returns the part of a word that lies in a turn, 0 to 1. A word without length lies in it or not.
fn overlap(word: &Word, turn: &Turn) -> f64 {
    let length = word.end - word.start;
    if length <= 0.0 {
        let touches = word.start <= turn.end && word.end >= turn.start;
        return if touches { 1.0 } else { 0.0 };
    }
    ((word.end.min(turn.end) - word.start.max(turn.start)) / length).max(0.0)
}

/// Returns the part of a turn in which there is a word, 0 to 1; the words are in order.
fn coverage(words: &[Word], turn: &Turn) -> f64 {
    let (mut covered, mut reached) = (0.0, turn.start);
    for word in words {
        let end = word.end.min(turn.end);
        covered += (end - word.start.max(reached)).max(0.0);
        reached = end.max(reached);
    }
    covered / (turn.end - turn.start)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        fixture::Fixture,
        transcript::fixture::{any_transcript, any_turns, worked_example},
    };

    const NODE: &str = "wservice.merge_speaker_based_subtitles";

    fn of(segments: &Value, turns: &Value, more: Value) -> Fixture {
        Fixture::with_input(NODE, |fixture| {
            let mut input = json!({
                "segments_file": fixture.file("talk.json", segments.to_string()),
                "speaker_segments_data": turns,
            });
            input.as_object_mut().unwrap().extend(crate::fixture::object(more));
            input
        })
    }

    fn pieces(output: &Object) -> Value {
        serde_json::from_slice(&fs::read(output["merged_segments_file"].as_str().unwrap()).unwrap()).unwrap()
    }

    fn texts(output: &Object) -> Vec<String> {
        let texts = pieces(output);
        texts
            .as_array()
            .unwrap()
            .iter()
            .map(|piece| piece["text"].as_str().unwrap().to_owned())
            .collect()
    }

    #[tokio::test]
    async fn d48_the_worked_example_keeps_the_word_between_two_turns() {
        let (segments, mut turns) = worked_example();
        turns
            .as_array_mut()
            .unwrap()
            .push(json!({"start": 10.0, "end": 11.0, "speaker": "SPEAKER_00"}));
        let fixture = of(&segments, &turns, json!({}));
        let output = run(&fixture.context).await.unwrap();
        for (field, count) in [
            ("total_segments", 3),
            ("matched_segments", 2),
            ("empty_segments", 1),
            ("unmatched_words", 0),
        ] {
            assert_eq!(output[field], json!(count), "{field}");
        }
        assert_eq!(
            output["merged_segments_file"],
            json!(fixture.context.dir.join("data/talk_speaker_based.json"))
        );
        let pieces = pieces(&output);
        // The older system took " now" into neither: a quarter of it lies in each, and the threshold is a half.
        assert_eq!(pieces[0]["text"], " We start now");
        assert_eq!(
            pieces[0]["match_quality"],
            json!({"matched_words": 3, "total_words_in_range": 3, "coverage_ratio": 0.6667, "partial_overlaps": 1, "full_matches": 2})
        );
        assert_eq!(
            pieces[1],
            json!({
                "id": 2, "start": 2.6, "end": 8.0, "duration": 5.4, "speaker": "SPEAKER_01", "text": " stop.",
                "word_count": 1,
                "words": [{"word": " stop.", "start": 3.0, "end": 4.0, "probability": 1.0}],
                "speaker_confidence": 1.0,
                "match_quality": {"matched_words": 1, "total_words_in_range": 2, "coverage_ratio": 0.1852,
                    "partial_overlaps": 0, "full_matches": 1},
            })
        );
        assert_eq!((&pieces[2]["text"], &pieces[2]["words"]), (&json!(""), &json!([])));
        assert!(fixture.context.node.output_is_reusable(&output));
    }

    #[tokio::test]
    async fn d48_turns_that_overlap_or_are_not_sorted_lose_no_words_and_double_none() {
        let (segments, _) = worked_example();
        let turns = json!([
            {"start": 2.0, "end": 8.0, "speaker": "B"},
            {"start": 0.0, "end": 3.5, "speaker": "A"},
        ]);
        let fixture = of(&segments, &turns, json!({}));
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(texts(&output), [" stop.", " We start now"]);
    }

    #[tokio::test]
    async fn words_at_the_edge_of_turns_and_outside_of_them_go_to_the_nearest() {
        let (segments, _) = worked_example();
        for threshold in [0.2, 0.5, 1.0] {
            let turns = json!([{"start": 0.0, "end": 2.4}]);
            let fixture = of(&segments, &turns, json!({"overlap_threshold": threshold}));
            let output = run(&fixture.context).await.unwrap();
            assert_eq!(texts(&output), [" We start now stop."]);
            assert_eq!(output["unmatched_words"], 1);
            assert_eq!(pieces(&output)[0]["speaker"], UNKNOWN);
        }
    }

    #[tokio::test]
    async fn turns_without_any_word_are_a_failure() {
        let (segments, _) = worked_example();
        let turns = json!([{"start": 50.0, "end": 60.0, "speaker": "A"}]);
        let error = run(&of(&segments, &turns, json!({})).context)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("none of the 4 words"), "{error}");
    }

    proptest! {
        #[test]
        fn every_word_is_in_one_turn(segments in any_transcript(), turns in any_turns(), threshold in 0.0..=1.0) {
            let words = words_of(&segments);
            let all = words.len();
            let merged = Merged::merge(words, &turns, threshold);
            let taken: usize = merged.taken.iter().map(Vec::len).sum();
            prop_assert_eq!(taken, all);
            for (words, turn) in merged.taken.iter().zip(&turns) {
                prop_assert!(words.windows(2).all(|pair| pair[0].start <= pair[1].start));
                prop_assert!((0.0..=1.0 + 1e-9).contains(&coverage(words, turn)));
            }
        }
    }
}
