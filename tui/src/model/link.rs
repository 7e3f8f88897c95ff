//! The connection to the daemon, and what is missing where there is none.

use onceover_types::Timestamp;
use serde::{Deserialize, Serialize};

/// What the dashboard cannot reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingPart {
    Daemon,
    Redis,
    /// The daemon answers, and needs a token, or another one.
    Access,
}

impl MissingPart {
    /// Reads from an error of the daemon's client what is missing.
    pub fn from_error(error: &onceover_wire::client::ClientError) -> Self {
        match error.status() {
            // The daemon answers, but cannot reach its Redis.
            Some(503) => Self::Redis,
            Some(401 | 403) => Self::Access,
            _ => Self::Daemon,
        }
    }
}

/// The connection to the daemon.
#[derive(Debug, Clone, PartialEq)]
pub enum Link {
    /// The first connection is being made.
    Connecting,
    Live,
    Lost {
        missing: MissingPart,
        reason: String,
        since: Timestamp,
        retry_at: Timestamp,
        /// There has been no connection since the program started.
        never: bool,
    },
}

/// How events come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The daemon's event stream; its Redis cannot be reached from here.
    #[default]
    Stream,
    /// Redis pub/sub, and the daemon's event stream beside it.
    PubSub,
}
