//! How commands fail: the text for people, and the exit code.

use std::io;

use onceover_wire::{
    client::{ClientError, TOKEN_FILE_VARIABLE, TOKEN_VARIABLE},
    command_line::unwritten,
};

use crate::feed::short_reason;

/// The exit code where everything was done, but what was waited for did not succeed.
pub const NOT_SUCCESSFUL: u8 = 1;
/// The exit code where the command failed.
const FAILED: u8 = 2;

/// `Ok` holds whether what was waited for succeeded.
pub type CommandResult = Result<bool, Failure>;

/// Why a command failed, for people.
#[derive(Debug)]
pub struct Failure {
    pub text: String,
    /// The exit code.
    pub code: u8,
}

impl Failure {
    /// A failure with the usual exit code.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            code: FAILED,
        }
    }

    /// Says that nothing answers, and what to do.
    pub fn no_answer(base: &str, why: &str) -> Self {
        Self::new(format!(
            "no answer from {base} ({why}); start the daemon with 'onceoverd', or name it with --daemon"
        ))
    }

    /// Says that the command did its work, and could not print the result.
    pub fn unwritten(error: &io::Error) -> Self {
        Self {
            text: unwritten(error),
            code: NOT_SUCCESSFUL,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::Unreachable { base, .. } => Self::no_answer(base, &short_reason(&error)),
            other if matches!(other.status(), Some(401 | 403)) => Self::new(format!(
                "{other}; give one of the daemon's tokens with {TOKEN_VARIABLE} or {TOKEN_FILE_VARIABLE}"
            )),
            other => Self::new(other.to_string()),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error.to_string())
    }
}
