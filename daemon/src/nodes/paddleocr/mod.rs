//! The nodes that read burnt-in subtitles, as far as they need no model: strips of frames are stacked into tall pictures,
//! and what was read in each frame becomes cues. The reading itself is done by programs, `assets/nodes/paddleocr`.

pub(super) mod create_stitched_images;
pub(super) mod postprocess_and_finalize;

mod archive;
mod frames;
mod joiner;
mod readings;

pub(crate) use archive::MOST_BYTES;
