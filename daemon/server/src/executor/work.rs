//! What one run does, from reading its request to its outcome. It begins again for as long as the machine lacks something
//! that it needs.

use std::{path::PathBuf, sync::Arc, time::Duration};

use indexmap::IndexMap;
use onceover_catalog::{Catalog, NodeSpec, RunnerSpec};
use onceover_types::NodeName;
use onceover_wire::{ResultWarning, WARNINGS_FIELD};
use serde_json::Value;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    builtin::BuiltinRunner,
    command::CommandRunner,
    folder::{self, Left},
    supervise::ExecutorOptions,
};
use crate::{
    config::Verify,
    downloads::Downloads,
    evidence,
    services::{InputEvidence, TaskViews, artifacts},
};
use onceover_catalog::completion::resolve_input;
use onceover_limits::Limit;
use onceover_nodes::llm::Providers;
use onceover_run::{
    Object, OpenedInputs, ProgressSink, RunContext, RunError, Runner, log::RunLog, paths::Roots, warnings::RunWarnings,
};
use onceover_store::{Evidence, Fence, Outcome, StageRecord, TaskRecords};

/// How long a run waits for what the machine lacks, before it is tried again: doubled each time.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(200);
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What any run may need to work.
pub struct RunSupplies {
    pub catalog: Arc<Catalog>,
    pub roots: Arc<Roots>,
    pub inputs: InputEvidence,
    pub downloads: Arc<Downloads>,
    /// The language models that nodes may ask.
    pub providers: Providers,
}

/// What a run is: the same for each time it begins.
pub(super) struct Work {
    pub(super) supplies: Arc<RunSupplies>,
    pub(super) options: Arc<ExecutorOptions>,
    pub(super) fence: Fence,
    pub(super) spec: Arc<NodeSpec>,
    pub(super) earlier: Earlier,
    /// The run's folder, which exists.
    pub(super) dir: PathBuf,
    pub(super) log: RunLog,
    pub(super) progress: ProgressSink,
    pub(super) cancel: CancellationToken,
    /// When what counts towards the time limit began; in the future while the run waits.
    pub(super) began: watch::Sender<Instant>,
}

/// What a run takes from the task's records.
pub(super) struct Earlier {
    /// The request's `input_data`, as JSON.
    input: String,
    /// Outputs of the task's other successful stages, oldest first.
    stages: Result<IndexMap<NodeName, Object>, String>,
    /// What the results of the task's stages are known by.
    results: IndexMap<NodeName, String>,
    /// The request said `reuse: never`.
    fresh: bool,
}

impl Earlier {
    pub(super) fn new(views: &TaskViews, fence: &Fence, record: &StageRecord, records: &TaskRecords) -> Self {
        let results = records.stages.iter();
        Self {
            input: record.input().to_owned(),
            stages: earlier_outputs(views, fence, records),
            results: results
                .map(|(name, record)| (name.clone(), record.result_token()))
                .collect(),
            fresh: record.reuses_nothing(),
        }
    }
}

fn earlier_outputs(
    views: &TaskViews,
    fence: &Fence,
    records: &TaskRecords,
) -> Result<IndexMap<NodeName, Object>, String> {
    let view = views
        .view_records(records, &fence.task)
        .map_err(|error| format!("the task cannot be read: {error}"))?;
    let mut outputs: Vec<_> = view
        .stages
        .iter()
        .filter(|(name, _)| **name != fence.node)
        .filter_map(|(name, stage)| {
            let output: Object = serde_json::from_str(stage.output.get()).ok()?;
            (!output.is_empty()).then(|| (stage.ended_at, name.clone(), output))
        })
        .collect();
    outputs.sort_by_key(|(ended, _, _)| *ended);
    Ok(outputs.into_iter().map(|(_, name, output)| (name, output)).collect())
}

/// What came of a run, and what it left in its folder.
pub(super) struct Worked {
    pub(super) result: Result<Outcome, RunError>,
    pub(super) left: Left,
}

impl Work {
    /// Runs to the end, then measures what the run left; one that left too much has failed.
    pub(super) async fn run(self) -> Worked {
        let mut result = self.run_when_possible().await;
        // Before it is measured: the log counts.
        match &result {
            Ok(_) => self.log.line("succeeded"),
            Err(error @ (RunError::Failed(_) | RunError::Lacking { .. })) if !self.cancel.is_cancelled() => {
                self.log.line(&format!("failed: {error}"));
            }
            Err(_) => {}
        }
        let share = self.supplies.roots.tasks_dir().to_owned();
        let left = folder::measure(share, &self.fence, self.options.most_left).await;
        if let (Ok(_), Some(why)) = (&result, &left.too_much) {
            self.log.line(&format!("failed: {why}"));
            result = Err(RunError::failed(why));
        }
        Worked { result, left }
    }

    async fn run_when_possible(&self) -> Result<Outcome, RunError> {
        let mut wait = FIRST_WAIT;
        loop {
            let (lack, message) = match self.run_once().await {
                Err(RunError::Lacking { lack, message }) => (lack, message),
                ended => return ended,
            };
            Limit::MachineResources.reached();
            self.log.line(&format!(
                "waiting for {lack}, trying again in {} s: {message}",
                wait.as_secs_f64()
            ));
            self.progress
                .report(0.0, Some(format!("waiting for {lack}: {message}")));
            self.began.send_replace(Instant::now() + wait);
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(RunError::Interrupted),
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
            // What it left while it could not go on is not its result.
            if let Err(error) = folder::clear(&self.dir).await {
                tracing::debug!(%error, run_id = %self.fence.run, "a run's folder was not emptied before it begins again");
            }
            self.progress
                .report(0.0, Some(format!("begun again after waiting for {lack}")));
        }
    }

    async fn run_once(&self) -> Result<Outcome, RunError> {
        let fence = &self.fence;
        let stages = self.earlier.stages.clone().map_err(RunError::Failed)?;
        let input: Object = serde_json::from_str(&self.earlier.input)
            .map_err(|error| RunError::failed(format!("the stored request cannot be read: {error}")))?;
        let varied = self.supplies.catalog.for_input(fence.node.as_str(), &input);
        let node = Arc::clone(varied.unwrap_or(&self.spec));
        let mut context = RunContext {
            task_id: fence.task.clone(),
            run_id: fence.run.clone(),
            attempt: fence.attempt,
            input: resolve_input(&node, &input, &stages)?,
            stages,
            dir: self.dir.clone(),
            roots: Arc::clone(&self.supplies.roots),
            opened: OpenedInputs::default(),
            programs: Arc::clone(&self.options.programs),
            fresh: self.earlier.fresh,
            uploads: self.options.upload.is_some(),
            progress: self.progress.clone(),
            warnings: RunWarnings::default(),
            log: self.log.clone(),
            cancel: self.cancel.clone(),
            mark: format!("{}/{}/{}", self.options.mark, fence.run, fence.attempt),
            hides_gpu: node.queue.keeps_from_gpu(&fence.queue),
            node,
        };
        context.log.line(&format!(
            "{} under task {}, run {} attempt {}",
            fence.node, fence.task, fence.run, fence.attempt
        ));
        let results = &self.earlier.results;
        let sources = evidence::sources(&context.node, &input, &context.input, &context.stages, results);
        context.place_paths();
        let mut files = self
            .supplies
            .inputs
            .local_evidence(&context.task_id, &context.node, &input)
            .await
            .unwrap_or_default();
        let mut downloaded = self.supplies.downloads.fetch(&mut context).await?;
        if let Some(downloaded) = &mut downloaded {
            files.append(&mut downloaded.evidence);
        }
        let files = evidence::of_request(&context.node, &input, files, self.supplies.inputs.verify());
        let output = self.run_node(&context).await?;
        let text = Value::Object(output.clone()).to_string();
        if let Some(downloaded) = &mut downloaded {
            downloaded.keep_if_named_in(&text);
        }
        self.success(&context, output, text, Evidence { files, sources }).await
    }

    async fn run_node(&self, context: &RunContext) -> Result<Object, RunError> {
        let mut output = match &context.node.runner {
            RunnerSpec::Builtin(_) => {
                let providers = self.supplies.providers.clone();
                BuiltinRunner { providers }.run(context).await?
            }
            RunnerSpec::Command(_) | RunnerSpec::Python(_) => {
                let runner = CommandRunner {
                    grace: self.options.grace,
                    python: Some(Arc::clone(&self.options.python)),
                };
                runner.run(context).await?
            }
        };
        let missing: Vec<_> = context
            .node
            .reuse_fields
            .iter()
            .filter(|field| !output.contains_key(*field))
            .cloned()
            .collect();
        if missing.is_empty() {
            context.warnings.write_into(&mut output);
            return Ok(output);
        }
        Err(RunError::failed(format!(
            "the node ended well but without the output it declares: {}",
            missing.join(", ")
        )))
    }

    /// Records the files of the output.
    async fn success(
        &self,
        context: &RunContext,
        output: Object,
        text: String,
        evidence: Evidence,
    ) -> Result<Outcome, RunError> {
        let reusable = context.node.output_is_reusable(&output);
        let warnings = output.get(WARNINGS_FIELD).map_or_else(Vec::new, ResultWarning::all_in);
        for warning in &warnings {
            self.log.line(&format!("warning {}: {}", warning.code, warning.text));
        }
        let (value, dir) = (Value::Object(output), context.dir.clone());
        let hashed = self.supplies.inputs.verify() == Verify::Hash;
        let artifacts = if artifacts::are_named(&value, &dir) {
            crate::blocking::run(move || artifacts::record(&value, &dir, hashed))
                .await
                .map_err(|error| RunError::failed(format!("the run's files could not be looked at: {error}")))?
        } else {
            artifacts::NONE.to_owned()
        };
        let upload = self.options.upload.clone().filter(|_| artifacts != artifacts::NONE);
        Ok(Outcome::Success {
            output: text,
            reusable,
            artifacts,
            upload,
            evidence,
            warnings,
        })
    }
}
