//! Transcripts and turns for property tests.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use super::read::{Segment, Turn, transcript};

const WORDS: &[&str] = &[
    " we", " got", "-to", " the", " lab", " ten.", "你", "好，", " Um", " wide", "!", " 3.5",
];

/// Up to six segments, in time order, with words that do not overlap, or with a text alone.
pub(in crate::nodes) fn any_transcript() -> impl Strategy<Value = Vec<Segment>> {
    let word = (select(WORDS), 0..1200_u32, 0..900_u32);
    let segment = (vec(word, 1..9), any::<bool>(), 0..3000_u32);
    vec(segment, 1..6).prop_map(|segments| {
        let mut clock = 0;
        let segments: Vec<_> = segments
            .into_iter()
            .map(|(words, timed, pause)| {
                clock += pause;
                let text: String = words.iter().map(|(word, ..)| *word).collect();
                let words: Vec<_> = words
                    .into_iter()
                    .map(|(word, length, pause)| {
                        let (start, end) = (clock, clock + length);
                        clock = end + pause;
                        json!({"word": word, "start": f64::from(start) / 1000.0, "end": f64::from(end) / 1000.0})
                    })
                    .collect();
                let mut segment =
                    json!({"start": words[0]["start"], "end": words[words.len() - 1]["end"], "text": text});
                if timed {
                    segment["words"] = json!(words);
                }
                segment
            })
            .collect();
        transcript(json!(segments)).expect("it is one")
    })
}

/// Up to eight turns of three speakers, in any order; some overlap.
pub(in crate::nodes) fn any_turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = (select(&["A", "B", "C"][..]), 0..20_000_u32, 1..6000_u32);
    vec(turn, 1..8).prop_map(|turns| {
        turns
            .into_iter()
            .map(|(speaker, start, length)| Turn {
                start: f64::from(start) / 1000.0,
                end: f64::from(start + length) / 1000.0,
                speaker: speaker.into(),
                confidence: None,
            })
            .collect()
    })
}

/// A text without its blanks.
pub(in crate::nodes) fn visible(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// The contract's example of a word across a change of speakers: " now" lies at the same distance from both turns.
pub(in crate::nodes) fn worked_example() -> (Value, Value) {
    let word = |word: &str, start: f64, end: f64| json!({"word": word, "start": start, "end": end});
    let words = [
        word(" We", 0.0, 0.5),
        word(" start", 0.5, 1.5),
        word(" now", 2.3, 2.7),
        word(" stop.", 3.0, 4.0),
    ];
    (
        json!([{"start": 0.0, "end": 4.0, "text": " We start now stop.", "words": words}]),
        json!([
            {"start": 0.0, "end": 2.4, "speaker": "SPEAKER_00"},
            {"start": 2.6, "end": 8.0, "speaker": "SPEAKER_01"},
        ]),
    )
}
