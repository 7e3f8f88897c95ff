//! A file answered as the cues that it holds.

use axum::body::Bytes;
use futures_util::TryStreamExt;
use onceover_limits::Limit;
use onceover_types::{Problem, ProblemKind, humane};
use onceover_wire::CueList;
use tokio::io::AsyncReadExt;

use super::{
    blocking,
    download::{FileSource, Found},
    file_error,
};
use crate::http::ApiError;

/// Bytes of a file that is read whole for this: days of subtitles.
pub(crate) const LARGEST_FILE: u64 = 8 * 1024 * 1024;

/// Reads the cues of a file.
pub(super) async fn read_cues(found: Found, key: &str) -> Result<CueList, ApiError> {
    if found.length > LARGEST_FILE {
        Limit::CueFile.reached();
        let detail = format!(
            "'{key}' has {}, and at most {} are read as cues; download it without as=cues",
            humane::bytes(found.length),
            humane::bytes(LARGEST_FILE)
        );
        return Err(Problem::new(ProblemKind::TooLarge, detail).into());
    }
    let bytes = read_whole(found.source, found.length, key).await?;
    let parsed = blocking("file_path", key, move || Ok(onceover_nodes::read_cues(&bytes))).await?;
    parsed.map_err(|why| Problem::invalid_field("as", format!("'{key}' has no cues to show: {why}")).into())
}

/// Reads a file that is no larger than it may be. What is added to it meanwhile is left out.
async fn read_whole(source: FileSource, length: u64, key: &str) -> Result<Vec<u8>, ApiError> {
    match source {
        FileSource::Disk(file) => {
            let mut bytes = Vec::new();
            let read = file.take(LARGEST_FILE).read_to_end(&mut bytes).await;
            read.map_err(|error| file_error(&error, "file_path", key))?;
            Ok(bytes)
        }
        // A range of no bytes is refused.
        FileSource::Store(..) if length == 0 => Ok(Vec::new()),
        FileSource::Store(objects, location) => {
            let (_, stream) = objects.read(&location, Some(0..length)).await?;
            let chunks: Vec<Bytes> = stream.try_collect().await?;
            Ok(chunks.concat())
        }
    }
}
