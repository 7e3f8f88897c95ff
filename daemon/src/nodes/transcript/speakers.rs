//! Who said which word: words get the speaker of the turn they lie in, and neighbours of one speaker
//! become one piece.

use super::read::{Segment, Turn, Word, text_of};

/// What one speaker says without a break, inside one segment of the transcript. Times in seconds.
#[derive(Debug, Clone)]
pub(in crate::nodes) struct Piece<'a> {
    pub(in crate::nodes) start: f64,
    pub(in crate::nodes) end: f64,
    pub(in crate::nodes) text: String,
    pub(in crate::nodes) speaker: String,
    /// None where the segment has none; each has its speaker.
    pub(in crate::nodes) words: Vec<Word>,
    pub(in crate::nodes) segment: &'a Segment,
}

/// Gives the pieces in the transcript's order; none without turns.
pub(in crate::nodes) fn merge<'a>(segments: &'a [Segment], turns: &[Turn]) -> Vec<Piece<'a>> {
    let timeline = timeline(turns);
    segments
        .iter()
        .flat_map(|segment| {
            if segment.words.is_empty() {
                whole(segment, &timeline).into_iter().collect()
            } else {
                by_words(segment, &timeline)
            }
        })
        .collect()
}

/// The turns by when they start.
pub(in crate::nodes) fn timeline(turns: &[Turn]) -> Vec<Turn> {
    let mut timeline = turns.to_vec();
    timeline.sort_by(|a, b| a.start.total_cmp(&b.start));
    timeline
}

fn whole<'a>(segment: &'a Segment, timeline: &[Turn]) -> Option<Piece<'a>> {
    let turn = &timeline[turn_at(f64::midpoint(segment.start, segment.end), timeline)?];
    Some(Piece {
        start: segment.start,
        end: segment.end,
        text: segment.text.clone(),
        speaker: turn.speaker.clone(),
        words: Vec::new(),
        segment,
    })
}

fn by_words<'a>(segment: &'a Segment, timeline: &[Turn]) -> Vec<Piece<'a>> {
    let labelled: Vec<_> = segment
        .words
        .iter()
        .filter_map(|word| {
            let turn = &timeline[turn_at(word.middle(), timeline)?];
            Some(Word {
                speaker: Some(turn.speaker.clone()),
                ..word.clone()
            })
        })
        .collect();
    let piece = |words: &[Word]| Piece {
        start: words[0].start,
        // The last word need not be the one that ends last.
        end: words.iter().map(|word| word.end).fold(words[0].end, f64::max),
        text: text_of(words),
        speaker: words[0].speaker.clone().unwrap_or_default(),
        words: words.to_vec(),
        segment,
    };
    labelled.chunk_by(|a, b| a.speaker == b.speaker).map(piece).collect()
}

/// The first turn of a timeline the time lies in; else the nearest. Of two that are equally near, the later wins only if
/// its middle is nearer than that of the first turn of the speaker found so far.
pub(in crate::nodes) fn turn_at(time: f64, timeline: &[Turn]) -> Option<usize> {
    if let Some(turn) = timeline.iter().position(|turn| (turn.start..=turn.end).contains(&time)) {
        return Some(turn);
    }
    let to_edge = |turn: &Turn| (time - turn.start).abs().min((time - turn.end).abs());
    let to_middle = |turn: &Turn| (time - f64::midpoint(turn.start, turn.end)).abs();
    let mut best = 0;
    timeline.first()?;
    for (at, turn) in timeline.iter().enumerate().skip(1) {
        let (here, there) = (to_edge(turn), to_edge(&timeline[best]));
        let wins_tie = || {
            let same = |other: &&Turn| other.speaker == timeline[best].speaker;
            let first_of_best = timeline.iter().find(same);
            first_of_best.is_some_and(|first| to_middle(turn) < to_middle(first))
        };
        if here < there || here == there && wins_tie() {
            best = at;
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::nodes::transcript::{
        fixture::{any_transcript, any_turns, visible},
        read::{diarization, transcript},
    };

    fn merged(segments: Value, turns: Value) -> Vec<(f64, f64, String, String)> {
        let segments = transcript(segments).unwrap();
        merge(&segments, &diarization(turns).unwrap())
            .into_iter()
            .map(|piece| (piece.start, piece.end, piece.text, piece.speaker))
            .collect()
    }

    #[test]
    fn neighbours_of_one_speaker_in_two_segments_stay_two_pieces() {
        let segment = |start: f64, text: &str| {
            json!({"start": start, "end": start + 1.0, "text": text,
                "words": [{"word": text, "start": start, "end": start + 1.0}]})
        };
        let turns = json!([{"start": 0, "end": 9, "speaker": "A"}]);
        assert_eq!(merged(json!([segment(0.0, "a"), segment(1.0, "b")]), turns).len(), 2);
    }

    #[test]
    fn turns_need_not_be_sorted() {
        let transcript = json!([{"start": 1, "end": 2, "text": "x"}]);
        let turns = json!([
            {"start": 5, "end": 9, "speaker": "B"},
            {"start": 0, "end": 3, "speaker": "A"},
        ]);
        assert_eq!(merged(transcript, turns)[0].3, "A");
    }

    #[test]
    fn of_two_turns_equally_near_the_later_needs_the_nearer_middle() {
        let at = |later: f64| {
            let turns = json!([
                {"start": 0, "end": 2, "speaker": "A"},
                {"start": 4, "end": later, "speaker": "B"},
            ]);
            merged(json!([{"start": 3, "end": 3, "text": "x"}]), turns)[0].3.clone()
        };
        assert_eq!((at(5.0), at(6.0)), ("B".into(), "A".into()));
    }

    proptest! {
        #[test]
        fn every_word_is_in_one_piece_and_in_order(segments in any_transcript(), turns in any_turns()) {
            let pieces = merge(&segments, &turns);
            let said: String = pieces.iter().map(|piece| visible(&piece.text)).collect();
            let given: String = segments.iter().map(|segment| visible(&segment.text)).collect();
            prop_assert_eq!(said, given);
            for pair in pieces.windows(2).filter(|pair| std::ptr::eq(pair[0].segment, pair[1].segment)) {
                prop_assert!(pair[0].start <= pair[1].start && pair[0].speaker != pair[1].speaker);
            }
        }
    }
}
