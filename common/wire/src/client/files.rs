//! The client's calls about files.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use onceover_types::url_path::encode_path;
use reqwest::header;
use serde::Serialize;

use super::{CALL_TIMEOUT, Client, ClientError};
use crate::{CueList, FileList};

/// Filters of `GET /v1/files`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FileQuery {
    /// Only files below this folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Files of the daemon's disk, also where an object store is configured.
    pub disk: bool,
}

impl Client {
    /// Lists files in the order of their paths.
    pub async fn files(&self, query: &FileQuery) -> Result<FileList, ClientError> {
        let request = self.http.get(self.url("/v1/files")).query(query);
        self.answer(request.timeout(CALL_TIMEOUT)).await
    }

    /// Reads the cues of a file on the daemon's disk: subtitles of any format, or a transcript.
    pub async fn cues(&self, path: &str) -> Result<CueList, ClientError> {
        self.get(&format!("{}&as=cues", download_path(path))).await
    }

    /// Reads a file of the daemon's disk as it comes. Returns its length, where the daemon says it, and its bytes.
    pub async fn download(
        &self,
        path: &str,
    ) -> Result<
        (
            Option<u64>,
            impl Stream<Item = Result<Bytes, ClientError>> + Send + use<>,
        ),
        ClientError,
    > {
        let response = self.send(self.http.get(self.url(&download_path(path)))).await?;
        let response = self.accepted(response).await?;
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Ok((length, self.byte_stream(response)))
    }

    /// Reads the beginning of a file of the daemon's disk, at most `most` bytes.
    pub async fn file_start(&self, path: &str, most: usize) -> Result<Bytes, ClientError> {
        let (_, stream) = self.download(path).await?;
        let mut stream = std::pin::pin!(stream);
        let mut bytes = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() >= most {
                bytes.truncate(most);
                break;
            }
        }
        Ok(bytes.freeze())
    }
}

/// Returns the path of the request for a file of the disk.
fn download_path(path: &str) -> String {
    format!("/v1/files/download/{}?disk=true", encode_path(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_letters_is_one_path_of_a_url() {
        assert_eq!(
            download_path("t1/in/my clip 100%é?.mp4"),
            "/v1/files/download/t1/in/my%20clip%20100%25%C3%A9%3F.mp4?disk=true"
        );
    }
}
