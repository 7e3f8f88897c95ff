//! Joins readings of consecutive frames into cues. Flickering readings are joined first, then short readings are added
//! to the cue that they are a misreading or a part of, then each cue gets the text that most of its readings agree on,
//! and last the cues are removed that stay too short. A text that stays is a separate cue, however much it resembles
//! its neighbour.

mod piece;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::readings::OcrReading;
use crate::ffmpeg::timeline::FrameTimes;
use piece::TextPiece;

/// Seconds between two showings of the same text that make them one.
const GAP: f64 = 1.0;
/// Seconds a text stays when it is no misreading.
const FIRM: f64 = 0.3;
/// Seconds between a misreading and the cue it belongs to.
const NEAR: f64 = 0.1;
/// By how much a reader is less sure of a misreading that stays.
const UNSURE: f64 = 0.1;
/// Times are quotients; what is this close to a limit is meant to be at it.
const CLOSE: f64 = 1e-4;

/// Which readings are the same text, and which stay too short.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// Seconds; what is shown for less was misread.
    pub(super) min_duration: f64,
    /// From which similarity on a short text is a misreading of the one beside it, 0 to 1.
    pub(super) similarity: f64,
}

/// A text and when it is shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Joined {
    /// Seconds.
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) text: String,
    pub(super) corners: Vec<[i64; 2]>,
    /// First and last frame, from 1.
    pub(super) frames: [u64; 2],
    /// How many pictures were read for it.
    pub(super) readings: usize,
    /// The reader's mean for this text.
    pub(super) confidence: Option<f64>,
    /// The part of its time for which this very text was read, 0 to 1.
    pub(super) agreement: f64,
}

impl Rule {
    /// Returns the cues in order.
    pub(super) fn join(&self, readings: &BTreeMap<u64, OcrReading>, times: &FrameTimes) -> Vec<Joined> {
        let pieces = self.within_stretches(TextPiece::of_readings(readings, times));
        let pieces = self.over_flicker(pieces);
        let pieces = self.misreadings_to_their_cues(pieces);
        // What became neighbours may be the same text.
        self.over_flicker(pieces)
            .into_iter()
            .filter(|piece| piece.end - piece.start >= self.min_duration - CLOSE)
            .map(TextPiece::into_joined)
            .collect()
    }

    /// While the picture does not change its text cannot, so its readings are of one text, unless they are too
    /// different.
    fn within_stretches(&self, pieces: Vec<TextPiece>) -> Vec<TextPiece> {
        let mut joined: Vec<TextPiece> = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match joined.last_mut() {
                Some(before)
                    if before.stretch.is_some()
                        && before.stretch == piece.stretch
                        && piece.start - before.end < GAP - CLOSE
                        && self.similarity(before, &piece) >= self.similarity =>
                {
                    before.append(piece);
                }
                _ => joined.push(piece),
            }
        }
        joined
    }

    /// Joins what has the same text and little time between it; what stands in between is misread or too short.
    fn over_flicker(&self, pieces: Vec<TextPiece>) -> Vec<TextPiece> {
        let mut joined: Vec<TextPiece> = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match self.same_before(&joined, &piece) {
                Some(at) => {
                    let between = joined.split_off(at + 1);
                    let before = &mut joined[at];
                    for other in between {
                        if self.is_compatible(before, &other) {
                            before.append(other);
                        }
                    }
                    before.append(piece);
                }
                None => joined.push(piece),
            }
        }
        joined
    }

    /// Returns the position of the piece that this one continues.
    fn same_before(&self, joined: &[TextPiece], piece: &TextPiece) -> Option<usize> {
        for (at, before) in joined.iter().enumerate().rev() {
            if piece.start - before.end >= GAP - CLOSE {
                return None;
            }
            if before.key() == piece.key() {
                return Some(at);
            }
            let is_flicker = if self.is_compatible(before, piece) {
                !before.is_firm() || is_less_sure(before, piece)
            } else {
                before.end - before.start < self.min_duration - CLOSE
            };
            if !is_flicker {
                return None;
            }
        }
        None
    }

    /// Gives each text that does not stay to the neighbour it is a misreading or a part of.
    fn misreadings_to_their_cues(&self, mut pieces: Vec<TextPiece>) -> Vec<TextPiece> {
        loop {
            let before = pieces.len();
            let mut joined: Vec<TextPiece> = Vec::with_capacity(before);
            let mut rest = pieces.into_iter().peekable();
            while let Some(mut piece) = rest.next() {
                let ahead = rest.peek().map_or(0.0, |next| self.attraction(&piece, next));
                let back = joined.last().map_or(0.0, |last| self.attraction(last, &piece));
                if let Some(last) = joined.last_mut()
                    && back > 0.0
                    && back >= ahead
                {
                    last.append(piece);
                } else {
                    if ahead > 0.0
                        && !piece.is_firm()
                        && let Some(next) = rest.next()
                    {
                        piece.append(next);
                    }
                    joined.push(piece);
                }
            }
            pieces = joined;
            if pieces.len() == before {
                return pieces;
            }
        }
    }

    /// Returns how much two neighbours are one cue: 0 where they are not.
    fn attraction(&self, first: &TextPiece, second: &TextPiece) -> f64 {
        let firm = (first.is_firm(), second.is_firm());
        if firm == (true, true) || second.start - first.end >= NEAR - CLOSE {
            return 0.0;
        }
        let similarity = self.similarity(first, second);
        if similarity >= self.similarity {
            // A text that stays is preferred.
            return similarity + if firm.0 || firm.1 { 1.0 } else { 0.0 };
        }
        if first.is_part_of(second) || second.is_part_of(first) {
            return 0.1 + similarity;
        }
        0.0
    }

    fn is_compatible(&self, first: &TextPiece, second: &TextPiece) -> bool {
        self.similarity(first, second) >= self.similarity || first.is_part_of(second) || second.is_part_of(first)
    }

    /// Of the texts most of each agree on, or of those that touch.
    fn similarity(&self, first: &TextPiece, second: &TextPiece) -> f64 {
        let whole = piece::ratio(first.text(), second.text());
        if whole >= self.similarity {
            return whole;
        }
        whole.max(piece::ratio(first.last_text(), second.first_text()))
    }
}

/// Whether the reader was so much less sure of the first text that it is a misreading of the second.
fn is_less_sure(first: &TextPiece, second: &TextPiece) -> bool {
    match (first.confidence(), second.confidence()) {
        (Some(first), Some(second)) => first < second - UNSURE,
        _ => false,
    }
}
