//! Submit: the decision of R1 to R5, and what surrounds it: looking at a hit's files, taking over foreign results, and
//! the answer.

use onceover_catalog::ParameterSpec;
use onceover_types::{FieldError, NodeName, RunId, StageState, TaskId, TaskStatus, humane};
use onceover_wire::{ReuseInfo, ReuseMode, SubmitRequest, SubmitResponse};
use serde_json::{Map, Value};
use url::Url;

use super::{
    CheckedRequest, Engine, EngineError,
    artifacts::{self, ArtifactCheck},
    explain, input,
    input_files::InputFile,
    takeover::TakenOver,
    view,
};
use crate::config::UnknownFields;
use onceover_limits::Limit;
use onceover_store::{
    Decision, ForeignJson, GatheredEvidence, ReuseQuery, StageRecord, StoreError, Submit, SubmitRefusal, TaskRecords,
    VerificationRequest, Watching,
};

/// `input_data` and callback.
type StoredRequest = (Map<String, Value>, Option<String>);

/// What a request is decided with.
struct Prepared<'a> {
    /// The input as it is shown, and whole.
    shown: String,
    whole: String,
    fingerprint: String,
    files_evidence: Option<String>,
    folder: String,
    /// Id of the run, should one start.
    run: RunId,
    /// Id of the callback that tells of a hit.
    delivery: String,
    /// A run would lack nothing on this machine, as far as is known.
    is_ready: bool,
    queue: &'a str,
    /// Parameters that the request leaves to earlier stages, in groups of which one is needed.
    left: Vec<Vec<&'a ParameterSpec>>,
    /// The nodes that could give them.
    sources: Vec<Vec<&'a str>>,
    /// Files that the request names.
    files: Vec<InputFile>,
}

impl<'a> Prepared<'a> {
    fn submit(&'a self, request: &'a CheckedRequest) -> Submit<'a> {
        Submit {
            question: ReuseQuery {
                task: &request.task,
                node: &request.node.name,
                mode: request.mode(),
                fingerprint: &self.fingerprint,
                files: self.files_evidence.as_deref(),
            },
            run: &self.run,
            queue: self.queue,
            runner: request.node.runner.kind(),
            input: &self.whole,
            input_public: &self.shown,
            path: &self.folder,
            callback: request.callback.as_ref().map(Url::as_str),
            callback_host: request.callback.as_ref().and_then(Url::host_str),
            delivery: &self.delivery,
            sources: &self.sources,
            has_files: !self.files.is_empty(),
            unable: !self.is_ready,
            key: request.key.as_ref(),
            pipeline: request.pipeline.as_ref(),
        }
    }
}

/// What was found out since a request was first decided.
#[derive(Default)]
struct Findings {
    looked: GatheredEvidence,
    /// Files that the request names and that are not there.
    missing_files: Vec<FieldError>,
}

/// A stage that changes with every look is somebody else's race, not ours to win.
pub(super) const ROUNDS: usize = 8;

impl Engine {
    /// Decides, claims and answers.
    pub async fn submit(&self, request: &CheckedRequest) -> Result<SubmitResponse, EngineError> {
        if self.draining.is_cancelled() {
            return Err(EngineError::Draining);
        }
        let decided = self.decide(request).await.map(|response| SubmitResponse {
            warnings: request.warnings.clone(),
            ..response
        });
        match &decided {
            Ok(response) => {
                self.metrics.submitted(&response.reuse_info);
                log_submit(&response.task_id, request, &response.reuse_info);
                let (task, node) = (response.task_id.as_str(), request.node.name.as_str());
                self.warning_log.write(task, node, &response.warnings);
            }
            Err(EngineError::OtherInput { node, .. }) => self.metrics.refused(node.as_str(), "input_changed"),
            Err(EngineError::NotReady { node, .. }) => self.metrics.refused(node.as_str(), "not_ready"),
            Err(EngineError::KeyReused) => self.metrics.refused(request.node.name.as_str(), "key_reused"),
            Err(EngineError::Superseded | EngineError::AlreadyAsked) => {}
            Err(EngineError::Invalid(_)) => self.metrics.refused(request.node.name.as_str(), "input_missing"),
            Err(_) => self.metrics.undecided(request.node.name.as_str()),
        }
        decided
    }

    async fn decide(&self, request: &CheckedRequest) -> Result<SubmitResponse, EngineError> {
        let mut prepared = self.prepare(request).await?;
        let mut found = Findings::default();
        for _ in 0..ROUNDS {
            let submit = prepared.submit(request);
            match self.store.submit(&submit, &found.looked).await? {
                Decision::Ask(VerificationRequest::Verify { token, artifacts }) => {
                    look_at_files(&mut found.looked, token, artifacts).await?;
                }
                Decision::Ask(VerificationRequest::Foreign(json)) => {
                    let waits_for = self.join_foreign(request, &submit, &json, &mut found.looked).await?;
                    if let Some(state) = waits_for {
                        return Ok(joined(request, state, None));
                    }
                }
                Decision::LookAtInputs => {
                    let inputs = self.look_at_inputs(&request.task, prepared.files.clone()).await;
                    found.looked.inputs = Some(inputs.found());
                    found.missing_files = inputs.errors;
                }
                Decision::Keyed(task) => return Box::pin(self.decide(&request.repeated_under(task))).await,
                Decision::Refused(SubmitRefusal::NotReady) => {
                    let missing = self.readiness.missing(&request.node, &request.input);
                    if !missing.is_empty() {
                        return Err(EngineError::NotReady {
                            node: request.node.name.clone(),
                            missing,
                        });
                    }
                    // It was installed a moment ago.
                    prepared.is_ready = true;
                }
                Decision::Refused(refusal) => {
                    return Err(self.refused(request, refusal, prepared, found.missing_files).await);
                }
                Decision::Hit { input_changed, records } => {
                    if request.callback.is_some() {
                        self.hub.outbox_grew();
                    }
                    return self.hit(request, input_changed, &records);
                }
                Decision::Joined { state, run } => return Ok(joined(request, state, Some(run))),
                Decision::Started { reason, run } => {
                    self.hub.run_queued(prepared.queue);
                    return Ok(started(request, reason, run));
                }
            }
        }
        Err(StoreError::Unavailable(format!(
            "{} of '{}' changed {ROUNDS} times while it was looked at; try again",
            request.node.name, request.task
        ))
        .into())
    }

    /// What a decision needs beside the request itself, and what stays the same however often it is asked.
    async fn prepare<'a>(&self, request: &'a CheckedRequest) -> Result<Prepared<'a>, EngineError> {
        let node = &request.node;
        let whole = serde_json::to_string(&request.input).expect("JSON can be written");
        self.check_size(&whole)?;
        let named = request.pipeline.as_ref().map(|pipeline| pipeline.run.clone());
        let left = node.left_to_stages(&request.input);
        Ok(Prepared {
            shown: serde_json::to_string(&input::public(&request.input)).expect("JSON can be written"),
            whole,
            fingerprint: input::fingerprint(&request.input),
            files_evidence: self
                .files_evidence(&request.task, node, &request.input, request.mode())
                .await,
            folder: self.task_folder(&request.task).display().to_string(),
            run: named.unwrap_or_else(RunId::generate),
            delivery: format!("hit-{}", RunId::generate()),
            is_ready: self.readiness.seems_ready(node, &request.input),
            queue: node.queue_for(&request.input, self.readiness.gpu()),
            sources: sources(&left),
            left,
            files: self.input_files(&request.task, node, &request.input),
        })
    }

    /// Takes over a stage that another worker has written, or waits for its end; then answers its state.
    async fn join_foreign(
        &self,
        request: &CheckedRequest,
        submit: &Submit<'_>,
        json: &ForeignJson,
        looked: &mut GatheredEvidence,
    ) -> Result<Option<StageState>, EngineError> {
        let (task, node) = (&request.task, &request.node.name);
        let state = match self.take_over(task, node, json).await? {
            TakenOver::Adopted => return Ok(None),
            TakenOver::Useless | TakenOver::Lost => {
                looked.set_aside(&json.sha);
                return Ok(None);
            }
            TakenOver::InFlight(state) => state,
        };
        let callback = submit.callback.zip(submit.callback_host);
        match self.store.watch(task, node, json, callback).await? {
            Watching::Full => Err(self.too_many_callbacks(request)),
            Watching::Changed => Ok(None),
            Watching::Begun => {
                self.changed.add((task.clone(), node.clone()));
                Ok(Some(state))
            }
        }
    }

    /// The error of a refusal, as a client is told.
    async fn refused(
        &self,
        request: &CheckedRequest,
        refusal: SubmitRefusal,
        prepared: Prepared<'_>,
        missing_files: Vec<FieldError>,
    ) -> EngineError {
        let node = &request.node;
        match refusal {
            SubmitRefusal::OtherInput => EngineError::OtherInput {
                task: request.task.clone(),
                node: node.name.clone(),
            },
            SubmitRefusal::NoSource(groups) => {
                let groups = groups.into_iter().filter_map(|group| prepared.left.get(group));
                let mut errors: Vec<_> = groups.flat_map(|group| node.not_left_to_stages(group)).collect();
                // Refused it is anyway; all that is missing is named at once.
                errors.extend(self.look_at_inputs(&request.task, prepared.files).await.errors);
                EngineError::Invalid(errors)
            }
            SubmitRefusal::InputsMissing => EngineError::Invalid(missing_files),
            SubmitRefusal::Damaged(what) => EngineError::Damaged {
                task: request.task.clone(),
                node: node.name.clone(),
                what,
            },
            SubmitRefusal::Full => {
                Limit::RedisMemory.reached();
                EngineError::Full(self.store.fullness())
            }
            SubmitRefusal::TooManyCallbacks => self.too_many_callbacks(request),
            SubmitRefusal::TaskFull => self.task_full(&request.task),
            SubmitRefusal::KeyReused => EngineError::KeyReused,
            SubmitRefusal::Superseded => EngineError::Superseded,
            SubmitRefusal::DuplicateRun => EngineError::AlreadyAsked,
            SubmitRefusal::NotReady => EngineError::NotReady {
                node: node.name.clone(),
                missing: self.readiness.missing(node, &request.input),
            },
        }
    }

    fn task_full(&self, task: &TaskId) -> EngineError {
        Limit::TaskInput.reached();
        let most = humane::bytes(self.store.options().bounds.task_input);
        EngineError::TooLarge(FieldError::new(
            "input_data",
            format!(
                "with this one the inputs of task '{task}' would take more than {most} together (inputs.max_task); use \
                 another task_id"
            ),
        ))
    }

    fn check_size(&self, input: &str) -> Result<(), EngineError> {
        let limit = self.store.options().bounds.input;
        if input.len() as u64 <= limit {
            return Ok(());
        }
        Limit::Input.reached();
        let message = format!(
            "it is {} as JSON, and may be {} (inputs.max_json); put what is large into a file and name that",
            humane::bytes(input.len() as u64),
            humane::bytes(limit)
        );
        Err(EngineError::TooLarge(FieldError::new("input_data", message)))
    }

    fn too_many_callbacks(&self, request: &CheckedRequest) -> EngineError {
        Limit::CallbacksOfRun.reached();
        EngineError::TooManyCallbacks {
            task: request.task.clone(),
            node: request.node.name.clone(),
            most: self.store.options().bounds.callbacks,
        }
    }

    /// The answer of a finished stage.
    fn hit(
        &self,
        request: &CheckedRequest,
        input_changed: Option<bool>,
        records: &TaskRecords,
    ) -> Result<SubmitResponse, EngineError> {
        let node = &request.node;
        let record = records.stage(&node.name);
        let warned = record.map(StageRecord::warned).unwrap_or_default();
        let info = ReuseInfo {
            reuse_hit: true,
            task_name: node.name.to_string(),
            source: Some("redis".into()),
            cached_at: Some(record.and_then(|record| record.result_ended())),
            input_changed: Some(input_changed),
            saved_seconds: record.map(|record| record.result_duration()),
            warnings: warned.warnings,
            warnings_retryable: warned.retryable,
            ..ReuseInfo::default()
        };
        let view = view::task_view(records, &self.view_of(&request.task, Some(&node.name)))?;
        let result = view.and_then(|view| {
            let end = view.stages.get(&node.name)?.into();
            Some(view::node_result(records, view, &node.name, end))
        });
        Ok(SubmitResponse {
            task_id: request.task.clone(),
            status: TaskStatus::Completed,
            message: format!(
                "reused: {} has already succeeded under this task{}",
                node.name,
                explain::with_warnings(warned)
            ),
            reuse_info: info,
            result: result.map(Box::new),
            warnings: Vec::new(),
        })
    }

    /// The stored request of a stage again, same task.
    pub async fn resubmit(
        &self,
        task: &TaskId,
        node: Option<&NodeName>,
        reuse: ReuseMode,
    ) -> Result<SubmitResponse, EngineError> {
        let (records, _) = self.store.read(task).await?;
        let newest = records
            .newest()
            .or_else(|| records.stages.last().map(|(name, _)| name.clone()))
            .or_else(|| self.held(&records).stages.last().map(|(name, _)| name.clone()));
        let Some(node) = node.cloned().or(newest).filter(|_| !records.is_empty()) else {
            return Err(EngineError::UnknownTask(task.clone()));
        };
        let Some((input, callback)) = self.stored_request(task, &records, &node)? else {
            return Err(EngineError::UnknownStage {
                task: task.clone(),
                node,
            });
        };
        let stored = SubmitRequest {
            task_name: node.to_string(),
            task_id: Some(task.to_string()),
            callback,
            input_data: input,
            reuse: Some(reuse),
        };
        // It was accepted once, so what is unknown in it is no reason to refuse it now.
        let request = self.check(stored, UnknownFields::Warn)?;
        self.submit(&request).await
    }

    /// `input_data` and callback of a stage's newest request; None when the task has no such stage.
    pub(super) fn stored_request(
        &self,
        task: &TaskId,
        records: &TaskRecords,
        node: &NodeName,
    ) -> Result<Option<StoredRequest>, EngineError> {
        if let Some(record) = records.stage(node) {
            let input = serde_json::from_str(record.input()).map_err(|error| EngineError::Damaged {
                task: task.clone(),
                node: node.clone(),
                what: format!("input: {error}"),
            })?;
            return Ok(Some((input, record.callback())));
        }
        let stage = self.held(records).stages.swap_remove(node);
        Ok(stage.map(|stage| (stage.input, None)))
    }
}

/// Logs what became of a request: a new run at `info`, since it is the beginning of a run's life.
fn log_submit(task: &TaskId, request: &CheckedRequest, reuse: &ReuseInfo) {
    let node = &request.node.name;
    let has_callback = request.callback.is_some();
    match (reuse.reuse_hit, &reuse.run_id) {
        (false, Some(run)) => {
            let reason = reuse.reason.as_deref();
            tracing::info!(task_id = %task, task_name = %node, run_id = %run, reason, has_callback, "run submitted");
        }
        (_, Some(run)) => {
            tracing::debug!(task_id = %task, task_name = %node, run_id = %run, has_callback, "run joined");
        }
        (_, None) => tracing::debug!(task_id = %task, task_name = %node, has_callback, "result reused"),
    }
}

/// The nodes that could give what is left to stages, by what is left.
fn sources<'a>(left: &[Vec<&'a ParameterSpec>]) -> Vec<Vec<&'a str>> {
    let nodes = |group: &Vec<&'a ParameterSpec>| {
        let fallbacks = group.iter().flat_map(|parameter| &parameter.fallbacks);
        fallbacks.map(|fallback| fallback.node.as_str()).collect()
    };
    left.iter().map(nodes).collect()
}

/// Looks at the files of a hit and notes what was found.
pub(super) async fn look_at_files(
    looked: &mut GatheredEvidence,
    token: String,
    artifacts: String,
) -> Result<(), EngineError> {
    let found = tokio::task::spawn_blocking(move || artifacts::look(&artifacts))
        .await
        .map_err(|error| StoreError::Unavailable(format!("the files of a result could not be looked at: {error}")))?;
    match found {
        ArtifactCheck::Whole => looked.verified = Some(token),
        ArtifactCheck::Missing => looked.broken = Some((token, "artifact_missing")),
        ArtifactCheck::Changed => looked.broken = Some((token, "artifact_changed")),
    }
    Ok(())
}

/// The answer to a request that started a run.
fn started(request: &CheckedRequest, reason: String, run: RunId) -> SubmitResponse {
    SubmitResponse {
        task_id: request.task.clone(),
        status: TaskStatus::Pending,
        message: format!("queued: {}", explain::in_words(&reason)),
        reuse_info: ReuseInfo {
            reuse_hit: false,
            task_name: request.node.name.to_string(),
            reason: Some(reason),
            run_id: Some(run),
            ..ReuseInfo::default()
        },
        result: None,
        warnings: Vec::new(),
    }
}

fn joined(request: &CheckedRequest, state: StageState, run: Option<RunId>) -> SubmitResponse {
    let node: &NodeName = &request.node.name;
    SubmitResponse {
        task_id: request.task.clone(),
        status: TaskStatus::Pending,
        message: format!("joined: {node} is already under way under this task"),
        reuse_info: ReuseInfo {
            reuse_hit: true,
            task_name: node.to_string(),
            source: Some("redis".into()),
            cached_at: Some(None),
            state: Some("pending".into()),
            stage_status: Some(state),
            run_id: run,
            ..ReuseInfo::default()
        },
        result: None,
        warnings: Vec::new(),
    }
}
