//! What runs a node.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of a runner, without its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunnerKind {
    /// A function of the daemon.
    Builtin,
    /// Any program.
    Command,
    /// A Python program in an environment of the daemon.
    Python,
    /// A task of Celery workers.
    Celery,
}

impl RunnerKind {
    /// Returns the word that node files and JSON have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Command => "command",
            Self::Python => "python",
            Self::Celery => "celery",
        }
    }
}

impl fmt::Display for RunnerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
