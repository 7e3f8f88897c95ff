//! The decision of a submit (R1 to R5), and what surrounds it: checking a hit's files, taking over foreign results, and
//! the answer. A request that finds the result which was reused last is one round trip; the others are decided by
//! `submit`.

use std::sync::Arc;

use onceover_catalog::ParameterSpec;
use onceover_types::{FieldError, NodeName, RunId, StageState, TaskId, TaskStatus, humane};
use onceover_wire::{ReuseInfo, SubmitResponse};
use url::Url;

use super::{
    CheckedRequest, ServiceError,
    artifact_checks::{check_artifacts, check_known, note_check},
    artifacts::{ArtifactCheck, RecordedFiles},
    evidence::InputEvidence,
    folders::task_folder,
    hit_answers::{HitCalls, HitResponse, SubmitAnswer, find_result},
    input,
    input_files::InputFile,
    known_results::{KnownResult, KnownResults},
    sentences,
    takeover::{ForeignStages, TakenOver},
    task_views::TaskViews,
    view,
};
use crate::{events::EventBus, readiness::Readiness};
use onceover_limits::Limit;
use onceover_run::paths::Roots;
use onceover_store::{
    Decision, ForeignJson, GatheredEvidence, Hit, HitRequest, RepeatedHit, ReuseQuery, ReuseRule, StageRecord, Store,
    Submit, SubmitRefusal, TaskRecords, VerificationRequest, Watching,
};

/// The input of a request, and what reuse is decided by.
struct ComparedInput {
    whole: String,
    /// The input as it is shown, where that is less than the whole.
    reduced: Option<String>,
    fingerprint: String,
    files_evidence: Option<String>,
}

impl ComparedInput {
    /// Returns the input as it is shown.
    fn shown(&self) -> &str {
        self.reduced.as_deref().unwrap_or(&self.whole)
    }

    fn question<'a>(&'a self, request: &'a CheckedRequest) -> ReuseQuery<'a> {
        ReuseQuery {
            task: &request.task,
            node: &request.node.name,
            mode: request.mode(),
            fingerprint: &self.fingerprint,
            files: self.files_evidence.as_deref(),
        }
    }
}

/// What a request is decided with.
struct Prepared<'a> {
    input: ComparedInput,
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
    /// The stages that a run takes from or follows.
    needs: Vec<NodeName>,
    /// Files that the request names.
    files: Vec<InputFile>,
}

impl<'a> Prepared<'a> {
    fn submit(&'a self, request: &'a CheckedRequest) -> Submit<'a> {
        Submit {
            question: self.input.question(request),
            run: &self.run,
            queue: self.queue,
            runner: request.node.runner.kind(),
            input: &self.input.whole,
            input_public: self.input.shown(),
            path: &self.folder,
            callback: request.callback.as_ref().map(Url::as_str),
            callback_host: request.callback.as_ref().and_then(Url::host_str),
            delivery: &self.delivery,
            sources: &self.sources,
            has_files: !self.files.is_empty(),
            needs: &self.needs,
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
    /// The files that were checked last, and the token of their result.
    checked: Option<(String, Arc<RecordedFiles>)>,
    /// Files that the request names and that are not there.
    missing_files: Vec<FieldError>,
}

impl Findings {
    /// Returns the files of the result that has answered the request. One that was not checked has none.
    fn find_files(&self, token: &str) -> Arc<RecordedFiles> {
        let checked = self.checked.as_ref().filter(|(checked, _)| checked == token);
        checked.map(|(_, files)| Arc::clone(files)).unwrap_or_default()
    }
}

/// A stage that changes with every check is a race of other clients, not ours to win.
pub(super) const ROUNDS: usize = 8;

/// Decides requests.
pub struct Decisions {
    store: Store,
    readiness: Arc<Readiness>,
    roots: Arc<Roots>,
    inputs: InputEvidence,
    foreign: Arc<ForeignStages>,
    views: TaskViews,
    bus: EventBus,
    known: KnownResults,
    hits: HitCalls,
}

impl Decisions {
    pub fn new(
        store: Store,
        readiness: Arc<Readiness>,
        roots: Arc<Roots>,
        inputs: InputEvidence,
        foreign: Arc<ForeignStages>,
        views: TaskViews,
        bus: EventBus,
    ) -> Self {
        Self {
            hits: HitCalls::new(&store),
            store,
            readiness,
            roots,
            inputs,
            foreign,
            views,
            bus,
            known: KnownResults::default(),
        }
    }

    /// Decides a request, and claims the stage where a run is to start.
    pub(super) async fn decide(&self, request: &CheckedRequest) -> Result<SubmitAnswer, ServiceError> {
        let input = self.compare_input(request).await?;
        let mut found = Findings::default();
        if let Some(hit) = self.reuse_known(request, &input, &mut found).await? {
            return Ok(SubmitAnswer::Shared(hit));
        }
        let decided = self.decide_by_submit(request, input, found).await;
        decided.map(|response| SubmitAnswer::Built(Box::new(response)))
    }

    /// Decides a request that is no hit of a result which was reused before, as far as `found` says.
    async fn decide_by_submit(
        &self,
        request: &CheckedRequest,
        input: ComparedInput,
        mut found: Findings,
    ) -> Result<SubmitResponse, ServiceError> {
        let mut prepared = self.prepare(request, input);
        for _ in 0..ROUNDS {
            let submit = prepared.submit(request);
            let (decision, read) = self.submit(&submit, &found.looked).await?;
            match decision {
                Decision::Ask(VerificationRequest::Verify { token, artifacts }) => {
                    let files = check_artifacts(&mut found.looked, &token, artifacts, self.inputs.objects()).await?;
                    found.checked = files.map(|files| (token, Arc::new(files)));
                }
                Decision::Ask(VerificationRequest::Foreign(json)) => {
                    let waits_for = self.join_foreign(request, &submit, &json, &mut found.looked).await?;
                    if let Some(state) = waits_for {
                        return Ok(joined(request, state, None));
                    }
                }
                Decision::LookAtInputs => {
                    let inputs = self.inputs.check_inputs(&request.task, prepared.files.clone()).await;
                    found.looked.inputs = Some(inputs.found());
                    found.missing_files = inputs.errors;
                }
                Decision::Keyed(task) => {
                    let repeated = request.repeated_under(task);
                    let decided = Box::pin(self.decide(&repeated)).await;
                    return decided.map(SubmitAnswer::into_response);
                }
                Decision::Refused(SubmitRefusal::NotReady) => {
                    let missing = self.readiness.missing(&request.node, &request.input);
                    if !missing.is_empty() {
                        return Err(ServiceError::NotReady {
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
                Decision::Hit(hit) => {
                    if let Some(response) = self.read_hit(request, hit, &found, read).await? {
                        return Ok(response);
                    }
                }
                Decision::Joined { state, run } => return Ok(joined(request, state, Some(run))),
                Decision::Started { reason, run } => {
                    self.bus.run_queued(prepared.queue);
                    return Ok(started(request, reason, run));
                }
            }
        }
        Err(ServiceError::Unavailable(format!(
            "{} of '{}' changed {ROUNDS} times while it was looked at; try again",
            request.node.name, request.task
        )))
    }

    /// Answers a request with the result that was reused last, if that stands, its files are complete and nothing else
    /// has to be decided. What its files have come to is in `found` from then on.
    async fn reuse_known(
        &self,
        request: &CheckedRequest,
        input: &ComparedInput,
        found: &mut Findings,
    ) -> Result<Option<Arc<HitResponse>>, ServiceError> {
        let (task, node) = (&request.task, &request.node.name);
        if matches!(request.mode(), ReuseRule::Never | ReuseRule::Off) {
            return Ok(None);
        }
        let Some(known) = self.known.recall(task, node) else {
            return Ok(None);
        };
        let check = check_known(&known.files, self.inputs.objects()).await?;
        note_check(&mut found.looked, known.result.token.clone(), check);
        if check != ArtifactCheck::Whole {
            self.known.forget(task, node);
            return Ok(None);
        }
        found.checked = Some((known.result.token.clone(), Arc::clone(&known.files)));
        if request.callback.is_some() || request.key.is_some() || request.pipeline.is_some() {
            return Ok(None);
        }
        let hit = HitRequest::new(&input.question(request), input.shown(), &known.result);
        let Some(hits) = self.hits.ask(hit).await? else {
            return Ok(None);
        };
        let Some(record) = hits.find_record() else {
            return Ok(None);
        };
        let RepeatedHit { input_changed, records } = &hits.hit;
        let build = || self.answer_hit(request, *input_changed, records, Some(record));
        hits.answer(build).map(Some)
    }

    /// Submits a request. Where files were found complete, a hit is likely, and the task is read in the same step.
    async fn submit(
        &self,
        submit: &Submit<'_>,
        looked: &GatheredEvidence,
    ) -> Result<(Decision, Option<TaskRecords>), ServiceError> {
        if looked.verified.is_none() {
            return Ok((self.store.submit(submit, looked).await?, None));
        }
        let (decision, records) = self.store.submit_and_read(submit, looked).await?;
        Ok((decision, Some(records)))
    }

    /// Answers a hit with the task as it was read, or is now. Returns `None` where the task shows another result by
    /// then: the request is to be decided again.
    async fn read_hit(
        &self,
        request: &CheckedRequest,
        hit: Hit,
        found: &Findings,
        read: Option<TaskRecords>,
    ) -> Result<Option<SubmitResponse>, ServiceError> {
        let (task, node) = (&request.task, &request.node.name);
        let known = Arc::new(KnownResult {
            files: found.find_files(&hit.result.token),
            result: Arc::new(hit.result),
        });
        self.known.remember(task, node, Arc::clone(&known));
        if request.callback.is_some() {
            self.bus.outbox_grew();
        }
        let records = match read {
            Some(records) => records,
            None => self.store.read_for_view(task).await?,
        };
        let record = find_result(&records, node, &known.result.token);
        let shows_another = record.is_none() && records.stage(node).is_some();
        // A callback already reports the result: if decided again, the request would get a second one.
        if shows_another && request.callback.is_none() {
            return Ok(None);
        }
        self.answer_hit(request, hit.input_changed, &records, record).map(Some)
    }

    /// Reads from the request what reuse is decided by, and what stays the same however often that is asked.
    async fn compare_input(&self, request: &CheckedRequest) -> Result<ComparedInput, ServiceError> {
        let whole = serde_json::to_string(&request.input).expect("JSON can be written");
        self.check_size(&whole)?;
        let reduced = input::has_secrets(&request.input).then(|| input::public(&request.input));
        Ok(ComparedInput {
            whole,
            reduced: reduced.map(|input| serde_json::to_string(&input).expect("JSON can be written")),
            fingerprint: input::fingerprint(&request.input),
            files_evidence: self
                .inputs
                .files_evidence(&request.task, &request.node, &request.input, request.mode())
                .await,
        })
    }

    /// Prepares what `submit` needs beside the request itself.
    fn prepare<'a>(&self, request: &'a CheckedRequest, input: ComparedInput) -> Prepared<'a> {
        let node = &request.node;
        let named = request.pipeline.as_ref().map(|pipeline| pipeline.run.clone());
        let left = node.left_to_stages(&request.input);
        Prepared {
            input,
            folder: task_folder(&self.roots, &request.task).display().to_string(),
            run: named.unwrap_or_else(RunId::generate),
            delivery: format!("hit-{}", RunId::generate()),
            is_ready: self.readiness.seems_ready(node, &request.input),
            queue: node.queue_for(&request.input, self.readiness.gpu()),
            sources: sources(&left),
            left,
            needs: request.needs(),
            files: self.inputs.input_files(&request.task, node, &request.input),
        }
    }

    /// Takes over a stage that another worker has written, or waits for its end; then answers its state.
    async fn join_foreign(
        &self,
        request: &CheckedRequest,
        submit: &Submit<'_>,
        json: &ForeignJson,
        looked: &mut GatheredEvidence,
    ) -> Result<Option<StageState>, ServiceError> {
        let (task, node) = (&request.task, &request.node.name);
        let state = match self.foreign.take_over(task, node, json).await? {
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
                self.foreign.compare_later(task, node);
                Ok(Some(state))
            }
        }
    }

    /// Returns the error of a refusal, as a client gets it.
    async fn refused(
        &self,
        request: &CheckedRequest,
        refusal: SubmitRefusal,
        prepared: Prepared<'_>,
        missing_files: Vec<FieldError>,
    ) -> ServiceError {
        let node = &request.node;
        match refusal {
            SubmitRefusal::OtherInput => ServiceError::OtherInput {
                task: request.task.clone(),
                node: node.name.clone(),
            },
            SubmitRefusal::NoSource(groups) => {
                let groups = groups.into_iter().filter_map(|group| prepared.left.get(group));
                let mut errors: Vec<_> = groups.flat_map(|group| node.not_left_to_stages(group)).collect();
                // Refused it is anyway; all that is missing is named at once.
                errors.extend(self.inputs.check_inputs(&request.task, prepared.files).await.errors);
                ServiceError::Invalid(errors)
            }
            SubmitRefusal::InputsMissing => ServiceError::Invalid(missing_files),
            SubmitRefusal::Damaged(what) => ServiceError::Damaged {
                task: request.task.clone(),
                node: node.name.clone(),
                what,
            },
            SubmitRefusal::Full => {
                Limit::RedisMemory.reached();
                ServiceError::Full(self.store.fullness())
            }
            SubmitRefusal::TooManyCallbacks => self.too_many_callbacks(request),
            SubmitRefusal::TaskFull => self.task_full(&request.task),
            SubmitRefusal::KeyReused => ServiceError::KeyReused,
            SubmitRefusal::Superseded => ServiceError::Superseded,
            SubmitRefusal::DuplicateRun => ServiceError::AlreadyAsked,
            SubmitRefusal::NotReady => ServiceError::NotReady {
                node: node.name.clone(),
                missing: self.readiness.missing(node, &request.input),
            },
        }
    }

    fn task_full(&self, task: &TaskId) -> ServiceError {
        Limit::TaskInput.reached();
        let most = humane::bytes(self.store.options().bounds.task_input);
        ServiceError::TooLarge(FieldError::new(
            "input_data",
            format!(
                "with this one the inputs of task '{task}' would take more than {most} together (inputs.max_task); use \
                 another task_id"
            ),
        ))
    }

    fn check_size(&self, input: &str) -> Result<(), ServiceError> {
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
        Err(ServiceError::TooLarge(FieldError::new("input_data", message)))
    }

    fn too_many_callbacks(&self, request: &CheckedRequest) -> ServiceError {
        Limit::CallbacksOfRun.reached();
        ServiceError::TooManyCallbacks {
            task: request.task.clone(),
            node: request.node.name.clone(),
            most: self.store.options().bounds.callbacks,
        }
    }

    /// Builds the answer of a finished stage. It has no result where the task does not show that one any more: then
    /// there is no `record`.
    fn answer_hit(
        &self,
        request: &CheckedRequest,
        input_changed: Option<bool>,
        records: &TaskRecords,
        record: Option<&StageRecord>,
    ) -> Result<SubmitResponse, ServiceError> {
        let node = &request.node;
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
        let view = match record {
            Some(_) => self.views.build_view(records, &request.task, Some(&node.name))?,
            None => None,
        };
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
                sentences::with_warnings(warned)
            ),
            reuse_info: info,
            result: result.map(Box::new),
            warnings: Vec::new(),
        })
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

/// The answer to a request that started a run.
fn started(request: &CheckedRequest, reason: String, run: RunId) -> SubmitResponse {
    SubmitResponse {
        task_id: request.task.clone(),
        status: TaskStatus::Pending,
        message: format!("queued: {}", sentences::in_words(&reason)),
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
