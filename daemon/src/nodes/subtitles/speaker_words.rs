//! Who said which word: words get the speaker of the turn they lie in, and neighbours of one speaker
//! become one piece.

use super::transcript::{Segment, Turn, Word};

/// What one speaker says without a break, inside one segment of the transcript. Times in seconds.
#[derive(Debug, Clone)]
pub(in crate::nodes) struct Piece {
    pub(in crate::nodes) start: f64,
    pub(in crate::nodes) end: f64,
    pub(in crate::nodes) text: String,
    pub(in crate::nodes) speaker: String,
}

/// Gives the pieces in the transcript's order; none without turns.
pub(in crate::nodes) fn merge(segments: &[Segment], turns: &[Turn]) -> Vec<Piece> {
    let mut timeline = turns.to_vec();
    timeline.sort_by(|a, b| a.start.total_cmp(&b.start));
    let mut pieces = Vec::new();
    for segment in segments {
        if segment.words.is_empty() {
            pieces.extend(whole(segment, &timeline));
        } else {
            by_words(&segment.words, &timeline, &mut pieces);
        }
    }
    pieces
}

fn whole(segment: &Segment, timeline: &[Turn]) -> Option<Piece> {
    let speaker = speaker_at(f64::midpoint(segment.start, segment.end), timeline)?;
    Some(Piece {
        start: segment.start,
        end: segment.end,
        text: segment.text.clone(),
        speaker: speaker.into(),
    })
}

fn by_words(words: &[Word], timeline: &[Turn], pieces: &mut Vec<Piece>) {
    // Pieces do not reach across segments.
    let first = pieces.len();
    for word in words {
        let Some(speaker) = speaker_at(f64::midpoint(word.start, word.end), timeline) else {
            return;
        };
        match pieces[first..].last_mut().filter(|piece| piece.speaker == speaker) {
            Some(piece) => {
                piece.end = word.end;
                piece.text.push_str(&word.word);
            }
            None => pieces.push(Piece {
                start: word.start,
                end: word.end,
                text: word.word.clone(),
                speaker: speaker.into(),
            }),
        }
    }
}

/// The first turn the time lies in; else the nearest. Of two that are equally near, the later wins only if its
/// middle is nearer than that of the first turn of the speaker found so far.
fn speaker_at(time: f64, timeline: &[Turn]) -> Option<&str> {
    if let Some(turn) = timeline.iter().find(|turn| (turn.start..=turn.end).contains(&time)) {
        return Some(&turn.speaker);
    }
    let to_edge = |turn: &Turn| (time - turn.start).abs().min((time - turn.end).abs());
    let to_middle = |turn: &Turn| (time - f64::midpoint(turn.start, turn.end)).abs();
    let mut best = timeline.first()?;
    for turn in &timeline[1..] {
        let nearer = to_edge(turn) < to_edge(best);
        let tied = to_edge(turn) == to_edge(best);
        let wins_tie = || {
            let first_of_best = timeline.iter().find(|other| other.speaker == best.speaker);
            first_of_best.is_some_and(|first| to_middle(turn) < to_middle(first))
        };
        if nearer || tied && wins_tie() {
            best = turn;
        }
    }
    Some(&best.speaker)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::nodes::subtitles::transcript::{parse_diarization, parse_transcript};

    fn merged(transcript: Value, turns: Value) -> Vec<(f64, f64, String, String)> {
        let segments = parse_transcript(transcript.to_string().as_bytes()).unwrap();
        let turns = parse_diarization(turns.to_string().as_bytes()).unwrap();
        merge(&segments, &turns)
            .into_iter()
            .map(|piece| (piece.start, piece.end, piece.text, piece.speaker))
            .collect()
    }

    #[test]
    fn the_worked_example_of_words_across_a_speaker_change() {
        let word = |word: &str, start: f64, end: f64| json!({"word": word, "start": start, "end": end});
        let transcript = json!({"segments": [
            {"start": 0.0, "end": 4.0, "text": " We start now stop.", "words": [
                word(" We", 0.0, 0.5), word(" start", 0.5, 1.5), word(" now", 2.3, 2.7), word(" stop.", 3.0, 4.0),
            ]},
            {"start": 9.0, "end": 10.0, "text": "tail"},
        ]});
        let turns = json!([
            {"start": 0.0, "end": 2.4, "speaker": "SPEAKER_00"},
            {"start": 2.6, "end": 8.0, "speaker": "SPEAKER_01"},
        ]);
        assert_eq!(
            merged(transcript, turns),
            [
                (0.0, 2.7, " We start now".into(), "SPEAKER_00".into()),
                (3.0, 4.0, " stop.".into(), "SPEAKER_01".into()),
                (9.0, 10.0, "tail".into(), "SPEAKER_01".into()),
            ]
        );
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
}
