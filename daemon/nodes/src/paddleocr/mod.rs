//! The nodes that read burnt-in subtitles, as far as they need no model: strips of frames are stacked into tall
//! pictures, and what was read in each frame becomes cues. The reading itself is done by programs,
//! `assets/nodes/paddleocr`.

pub(super) mod create_stitched_images;
pub(super) mod postprocess_and_finalize;

mod archive;
mod frames;
mod joiner;
mod readings;

pub use archive::MOST_BYTES;

#[cfg(test)]
mod tests {
    use crate::{ARCHIVE_LIMIT, FRAMES_LIMIT};

    #[test]
    fn programs_of_nodes_have_the_limits_of_the_table() {
        let perform = include_str!("../../../../assets/nodes/paddleocr/perform_ocr.py");
        let frames = perform.lines().find_map(|line| line.strip_prefix("MOST_FRAMES = "));
        assert_eq!(frames.unwrap().replace('_', ""), FRAMES_LIMIT.to_string());
        let pictures = include_str!("../../../../assets/nodes/paddleocr/pictures.py");
        assert!(pictures.contains(&format!("\nMOST_BYTES = {} << 30\n", ARCHIVE_LIMIT >> 30)));
    }
}
