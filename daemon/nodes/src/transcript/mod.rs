//! The nodes that work on transcripts and on who speaks when, and what they share: where their input comes from, who
//! speaks, clips and lines.

#[cfg(test)]
pub(super) mod fixture;
pub(super) mod source;
pub(super) mod speakers;

pub(super) mod merge_speaker_based_subtitles;
pub(super) mod merge_speaker_segments;
pub(super) mod merge_with_word_timestamps;
pub(super) mod prepare_tts_segments;
pub(super) mod rebuild;
pub(super) mod segment_subtitles;

mod clips;
mod json_path;
mod lines;
