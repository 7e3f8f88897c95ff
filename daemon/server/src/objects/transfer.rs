//! Writing one object in parts of bounded size; it is there whole or not at all.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use object_store::{
    Attributes, MultipartUpload, ObjectStore, PutMultipartOptions, PutOptions, aws::AmazonS3, path::Path as ObjectPath,
};

use super::{StorageError, location::Location};

/// Bytes of a part, at least; and how many parts an object can have.
const PART: u64 = 5 << 20;
const PARTS: u64 = 9_000;
/// How long the parts of an object that is not finished may take to be removed.
const ABANDON_LIMIT: Duration = Duration::from_secs(2);

/// An object that is being written, a part at a time out of one buffer: memory matters more here than a store far away.
/// What is not finished has to be abandoned, or its parts stay at the store.
pub struct Sink {
    client: Arc<AmazonS3>,
    path: ObjectPath,
    attributes: Attributes,
    /// Once there is more than one part.
    upload: Option<Box<dyn MultipartUpload>>,
    part: usize,
    buffer: BytesMut,
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
        Self {
            client,
            path,
            attributes,
            upload: None,
            part: usize::try_from(PART.max(size / PARTS)).unwrap_or(usize::MAX),
            buffer: BytesMut::new(),
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
                true => format!("its bucket '{}' does not exist", self.location.bucket),
                false => onceover_types::causes(error),
            },
        }
    }

    /// Takes the next bytes; waits while a full part is sent.
    pub async fn put(&mut self, mut bytes: &[u8]) -> Result<(), StorageError> {
        self.written += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.buffer.len() == self.part {
                self.send().await.map_err(|error| self.error(&error.into()))?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.part - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Sends what is buffered as the next part, and takes the buffer back.
    async fn send(&mut self) -> object_store::Result<()> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => {
                let options = PutMultipartOptions {
                    attributes: self.attributes.clone(),
                    ..PutMultipartOptions::default()
                };
                let upload = self.client.put_multipart_opts(&self.path, options).await?;
                self.upload.insert(upload)
            }
        };
        let full: Bytes = self.buffer.split().freeze();
        upload.put_part(full.clone().into()).await?;
        // Its memory is used for the next part, unless a reader still has it.
        self.buffer = full.try_into_mut().unwrap_or_default();
        self.buffer.clear();
        Ok(())
    }

    async fn end(&mut self) -> object_store::Result<()> {
        if self.upload.is_none() {
            let options = PutOptions {
                attributes: self.attributes.clone(),
                ..PutOptions::default()
            };
            let whole = self.buffer.split().freeze();
            self.client.put_opts(&self.path, whole.into(), options).await?;
            return Ok(());
        }
        if !self.buffer.is_empty() {
            self.send().await?;
        }
        if let Some(upload) = &mut self.upload {
            upload.complete().await?;
        }
        Ok(())
    }

    /// Makes the object; answers its bytes. One that could not be made is abandoned.
    pub async fn finish(mut self) -> Result<u64, StorageError> {
        match self.end().await {
            Ok(()) => Ok(self.written),
            Err(error) => {
                let error = self.error(&error.into());
                self.abandon().await;
                Err(error)
            }
        }
    }

    /// Removes what was sent so far.
    pub async fn abandon(mut self) {
        let Some(mut upload) = self.upload.take() else { return };
        let abandoned = tokio::time::timeout(ABANDON_LIMIT, upload.abort()).await;
        if !matches!(abandoned, Ok(Ok(()))) {
            tracing::debug!(object = %self.location, "parts of an unfinished object are left at the store");
        }
    }
}
