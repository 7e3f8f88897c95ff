//! Why a run gave no output.

use std::{fmt::Display, io};

use onceover_catalog::completion::CompletionError;
use onceover_limits::lack::Lack;

/// Why a run gave no output.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// For people: what was tried, what went wrong, what to do.
    #[error("{0}")]
    Failed(String),
    /// The machine had nothing left of a resource. The run is started again when there is some.
    #[error("{message}")]
    Lacking { lack: Lack, message: String },
    /// The token in the context was cancelled.
    #[error("interrupted")]
    Interrupted,
}

impl RunError {
    /// Makes the error of a run that failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// Makes the error of a run for which the machine has nothing left of a resource.
    pub fn lacking(lack: Lack, message: impl Into<String>) -> Self {
        Self::Lacking {
            lack,
            message: message.into(),
        }
    }

    /// Makes the error for what could not be done with a file, and why.
    pub fn of_file(what: impl Display, why: &io::Error) -> Self {
        let message = format!("{what}: {why}");
        match Lack::in_use(why) {
            Some(lack) => Self::lacking(lack, message),
            None => Self::Failed(message),
        }
    }

    /// Returns the same error with a text before it.
    pub fn about(self, what: impl Display) -> Self {
        match self {
            Self::Failed(why) => Self::Failed(format!("{what}: {why}")),
            Self::Lacking { lack, message } => Self::lacking(lack, format!("{what}: {message}")),
            Self::Interrupted => Self::Interrupted,
        }
    }
}

impl From<CompletionError> for RunError {
    fn from(error: CompletionError) -> Self {
        Self::Failed(error.to_string())
    }
}
