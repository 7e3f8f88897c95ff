//! `wservice.merge_speaker_segments`: a transcript's segments with their speakers, cut where the speaker changes.

use serde_json::{Value, json};

use super::{source, speakers::Timeline};
use crate::{
    input::compute,
    spoken::{TranscriptSegment, Turn, Word, millis, text_of, words_json},
    timed_text::put_text,
};
use onceover_run::{Object, RunContext, RunError};

/// Seconds a piece lasts at least; nothing shorter is cut off.
const SHORTEST: f64 = 0.1;
/// Seconds between the middles of a piece and of a turn that it may still belong to.
const NEAR: f64 = 0.5;
/// Words that are checked on either side of one that slipped.
const FAR: usize = 32;
/// Speaker of a time without a turn, and the confidence of that.
const NOBODY: (&str, f64) = ("SPEAKER_00", 0.3);

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let sources = source::Pair::find(context)?;
    let name = sources.transcript.name.clone();
    let (segments, turns) = sources.read(context, None).await?;
    let output = compute(move || {
        let merged = merge(&segments, &turns);
        if merged.is_empty() {
            return Err(RunError::failed(format!(
                "{name} has no text, so there is nothing to merge"
            )));
        }
        Ok(Object::from_iter([
            (
                "input_summary".into(),
                json!({
                    "transcript_segments_count": segments.len(),
                    "speaker_segments_count": turns.len(),
                    "merged_segments_count": merged.len(),
                    "data_source": name,
                }),
            ),
            ("merged_segments".into(), Value::Array(merged)),
        ]))
    })
    .await?;
    context.progress.report(100.0, None);
    Ok(output)
}

fn merge(segments: &[TranscriptSegment], turns: &[Turn]) -> Vec<Value> {
    let timeline = Timeline::new(turns);
    let changes = changes(timeline.turns());
    let mut pieces: Vec<_> = segments
        .iter()
        .flat_map(|segment| pieces(segment, &changes, &timeline))
        .collect();
    trim(&mut pieces);
    pieces
        .into_iter()
        .zip(1..)
        .map(|(piece, id)| {
            let (speaker, confidence) = speaker_of(piece.start, piece.end, &timeline);
            let mut json = piece.json;
            json.insert("id".into(), json!(id));
            json.insert("start".into(), json!(millis(piece.start)));
            json.insert("end".into(), json!(millis(piece.end)));
            json.insert("duration".into(), json!(millis(piece.end - piece.start)));
            json.insert("speaker".into(), json!(speaker));
            json.insert("speaker_confidence".into(), json!(millis(confidence)));
            Value::Object(json)
        })
        .collect()
}

/// Returns when the speaker changes, in order. A turn inside a longer one is no change: the other continues after it.
fn changes(timeline: &[Turn]) -> Vec<f64> {
    let mut changes = Vec::new();
    let mut speaking: Option<&Turn> = None;
    for turn in timeline {
        match speaking {
            Some(now) if turn.end <= now.end => continue,
            Some(now) if turn.speaker != now.speaker => changes.push(f64::midpoint(now.end, turn.start)),
            _ => {}
        }
        speaking = Some(turn);
    }
    changes.sort_by(f64::total_cmp);
    changes
}

/// A part of a segment.
struct Piece {
    start: f64,
    end: f64,
    /// From its first word to its last, where words have times.
    said: Option<(f64, f64)>,
    json: Object,
}

/// Pieces that overlap the next one by more than their words do end with their words, and the next begins with its.
fn trim(pieces: &mut [Piece]) {
    for at in 1..pieces.len() {
        let (before, rest) = pieces.split_at_mut(at);
        let (before, next) = (&mut before[at - 1], &mut rest[0]);
        if before.end > next.start
            && let Some((_, last)) = before.said
        {
            before.end = before.end.min(last.max(next.start)).max(before.start);
        }
        if before.end > next.start
            && before.start <= next.start
            && let Some((first, _)) = next.said
        {
            next.start = next.start.max(first.min(before.end)).min(next.end);
        }
    }
}

/// Cuts a segment at the changes inside it. Each word goes where its middle lies, the first and last words of a
/// sentence with the rest of it, and a cut never goes through a word; a segment without word times shares its words out
/// over its time.
fn pieces(segment: &TranscriptSegment, changes: &[f64], timeline: &Timeline) -> Vec<Piece> {
    let mut cuts = Vec::new();
    let from = changes.partition_point(|change| *change < segment.start + SHORTEST);
    for &change in changes[from..].iter().take_while(|change| **change < segment.end) {
        let from = cuts.last().copied().unwrap_or(segment.start);
        if change - from >= SHORTEST && segment.end - change >= SHORTEST {
            cuts.push(change);
        }
    }
    let words = segment.timed_words();
    if words.is_empty() {
        return Vec::new();
    }
    let is_timed = !segment.words.is_empty();
    if cuts.is_empty() {
        return vec![Piece {
            start: segment.start,
            end: segment.end,
            said: is_timed.then(|| said(&words)),
            json: segment.json.clone(),
        }];
    }
    let parts = parts(segment, words, &cuts, timeline);
    let mut end_before = segment.start.min(parts[0].1.start);
    let mut pieces = Vec::new();
    let mut rest = parts.as_slice();
    while let Some((at, _)) = rest.first() {
        let (part, next) = rest.split_at(rest.iter().take_while(|(other, _)| other == at).count());
        let words: Vec<_> = part.iter().map(|(_, word)| word.clone()).collect();
        let (first, last) = said(&words);
        let from = if *at == 0 { segment.start } else { cuts[at - 1] };
        let to = cuts.get(*at).copied().unwrap_or(segment.end.max(last));
        let (start, end) = if is_timed {
            let latest = next.first().map_or(f64::INFINITY, |(_, word)| word.start.max(last));
            (from.min(first).max(end_before), to.max(last).min(latest))
        } else {
            (from, to)
        };
        end_before = end.max(start);
        pieces.push(Piece {
            start,
            end: end_before,
            said: is_timed.then_some((first, last)),
            json: part_of(segment, &words),
        });
        rest = next;
    }
    pieces
}

fn said(words: &[Word]) -> (f64, f64) {
    (
        words[0].start,
        words.iter().map(|word| word.end).fold(words[0].end, f64::max),
    )
}

/// Returns the words of a segment, each with the number of the part it is in; the numbers never go back.
fn parts(segment: &TranscriptSegment, words: Vec<Word>, cuts: &[f64], timeline: &Timeline) -> Vec<(usize, Word)> {
    let mut parts: Vec<_> = words
        .iter()
        .map(|word| cuts.partition_point(|cut| *cut < word.middle()))
        .collect();
    if !segment.words.is_empty() {
        // The turns at the middle of each part stand for it.
        let turn_of = |part: usize| {
            let from = if part == 0 { segment.start } else { cuts[part - 1] };
            let to = cuts.get(part).copied().unwrap_or(segment.end);
            timeline.turn_at(f64::midpoint(from, to))
        };
        let turns: Option<Vec<_>> = parts.iter().map(|part| turn_of(*part)).collect();
        if let Some(before) = turns {
            let mut after = before.clone();
            timeline.snap(&words, &mut after);
            let given = parts.clone();
            for at in (0..words.len()).filter(|&at| after[at] != before[at]) {
                // The part of the neighbour whose speaker took it.
                let around = (1..=FAR)
                    .flat_map(|far| [at.checked_sub(far), Some(at + far)])
                    .flatten();
                let mut takers = around.filter(|&other| before.get(other) == Some(&after[at]));
                if let Some(taker) = takers.find(|&other| given[other].abs_diff(given[at]) == 1) {
                    parts[at] = given[taker];
                }
            }
        }
    }
    let mut reached = 0;
    for part in &mut parts {
        reached = reached.max(*part);
        *part = reached;
    }
    parts.into_iter().zip(words).collect()
}

fn part_of(segment: &TranscriptSegment, words: &[Word]) -> Object {
    let mut json = segment.json.clone();
    // They stand for the whole text.
    json.shift_remove("tokens");
    put_text(&mut json, &text_of(words), None);
    if !segment.words.is_empty() {
        json.insert("words".into(), words_json(words));
    }
    json
}

/// Returns the speaker of the turn that covers most of the time, the first of equals, with the part of it that is
/// covered; else of one near it.
fn speaker_of(start: f64, end: f64, timeline: &Timeline) -> (&str, f64) {
    let score = |turn: &Turn| {
        if turn.start <= end && start <= turn.end {
            let overlap = turn.end.min(end) - turn.start.max(start);
            return if end > start { overlap / (end - start) } else { 1.0 };
        }
        let apart = (f64::midpoint(start, end) - f64::midpoint(turn.start, turn.end)).abs();
        if apart <= NEAR { 1.0 - apart / NEAR } else { 0.0 }
    };
    let mut best = (NOBODY.0, 0.0);
    // No other turn touches it or has its middle near.
    let near = timeline.touching(start - NEAR, end + NEAR);
    for turn in near.map(|at| timeline.turn(at)) {
        let score = score(turn);
        if score > best.1 {
            best = (&turn.speaker, score);
        }
    }
    if best.1 > 0.0 { best } else { NOBODY }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        fixture::Fixture,
        transcript::fixture::{any_transcript, any_turns, visible, worked_example},
    };

    const NODE: &str = "wservice.merge_speaker_segments";

    fn short(merged: &Value) -> Vec<(f64, f64, &str, &str, f64)> {
        let number = |json: &Value, name: &str| json[name].as_f64().unwrap();
        merged
            .as_array()
            .unwrap()
            .iter()
            .map(|piece| {
                (
                    number(piece, "start"),
                    number(piece, "end"),
                    piece["text"].as_str().unwrap(),
                    piece["speaker"].as_str().unwrap(),
                    number(piece, "speaker_confidence"),
                )
            })
            .collect()
    }

    #[tokio::test]
    async fn d48_the_worked_example_shares_the_text_out_instead_of_repeating_it() {
        let (_, turns) = worked_example();
        let fixture = Fixture::with_input(NODE, |fixture| {
            json!({
                "segments_data": [
                    {"id": 7, "start": 0, "end": 4, "text": "We start now and then stop.", "tokens": [1]},
                    {"start": 5, "end": 6, "text": "Fine."},
                    {"start": 30, "end": 31, "text": "Late."},
                ],
                "segments_file": "/ignored.json",
                "diarization_file": fixture.file("who.json", json!({"success": true, "segments": turns}).to_string()),
            })
        });
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(
            short(&output["merged_segments"]),
            [
                (0.0, 2.5, "We start now and", "SPEAKER_00", 0.96),
                (2.5, 4.0, " then stop.", "SPEAKER_01", 0.933),
                (5.0, 6.0, "Fine.", "SPEAKER_01", 1.0),
                (30.0, 31.0, "Late.", "SPEAKER_00", 0.3),
            ]
        );
        let first = &output["merged_segments"][0];
        assert_eq!((&first["id"], &first["duration"]), (&json!(1), &json!(2.5)));
        assert!(first.get("tokens").is_none() && first.get("words").is_none());
        assert_eq!(
            output["input_summary"],
            json!({
                "transcript_segments_count": 3,
                "speaker_segments_count": 2,
                "merged_segments_count": 4,
                "data_source": "input_data.segments_data",
            })
        );
        assert!(fixture.context.node.output_is_reusable(&output));
    }

    #[tokio::test]
    async fn d48_the_word_across_the_change_is_kept_and_not_cut() {
        let (segments, turns) = worked_example();
        let fixture = Fixture::with_input(
            NODE,
            |_| json!({"segments_data": segments, "speaker_segments_data": turns}),
        );
        let output = run(&fixture.context).await.unwrap();
        // The older system cut at 2.5 and lost " now" (2.3 to 2.7).
        assert_eq!(
            short(&output["merged_segments"]),
            [
                (0.0, 2.7, " We start now", "SPEAKER_00", 0.889),
                (2.7, 4.0, " stop.", "SPEAKER_01", 1.0)
            ]
        );
        assert_eq!(output["merged_segments"][0]["words"].as_array().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn what_the_request_leaves_out_comes_from_earlier_stages() {
        let (segments, turns) = worked_example();
        for transcriber in ["faster_whisper", "funasr", "qwen3_asr"] {
            let mut fixture = Fixture::of_node(NODE);
            let transcript = fixture.file("a.json", segments.to_string());
            let who = fixture.file("who.json", turns.to_string());
            let transcriber = format!("{transcriber}.transcribe_audio");
            fixture.stage(&transcriber, json!({"segments_file": transcript}));
            fixture.stage("pyannote_audio.diarize_speakers", json!({"diarization_file": who}));
            fixture.resolve(&Object::new());
            let output = run(&fixture.context).await.unwrap();
            assert_eq!(output["input_summary"]["data_source"], json!(transcriber));
        }
    }

    #[tokio::test]
    async fn a_file_the_request_names_wins_over_data_of_a_stage_and_must_be_readable() {
        let mut fixture = Fixture::of_node(NODE);
        fixture.stage(
            "faster_whisper.transcribe_audio",
            json!({"segments": [{"start": 0, "end": 1, "text": "x"}]}),
        );
        let broken = fixture.file("a.json", "{}");
        let given = json!({"segments_file": broken, "speaker_segments_data": [{"start": 0, "end": 1, "speaker": "A"}]});
        fixture.resolve(given.as_object().unwrap());
        let error = run(&fixture.context).await.unwrap_err().to_string();
        assert!(
            error.contains("input_data.segments_file") && error.contains("a.json"),
            "{error}"
        );
    }

    #[test]
    fn a_turn_inside_another_and_turns_in_any_order_cut_nothing_apart() {
        let turn = |start: f64, end: f64, speaker: &str| Turn {
            start,
            end,
            speaker: speaker.into(),
            confidence: None,
        };
        let turns = [turn(12.0, 14.0, "C"), turn(3.0, 4.0, "B"), turn(0.0, 10.0, "A")];
        assert_eq!(changes(Timeline::new(&turns).turns()), [11.0]);
    }

    proptest! {
        #[test]
        fn every_word_is_in_one_piece_and_in_order(segments in any_transcript(), turns in any_turns()) {
            let merged = merge(&segments, &turns);
            let said: String = merged.iter().map(|piece| visible(piece["text"].as_str().unwrap_or_default())).collect();
            let given: String = segments.iter().map(|segment| visible(&segment.text)).collect();
            prop_assert_eq!(said, given);
            let times: Vec<_> = merged.iter().map(|piece| (piece["start"].as_f64(), piece["end"].as_f64())).collect();
            prop_assert!(times.iter().all(|(start, end)| start <= end));
            prop_assert!(times.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{:?}", times);
        }
    }
}
