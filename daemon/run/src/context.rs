//! What a run sees, why it can end without an output, and the one trait that a backend implements (`Runner`).

use std::{
    fmt::Display,
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use futures_util::future::BoxFuture;
use indexmap::IndexMap;
use onceover_catalog::{NodeSpec, ValueKind, completion::CompletionError};
use onceover_types::{NodeName, Object, RunId, TaskId};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    log::RunLog,
    paths::{Opened, Roots},
    tool::Programs,
    warnings::RunWarnings,
};
use onceover_limits::lack::Lack;

/// Everything a run may use.
pub struct RunContext {
    pub task_id: TaskId,
    pub run_id: RunId,
    /// 1 for the first; higher after the owner of an attempt was lost.
    pub attempt: u32,
    pub node: Arc<NodeSpec>,
    /// The request's `input_data` with fallbacks from earlier stages and defaults filled in.
    pub input: Object,
    /// Outputs of the task's successful stages, oldest first.
    pub stages: IndexMap<NodeName, Object>,
    /// The attempt's own folder, which exists. Everything the run writes goes below it.
    pub dir: PathBuf,
    /// Where inputs may lie.
    pub roots: Arc<Roots>,
    /// The inputs a builtin has opened so far.
    pub opened: OpenedInputs,
    /// Starts the run's programs.
    pub programs: Arc<dyn Programs>,
    /// Whether the request said `reuse: never`: a node takes nothing that it kept of earlier runs.
    pub fresh: bool,
    /// Whether the result's files go to the object store by themselves.
    pub uploads: bool,
    pub progress: ProgressSink,
    /// Why the result may be partial or doubtful.
    pub warnings: RunWarnings,
    pub log: RunLog,
    /// Cancelled when the run must end: cancel, delete, timeout, lost lease, shutdown. Whoever owns a
    /// child process ends its whole group, then returns `RunError::Interrupted`.
    pub cancel: CancellationToken,
    /// It holds no slot of the GPU's, so its program is to see none.
    pub hides_gpu: bool,
    /// Value of `ONCEOVER_RUN` in the environment of every child, by which left-over processes are found.
    pub mark: String,
}

impl RunContext {
    /// Puts the absolute path in the place of each path of the input that is relative to the task's folder.
    pub fn place_paths(&mut self) {
        let paths = self
            .node
            .parameters
            .iter()
            .filter(|parameter| parameter.kind == ValueKind::Path);
        for parameter in paths {
            if let Some(Value::String(text)) = self.input.get_mut(&parameter.name) {
                *text = self.roots.under_task(&self.task_id, text).into_owned();
            }
        }
    }
}

/// Inputs whose paths were given to programs, to be looked at again once those have ended.
#[derive(Debug, Default)]
pub struct OpenedInputs(Mutex<Vec<Opened>>);

impl OpenedInputs {
    pub fn note(&self, input: &Opened) {
        self.0
            .lock()
            .expect("no thread panics with the list")
            .push(input.clone());
    }

    /// An error when another file was put in the place of one while a program could read it.
    pub fn still_in_place(&self) -> Result<(), RunError> {
        let opened = self.0.lock().expect("no thread panics with the list");
        opened.iter().try_for_each(check_in_place)
    }
}

/// An error when another file was put in the place of an input while a program could read it.
pub fn check_in_place(input: &Opened) -> Result<(), RunError> {
    if input.is_in_place() {
        return Ok(());
    }
    Err(RunError::failed(format!(
        "{} was moved, removed or replaced while it was read, so the result cannot be trusted",
        input.display()
    )))
}

/// Why a run gave no output.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// For people: what was tried, what went wrong, what to do.
    #[error("{0}")]
    Failed(String),
    /// The machine had none left of something, which is waited for.
    #[error("{message}")]
    Lacking { lack: Lack, message: String },
    /// The token in the context was cancelled.
    #[error("interrupted")]
    Interrupted,
}

impl RunError {
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    pub fn lacking(lack: Lack, message: impl Into<String>) -> Self {
        Self::Lacking {
            lack,
            message: message.into(),
        }
    }

    /// What could not be done with a file, and why.
    pub fn of_file(what: impl Display, why: &io::Error) -> Self {
        let message = format!("{what}: {why}");
        match Lack::in_use(why) {
            Some(lack) => Self::lacking(lack, message),
            None => Self::Failed(message),
        }
    }

    /// The same error, with words before it.
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

/// A backend that runs nodes. A new one is one more file.
pub trait Runner: Send + Sync {
    /// Runs to the end and returns the stage's output. After it returned no process of the run is left.
    fn run<'a>(&'a self, context: &'a RunContext) -> BoxFuture<'a, Result<Object, RunError>>;
}

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// 0 to 100.
    pub percent: f64,
    pub message: Option<String>,
}

/// Takes a run's progress. Never blocks and never goes back: a lower percentage is taken as the highest so far.
#[derive(Debug, Clone)]
pub struct ProgressSink(Arc<watch::Sender<Progress>>);

impl ProgressSink {
    pub fn new() -> (Self, watch::Receiver<Progress>) {
        let (sender, receiver) = watch::channel(Progress::default());
        (Self(Arc::new(sender)), receiver)
    }

    pub fn report(&self, percent: f64, message: Option<String>) {
        let percent = if percent.is_finite() {
            percent.clamp(0.0, 100.0)
        } else {
            0.0
        };
        self.0.send_if_modified(|progress| {
            let next = Progress {
                percent: progress.percent.max(percent),
                message: message.or_else(|| progress.message.clone()),
            };
            let changed = *progress != next;
            *progress = next;
            changed
        });
    }
}
