//! Writing one object in parts of bounded size; it is there whole or not at all.

use std::{sync::Arc, time::Duration};

use object_store::{Attributes, aws::AmazonS3, buffered::BufWriter, path::Path as ObjectPath};
use tokio::io::AsyncWriteExt;

use super::{StorageError, location::Location};

/// Bytes of a part, at least; and how many parts an object can have.
const PART: u64 = 5 << 20;
const PARTS: u64 = 9_000;
/// Parts of an object under way at a time, while the next one is filled: memory matters more here than a store far away.
const AT_A_TIME: usize = 1;
/// How long the parts of an object that is not finished may take to be removed.
const ABANDON_LIMIT: Duration = Duration::from_secs(2);

/// An object that is being written. What is not finished has to be abandoned, or its parts stay at the store.
pub struct Sink {
    writer: BufWriter,
    address: String,
    location: Location,
    written: u64,
}

impl Sink {
    /// `size`: bytes it will have at most.
    pub(super) fn new(
        client: Arc<AmazonS3>,
        path: ObjectPath,
        attributes: Attributes,
        size: u64,
        address: &str,
        location: &Location,
    ) -> Self {
        let part = usize::try_from(PART.max(size / PARTS)).unwrap_or(usize::MAX);
        Self {
            writer: BufWriter::with_capacity(client, path, part)
                .with_max_concurrency(AT_A_TIME)
                .with_attributes(attributes),
            address: address.to_owned(),
            location: location.clone(),
            written: 0,
        }
    }

    fn error(&self, error: &std::io::Error) -> StorageError {
        let not_found = error.kind() == std::io::ErrorKind::NotFound;
        StorageError::Unavailable {
            url: self.address.clone(),
            why: match not_found {
                true => format!("its bucket '{}' is gone", self.location.bucket),
                false => super::causes(error),
            },
        }
    }

    /// Takes the next bytes; waits while too much is under way.
    pub async fn put(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let put = self.writer.write_all(bytes).await;
        put.map_err(|error| self.error(&error))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Makes the object; answers its bytes.
    pub async fn finish(mut self) -> Result<u64, StorageError> {
        let finished = self.writer.shutdown().await;
        finished.map_err(|error| self.error(&error))?;
        Ok(self.written)
    }

    /// Removes what was sent so far.
    pub async fn abandon(mut self) {
        let abandoned = tokio::time::timeout(ABANDON_LIMIT, self.writer.abort()).await;
        if !matches!(abandoned, Ok(Ok(()))) {
            tracing::debug!(object = %self.location, "parts of an unfinished object are left at the store");
        }
    }
}
