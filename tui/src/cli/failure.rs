//! How commands fail: the text for people, the problem document for programs, and the exit code.

use std::{io, path::Path};

use onceover_types::{Problem, ProblemKind, problem::ProblemType};
use onceover_wire::{
    client::{ClientError, TOKEN_FILE_VARIABLE, TOKEN_VARIABLE},
    command_line::unwritten,
};
use serde_json::{Value, json};

use crate::feed::short_reason;

/// The exit code where everything was done, but what was waited for did not succeed.
pub const NOT_SUCCESSFUL: u8 = 1;
/// The exit code where the command failed.
const FAILED: u8 = 2;

/// The exit codes, for the help.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    what was waited for did not succeed, one of several targets was refused,
       a check failed, or output could not be written
  2    the arguments are wrong, or the command could not be done
  130  interrupted (run --folder)";

/// What to do on the command line about a refusal, where the daemon's own advice is for HTTP clients.
const ADVICE: [(ProblemKind, &str); 4] = [
    (
        ProblemKind::UnknownVideo,
        "list the videos with 'onceover videos', or register one with 'onceover register PATH'",
    ),
    (
        ProblemKind::NeverProcessed,
        "start a pipeline with 'onceover run VIDEO'",
    ),
    (
        ProblemKind::AlreadyProcessing,
        "wait for its end, or end it first with --force",
    ),
    (ProblemKind::VideoExists, "take another id with --id"),
];

/// `Ok` holds whether what was waited for succeeded.
pub type CommandResult = Result<bool, Failure>;

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// For people.
    pub text: String,
    /// What the daemon answered, if it refused.
    pub problem: Option<Box<Problem>>,
    /// The exit code.
    pub code: u8,
}

impl Failure {
    /// A failure with the usual exit code.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            problem: None,
            code: FAILED,
        }
    }

    /// A refusal of the daemon, in the words of the command line.
    pub fn refused(problem: Problem, text: impl Into<String>) -> Self {
        Self {
            problem: Some(Box::new(problem)),
            ..Self::new(text)
        }
    }

    /// The same where everything was done, and what was waited for did not succeed.
    pub fn not_successful(self) -> Self {
        Self {
            code: NOT_SUCCESSFUL,
            ..self
        }
    }

    /// Returns it as a problem document: the daemon's where it refused.
    pub fn document(&self) -> Value {
        let of_daemon = self
            .problem
            .as_ref()
            .and_then(|problem| serde_json::to_value(problem).ok());
        of_daemon.unwrap_or_else(
            || json!({"type": ProblemType::default(), "title": "The command failed", "detail": self.text}),
        )
    }

    /// Says that nothing answers, and what to do.
    pub fn no_answer(base: &str, why: &str) -> Self {
        Self::new(format!(
            "no daemon at {base}: {why}; start one with 'onceoverd', or name another with --daemon"
        ))
    }

    /// Says that the command did its work, and could not print the result.
    pub fn unwritten(error: &io::Error) -> Self {
        Self {
            text: unwritten(error),
            problem: None,
            code: NOT_SUCCESSFUL,
        }
    }

    /// Says which file could not be written.
    pub fn unwritten_file(path: &Path, error: &io::Error) -> Self {
        Self::new(format!("cannot write {}: {error}", path.display()))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let text = match &error {
            ClientError::Unreachable { base, .. } => return Self::no_answer(base, &short_reason(&error)),
            other if matches!(other.status(), Some(401 | 403)) => {
                format!("{other}; give one of the daemon's tokens with {TOKEN_VARIABLE} or {TOKEN_FILE_VARIABLE}")
            }
            ClientError::Refused(problem) => describe_refusal(problem),
            other => other.to_string(),
        };
        match error {
            ClientError::Refused(problem) => Self::refused(problem, text),
            _ => Self::new(text),
        }
    }
}

/// Says why the daemon refused, and what to do on the command line.
fn describe_refusal(problem: &Problem) -> String {
    let text = problem.to_string();
    let advice = ADVICE
        .iter()
        .find(|(kind, _)| problem.kind == ProblemType::from(*kind))
        .map(|(_, advice)| advice);
    match advice {
        Some(advice) => {
            let what = text.split_once("; ").map_or(text.as_str(), |(what, _)| what);
            format!("{what}; {advice}")
        }
        None => text,
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_command_lines_own_command() {
        let detail = "there is no video 'nope'; register it with POST /api/v1/videos";
        let failure = Failure::from(ClientError::Refused(Problem::new(ProblemKind::UnknownVideo, detail)));
        assert!(
            failure.text.starts_with("there is no video 'nope'; "),
            "{}",
            failure.text
        );
        assert!(failure.text.contains("onceover register") && !failure.text.contains("POST"));
        assert_eq!(
            failure.document()["detail"],
            detail,
            "a program gets what the daemon said"
        );
        for (kind, advice) in ADVICE {
            let failure = Failure::from(ClientError::Refused(Problem::new(kind, "what; do this")));
            assert_eq!(failure.text, format!("what; {advice}"));
        }
    }

    #[test]
    fn every_failure_is_a_problem_document() {
        let failure = Failure::no_answer("http://127.0.0.1:1", "connection refused");
        let document = failure.document();
        assert_eq!(document["type"], "about:blank");
        assert_eq!(document["detail"], failure.text);
    }
}
