//! Files: uploaded, listed, read and removed by clients.

use serde::{Deserialize, Serialize};

use onceover_types::Timestamp;

/// Answer of `POST /v1/files/upload`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FileUploaded {
    /// Path below `share/workflows`, or key in the bucket.
    pub file_path: String,
    pub bucket: String,
    /// With an object store a presigned URL that is good for 24 hours, else one of this daemon.
    pub download_url: String,
    /// Bytes.
    pub size: u64,
    pub uploaded_at: Timestamp,
    /// The type that the upload named, else that of the path's suffix.
    pub content_type: String,
}

/// Answer of a delete of a file or a folder. It is a success, too, if there was none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FileDeleted {
    pub success: bool,
    pub message: String,
    pub file_path: String,
    /// Bytes removed, if that is known.
    pub file_size: Option<u64>,
}

/// One file of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FileItem {
    pub file_path: String,
    /// Bytes.
    pub size: u64,
    pub modified_at: Timestamp,
    /// The type of the path's suffix.
    pub content_type: String,
    /// URL of this daemon.
    pub download_url: String,
}

/// Answer of `GET /v1/files`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FileList {
    pub bucket: String,
    /// In the order of their paths' bytes.
    pub files: Vec<FileItem>,
    /// The cursor of the next page, if there is one.
    pub next_cursor: Option<String>,
}

/// Subtitles or a transcript, as `GET /v1/files/download/{path}?as=cues` answers: the cues in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CueList {
    pub cues: Vec<CueItem>,
    /// Cues that begin before the one above has ended.
    pub overlaps: u64,
    /// Cues that are faster than `max_characters_per_second`.
    pub too_fast: u64,
    /// Records that cannot be read.
    pub left_out: u64,
    /// Letters that a viewer reads in a second, as `wservice.check_subtitles` has it.
    pub max_characters_per_second: f64,
}

/// One cue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CueItem {
    /// When it is shown first, in seconds.
    pub start: f64,
    /// When it is shown no more; where the file has no end, an estimate.
    pub end: f64,
    /// Its lines, without markup.
    pub text: String,
    /// Letters that a viewer has to read in a second; wide ones (Chinese, Japanese, Korean) count as two. Null where
    /// the cue takes no time.
    pub characters_per_second: Option<f64>,
    /// Seconds since the end of the cue above, negative where the two overlap; null for the first.
    pub gap: Option<f64>,
}
