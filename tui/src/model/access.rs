//! Whether this dashboard may change anything.

use serde::{Deserialize, Serialize};

/// What the user of this dashboard may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    #[default]
    Full,
    /// It was started with `--read-only`.
    ReadFlag,
    /// The daemon has refused a change: the token is one for reading.
    ReadToken,
}

impl Access {
    /// Whether nothing may be changed.
    pub fn is_denied(self) -> bool {
        self != Self::Full
    }

    /// Says why nothing may be changed; `None` if it may. Which key helps is not said here.
    pub fn describe_denial(self) -> Option<&'static str> {
        match self {
            Self::Full => None,
            Self::ReadFlag => Some("read-only: start without --read-only to change something"),
            Self::ReadToken => Some("read-only: the token is one for reading"),
        }
    }
}
