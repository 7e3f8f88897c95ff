//! What a run sees, the trait behind which its programs are started (`Programs`), and the one trait that a backend
//! implements (`Runner`).

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use futures_util::future::BoxFuture;
use indexmap::IndexMap;
use onceover_catalog::{NodeSpec, ValueKind};
use onceover_types::{NodeName, Object, RunId, TaskId};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    RunError,
    log::RunLog,
    paths::{Opened, Roots},
    tool::{Exit, ProgramOutput, Tool},
    warnings::RunWarnings,
};

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
    /// The folders from which inputs may be read.
    pub roots: Arc<Roots>,
    /// The inputs that a builtin has opened so far.
    pub opened: OpenedInputs,
    /// Starts the run's programs.
    pub programs: Arc<dyn Programs>,
    /// Whether the request had `reuse: never`: a node uses nothing that it kept of earlier runs.
    pub fresh: bool,
    /// Whether the daemon uploads the result's files to the object store.
    pub uploads: bool,
    pub progress: ProgressSink,
    /// Why the result may be partial or doubtful.
    pub warnings: RunWarnings,
    pub log: RunLog,
    /// Cancelled when the run must end: cancel, delete, timeout, lost lease, shutdown. The owner of a child process
    /// ends its whole group, then returns `RunError::Interrupted`.
    pub cancel: CancellationToken,
    /// Whether the run's program must see no GPU, since the run holds none of the slots of GPUs.
    pub hides_gpu: bool,
    /// Value of `ONCEOVER_RUN` in the environment of every child, by which left-over processes are found.
    pub mark: String,
}

impl RunContext {
    /// Replaces each path of the input that is relative to the task's folder by the absolute path.
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

/// Inputs whose paths were given to programs. They are checked again when those have ended.
#[derive(Debug, Default)]
pub struct OpenedInputs(Mutex<Vec<Opened>>);

impl OpenedInputs {
    /// Adds an input.
    pub fn note(&self, input: &Opened) {
        self.0
            .lock()
            .expect("no thread panics with the list")
            .push(input.clone());
    }

    /// Returns an error if another file replaced one of them while a program could read it.
    pub fn still_in_place(&self) -> Result<(), RunError> {
        let opened = self.0.lock().expect("no thread panics with the list");
        opened.iter().try_for_each(check_in_place)
    }
}

/// Returns an error if another file replaced the input while a program could read it.
pub fn check_in_place(input: &Opened) -> Result<(), RunError> {
    if input.is_in_place() {
        return Ok(());
    }
    Err(RunError::failed(format!(
        "{} was moved, removed or replaced while it was read, so the result cannot be trusted",
        input.display()
    )))
}

/// Starts the programs of runs. No process of a program is left after its end.
pub trait Programs: Send + Sync {
    /// Runs the program to its end. Each line of its error output is written to the run's log. When the run's token is
    /// cancelled, the whole group gets SIGTERM, after the grace time SIGKILL, and the answer is `Interrupted`. Dropping
    /// the future kills the group at once.
    fn run<'a>(
        &'a self,
        tool: Tool,
        context: &'a RunContext,
        printed: ProgramOutput<'a>,
    ) -> BoxFuture<'a, Result<Exit, RunError>>;
}

impl Tool {
    /// Runs the program to its end, as [`Programs::run`] does. `on_stdout` gets each line of its output.
    pub async fn run(self, context: &RunContext, on_stdout: impl FnMut(&str) + Send) -> Result<Exit, RunError> {
        let printed = ProgramOutput::Lines(Box::new(on_stdout));
        context.programs.run(self, context, printed).await
    }

    /// Runs the program as `run` does, and sends its output, which is no text, in parts as they arrive.
    pub async fn run_for_bytes(self, context: &RunContext, to: mpsc::Sender<Vec<u8>>) -> Result<Exit, RunError> {
        context.programs.run(self, context, ProgramOutput::Bytes(to)).await
    }
}

/// A backend that runs nodes. A new backend is one more file.
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

/// Takes a run's progress. It never blocks, and the progress never decreases: a lower percentage counts as the highest
/// so far.
#[derive(Debug, Clone)]
pub struct ProgressSink(Arc<watch::Sender<Progress>>);

impl ProgressSink {
    /// Makes a sink and the receiver of what it is given.
    pub fn new() -> (Self, watch::Receiver<Progress>) {
        let (sender, receiver) = watch::channel(Progress::default());
        (Self(Arc::new(sender)), receiver)
    }

    /// Reports how far the run is, and what it does.
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
