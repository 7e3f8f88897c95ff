//! A run context for tests: it has a temporary folder, no Redis and no HTTP.

use std::{fs, marker::PhantomData, path::PathBuf, sync::Arc};

use indexmap::IndexMap;
use onceover_catalog::{NodeSpec, completion::resolve_input, shipped::shipped};
use onceover_types::{NodeName, RunId, TaskId};
use onceover_wire::WARNINGS_FIELD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    Object, OpenedInputs, Programs, Progress, ProgressSink, RunContext, RunError,
    log::RunLog,
    paths::Roots,
    warnings::{RunWarnings, Warning},
};

/// A run of a node, with programs that `P` starts.
pub struct Fixture<P> {
    folder: TempDir,
    pub context: RunContext,
    pub progress: watch::Receiver<Progress>,
    programs: PhantomData<P>,
}

impl<P: Programs + Default + 'static> Fixture<P> {
    /// Returns a run of a shipped node with this input, which is completed as the engine would.
    pub fn with_input(node: &str, input: impl FnOnce(&Self) -> Value) -> Self {
        let mut fixture = Self::of_node(node);
        let given = object(input(&fixture));
        fixture.resolve(&given);
        fixture
    }

    /// Returns a run of a shipped node whose input has not been completed.
    pub fn of_node(node: &str) -> Self {
        Self::new(shipped().get(node).unwrap().clone())
    }

    /// Makes a run of a node without input.
    pub fn new(node: NodeSpec) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run_id = RunId::generate();
        let share = folder.path().join("share");
        let dir = share.join("workflows/t1/runs").join(run_id.as_str());
        fs::create_dir_all(&dir).unwrap();
        let (progress, receiver) = ProgressSink::new();
        let context = RunContext {
            task_id: TaskId::parse("t1").unwrap(),
            attempt: 1,
            node: Arc::new(node),
            input: Object::new(),
            stages: IndexMap::new(),
            log: RunLog::create(&dir).unwrap(),
            roots: Arc::new(Roots::new(share, Vec::new()).unwrap()),
            dir,
            opened: OpenedInputs::default(),
            programs: Arc::new(P::default()),
            fresh: false,
            uploads: false,
            progress,
            warnings: RunWarnings::default(),
            cancel: CancellationToken::new(),
            hides_gpu: false,
            mark: format!("test-{run_id}"),
            run_id,
        };
        Self {
            folder,
            context,
            progress: receiver,
            programs: PhantomData,
        }
    }

    /// Returns a program that is only there to be given a context.
    pub fn bare() -> Self {
        Self::command(&["true"])
    }

    /// Makes a run of a node that is this program.
    pub fn command(program: &[&str]) -> Self {
        Self::new(serde_json::from_value(json!({"name": "demo.node", "runner": {"command": program}})).unwrap())
    }

    /// Gives the run an earlier stage's output.
    pub fn stage(&mut self, node: &str, output: Value) {
        self.context
            .stages
            .insert(NodeName::parse(node).unwrap(), object(output));
    }

    /// Completes the input as the engine would.
    pub fn resolve(&mut self, given: &Object) {
        self.try_resolve(given).unwrap();
    }

    /// Completes the input, or returns why that is not possible.
    pub fn try_resolve(&mut self, given: &Object) -> Result<(), RunError> {
        let context = &mut self.context;
        context.input = resolve_input(&context.node, given, &context.stages)?;
        Ok(())
    }

    /// Returns a path below the share.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("share").join(name)
    }

    /// Writes an input below the share and gives its path.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    /// Returns what the run has warned of so far.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut output = Object::new();
        self.context.warnings.write_into(&mut output);
        output
            .remove(WARNINGS_FIELD)
            .map_or_else(Vec::new, |list| serde_json::from_value(list).unwrap())
    }

    /// Returns the codes of those.
    pub fn warning_codes(&self) -> Vec<String> {
        let warnings = self.warnings();
        warnings.into_iter().map(|warning| warning.code).collect()
    }

    /// Returns the text of the log.
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.context.log.path()).unwrap()
    }
}

/// Returns the object that a value is.
pub fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("not an object: {other}"),
    }
}
