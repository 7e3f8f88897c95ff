//! Submit: the decision of R1 to R5, and what surrounds it: looking at a hit's files, taking over foreign results, and
//! the answer.

use onceover_common::{
    FieldError, NodeName, RunId, StageState, TaskId, TaskStatus,
    catalog::ParameterSpec,
    humane,
    wire::{ReuseInfo, ReuseMode, SubmitRequest, SubmitResponse},
};
use serde_json::{Map, Value};
use url::Url;

use super::{
    Engine, EngineError, Request,
    artifacts::{self, Found},
    explain, input,
    takeover::TakenOver,
    view,
};
use crate::{
    config::UnknownFields,
    limits::Limit,
    store::{Ask, Decision, Looked, Question, StageRecord, StoreError, Submit, TaskRecords, Watching},
};

/// `input_data` and callback.
type StoredRequest = (Map<String, Value>, Option<String>);

/// A stage that changes with every look is somebody else's race, not ours to win.
pub(super) const ROUNDS: usize = 8;

impl Engine {
    /// Decides, claims and answers.
    pub async fn submit(&self, request: &Request) -> Result<SubmitResponse, EngineError> {
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

    async fn decide(&self, request: &Request) -> Result<SubmitResponse, EngineError> {
        let node = &request.node;
        let shown = serde_json::to_string(&input::public(&request.input)).expect("JSON can be written");
        let whole = serde_json::to_string(&request.input).expect("JSON can be written");
        self.check_size(&whole)?;
        let fingerprint = input::fingerprint(&request.input);
        let evidence = self
            .files_evidence(&request.task, node, &request.input, request.mode())
            .await;
        let folder = self.task_folder(&request.task).display().to_string();
        let named = request.pipeline.as_ref().map(|pipeline| pipeline.run.clone());
        let run = named.unwrap_or_else(RunId::generate);
        let delivery = format!("hit-{}", RunId::generate());
        let mut is_ready = self.readiness.seems_ready(node, &request.input);
        let queue = node.queue_for(&request.input, self.readiness.gpu());
        let left = node.left_to_stages(&request.input);
        let sources = sources(&left);
        let files = self.input_files(&request.task, node, &request.input);
        let mut missing_files = Vec::new();
        let mut looked = Looked::default();
        for _ in 0..ROUNDS {
            let submit = Submit {
                question: Question {
                    task: &request.task,
                    node: &node.name,
                    mode: request.mode(),
                    fingerprint: &fingerprint,
                    files: evidence.as_deref(),
                },
                run: &run,
                queue,
                runner: node.runner.kind(),
                input: &whole,
                input_public: &shown,
                path: &folder,
                callback: request.callback.as_ref().map(Url::as_str),
                callback_host: request.callback.as_ref().and_then(Url::host_str),
                delivery: &delivery,
                sources: &sources,
                has_files: !files.is_empty(),
                unable: !is_ready,
                key: request.key.as_ref(),
                pipeline: request.pipeline.as_ref(),
            };
            match self.store.submit(&submit, &looked).await? {
                Decision::Ask(Ask::Verify { token, artifacts }) => look_at_files(&mut looked, token, artifacts).await?,
                Decision::Ask(Ask::Foreign(json)) => match self.take_over(&request.task, &node.name, &json).await? {
                    TakenOver::Adopted => {}
                    TakenOver::Useless | TakenOver::Lost => looked.set_aside(&json.sha),
                    TakenOver::InFlight(state) => {
                        let callback = submit.callback.zip(submit.callback_host);
                        match self.store.watch(&request.task, &node.name, &json, callback).await? {
                            Watching::Full => return Err(self.too_many_callbacks(request)),
                            Watching::Changed => {}
                            Watching::Begun => {
                                self.changed.add((request.task.clone(), node.name.clone()));
                                return Ok(joined(request, state, None));
                            }
                        }
                    }
                },
                Decision::Refused => {
                    return Err(EngineError::OtherInput {
                        task: request.task.clone(),
                        node: node.name.clone(),
                    });
                }
                Decision::NoSource(groups) => {
                    let groups = groups.into_iter().filter_map(|group| left.get(group));
                    let mut errors: Vec<_> = groups.flat_map(|group| node.not_left_to_stages(group)).collect();
                    // Refused it is anyway; all that is missing is named at once.
                    errors.extend(self.look_at_inputs(&request.task, files).await.errors);
                    return Err(EngineError::Invalid(errors));
                }
                Decision::LookAtInputs => {
                    let found = self.look_at_inputs(&request.task, files.clone()).await;
                    looked.inputs = Some(found.found());
                    missing_files = found.errors;
                }
                Decision::InputsMissing => return Err(EngineError::Invalid(missing_files)),
                Decision::Damaged(what) => {
                    return Err(EngineError::Damaged {
                        task: request.task.clone(),
                        node: node.name.clone(),
                        what,
                    });
                }
                Decision::Full => {
                    Limit::RedisMemory.reached();
                    return Err(EngineError::Full(self.store.fullness()));
                }
                Decision::TooManyCallbacks => return Err(self.too_many_callbacks(request)),
                Decision::TaskFull => {
                    Limit::TaskInput.reached();
                    return Err(EngineError::TooLarge(FieldError::new(
                        "input_data",
                        format!(
                            "with this one the inputs of task '{}' would take more than {} together (inputs.max_task); use \
                             another task_id",
                            request.task,
                            humane::bytes(self.store.options().bounds.task_input)
                        ),
                    )));
                }
                Decision::Keyed(task) => return Box::pin(self.decide(&request.repeated_under(task))).await,
                Decision::KeyReused => return Err(EngineError::KeyReused),
                Decision::Superseded => return Err(EngineError::Superseded),
                Decision::Known => return Err(EngineError::AlreadyAsked),
                Decision::Unable => {
                    let missing = self.readiness.missing(node, &request.input);
                    if !missing.is_empty() {
                        return Err(EngineError::NotReady {
                            node: node.name.clone(),
                            missing,
                        });
                    }
                    // It was installed a moment ago.
                    is_ready = true;
                }
                Decision::Hit { input_changed, records } => {
                    if request.callback.is_some() {
                        self.hub.outbox_grew();
                    }
                    return self.hit(request, input_changed, &records);
                }
                Decision::Joined { state, run } => return Ok(joined(request, state, Some(run))),
                Decision::Started { reason, run } => {
                    self.hub.run_queued(queue);
                    return Ok(started(request, reason, run));
                }
            }
        }
        Err(StoreError::Unavailable(format!(
            "{} of '{}' changed {ROUNDS} times while it was looked at; try again",
            node.name, request.task
        ))
        .into())
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

    fn too_many_callbacks(&self, request: &Request) -> EngineError {
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
        request: &Request,
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
fn log_submit(task: &TaskId, request: &Request, reuse: &ReuseInfo) {
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
pub(super) async fn look_at_files(looked: &mut Looked, token: String, artifacts: String) -> Result<(), EngineError> {
    let found = tokio::task::spawn_blocking(move || artifacts::look(&artifacts))
        .await
        .map_err(|error| StoreError::Unavailable(format!("the files of a result could not be looked at: {error}")))?;
    match found {
        Found::Whole => looked.verified = Some(token),
        Found::Missing => looked.broken = Some((token, "artifact_missing")),
        Found::Changed => looked.broken = Some((token, "artifact_changed")),
    }
    Ok(())
}

/// The answer to a request that started a run.
fn started(request: &Request, reason: String, run: RunId) -> SubmitResponse {
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

fn joined(request: &Request, state: StageState, run: Option<RunId>) -> SubmitResponse {
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
