//! `frames.json`, which lies beside the strips of a video: which frames each of them stands for.

use serde::{Deserialize, Serialize};

/// Its name in the folder of the strips.
pub(crate) const FRAMES_FILE: &str = "frames.json";

/// All frames of a video, by the strips that are kept of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptFrames {
    /// How many frames the video has.
    pub(crate) frames_count: u64,
    pub(crate) kept: Vec<KeptFrame>,
}

/// A frame whose strip is kept, and those it stands for; all from 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptFrame {
    pub(crate) frame: u64,
    /// When it is shown, in seconds on the players' clock; absent if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<f64>,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// The first frame of all those around it between which nothing changed.
    pub(crate) stretch: u64,
}

impl KeptFrames {
    /// Reads such a file. Returns `None` if it is something else.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let frames: Self = serde_json::from_slice(bytes).ok()?;
        let is_right = |kept: &KeptFrame| (kept.first..=kept.last).contains(&kept.frame);
        let is_ordered = |pair: &[KeptFrame]| pair[0].last < pair[1].first;
        (frames.kept.iter().all(is_right) && frames.kept.windows(2).all(is_ordered)).then_some(frames)
    }

    pub(crate) fn find(&self, number: u64) -> Option<KeptFrame> {
        let at = self.kept.binary_search_by_key(&number, |kept| kept.frame).ok()?;
        Some(self.kept[at])
    }
}
