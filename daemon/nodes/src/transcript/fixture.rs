//! Transcripts and turns for property tests.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::{
    spoken::{TranscriptSegment, Turn},
    timed_text,
};

const WORDS: &[&str] = &[
    " we", " got", "-to", " the", " lab", " ten.", "你", "好，", " Um", " wide", "!", " 3.5",
];

/// Milliseconds below a limit: any, few different ones that meet, or none.
fn any_length(limit: u32) -> impl Strategy<Value = u32> + Clone {
    prop_oneof![
        3 => 0..limit,
        2 => (0..limit / 250).prop_map(|quarters| quarters * 250),
        1 => Just(0),
    ]
}

/// Which times of a word a transcriber gives.
#[derive(Debug, Clone, Copy)]
enum Given {
    Both,
    Start,
    End,
    Neither,
}

fn seconds(millis: u32) -> Value {
    json!(f64::from(millis) / 1000.0)
}

/// Up to six segments of one word and more, in time order. Their words do not overlap; some take no time, some have no
/// times or half of them. Some segments have a text alone.
pub(crate) fn any_transcript() -> impl Strategy<Value = Vec<TranscriptSegment>> {
    let given = prop_oneof![
        6 => Just(Given::Both),
        1 => Just(Given::Start),
        1 => Just(Given::End),
        2 => Just(Given::Neither),
    ];
    let word = (select(WORDS), any_length(1200), any_length(900), given);
    let count = prop_oneof![1 => Just(1_usize), 3 => 1..9_usize];
    let words = count.prop_flat_map(move |count| vec(word.clone(), count));
    let segment = (words, any::<bool>(), any_length(3000));
    vec(segment, 1..6).prop_map(|segments| {
        let mut clock = 0;
        let segments: Vec<_> = segments
            .into_iter()
            .map(|(words, timed, pause)| {
                clock += pause;
                let from = clock;
                let text: String = words.iter().map(|(word, ..)| *word).collect();
                let mut to = clock;
                let words: Vec<_> = words
                    .into_iter()
                    .map(|(word, length, pause, given)| {
                        let (start, end) = (clock, clock + length);
                        (clock, to) = (end + pause, end);
                        let mut word = json!({ "word": word });
                        if matches!(given, Given::Both | Given::Start) {
                            word["start"] = seconds(start);
                        }
                        if matches!(given, Given::Both | Given::End) {
                            word["end"] = seconds(end);
                        }
                        word
                    })
                    .collect();
                let mut segment = json!({"start": seconds(from), "end": seconds(to), "text": text});
                if timed {
                    segment["words"] = json!(words);
                }
                segment
            })
            .collect();
        let (segments, _) = timed_text::json_segments(json!(segments)).expect("it is a transcript");
        segments
    })
}

/// Up to nine turns of three speakers, in any order, as a diarization gives them. Some overlap, some meet, some
/// have no length, which are passed over.
pub(crate) fn any_turns() -> impl Strategy<Value = Vec<Turn>> {
    let speaker = || select(&["A", "B", "C"][..]);
    let turn = (speaker(), any_length(20_000), any_length(6000));
    let one = (speaker(), any_length(20_000), 1..6000_u32);
    (vec(turn, 0..8), one, 0..8_usize).prop_map(|(mut turns, one, place)| {
        turns.insert(place.min(turns.len()), one);
        let turns = turns.into_iter().map(|(speaker, start, length)| {
            json!({"start": seconds(start), "end": seconds(start + length), "speaker": speaker})
        });
        let (turns, _) = timed_text::turns(turns.collect(), None).expect("it is a diarization");
        turns
    })
}

/// Returns a text without its blanks.
pub(crate) fn visible(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Returns the contract's example of a word across a change of speakers: " now" lies at the same distance from both
/// turns.
pub(crate) fn worked_example() -> (Value, Value) {
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
