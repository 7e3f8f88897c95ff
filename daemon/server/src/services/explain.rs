//! Why a stage would be reused, or would run: the decision of a submit, without its effects (R8).

use std::sync::Arc;

use onceover_catalog::{NodeSpec, ParameterSpec};
use onceover_types::{NodeName, StageState, TaskId, Timestamp};
use onceover_wire::{ReuseDecision, ReuseExplanation, ReuseMode, WarningCount};
use serde_json::{Map, Value};

use super::{Engine, EngineError, foreign::ForeignStage, input, submit};
use onceover_store::{
    Explained, ForeignJson, GatheredEvidence, InputsFound, ReuseQuery, StageRecord, StoreError, VerificationRequest,
};

/// A reason code as the rest of a sentence.
pub fn in_words(reason: &str) -> &str {
    match reason {
        "hit" => "the stage has succeeded and its output counts",
        "in_flight" => "a run of it is under way",
        "absent" => "no earlier run of this node under this task",
        "failed" => "the last run failed",
        "cancelled" => "the last run was cancelled",
        "empty_output" => "the last run succeeded without the output that counts",
        "forced" => "asked to run whatever is stored",
        "input_changed" => {
            "the stored result came from other input: other parameters, other files under the same names, or a stage that has run again since"
        }
        "input_unknown" => "whether the stored result came from the same files and stages is not known",
        "retryable_warnings" => "a warning of the stored result says that running again could give a better one",
        "artifact_missing" => "files of the stored result are gone",
        "artifact_changed" => "files of the stored result have changed since",
        "lost" => "the last run was lost: whoever ran it was not heard of any more",
        "not_ready" => "this machine lacks what the node needs",
        "unknown_node" => "no node of this name is in the catalog; another worker wrote the stage",
        "input_missing" => "nothing gives a parameter that was left to earlier stages",
        "policy_off" => "the results of this node are not reused, by its configuration",
        other => other,
    }
}

/// What a sentence about a reused result says of its warnings.
pub fn with_warnings(warned: WarningCount) -> String {
    let count = match warned.warnings {
        0 => return String::new(),
        1 => ", with a warning".to_owned(),
        count => format!(", with {count} warnings"),
    };
    match warned.retryable {
        true => count + " that another run could do without",
        false => count,
    }
}

impl Engine {
    /// How `POST /v1/tasks` with the stage's stored request would be decided now.
    pub async fn explain(
        &self,
        task: &TaskId,
        name: &NodeName,
        reuse: Option<ReuseMode>,
    ) -> Result<ReuseExplanation, EngineError> {
        let (records, _) = self.store.read(task).await?;
        let held = self.held(&records).stages;
        let has_stage = |name: &NodeName| records.stage(name).is_some() || held.contains_key(name);
        let Some(node) = self.catalog.shared(name.as_str()) else {
            return match has_stage(name) {
                true => Ok(of_no_node(task, name, reuse)),
                false => Err(EngineError::UnknownStage {
                    task: task.clone(),
                    node: name.clone(),
                }),
            };
        };
        let stored = self.stored_request(task, &records, name)?;
        let request = stored.map(|(input, _)| input).unwrap_or_default();
        let explained = self.decide_again(task, node, &request, reuse).await?;
        if explained.decision != ReuseDecision::Run {
            return Ok(explained);
        }
        let node = self.catalog.for_input(name.as_str(), &request).unwrap_or(node);
        let has_source = |group: &Vec<&ParameterSpec>| {
            let mut fallbacks = group.iter().flat_map(|parameter| &parameter.fallbacks);
            fallbacks.any(|fallback| has_stage(&fallback.node))
        };
        let files = self.input_files(task, node, &request);
        let inputs = self.look_at_inputs(task, files).await;
        let are_missing = match inputs.found() {
            InputsFound::Present => false,
            InputsFound::Missing => true,
            InputsFound::MayCome => !records.stages.iter().any(|(_, record)| record.state.in_flight()),
        };
        let (reason, message) = if !node.left_to_stages(&request).iter().all(has_source) {
            ("input_missing", None)
        } else if are_missing {
            let errors: Vec<_> = inputs.errors.into_iter().map(|error| error.message).collect();
            (
                "input_missing",
                Some(format!("would be refused: {}", errors.join("; "))),
            )
        } else if !self.readiness.missing(node, &request).is_empty() {
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
    ) -> Result<ReuseExplanation, EngineError> {
        let name = &node.name;
        let fingerprint = input::fingerprint(request);
        let mode = reuse.map_or(node.reuse.as_str(), ReuseMode::as_str);
        let files = self.files_evidence(task, node, request, mode).await;
        let question = ReuseQuery {
            task,
            node: name,
            mode,
            fingerprint: &fingerprint,
            files: files.as_deref(),
        };
        let mut looked = GatheredEvidence::default();
        for _ in 0..submit::ROUNDS {
            match self.store.explain(&question, &looked).await? {
                Explained::Ask(VerificationRequest::Verify { token, artifacts }) => {
                    submit::look_at_files(&mut looked, token, artifacts).await?;
                }
                Explained::Ask(VerificationRequest::Foreign(json)) => {
                    match self.explain_foreign(&question, node, &json) {
                        Some(explained) => return Ok(explained),
                        None => looked.set_aside(&json.sha),
                    }
                }
                Explained::Hit { input_changed, record } => {
                    let warned = record.warned();
                    return Ok(ReuseExplanation {
                        run_id: record.run(),
                        input_changed,
                        cached_at: record.result_ended(),
                        saved_seconds: Some(record.result_duration()),
                        warnings: warned.warnings,
                        warnings_retryable: warned.retryable,
                        message: in_a_sentence(ReuseDecision::Hit, "hit") + &with_warnings(warned),
                        ..answer(&question, node, ReuseDecision::Hit, "hit")
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
                    let warned = record.as_ref().map(StageRecord::warned).unwrap_or_default();
                    return Ok(ReuseExplanation {
                        warnings: warned.warnings,
                        warnings_retryable: warned.retryable,
                        run_id: record.as_ref().and_then(|record| record.run()),
                        stage_status: record.as_ref().map(|record| record.state),
                        error: record.as_ref().and_then(|record| record.error()),
                        ..answer(&question, node, ReuseDecision::Run, &reason)
                    });
                }
                Explained::Damaged(what) => {
                    return Err(EngineError::Damaged {
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
        Err(StoreError::Unavailable(format!("{name} of '{task}' changed while it was looked at; try again")).into())
    }

    /// A submit would take a foreign result over first; what it would then decide. None: it would set it aside.
    fn explain_foreign(
        &self,
        question: &ReuseQuery<'_>,
        node: &NodeSpec,
        json: &ForeignJson,
    ) -> Option<ReuseExplanation> {
        let now = Timestamp::now();
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
            (StageState::Success, "never") => (ReuseDecision::Run, "forced"),
            (StageState::Success, "off") => (ReuseDecision::Run, "policy_off"),
            // What it was made from is not known, and unknown is never equal.
            (StageState::Success, "strict") => (ReuseDecision::Run, "input_unknown"),
            (StageState::Success, "refuse") => (ReuseDecision::Refuse, "input_changed"),
            (StageState::Success, _) => (ReuseDecision::Hit, "hit"),
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
    let mode = reuse.unwrap_or_default().as_str();
    bare(task, name, mode, ReuseDecision::Refuse, "unknown_node")
}

fn answer(question: &ReuseQuery<'_>, node: &NodeSpec, decision: ReuseDecision, reason: &str) -> ReuseExplanation {
    ReuseExplanation {
        reuse_fields: node.reuse_fields.clone(),
        ..bare(question.task, question.node, question.mode, decision, reason)
    }
}

/// The decision and its reason, without what is known of a stage.
fn bare(task: &TaskId, name: &NodeName, mode: &str, decision: ReuseDecision, reason: &str) -> ReuseExplanation {
    ReuseExplanation {
        task_id: task.clone(),
        task_name: name.clone(),
        mode: mode.to_owned(),
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
