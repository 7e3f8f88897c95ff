//! A run context for tests: a folder of its own, no Redis, no HTTP.

use std::{fs, path::PathBuf, sync::Arc};

use indexmap::IndexMap;
use onceover_common::{NodeName, RunId, TaskId, catalog::NodeSpec, wire::WARNINGS_FIELD};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    log::RunLog,
    run::{Object, OpenedInputs, Progress, ProgressSink, RunContext, RunError},
    warnings::{RunWarnings, Warning},
};
use crate::{catalog, nodes::llm::Providers, paths::Roots};

pub(crate) struct Fixture {
    folder: TempDir,
    pub(crate) context: RunContext,
    pub(crate) progress: watch::Receiver<Progress>,
}

impl Fixture {
    /// A run of a shipped node with this input, which is completed as the engine would.
    pub(crate) fn of(node: &str, input: impl FnOnce(&Fixture) -> Value) -> Self {
        let mut fixture = Self::of_node(node);
        let given = object(input(&fixture));
        fixture.resolve(&given);
        fixture
    }

    /// A run of a shipped node whose input has not been completed.
    pub(crate) fn of_node(node: &str) -> Self {
        Self::new(catalog::shipped().get(node).unwrap().clone())
    }

    pub(crate) fn new(node: NodeSpec) -> Self {
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
            providers: Providers::default(),
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
        }
    }

    /// A program that is only there to be given a context.
    pub(crate) fn bare() -> Self {
        Self::command(&["true"])
    }

    pub(crate) fn command(program: &[&str]) -> Self {
        Self::new(serde_json::from_value(json!({"name": "demo.node", "runner": {"command": program}})).unwrap())
    }

    /// Gives the run an earlier stage's output.
    pub(crate) fn stage(&mut self, node: &str, output: Value) {
        self.context
            .stages
            .insert(NodeName::parse(node).unwrap(), object(output));
    }

    /// Completes the input as the engine would.
    pub(crate) fn resolve(&mut self, given: &Object) {
        self.try_resolve(given).unwrap();
    }

    pub(crate) fn try_resolve(&mut self, given: &Object) -> Result<(), RunError> {
        let context = &mut self.context;
        context.input = catalog::resolve_input(&context.node, given, &context.stages)?;
        Ok(())
    }

    /// A path below the share.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("share").join(name)
    }

    /// Writes an input below the share and gives its path.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    /// What the run has warned of so far.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        let mut output = Object::new();
        self.context.warnings.write_into(&mut output);
        output
            .remove(WARNINGS_FIELD)
            .map_or_else(Vec::new, |list| serde_json::from_value(list).unwrap())
    }

    /// The codes of those.
    pub(crate) fn warning_codes(&self) -> Vec<String> {
        let warnings = self.warnings();
        warnings.into_iter().map(|warning| warning.code).collect()
    }

    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(self.context.log.path()).unwrap()
    }
}

pub(crate) fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("not an object: {other}"),
    }
}
