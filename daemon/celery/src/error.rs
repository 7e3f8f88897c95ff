//! Errors: what failed, on which server, why, and whether a command may have been carried out.

use onceover_types::humane;

/// Why something that was asked of the broker or of the result database failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CeleryError {
    /// There is no connection; nothing was sent.
    #[error(
        "cannot connect to {server}: {reason}; check that it runs, and its address, user and password in the settings"
    )]
    Unreachable { server: String, reason: String },
    /// The server refused a command, which therefore changed nothing.
    #[error("{server} refused {command}: {reason}")]
    Refused {
        server: String,
        command: &'static str,
        reason: String,
    },
    /// A command was sent and its answer did not come in time, or not at all. It may have been carried out.
    #[error("{server} did not answer {command}: {reason}; whether it was carried out is not known")]
    Unanswered {
        server: String,
        command: &'static str,
        reason: String,
    },
    /// Something is larger than what is sent or read.
    #[error("{what} has {}, and at most {} are taken", humane::bytes(*.bytes as u64), humane::bytes(*.limit as u64))]
    TooLarge { what: String, bytes: usize, limit: usize },
    /// A search ended before it had seen everything, so nothing is known.
    #[error("{what} has more than {limit} messages, and no more are searched; shorten it, or wait until it is shorter")]
    TooLong { what: String, limit: usize },
    /// Something is not what Celery writes.
    #[error("{what} cannot be read: {reason}")]
    Malformed { what: String, reason: String },
    /// No result database is configured.
    #[error("no result database is set, so results cannot be read; set `results` to the workers' `result_backend`")]
    NoResults,
    /// This program stopped the work before it ended.
    #[error("the question to the workers was interrupted: {0}")]
    Interrupted(String),
}

impl CeleryError {
    /// Says whether the command may have been carried out all the same.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::Unanswered { .. } | Self::Interrupted(_))
    }
}

/// Why a message may not be in its queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// It is certainly not there.
    #[error("the message was not sent: {0}")]
    NotSent(CeleryError),
    /// It may be there, or even have been taken by a worker: locate it before anything else is sent.
    #[error("whether the message was sent is not known: {0}")]
    Unknown(CeleryError),
}

impl From<CeleryError> for PushError {
    fn from(error: CeleryError) -> Self {
        if error.is_outcome_unknown() {
            Self::Unknown(error)
        } else {
            Self::NotSent(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_and_not_answered_has_an_unknown_outcome() {
        let server = || "the broker redis://h:6379/0".to_owned();
        let reason = || "why".to_owned();
        let unknown = CeleryError::Unanswered {
            server: server(),
            command: "LPUSH",
            reason: reason(),
        };
        assert!(matches!(PushError::from(unknown), PushError::Unknown(_)));
        for certain in [
            CeleryError::Unreachable {
                server: server(),
                reason: reason(),
            },
            CeleryError::Refused {
                server: server(),
                command: "LPUSH",
                reason: reason(),
            },
            CeleryError::TooLarge {
                what: "the message".into(),
                bytes: 9,
                limit: 8,
            },
        ] {
            assert!(matches!(PushError::from(certain), PushError::NotSent(_)));
        }
    }
}
