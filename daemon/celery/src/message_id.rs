//! Ids of messages.

use std::fmt;

use uuid::Uuid;

/// The id of one message, which Celery calls a task id. Each attempt has another one, and none is ever sent again: a
/// worker refuses a revoked id for hours, and keeps the first SUCCESS of an id for a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Uuid);

/// A text is not an id of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an id of a message: it is not a UUID in lower case with hyphens")]
pub struct InvalidMessageId(String);

impl MessageId {
    /// Makes a random id.
    pub fn generate() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads an id as this program writes it. Other clients may choose ids that are no UUID; those are not ours.
    pub fn parse(text: &str) -> Result<Self, InvalidMessageId> {
        Uuid::try_parse(text)
            .ok()
            .map(Self)
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| InvalidMessageId(onceover_types::shortened(text)))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_not_otherwise() {
        let id = MessageId::generate();
        assert_eq!(MessageId::parse(&id.to_string()), Ok(id));
        for other in [
            "",
            "my-own-id",
            "60B11C95-7539-49F0-8651-FA75C6A6AF3F",
            "60b11c95753949f08651fa75c6a6af3f",
            "{60b11c95-7539-49f0-8651-fa75c6a6af3f}",
        ] {
            assert!(MessageId::parse(other).is_err(), "{other}");
        }
        assert_ne!(MessageId::generate(), id);
    }
}
