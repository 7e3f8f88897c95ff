//! The body of an answer that several clients share: it is written once, and hashed once for its entity tag.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::Serialize;

/// A JSON body. A clone shares it.
#[derive(Debug, Clone)]
pub struct SharedBody(Arc<WrittenBody>);

#[derive(Debug)]
struct WrittenBody {
    bytes: Bytes,
    hash: OnceLock<blake3::Hash>,
}

impl SharedBody {
    /// Writes the JSON of an answer.
    pub fn write(answer: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(answer).expect("JSON can be written");
        Self(Arc::new(WrittenBody {
            bytes: bytes.into(),
            hash: OnceLock::new(),
        }))
    }

    /// Returns the bytes, which are not copied.
    pub fn bytes(&self) -> Bytes {
        self.0.bytes.clone()
    }

    /// Returns the hash of the bytes.
    pub fn hash(&self) -> blake3::Hash {
        *self.0.hash.get_or_init(|| blake3::hash(&self.0.bytes))
    }
}
