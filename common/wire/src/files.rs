//! Files: uploaded, listed and removed by clients.

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
    /// As the upload said, else by the path's suffix.
    pub content_type: String,
}

/// Answer of a delete of a file or a folder. That there was none is a success, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FileDeleted {
    pub success: bool,
    pub message: String,
    pub file_path: String,
    /// Bytes removed, where that is known.
    pub file_size: Option<u64>,
}

/// One file of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FileItem {
    pub file_path: String,
    /// Bytes.
    pub size: u64,
    pub modified_at: Timestamp,
    /// By the path's suffix.
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
    /// Of the next page, when there is more.
    pub next_cursor: Option<String>,
}
