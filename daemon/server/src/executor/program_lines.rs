//! What the lines of a program report of its run, and what its end makes of that: the same for a process of one run and
//! for one that takes runs one after another.

use std::{ffi::OsStr, path::Path};

use onceover_catalog::ValueKind;
use onceover_limits::Limit;
use onceover_run::{Object, RunContext, RunError, tool::Exit};
use serde::Deserialize;
use serde_json::Value;

/// One line of the protocol.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum OutputLine {
    Progress {
        percent: f64,
        message: Option<String>,
    },
    Log {
        message: String,
    },
    /// The last one is the stage's output.
    Output {
        output: Object,
    },
    Error {
        message: String,
        /// The name of the limit that the input goes over.
        limit: Option<String>,
    },
}

/// What the lines reported so far.
#[derive(Debug, Default)]
pub(super) struct ReportedLines {
    output: Option<Object>,
    error: Option<String>,
}

impl ReportedLines {
    /// Reads a line of the run's program.
    pub(super) fn read(&mut self, line: &str, context: &RunContext) {
        match parse(line) {
            Some(Ok(OutputLine::Progress { percent, message })) => context.progress.report(percent, message),
            Some(Ok(OutputLine::Log { message })) => context.log.line(&message),
            Some(Ok(OutputLine::Output { output })) => self.output = Some(output),
            Some(Ok(OutputLine::Error { message, limit })) => {
                context.log.line(&format!("error: {message}"));
                if let Some(limit) = limit.as_deref().and_then(Limit::named) {
                    limit.reached();
                }
                self.error = Some(message);
            }
            Some(Err(why)) => context
                .log
                .line(&format!("a line that is not of the protocol ({why}): {line}")),
            None => context.log.line(line),
        }
    }

    /// Returns the output of a run whose process has ended, or why it has failed.
    pub(super) fn judge_exit(self, program: &OsStr, exit: &Exit, context: &RunContext) -> Result<Object, RunError> {
        if self.error.is_none() && !exit.is_success() {
            return Err(RunError::failed(format!(
                "{} failed with {}{}",
                program.display(),
                exit.in_words(),
                exit.stderr_in_words()
            )));
        }
        self.judge(context, || {
            format!(
                "{} ended without an output line; it must write {{\"type\":\"output\",\"output\":{{...}}}}{}",
                program.display(),
                exit.stderr_in_words()
            )
        })
    }

    /// Returns the output, or why the run has failed; `no_output` says it where no line does.
    pub(super) fn judge(self, context: &RunContext, no_output: impl FnOnce() -> String) -> Result<Object, RunError> {
        if let Some(error) = self.error {
            return Err(RunError::Failed(error));
        }
        let output = self.output.ok_or_else(|| RunError::Failed(no_output()))?;
        check_paths(context, &output)?;
        Ok(output)
    }
}

/// `None`: not meant as a line of the protocol.
pub(crate) fn parse(line: &str) -> Option<serde_json::Result<OutputLine>> {
    let line = line.trim();
    if !line.starts_with('{') {
        return None;
    }
    match serde_json::from_str(line) {
        Ok(line) => Some(Ok(line)),
        Err(why) => line.contains("\"type\"").then_some(Err(why)),
    }
}

/// Files an output names must be there, in the run's folder or below the roots.
pub(super) fn check_paths(context: &RunContext, output: &Object) -> Result<(), RunError> {
    for spec in context.node.outputs.iter().filter(|spec| spec.kind == ValueKind::Path) {
        let Some(Value::String(path)) = output.get(&spec.name) else {
            continue;
        };
        if path.is_empty() || is_in_folder(Path::new(path), &context.dir) {
            continue;
        }
        context.roots.open_input(path).map_err(|why| {
            why.about(format_args!(
                "{} gave an output field '{}' that is not usable",
                context.node.name, spec.name
            ))
        })?;
    }
    Ok(())
}

/// Whether it exists and really lies in the folder.
fn is_in_folder(path: &Path, folder: &Path) -> bool {
    path.is_absolute()
        && match (path.canonicalize(), folder.canonicalize()) {
            (Ok(path), Ok(folder)) => path.starts_with(folder),
            _ => false,
        }
}
