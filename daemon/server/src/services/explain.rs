//! Why a stage would be reused, or would run: the decision of a submit, without its effects (R8).

use std::sync::Arc;

use onceover_catalog::{Catalog, NodeSpec, ParameterSpec};
use onceover_types::{NodeName, StageState, TaskId};
use onceover_wire::{ReuseDecision, ReuseExplanation, ReuseMode};
use serde_json::{Map, Value};

use super::{
    CheckedRequest, ServiceError,
    artifact_checks::check_artifacts,
    decisions::ROUNDS,
    evidence::InputEvidence,
    foreign::ForeignStage,
    input,
    request::reuse_rule,
    sentences::{in_words, with_warnings},
    task_views::TaskViews,
};
use crate::readiness::Readiness;
use onceover_store::{
    Explained, ForeignJson, GatheredEvidence, InputsFound, ReuseQuery, ReuseRule, StageRecord, Store, TaskRecords,
    VerificationRequest,
};

/// Explains how submits would be decided.
pub struct Explanations {
    store: Store,
    catalog: Arc<Catalog>,
    readiness: Arc<Readiness>,
    inputs: InputEvidence,
    views: TaskViews,
}

impl Explanations {
    pub fn new(
        store: Store,
        catalog: Arc<Catalog>,
        readiness: Arc<Readiness>,
        inputs: InputEvidence,
        views: TaskViews,
    ) -> Self {
        Self {
            store,
            catalog,
            readiness,
            inputs,
            views,
        }
    }

    /// How `POST /v1/tasks` with the stage's stored request would be decided now.
    pub async fn explain_reuse(
        &self,
        task: &TaskId,
        name: &NodeName,
        reuse: Option<ReuseMode>,
    ) -> Result<ReuseExplanation, ServiceError> {
        let records = self.views.read_records(task).await?;
        let Some(node) = self.catalog.shared(name.as_str()) else {
            let has_stage = records.stage(name).is_some() || self.views.held(&records).stages.contains_key(name);
            return match has_stage {
                true => Ok(of_no_node(task, name, reuse)),
                false => Err(ServiceError::UnknownStage {
                    task: task.clone(),
                    node: name.clone(),
                }),
            };
        };
        let stored = self.views.stored_request(task, &records, name)?;
        let mut request = stored.map(|(input, _)| input).unwrap_or_default();
        node.add_configured_defaults(&mut request);
        self.explain_input((task, node), &records, &request, reuse).await
    }

    /// How a checked submit would be decided now.
    pub async fn explain_request(&self, request: &CheckedRequest) -> Result<ReuseExplanation, ServiceError> {
        let CheckedRequest { task, node, input, .. } = request;
        let records = self.views.read_records(task).await?;
        self.explain_input((task, node), &records, input, request.reuse).await
    }

    /// How a submit of the stage with this input would be decided now.
    async fn explain_input(
        &self,
        (task, node): (&TaskId, &Arc<NodeSpec>),
        records: &TaskRecords,
        request: &Map<String, Value>,
        reuse: Option<ReuseMode>,
    ) -> Result<ReuseExplanation, ServiceError> {
        let explained = self.decide_again(task, node, request, reuse).await?;
        if explained.decision != ReuseDecision::Run {
            return Ok(explained);
        }
        let node = self.catalog.for_input(node.name.as_str(), request).unwrap_or(node);
        let held = self.views.held(records).stages;
        let has_stage = |name: &NodeName| records.stage(name).is_some() || held.contains_key(name);
        let has_source = |group: &Vec<&ParameterSpec>| {
            let mut fallbacks = group.iter().flat_map(|parameter| &parameter.fallbacks);
            fallbacks.any(|fallback| has_stage(&fallback.node))
        };
        let files = self.inputs.input_files(task, node, request);
        let inputs = self.inputs.check_inputs(task, files).await;
        let are_missing = match inputs.found() {
            InputsFound::Present => false,
            InputsFound::Missing => true,
            InputsFound::MayCome => !records.stages.iter().any(|(_, record)| record.state.in_flight()),
        };
        let (reason, message) = if !node.left_to_stages(request).iter().all(has_source) {
            ("input_missing", None)
        } else if are_missing {
            let errors: Vec<_> = inputs.errors.into_iter().map(|error| error.message).collect();
            (
                "input_missing",
                Some(format!("would be refused: {}", errors.join("; "))),
            )
        } else if !self.readiness.missing(node, request).is_empty() {
            ("not_ready", None)
        } else {
            return Ok(explained);
        };
        Ok(ReuseExplanation {
            decision: ReuseDecision::Refuse,
            reason: reason.to_owned(),
            message: message.unwrap_or_else(|| in_a_sentence(ReuseDecision::Refuse, reason)),
            ..explained
        })
    }

    /// What is stored, against the stage's request.
    async fn decide_again(
        &self,
        task: &TaskId,
        node: &Arc<NodeSpec>,
        request: &Map<String, Value>,
        reuse: Option<ReuseMode>,
    ) -> Result<ReuseExplanation, ServiceError> {
        let name = &node.name;
        let fingerprint = input::fingerprint(request);
        let mode = reuse_rule(reuse, node.reuse);
        let files = self.inputs.files_evidence(task, node, request, mode).await;
        let question = ReuseQuery {
            task,
            node: name,
            mode,
            fingerprint: &fingerprint,
            files: files.as_deref(),
        };
        let mut looked = GatheredEvidence::default();
        for _ in 0..ROUNDS {
            match self.store.explain(&question, &looked).await? {
                Explained::Ask(VerificationRequest::Verify { token, artifacts }) => {
                    check_artifacts(&mut looked, &token, artifacts, self.inputs.objects()).await?;
                }
                Explained::Ask(VerificationRequest::Foreign(json)) => {
                    match self.explain_foreign(&question, node, &json) {
                        Some(explained) => return Ok(explained),
                        None => looked.set_aside(&json.sha),
                    }
                }
                Explained::Hit { input_changed, record } => {
                    return Ok(ReuseExplanation {
                        input_changed,
                        ..hit(&question, node, &record)
                    });
                }
                Explained::InFlight { record, position } => {
                    return Ok(ReuseExplanation {
                        run_id: record.run(),
                        stage_status: Some(record.state),
                        queue_position: position.map(|before| before + 1),
                        started_because: record.summary().reason,
                        ..answer(&question, node, ReuseDecision::Join, "in_flight")
                    });
                }
                Explained::Run { reason, record } => {
                    return Ok(miss(&question, node, &reason, record.as_ref()));
                }
                Explained::Damaged(what) => {
                    return Err(ServiceError::Damaged {
                        task: task.clone(),
                        node: name.clone(),
                        what,
                    });
                }
                Explained::Refused { input_changed } => {
                    let reason = match input_changed {
                        None => "input_unknown",
                        Some(_) => "input_changed",
                    };
                    return Ok(ReuseExplanation {
                        input_changed,
                        ..answer(&question, node, ReuseDecision::Refuse, reason)
                    });
                }
            }
        }
        Err(ServiceError::Unavailable(format!(
            "{name} of '{task}' changed while it was looked at; try again"
        )))
    }

    /// A submit would take a foreign result over first; what it would then decide. None: it would set it aside.
    fn explain_foreign(
        &self,
        question: &ReuseQuery<'_>,
        node: &NodeSpec,
        json: &ForeignJson,
    ) -> Option<ReuseExplanation> {
        let now = self.store.now();
        let stage = ForeignStage::read(question.node, json, self.store.options().ttl.as_secs(), now)?;
        if stage.is_lost(now) {
            return None;
        }
        let empty = || !node.output_is_reusable(&stage.output);
        let (decision, reason) = match (stage.state, question.mode) {
            (StageState::Pending | StageState::Running, _) => (ReuseDecision::Join, "in_flight"),
            (StageState::Failed, _) => (ReuseDecision::Run, "failed"),
            (StageState::Cancelled, _) => (ReuseDecision::Run, "cancelled"),
            (StageState::Success, _) if empty() => (ReuseDecision::Run, "empty_output"),
            (StageState::Success, ReuseRule::Never) => (ReuseDecision::Run, "forced"),
            (StageState::Success, ReuseRule::Off) => (ReuseDecision::Run, "policy_off"),
            // What it was made from is not known, and unknown is never equal.
            (StageState::Success, ReuseRule::Strict) => (ReuseDecision::Run, "input_unknown"),
            (StageState::Success, ReuseRule::Refuse) => (ReuseDecision::Refuse, "input_changed"),
            (StageState::Success, ReuseRule::Auto) => (ReuseDecision::Hit, "hit"),
        };
        let warned = stage.warned();
        Some(ReuseExplanation {
            warnings: warned.warnings,
            warnings_retryable: warned.retryable,
            stage_status: Some(stage.state),
            cached_at: (decision == ReuseDecision::Hit).then_some(stage.written),
            saved_seconds: (decision == ReuseDecision::Hit).then_some(stage.duration),
            error: stage.error.clone(),
            ..answer(question, node, decision, reason)
        })
    }
}

fn in_a_sentence(decision: ReuseDecision, reason: &str) -> String {
    let verdict = match decision {
        ReuseDecision::Hit => "would be reused",
        ReuseDecision::Join => "would be waited for",
        ReuseDecision::Run => "would run",
        ReuseDecision::Refuse => "would be refused",
    };
    format!("{verdict}: {}", in_words(reason))
}

/// A stage of another worker whose node nobody can ask for here.
fn of_no_node(task: &TaskId, name: &NodeName, reuse: Option<ReuseMode>) -> ReuseExplanation {
    let mode = reuse.unwrap_or_default().into();
    bare(task, name, mode, ReuseDecision::Refuse, "unknown_node")
}

fn answer(question: &ReuseQuery<'_>, node: &NodeSpec, decision: ReuseDecision, reason: &str) -> ReuseExplanation {
    ReuseExplanation {
        reuse_fields: node.reuse_fields.clone(),
        ..bare(question.task, question.node, question.mode, decision, reason)
    }
}

/// A stage whose result would be reused.
fn hit(question: &ReuseQuery<'_>, node: &NodeSpec, record: &StageRecord) -> ReuseExplanation {
    let warned = record.warned();
    ReuseExplanation {
        run_id: record.run(),
        cached_at: record.result_ended(),
        saved_seconds: Some(record.result_duration()),
        warnings: warned.warnings,
        warnings_retryable: warned.retryable,
        message: in_a_sentence(ReuseDecision::Hit, "hit") + &with_warnings(warned),
        ..answer(question, node, ReuseDecision::Hit, "hit")
    }
}

/// A stage that would run, and what is known of its last run.
fn miss(question: &ReuseQuery<'_>, node: &NodeSpec, reason: &str, record: Option<&StageRecord>) -> ReuseExplanation {
    let warned = record.map(StageRecord::warned).unwrap_or_default();
    ReuseExplanation {
        warnings: warned.warnings,
        warnings_retryable: warned.retryable,
        run_id: record.and_then(|record| record.run()),
        stage_status: record.map(|record| record.state),
        error: record.and_then(|record| record.error()),
        ..answer(question, node, ReuseDecision::Run, reason)
    }
}

/// The decision and its reason, without what is known of a stage.
fn bare(task: &TaskId, name: &NodeName, mode: ReuseRule, decision: ReuseDecision, reason: &str) -> ReuseExplanation {
    ReuseExplanation {
        task_id: task.clone(),
        task_name: name.clone(),
        mode,
        decision,
        reason: reason.to_owned(),
        message: in_a_sentence(decision, reason),
        reuse_fields: Vec::new(),
        run_id: None,
        stage_status: None,
        queue_position: None,
        started_because: None,
        input_changed: None,
        cached_at: None,
        saved_seconds: None,
        warnings: 0,
        warnings_retryable: false,
        error: None,
    }
}
