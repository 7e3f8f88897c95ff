//! The client's reading of all tasks in short, page by page. A page is much longer than other answers, so it comes
//! compressed where the daemon does that.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::GzDecoder;
use reqwest::{Response, header};

use super::{CALL_TIMEOUT, Client, ClientError};
use crate::RowPage;

/// Bytes of a page that are read at most.
const MOST_PAGE_BYTES: u64 = 256 << 20;
/// How many times longer a page is than what came of it, as a first guess.
const USUAL_RATIO: usize = 10;

impl Client {
    /// Reads a page of all tasks in short: the first one, or that of the cursor of the page before.
    pub async fn rows(&self, limit: u32, cursor: Option<&str>) -> Result<RowPage, ClientError> {
        let mut request = self.http.get(self.url("/v1/rows")).query(&[("limit", limit)]);
        if let Some(cursor) = cursor {
            request = request.query(&[("cursor", cursor)]);
        }
        let request = request.header(header::ACCEPT_ENCODING, "gzip").timeout(CALL_TIMEOUT);
        let response = self.send(request).await?;
        let (status, is_compressed) = (response.status(), is_compressed(&response));
        let unexpected = |detail: String| ClientError::Unexpected {
            base: self.base.clone(),
            status,
            detail,
        };
        let bytes = response.bytes().await.map_err(|source| self.unreachable(source))?;
        let body = if is_compressed {
            let body = decompress(&bytes);
            body.map_err(|error| unexpected(format!("its gzip is broken: {error}")))?
        } else {
            bytes
        };
        if !status.is_success() {
            return Err(self.read_refusal(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| unexpected(error.to_string()))
    }
}

/// Whether the body of the answer is compressed by gzip.
fn is_compressed(response: &Response) -> bool {
    let encoding = response.headers().get(header::CONTENT_ENCODING);
    encoding.is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"))
}

/// Decompresses a body, as much of it as is read at most.
fn decompress(bytes: &[u8]) -> io::Result<Bytes> {
    let mut body = Vec::with_capacity(bytes.len() * USUAL_RATIO);
    GzDecoder::new(bytes).take(MOST_PAGE_BYTES).read_to_end(&mut body)?;
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn a_compressed_body_is_read_whole_and_a_part_of_one_is_an_error() {
        let text = "a row of many, ".repeat(10_000);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        let compressed = encoder.finish().unwrap();
        assert!(compressed.len() * 20 < text.len());
        assert_eq!(decompress(&compressed).unwrap(), text.as_bytes());
        assert!(decompress(&compressed[..compressed.len() / 2]).is_err());
        assert!(decompress(text.as_bytes()).is_err());
    }
}
