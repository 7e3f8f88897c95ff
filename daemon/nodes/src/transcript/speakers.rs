//! Finds the speaker of each word: words get the speaker of the turn that they lie in or nearest to, a sentence is not
//! cut at its edge, and neighbours of one speaker become one piece.

use std::collections::HashMap;

use crate::spoken::{TranscriptSegment, Turn, Word, text_of, tokens::ends_sentence};

/// Seconds a word may lie outside the turn of the speaker who says the rest of its sentence.
const SLIP: f64 = 0.5;
/// Seconds the words at the edge of a sentence take that may have slipped into another turn.
const LONGEST_SLIP: f64 = 0.8;
/// Seconds of silence that end a sentence.
const SILENCE: f64 = 1.0;
/// Seconds by which a turn must extend beyond words for them to have slipped into it: else it was made for them.
const BEYOND: f64 = 0.3;

/// What one speaker says without a break, inside one segment of the transcript. Times in seconds.
#[derive(Debug, Clone)]
pub(crate) struct SpeakerPiece<'a> {
    pub(crate) start: f64,
    pub(crate) end: f64,
    pub(crate) text: String,
    pub(crate) speaker: String,
    /// None where the segment has none; each has its speaker.
    pub(crate) words: Vec<Word>,
    pub(crate) segment: &'a TranscriptSegment,
}

/// Returns the pieces in the transcript's order; none without turns.
pub(crate) fn merge<'a>(segments: &'a [TranscriptSegment], turns: &[Turn]) -> Vec<SpeakerPiece<'a>> {
    let timeline = Timeline::new(turns);
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

fn whole<'a>(segment: &'a TranscriptSegment, timeline: &Timeline) -> Option<SpeakerPiece<'a>> {
    let turn = timeline.turn(timeline.turn_at(f64::midpoint(segment.start, segment.end))?);
    Some(SpeakerPiece {
        start: segment.start,
        end: segment.end,
        text: segment.text.clone(),
        speaker: turn.speaker.clone(),
        words: Vec::new(),
        segment,
    })
}

fn by_words<'a>(segment: &'a TranscriptSegment, timeline: &Timeline) -> Vec<SpeakerPiece<'a>> {
    let turns: Option<Vec<_>> = segment
        .words
        .iter()
        .map(|word| timeline.turn_at(word.middle()))
        .collect();
    let mut turns = turns.unwrap_or_default();
    timeline.snap(&segment.words, &mut turns);
    let label = |(word, turn): (&Word, &usize)| Word {
        speaker: Some(timeline.turn(*turn).speaker.clone()),
        ..word.clone()
    };
    let labelled: Vec<_> = segment.words.iter().zip(&turns).map(label).collect();
    let piece = |words: &[Word]| SpeakerPiece {
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

/// The turns by when they start, for finding that of a time quickly.
pub(crate) struct Timeline {
    turns: Vec<Turn>,
    /// The latest end of each turn and those before it.
    reached: Vec<f64>,
    /// The turns by when they end.
    by_end: Vec<usize>,
    /// The first turn of each speaker.
    first_of: HashMap<String, usize>,
}

impl Timeline {
    pub(crate) fn new(turns: &[Turn]) -> Self {
        let mut turns = turns.to_vec();
        turns.sort_by(|a, b| a.start.total_cmp(&b.start));
        let latest = |reached: &mut f64, turn: &Turn| {
            *reached = reached.max(turn.end);
            Some(*reached)
        };
        let mut by_end: Vec<_> = (0..turns.len()).collect();
        by_end.sort_by(|a, b| turns[*a].end.total_cmp(&turns[*b].end).then(a.cmp(b)));
        let mut first_of = HashMap::new();
        for (at, turn) in turns.iter().enumerate() {
            first_of.entry(turn.speaker.clone()).or_insert(at);
        }
        Self {
            reached: turns.iter().scan(f64::NEG_INFINITY, latest).collect(),
            by_end,
            first_of,
            turns,
        }
    }

    pub(crate) fn turns(&self) -> &[Turn] {
        &self.turns
    }

    pub(crate) fn turn(&self, at: usize) -> &Turn {
        &self.turns[at]
    }

    /// Returns the turns that touch a span of time, in order.
    pub(crate) fn touching(&self, start: f64, end: f64) -> impl Iterator<Item = usize> + '_ {
        let first = self.reached.partition_point(|reached| *reached < start);
        let last = self.turns.partition_point(|turn| turn.start <= end);
        (first..last.max(first)).filter(move |at| self.turns[*at].end >= start)
    }

    /// Returns the first turn the time lies in; else the nearest. Of two that are equally near, the later wins only if
    /// its middle is nearer than that of the first turn of the speaker found so far. None without turns.
    pub(crate) fn turn_at(&self, time: f64) -> Option<usize> {
        if let Some(inside) = self.touching(time, time).next() {
            return Some(inside);
        }
        // Those that end last before it, and those that start first after it.
        let next = self.turns.partition_point(|turn| turn.start <= time);
        let ended = self.by_end.partition_point(|at| self.turns[*at].end < time);
        let last_end = ended.checked_sub(1).map(|at| self.turns[self.by_end[at]].end);
        let ending = self.by_end[..ended]
            .iter()
            .rev()
            .take_while(|at| Some(self.turns[**at].end) == last_end);
        let starting = (next..self.turns.len()).take_while(|at| self.turns[*at].start == self.turns[next].start);
        let mut near: Vec<_> = ending.copied().chain(starting).collect();
        near.sort_unstable();
        near.into_iter().reduce(|best, at| {
            let (here, there) = (self.distance(time, at), self.distance(time, best));
            if here < there || here == there && self.wins_tie(time, at, best) {
                at
            } else {
                best
            }
        })
    }

    /// Returns the seconds from a time to a turn it does not lie in; 0 inside.
    fn distance(&self, time: f64, at: usize) -> f64 {
        let turn = &self.turns[at];
        (turn.start - time).max(time - turn.end).max(0.0)
    }

    fn wins_tie(&self, time: f64, at: usize, best: usize) -> bool {
        let to_middle = |turn: &Turn| (time - f64::midpoint(turn.start, turn.end)).abs();
        let first = self.first_of.get(&self.turns[best].speaker);
        first.is_some_and(|first| to_middle(&self.turns[at]) < to_middle(&self.turns[*first]))
    }

    /// Gives the first and last words of sentences to the speaker of the rest, where they slipped into the turn beside
    /// it.
    pub(crate) fn snap(&self, words: &[Word], turns: &mut [usize]) {
        let mut from = 0;
        for at in 0..words.len().min(turns.len()) {
            let ends = match words.get(at + 1) {
                Some(next) => ends_sentence(&words[at].word) || next.start - words[at].end > SILENCE,
                None => true,
            };
            if ends {
                self.snap_sentence(&words[from..=at], &mut turns[from..=at]);
                from = at + 1;
            }
        }
    }

    fn snap_sentence(&self, words: &[Word], turns: &mut [usize]) {
        let same = |a: usize, b: usize| self.turns[a].speaker == self.turns[b].speaker;
        let all = words.len();
        let first = turns.iter().take_while(|turn| same(**turn, turns[0])).count();
        if first < all {
            let rest = turns[first..]
                .iter()
                .take_while(|turn| same(**turn, turns[first]))
                .count();
            let goes_on_before = self.turns[turns[0]].start < words[0].start - BEYOND;
            if goes_on_before && self.has_slipped(&words[..first], turns[first], rest) {
                let turn = turns[first];
                turns[..first].fill(turn);
            }
        }
        let last = turns
            .iter()
            .rev()
            .take_while(|turn| same(**turn, turns[all - 1]))
            .count();
        if last < all {
            let before = turns[all - last - 1];
            let rest = turns[..all - last]
                .iter()
                .rev()
                .take_while(|turn| same(**turn, before))
                .count();
            let goes_on_after = self.turns[turns[all - 1]].end > words[all - 1].end + BEYOND;
            if goes_on_after && self.has_slipped(&words[all - last..], before, rest) {
                turns[all - last..].fill(before);
            }
        }
    }

    /// Whether few words, at an edge of a sentence of which the other speaker says more, lie near that speaker's turn.
    fn has_slipped(&self, words: &[Word], turn: usize, rest: usize) -> bool {
        let length = words[words.len() - 1].end - words[0].start;
        let is_near = |word: &Word| self.distance(word.middle(), turn) <= SLIP;
        words.len() < rest && length <= LONGEST_SLIP && words.iter().all(is_near)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        timed_text,
        transcript::fixture::{any_transcript, any_turns, visible},
    };

    fn merged(segments: Value, turns: Value) -> Vec<(f64, f64, String, String)> {
        let (segments, _) = timed_text::json_segments(segments).unwrap();
        merge(&segments, &timed_text::turns(turns, None).unwrap().0)
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

    #[test]
    fn a_sentence_is_not_cut_at_its_edge() {
        let word = |word: &str, start: f64, end: f64| json!({"word": word, "start": start, "end": end});
        let of = |turns: Value| -> Vec<(String, String)> {
            let segment = json!({"start": 0, "end": 6, "text": " Are you well? I hope that you are.", "words": [
                word(" Are", 0.0, 0.5), word(" you", 0.5, 1.0), word(" well?", 1.0, 1.5),
                word(" I", 1.9, 2.0), word(" hope", 2.1, 2.5), word(" that", 2.5, 3.0), word(" you", 3.0, 3.5), word(" are.", 3.5, 4.0)]});
            merged(json!([segment]), turns)
                .into_iter()
                .map(|(_, _, text, speaker)| (speaker, text))
                .collect()
        };
        let right = [
            ("A".to_owned(), " Are you well?".to_owned()),
            ("B".to_owned(), " I hope that you are.".to_owned()),
        ];
        let turns = |first: f64, second: f64| json!([{"start": 0, "end": first, "speaker": "A"}, {"start": second, "end": 9, "speaker": "B"}]);
        // The turn of A ends late; that of B begins early.
        assert_eq!(of(turns(2.05, 2.05)), right);
        assert_eq!(of(turns(1.2, 1.2)), right);
        // A turn that was made for a word keeps it.
        let made_for_it = json!([{"start": 0, "end": 1.7, "speaker": "A"}, {"start": 1.8, "end": 2.05, "speaker": "C"}, {"start": 2.05, "end": 9, "speaker": "B"}]);
        assert_eq!(of(made_for_it)[1], ("C".to_owned(), " I".to_owned()));
    }

    /// As `Timeline::at`, turn by turn.
    fn slow(time: f64, timeline: &Timeline) -> Option<usize> {
        let turns = timeline.turns();
        if let Some(turn) = turns.iter().position(|turn| (turn.start..=turn.end).contains(&time)) {
            return Some(turn);
        }
        (0..turns.len()).reduce(|best, at| {
            let (here, there) = (timeline.distance(time, at), timeline.distance(time, best));
            if here < there || here == there && timeline.wins_tie(time, at, best) {
                at
            } else {
                best
            }
        })
    }

    proptest! {
        #[test]
        fn the_turn_of_a_time_is_found(turns in any_turns(), time in 0..30_u32) {
            let turns: Vec<_> = turns.into_iter().map(|turn| Turn { start: turn.start.round(), end: turn.end.round() + 1.0, ..turn }).collect();
            let timeline = Timeline::new(&turns);
            prop_assert_eq!(timeline.turn_at(f64::from(time)), slow(f64::from(time), &timeline));
        }

        #[test]
        fn every_word_is_in_one_piece_and_in_order(segments in any_transcript(), turns in any_turns()) {
            let pieces = merge(&segments, &turns);
            let said: String = pieces.iter().map(|piece| visible(&piece.text)).collect();
            let given: String = segments.iter().map(|segment| visible(&segment.text)).collect();
            prop_assert_eq!(said, given);
            for pair in pieces.windows(2) {
                // The words of the transcript do not overlap, so pieces do not.
                prop_assert!(pair[0].end <= pair[1].start);
                let same_segment = std::ptr::eq(pair[0].segment, pair[1].segment);
                prop_assert!(!same_segment || pair[0].speaker != pair[1].speaker);
            }
        }
    }
}
