//! What is spoken when: segments and their words, turns of speakers, cues of subtitles; and what both readers of files
//! and nodes do with words: split texts into tokens, align a text with words, estimate times, find sentences, cut words
//! into cues. It reads and writes no files; `timed_text` does.

pub(crate) mod align;
pub(crate) mod cue;
pub(crate) mod cut;
mod estimate;
mod segment;
pub(crate) mod sentences;
pub(crate) mod tokens;

pub(crate) use self::{
    cue::Cue,
    estimate::{estimate_words, put_in_order, share_time, written_words},
    segment::{TranscriptSegment, Turn, Word, text_of, words_json},
};

/// Returns seconds, rounded to the millisecond.
pub(crate) fn millis(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}
