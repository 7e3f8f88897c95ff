//! What one run does, from reading its request to its outcome. It begins again for as long as the machine lacks something
//! that it needs.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use indexmap::IndexMap;
use onceover_catalog::{Catalog, NodeSpec, RunnerSpec, ValueKind};
use onceover_types::NodeName;
use onceover_wire::{ResultWarning, WARNINGS_FIELD};
use serde_json::Value;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    builtin::BuiltinRunner,
    command::CommandRunner,
    folder::{self, Left},
    program_lines::check_paths,
    supervise::ExecutorOptions,
    warm_run::WarmRunner,
};
use crate::{
    config::{Verify, is_dispatch_queue},
    dispatch::{CeleryRunner, Dispatcher, TaskSoFar},
    downloads::Downloads,
    evidence,
    gpu_lock::{GPU_QUEUE, GpuLock},
    run_wait::{self, Backoff},
    services::{FileScope, FilesElsewhere, InputEvidence, ServiceError, TaskViews, artifacts},
    warm::{GpuNeed, WarmPool},
};
use onceover_catalog::completion::{referenced_node, resolve_input};
use onceover_limits::Limit;
use onceover_nodes::llm::Providers;
use onceover_run::{
    Object, OpenedInputs, ProgressSink, RunContext, RunError, Runner, log::RunLog, paths::Roots, warnings::RunWarnings,
};
use onceover_store::{Evidence, Fence, Outcome, RequeuedRun, StageRecord, TaskRecords};

/// What any run may need to work.
pub struct RunSupplies {
    pub catalog: Arc<Catalog>,
    /// The nodes as they run on this machine, also those that Celery workers run.
    pub local: Arc<Catalog>,
    /// Sends runs to Celery workers.
    pub dispatcher: Arc<Dispatcher>,
    /// The lock of workers that use this machine's GPU too, where there is one.
    pub gpu_lock: Option<Arc<GpuLock>>,
    /// Processes that keep their models between runs.
    pub warm: WarmPool,
    pub roots: Arc<Roots>,
    pub inputs: InputEvidence,
    pub downloads: Arc<Downloads>,
    /// Reads the task's other stages.
    pub views: TaskViews,
    /// The language models that nodes may ask.
    pub providers: Providers,
}

impl RunSupplies {
    /// The nodes as runs of a queue have them.
    pub(super) fn catalog_for(&self, queue: &str) -> &Arc<Catalog> {
        match is_dispatch_queue(queue) {
            true => &self.catalog,
            false => &self.local,
        }
    }
}

/// What a run is: the same for each time it begins.
pub(super) struct Work {
    pub(super) supplies: Arc<RunSupplies>,
    pub(super) options: Arc<ExecutorOptions>,
    pub(super) fence: Fence,
    /// What was asked of it, or why that cannot be read.
    pub(super) request: Result<RunRequest, String>,
    /// The task's records, as they were read before the work began; `None` where the run takes nothing from other stages.
    pub(super) records: Option<Result<TaskRecords, ServiceError>>,
    /// The run's folder, which exists.
    pub(super) dir: PathBuf,
    pub(super) log: RunLog,
    pub(super) progress: ProgressSink,
    pub(super) cancel: CancellationToken,
    /// When what counts towards the time limit began; in the future while the run waits.
    pub(super) began: watch::Sender<Instant>,
    /// The stages that the run takes values from, once that is known.
    pub(super) took: OnceLock<Vec<NodeName>>,
    /// The message by which an earlier owner of the run has sent it to Celery workers.
    pub(super) sent_before: Option<String>,
    /// Cancelled when the daemon stops.
    pub(super) stop: CancellationToken,
    /// Where the run goes instead of ending.
    pub(super) requeue: OnceLock<RequeuedRun>,
}

/// What was asked of a run.
pub(super) struct RunRequest {
    /// The node, as it is for this input.
    node: Arc<NodeSpec>,
    /// The request's `input_data`.
    input: Object,
    /// The request said `reuse: never`.
    fresh: bool,
}

impl RunRequest {
    /// Reads what was asked of a run of the node.
    pub(super) fn read(catalog: &Catalog, node: &Arc<NodeSpec>, record: &StageRecord) -> Result<Self, String> {
        let input: Object = serde_json::from_str(record.input())
            .map_err(|error| format!("the stored request cannot be read: {error}"))?;
        let varied = catalog.for_input(node.name.as_str(), &input);
        Ok(Self {
            node: Arc::clone(varied.unwrap_or(node)),
            input,
            fresh: record.reuses_nothing(),
        })
    }

    /// Whether parameters may be filled from stages of the task, or a list among them may name some.
    fn asks_stages(&self) -> bool {
        let parameters = &self.node.parameters;
        parameters
            .iter()
            .any(|parameter| !parameter.fallbacks.is_empty() || parameter.kind == ValueKind::Array)
            || self.input.values().any(|value| referenced_node(value).is_some())
    }

    /// Reads the task's records for what the run takes from other stages; `None` where it takes nothing. A program gets the
    /// outputs of all stages, so it is asked first whether there are any; a node of the daemon gets what its parameters are
    /// filled with.
    pub(super) async fn read_records(
        &self,
        views: &TaskViews,
        fence: &Fence,
    ) -> Option<Result<TaskRecords, ServiceError>> {
        if !self.asks_stages() {
            if matches!(self.node.runner, RunnerSpec::Builtin(_)) {
                return None;
            }
            match views.has_other_stages(&fence.task, &fence.node).await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        Some(views.read_records(&fence.task).await)
    }
}

/// What a run takes from other stages of the task.
#[derive(Default)]
struct EarlierStages {
    /// Outputs of those that succeeded, oldest first.
    outputs: IndexMap<NodeName, Object>,
    /// What the results of the task's stages are known by.
    results: IndexMap<NodeName, String>,
    /// The task, for a run that goes to Celery workers.
    task: TaskSoFar,
}

impl EarlierStages {
    fn new(views: &TaskViews, fence: &Fence, records: &TaskRecords) -> Result<Self, ServiceError> {
        let view = views.view_records(records, &fence.task)?;
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
        let results = records.stages.iter();
        let mut task = TaskSoFar::default();
        if is_dispatch_queue(&fence.queue) {
            task.created = Some(view.create_at);
            task.stages = view.stages;
            task.stages.shift_remove(&fence.node);
        }
        Ok(Self {
            task,
            outputs: outputs.into_iter().map(|(_, name, output)| (name, output)).collect(),
            results: results
                .map(|(name, record)| (name.clone(), record.result_token()))
                .collect(),
        })
    }
}

/// What a node has given, and the files of it that are not on this machine.
struct NodeOutput {
    output: Object,
    elsewhere: FilesElsewhere,
}

/// What came of a run, and what it left in its folder.
pub(super) struct Worked {
    pub(super) result: Result<Outcome, RunError>,
    /// The stages that it took values from.
    pub(super) took: Vec<NodeName>,
    pub(super) left: Left,
    /// Where the run goes instead of ending.
    pub(super) requeue: Option<RequeuedRun>,
}

impl Work {
    /// Runs to the end, then measures what the run left; one that left too much has failed.
    pub(super) async fn run(mut self) -> Worked {
        let records = self.records.take();
        let mut result = self.run_when_possible(records).await;
        // Before it is measured: the log counts.
        match &result {
            Ok(_) => self.log.line("succeeded"),
            Err(error @ (RunError::Failed(_) | RunError::Lacking { .. })) if !self.cancel.is_cancelled() => {
                let how = self.requeue.get().map_or("failed", |_| "given back");
                self.log.line(&format!("{how}: {error}"));
            }
            Err(_) => {}
        }
        let share = self.supplies.roots.tasks_dir().to_owned();
        let left = folder::measure(share, &self.fence, self.options.most_left).await;
        if let (Ok(_), Some(why)) = (&result, &left.too_much) {
            self.log.line(&format!("failed: {why}"));
            result = Err(RunError::failed(why));
        }
        Worked {
            result,
            took: self.took.take().unwrap_or_default(),
            left,
            requeue: self.requeue.take(),
        }
    }

    async fn run_when_possible(&self, records: Option<Result<TaskRecords, ServiceError>>) -> Result<Outcome, RunError> {
        let request = self.request.as_ref().map_err(RunError::failed)?;
        let earlier = self.find_earlier(records).await?;
        let mut waits = Backoff::default();
        loop {
            let (lack, message) = match self.run_once(request, &earlier).await {
                Err(RunError::Lacking { lack, message }) => (lack, message),
                ended => return ended,
            };
            Limit::MachineResources.reached();
            let wait = waits.next_wait();
            self.log.line(&format!(
                "waiting for {lack}, trying again in {} s: {message}",
                wait.as_secs_f64()
            ));
            self.progress
                .report(0.0, Some(format!("waiting for {lack}: {message}")));
            self.pause(wait).await?;
            // What it left while it could not go on is not its result.
            if let Err(error) = folder::clear(&self.dir).await {
                tracing::debug!(%error, run_id = %self.fence.run, "a run's folder was not emptied before it begins again");
            }
            self.progress
                .report(0.0, Some(format!("begun again after waiting for {lack}")));
        }
    }

    /// Finds what the run takes from other stages, however long Redis is unreachable.
    async fn find_earlier(
        &self,
        records: Option<Result<TaskRecords, ServiceError>>,
    ) -> Result<EarlierStages, RunError> {
        let Some(mut read) = records else {
            return Ok(EarlierStages::default());
        };
        let unreadable = |error: ServiceError| RunError::failed(format!("the task cannot be read: {error}"));
        let views = &self.supplies.views;
        let mut waits = Backoff::default();
        loop {
            match read {
                Ok(records) => return EarlierStages::new(views, &self.fence, &records).map_err(unreadable),
                Err(ServiceError::Unavailable(error)) => {
                    tracing::debug!(error, run_id = %self.fence.run, "a run waits for Redis before it begins");
                }
                Err(error) => return Err(unreadable(error)),
            }
            self.pause(waits.next_wait()).await?;
            read = views.read_records(&self.fence.task).await;
        }
    }

    /// Waits for what the run cannot do without; that does not count towards its time limit.
    pub(super) async fn pause(&self, wait: Duration) -> Result<(), RunError> {
        run_wait::pause(&self.began, &self.cancel, wait).await
    }

    async fn run_once(&self, request: &RunRequest, earlier: &EarlierStages) -> Result<Outcome, RunError> {
        let fence = &self.fence;
        let (node, input) = (Arc::clone(&request.node), &request.input);
        let mut context = RunContext {
            task_id: fence.task.clone(),
            run_id: fence.run.clone(),
            attempt: fence.attempt,
            input: resolve_input(&node, input, &earlier.outputs)?,
            stages: earlier.outputs.clone(),
            dir: self.dir.clone(),
            roots: Arc::clone(&self.supplies.roots),
            opened: OpenedInputs::default(),
            programs: Arc::clone(&self.options.programs),
            fresh: request.fresh,
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
        let asked = evidence::asked_stages(&context.node, input, &context.input, &context.stages);
        let sources = evidence::sources(&asked, &context.stages, &earlier.results);
        let took = self.took.get_or_init(|| {
            let found = asked.into_iter().filter(|node| context.stages.contains_key(node));
            found.collect()
        });
        context.place_paths();
        let mut files = self
            .supplies
            .inputs
            .local_evidence(&context.task_id, &context.node, input)
            .await
            .unwrap_or_default();
        let mut downloaded = self.supplies.downloads.fetch(&mut context).await?;
        if let Some(downloaded) = &mut downloaded {
            files.append(&mut downloaded.evidence);
        }
        let inputs = &self.supplies.inputs;
        let model = inputs.model_evidence(&context.node, input);
        let files = evidence::of_request(&context.node, input, files, model, inputs.verify());
        let turn = self.wait_for_gpu().await?;
        let ran = self.run_node(&context, &earlier.task).await;
        if let Some(turn) = turn {
            turn.give_back().await;
        }
        let NodeOutput { output, elsewhere } = ran?;
        let text = Value::Object(output.clone()).to_string();
        if let Some(downloaded) = &mut downloaded {
            downloaded.keep_if_named_in(&text);
        }
        let evidence = Evidence {
            files,
            sources,
            took: took.clone(),
        };
        self.success(&context, output, text, elsewhere, evidence).await
    }

    async fn run_node(&self, context: &RunContext, task: &TaskSoFar) -> Result<NodeOutput, RunError> {
        let mut elsewhere = FilesElsewhere::default();
        let mut output = match &context.node.runner {
            _ if is_dispatch_queue(&self.fence.queue) => {
                let output = self.run_on_workers(context, task).await?;
                elsewhere = self.find_files_elsewhere(context, &output).await;
                output
            }
            RunnerSpec::Celery(_) => {
                return Err(RunError::failed(format!(
                    "{} is run by Celery workers alone; set runner = \"celery\" in [services.{}]",
                    context.node.name,
                    context.node.name.service()
                )));
            }
            RunnerSpec::Builtin(_) => {
                let providers = self.supplies.providers.clone();
                self.make_room_on_gpu(&context.node).await;
                BuiltinRunner { providers }.run(context).await?
            }
            RunnerSpec::Command(..) | RunnerSpec::Python(..) => self.run_program(context).await?,
        };
        let missing: Vec<_> = context
            .node
            .reuse_fields
            .iter()
            .filter(|field| !output.contains_key(*field))
            .cloned()
            .collect();
        if missing.is_empty() {
            if let Some(warning) = elsewhere.warning() {
                context.warnings.add(warning);
            }
            context.warnings.write_into(&mut output);
            return Ok(NodeOutput { output, elsewhere });
        }
        Err(RunError::failed(format!(
            "the node ended well but without the output it declares: {}",
            missing.join(", ")
        )))
    }

    async fn run_program(&self, context: &RunContext) -> Result<Object, RunError> {
        let cold = CommandRunner {
            grace: self.options.grace,
            python: Some(Arc::clone(&self.options.python)),
        };
        let pool = &self.supplies.warm;
        if context.node.runner.is_warm() && pool.is_enabled() {
            let runner = WarmRunner {
                pool,
                cold,
                gpu: self.find_gpu_need(&context.node),
                stop: &self.stop,
            };
            return runner.run(context).await;
        }
        self.make_room_on_gpu(&context.node).await;
        cold.run(context).await
    }

    /// Returns what the run needs of the GPU's memory; `None` for one that holds no slot of it.
    fn find_gpu_need(&self, node: &NodeSpec) -> Option<GpuNeed> {
        let declared = node.needs.gpu_memory;
        (self.fence.queue == GPU_QUEUE).then_some(GpuNeed { declared })
    }

    async fn make_room_on_gpu(&self, node: &NodeSpec) {
        if let Some(need) = self.find_gpu_need(node) {
            self.supplies.warm.make_room_on_gpu(&node.name, need).await;
        }
    }

    async fn run_on_workers(&self, context: &RunContext, task: &TaskSoFar) -> Result<Object, RunError> {
        let runner = CeleryRunner {
            dispatcher: &self.supplies.dispatcher,
            fence: &self.fence,
            sent_before: self.sent_before.as_deref(),
            task,
            began: &self.began,
            stop: &self.stop,
            grace: self.options.grace,
            requeue: &self.requeue,
        };
        let output = runner.run(context).await?;
        if self.supplies.dispatcher.sends_programs(&self.fence.node) {
            check_paths(context, &output)?;
        }
        Ok(output)
    }

    /// Finds the files of a worker's result that this machine does not see.
    async fn find_files_elsewhere(&self, context: &RunContext, output: &Object) -> FilesElsewhere {
        let scope = FileScope {
            node: &context.node,
            input: &context.input,
            dir: &context.dir,
            roots: &context.roots,
            mapped: self.supplies.dispatcher.mapped_folders(&self.fence.node),
            sees_files: self.has_files_here(),
        };
        FilesElsewhere::find(output, &scope, self.supplies.downloads.objects()).await
    }

    /// Whether the files of the result lie on this machine. If not, they are where the output says, as paths that the
    /// configuration maps, and nothing is missing because it is elsewhere (R8).
    fn has_files_here(&self) -> bool {
        !is_dispatch_queue(&self.fence.queue) || self.supplies.dispatcher.sees_files(&self.fence.node)
    }

    /// Records the files of the output.
    async fn success(
        &self,
        context: &RunContext,
        output: Object,
        text: String,
        elsewhere: FilesElsewhere,
        evidence: Evidence,
    ) -> Result<Outcome, RunError> {
        let reusable = context.node.output_is_reusable(&output);
        let warnings = output.get(WARNINGS_FIELD).map_or_else(Vec::new, ResultWarning::all_in);
        for warning in &warnings {
            self.log.line(&format!("warning {}: {}", warning.code, warning.text));
        }
        let (value, dir) = (Value::Object(output), context.dir.clone());
        let hashed = self.supplies.inputs.verify() == Verify::Hash;
        let here = if self.has_files_here() && artifacts::are_named(&value, &dir) {
            crate::blocking::run(move || artifacts::record(&value, &dir, hashed))
                .await
                .map_err(|error| RunError::failed(format!("the run's files could not be looked at: {error}")))?
        } else {
            artifacts::NONE.to_owned()
        };
        let upload = self.options.upload.clone().filter(|_| here != artifacts::NONE);
        let artifacts = elsewhere.add_to(here);
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
