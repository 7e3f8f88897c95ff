//! Submit: the decision of R1 to R5, and what surrounds it: checking the request, looking at a hit's files,
//! taking over foreign results, and the answer.

use std::sync::Arc;

use onceover_common::{
    FieldError, NodeName, RunId, StageState, TaskId, TaskStatus, Timestamp,
    catalog::{NodeSpec, ValueKind},
    wire::{ReuseInfo, ReuseMode, SubmitRequest, SubmitResponse},
};
use serde_json::{Map, Value};

use super::{Engine, EngineError, artifacts, foreign::ForeignStage, input, view};
use crate::catalog::is_placeholder;
use crate::store::{Adoption, Decision, ForeignJson, StoreError, Submit};

/// A checked submit.
#[derive(Debug, Clone)]
pub struct Request {
    pub task: TaskId,
    pub node: Arc<NodeSpec>,
    pub input: Map<String, Value>,
    pub callback: Option<String>,
    pub reuse: ReuseMode,
}

/// A stage that changes with every look is somebody else's race, not ours to win.
const ROUNDS: usize = 8;

impl Engine {
    /// Checks a request as a client sent it (O4): nothing is stored for one that is refused.
    pub fn check(&self, request: SubmitRequest) -> Result<Request, EngineError> {
        let mut errors = Vec::new();
        let task = match request.task_id.as_deref().map(TaskId::parse) {
            None => Some(TaskId::generate()),
            Some(Ok(task)) => Some(task),
            Some(Err(error)) => {
                errors.push(FieldError::new("task_id", error.to_string()));
                None
            }
        };
        let node = self.catalog.get(&request.task_name);
        match node {
            Some(node) => errors.extend(self.check_input(node, &request.input_data)),
            None => {
                let same_service: Vec<_> = self
                    .catalog
                    .iter()
                    .map(|node| node.name.as_str())
                    .filter(|name| name.split('.').next() == request.task_name.split('.').next())
                    .collect();
                let hint = if same_service.is_empty() {
                    "GET /v1/tasks/supported-tasks lists them".to_owned()
                } else {
                    format!("there are {}", same_service.join(", "))
                };
                errors.push(FieldError::new(
                    "task_name",
                    format!(
                        "there is no node '{}'; {hint}",
                        request.task_name.chars().take(128).collect::<String>()
                    ),
                ));
            }
        }
        let callback = match request.callback.as_deref().map(|url| self.guard.check_url(url)) {
            None => None,
            Some(Ok(url)) => Some(url.to_string()),
            Some(Err(message)) => {
                errors.push(FieldError::new("callback", message));
                None
            }
        };
        match (task, node) {
            (Some(task), Some(node)) if errors.is_empty() => Ok(Request {
                task,
                node: Arc::new(node.clone()),
                input: request.input_data,
                callback,
                reuse: request.reuse.unwrap_or_default(),
            }),
            _ => Err(EngineError::Invalid(errors)),
        }
    }

    fn check_input(&self, node: &NodeSpec, input: &Map<String, Value>) -> Vec<FieldError> {
        let later = |field: &str| {
            let name = field.strip_prefix("input_data.").unwrap_or(field);
            input.get(name).is_some_and(is_placeholder)
        };
        // A reference to an earlier stage's output is resolved, and checked, when the run starts.
        let mut errors = node.check_input(input);
        errors.retain(|error| !later(&error.field));
        for parameter in node
            .parameters
            .iter()
            .filter(|parameter| parameter.kind == ValueKind::Path)
        {
            let Some(Value::String(path)) = input.get(&parameter.name) else {
                continue;
            };
            if path.is_empty() || later(&parameter.name) {
                continue;
            }
            if let Err(message) = self.roots.lexically_allowed(path) {
                let field = format!("input_data.{}", parameter.name);
                if errors.iter().all(|error| error.field != field) {
                    errors.push(FieldError::new(field, message));
                }
            }
        }
        errors
    }

    /// Decides, claims and answers.
    pub async fn submit(&self, request: &Request) -> Result<SubmitResponse, EngineError> {
        if self.draining.is_cancelled() {
            return Err(EngineError::Draining);
        }
        let decided = self.decide(request).await;
        match &decided {
            Ok(response) => self.metrics.submitted(&response.reuse_info),
            Err(_) => self.metrics.undecided(request.node.name.as_str()),
        }
        decided
    }

    async fn decide(&self, request: &Request) -> Result<SubmitResponse, EngineError> {
        let node = &request.node;
        let shown = serde_json::to_string(&input::public(&request.input)).expect("JSON can be written");
        let whole = serde_json::to_string(&request.input).expect("JSON can be written");
        let fingerprint = input::fingerprint(&request.input);
        let folder = self.task_folder(&request.task).display().to_string();
        let run = RunId::generate();
        let delivery = format!("hit.{}", RunId::generate());
        let (mut verified, mut broken, mut ignore) = (None, None, None::<String>);
        for _ in 0..ROUNDS {
            let decision = self
                .store
                .submit(&Submit {
                    task: &request.task,
                    node: &node.name,
                    mode: request.reuse,
                    run: &run,
                    queue: &node.queue,
                    runner: node.runner.kind(),
                    input: &whole,
                    input_public: &shown,
                    fingerprint: &fingerprint,
                    path: &folder,
                    callback: request.callback.as_deref(),
                    delivery: &delivery,
                    verified: verified.as_deref(),
                    broken: broken.as_deref(),
                    ignore: ignore.as_deref(),
                })
                .await?;
            match decision {
                Decision::Verify { token, artifacts } => {
                    let intact = tokio::task::spawn_blocking(move || artifacts::whole(&artifacts))
                        .await
                        .map_err(|error| EngineError::Refused(format!("the files could not be looked at: {error}")))?;
                    if intact {
                        verified = Some(token)
                    } else {
                        broken = Some(token)
                    }
                }
                Decision::Foreign(json) => match self.take_over(&request.task, node, &json).await? {
                    TakenOver::Adopted => {}
                    // There may be one under each spelling.
                    TakenOver::Useless => ignore = Some(ignore.unwrap_or_default() + " " + &json.sha),
                    TakenOver::InFlight(state) => return Ok(joined(request, state, None)),
                },
                Decision::Hit { input_changed, records } => {
                    if request.callback.is_some() {
                        self.hub.outbox_grew();
                    }
                    let record = records.stage(&node.name);
                    let info = ReuseInfo {
                        reuse_hit: true,
                        task_name: node.name.to_string(),
                        source: Some("redis".into()),
                        cached_at: record.and_then(|record| record.result_ended()),
                        input_changed: Some(input_changed),
                        saved_seconds: record.map(|record| record.result_duration()),
                        ..ReuseInfo::default()
                    };
                    let view = view::task_view(&records, &self.view_of(&request.task, Some(&node.name)))?;
                    return Ok(SubmitResponse {
                        task_id: request.task.clone(),
                        status: TaskStatus::Completed,
                        message: format!("reused: {} has already succeeded under this task", node.name),
                        reuse_info: info,
                        result: view.map(Box::new),
                    });
                }
                Decision::Joined { state, run } => return Ok(joined(request, state, Some(run))),
                Decision::Started { reason, run } => {
                    self.hub.run_queued(&node.queue);
                    return Ok(SubmitResponse {
                        task_id: request.task.clone(),
                        status: TaskStatus::Pending,
                        message: format!("queued: {}", started_because(&reason)),
                        reuse_info: ReuseInfo {
                            reuse_hit: false,
                            task_name: node.name.to_string(),
                            reason: Some(reason),
                            run_id: Some(run),
                            ..ReuseInfo::default()
                        },
                        result: None,
                    });
                }
            }
        }
        Err(StoreError::Unavailable(format!(
            "{} of '{}' changed {ROUNDS} times while it was looked at; try again",
            node.name, request.task
        ))
        .into())
    }

    /// The stored request of a stage again, same task.
    pub async fn resubmit(
        &self,
        task: &TaskId,
        node: Option<&NodeName>,
        reuse: ReuseMode,
    ) -> Result<SubmitResponse, EngineError> {
        let (records, _) = self.store.read(task).await?;
        if records.is_empty() {
            return Err(EngineError::UnknownTask(task.clone()));
        }
        let newest = records
            .newest()
            .or_else(|| records.stages.last().map(|(name, _)| name.clone()));
        let newest = newest.or_else(|| records.foreign.last().map(|(name, _)| name.clone()));
        let Some(node) = node.cloned().or(newest) else {
            return Err(EngineError::UnknownTask(task.clone()));
        };
        let unknown = || EngineError::UnknownStage {
            task: task.clone(),
            node: node.clone(),
        };
        let (input, callback) = match records.stage(&node) {
            Some(record) => {
                let input = serde_json::from_str(record.input())
                    .map_err(|error| StoreError::Unexpected(format!("the stored request is broken: {error}")))?;
                (input, record.callback())
            }
            None => {
                let (_, json) = records
                    .foreign
                    .iter()
                    .find(|(name, _)| *name == node)
                    .ok_or_else(unknown)?;
                let stage = ForeignStage::read(&node, json, self.store.options().ttl.as_secs(), Timestamp::now());
                (stage.ok_or_else(unknown)?.input, None)
            }
        };
        let request = self.check(SubmitRequest {
            task_name: node.to_string(),
            task_id: Some(task.to_string()),
            callback,
            input_data: input,
            reuse: Some(reuse),
        })?;
        self.submit(&request).await
    }

    /// Makes a finished foreign result a record of ours.
    pub async fn take_over(
        &self,
        task: &TaskId,
        node: &NodeSpec,
        json: &ForeignJson,
    ) -> Result<TakenOver, EngineError> {
        let stage = match self.judge(node, json) {
            Judged::Finished(stage) => stage,
            Judged::Useless => return Ok(TakenOver::Useless),
            Judged::InFlight(state) => return Ok(TakenOver::InFlight(state)),
        };
        let text = |object: &Map<String, Value>| serde_json::to_string(object).expect("JSON can be written");
        self.store
            .adopt(&Adoption {
                task,
                node: &node.name,
                foreign: json,
                queue: &node.queue,
                state: stage.state,
                input: &text(&stage.input),
                input_public: &text(&input::public(&stage.input)),
                output: &text(&stage.output),
                reusable: node.output_is_reusable(&stage.output),
                error: stage.error.as_deref(),
                duration_ms: (stage.duration * 1000.0) as i64,
                ended_ms: stage.written.as_millis(),
                path: &self.task_folder(task).display().to_string(),
            })
            .await?;
        // Taken over or changed meanwhile: the next round sees which.
        Ok(TakenOver::Adopted)
    }

    /// The same without a trace: what [`Engine::take_over`] would answer.
    pub fn would_take_over(&self, node: &NodeSpec, json: &ForeignJson) -> TakenOver {
        match self.judge(node, json) {
            Judged::Finished(_) => TakenOver::Adopted,
            Judged::Useless => TakenOver::Useless,
            Judged::InFlight(state) => TakenOver::InFlight(state),
        }
    }

    fn judge(&self, node: &NodeSpec, json: &ForeignJson) -> Judged {
        let now = Timestamp::now();
        match ForeignStage::read(&node.name, json, self.store.options().ttl.as_secs(), now) {
            None => Judged::Useless,
            Some(stage) if stage.is_lost(now) => Judged::Useless,
            Some(stage) if stage.state.in_flight() => Judged::InFlight(stage.state),
            Some(stage) => Judged::Finished(Box::new(stage)),
        }
    }
}

/// What a foreign JSON is worth.
enum Judged {
    Finished(Box<ForeignStage>),
    Useless,
    InFlight(StageState),
}

/// What became of a foreign result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenOver {
    Adopted,
    /// Unreadable or lost: it stands in nobody's way.
    Useless,
    InFlight(StageState),
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
            state: Some("pending".into()),
            stage_status: Some(state),
            run_id: run,
            ..ReuseInfo::default()
        },
        result: None,
    }
}

fn started_because(reason: &str) -> &str {
    match reason {
        "absent" => "no earlier run of this node under this task",
        "failed" => "the last run failed",
        "cancelled" => "the last run was cancelled",
        "empty_output" => "the last run succeeded without the output that counts",
        "forced" => "asked to run whatever is stored",
        "input_changed" => "the stored result came from other input",
        "artifact_missing" => "files of the stored result are gone or changed",
        "lost" => "another worker began it and was not heard of for two hours",
        other => other,
    }
}
