//! The nodes about subtitles.

pub(super) mod check_subtitles;
pub(super) mod cues;
pub(super) mod generate_subtitle_files;
mod repeats;

pub(super) use super::timed_text::compose_srt;
