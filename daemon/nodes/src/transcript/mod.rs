//! The nodes that work on transcripts and on who speaks when, and what they share: readers, where their input comes from,
//! words and times.

pub(super) mod align;
pub(super) mod cut;
#[cfg(test)]
pub(super) mod fixture;
pub(super) mod read;
pub(super) mod sentences;
pub(super) mod source;
pub(super) mod speakers;
pub(super) mod text;

pub(super) mod merge_speaker_based_subtitles;
pub(super) mod merge_speaker_segments;
pub(super) mod merge_with_word_timestamps;
pub(super) mod prepare_tts_segments;
pub(super) mod rebuild;
pub(super) mod segment_subtitles;

mod clips;
mod json_path;
mod lines;

/// Seconds, rounded to the millisecond.
pub(super) fn millis(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}
