//! The body of an answer that several clients share: it is written once, and hashed once for its entity tag.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

/// A JSON body. A clone shares it.
#[derive(Debug, Clone)]
pub struct SharedBody(Arc<WrittenBody>);

#[derive(Debug)]
struct WrittenBody {
    bytes: Bytes,
    hash: OnceLock<u128>,
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
    pub fn hash(&self) -> u128 {
        *self.0.hash.get_or_init(|| xxh3_128(&self.0.bytes))
    }
}
