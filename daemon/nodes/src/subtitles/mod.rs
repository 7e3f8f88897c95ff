//! The nodes about subtitles.

pub(super) mod check_subtitles;
pub(super) mod generate_subtitle_files;
mod repeats;
