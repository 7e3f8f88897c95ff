//! A submit request, checked: what is refused here is stored nowhere (O4).

use std::sync::Arc;

use indexmap::IndexSet;
use onceover_catalog::{Catalog, NodeSpec, ReusePolicy, RunnerSpec, ValueKind, completion::referenced_node};
use onceover_types::{FieldError, NodeName, TaskId, suggest::did_you_mean};
use onceover_wire::{ReuseMode, SubmitRequest, Warning, Warnings};
use serde_json::{Map, Value, json};
use url::Url;

use super::{ServiceError, input::fingerprint, unread::UnreadFields};
use crate::{
    config::UnknownFields,
    downloads::Downloads,
    evidence::{given_paths, is_url},
    readiness::is_model_path,
    ssrf_guard::SsrfGuard,
};
use onceover_nodes::{self as nodes, llm::Providers};
use onceover_run::paths::Roots;
use onceover_store::{IdempotencyKey, PipelineRun, ReuseRule};

/// What could be read of a submit. What is missing or cannot be read is in `errors`, so that all of it is named at once.
#[derive(Debug, Clone, Default)]
pub struct SubmitDraft {
    pub task_name: Option<String>,
    pub task_id: Option<String>,
    pub callback: Option<String>,
    pub input_data: Option<Map<String, Value>>,
    pub reuse: Option<ReuseMode>,
    /// What makes repeats of the request one task.
    pub idempotency_key: Option<String>,
    /// Names of fields that a submit does not have.
    pub unknown: Vec<String>,
    pub errors: Vec<FieldError>,
    pub warnings: Warnings,
}

impl From<SubmitRequest> for SubmitDraft {
    fn from(request: SubmitRequest) -> Self {
        Self {
            task_name: Some(request.task_name),
            task_id: request.task_id,
            callback: request.callback,
            input_data: Some(request.input_data),
            reuse: request.reuse,
            ..Self::default()
        }
    }
}

/// How a stored result is treated: as the request says, or else by the policy of the node (R8).
pub fn reuse_rule(reuse: Option<ReuseMode>, policy: ReusePolicy) -> ReuseRule {
    match (reuse, policy) {
        (Some(mode), _) => mode.into(),
        (None, ReusePolicy::Auto) => ReuseRule::Auto,
        (None, ReusePolicy::Strict) => ReuseRule::Strict,
        (None, ReusePolicy::Refuse) => ReuseRule::Refuse,
        (None, ReusePolicy::Off) => ReuseRule::Off,
    }
}

/// A checked submit.
#[derive(Debug, Clone)]
pub struct CheckedRequest {
    pub task: TaskId,
    pub node: Arc<NodeSpec>,
    pub input: Map<String, Value>,
    pub callback: Option<Url>,
    /// What the request said about reuse; the node's policy when it said nothing.
    pub reuse: Option<ReuseMode>,
    /// The pipeline that asks, if one does.
    pub pipeline: Option<PipelineRun>,
    /// What makes repeats of the request one task.
    pub key: Option<IdempotencyKey>,
    /// What was accepted although it is not all right.
    pub warnings: Vec<Warning>,
}

impl CheckedRequest {
    /// How a stored result is to be treated, as the store takes it.
    pub fn mode(&self) -> ReuseRule {
        reuse_rule(self.reuse, self.node.reuse)
    }

    /// The stages that a run takes from or follows, as far as the request says it.
    pub fn needs(&self) -> Vec<NodeName> {
        let followed = self.pipeline.iter().flat_map(|pipeline| pipeline.needs.iter().cloned());
        let named = self.input.values().filter_map(referenced_node);
        let all: IndexSet<NodeName> = followed.chain(named).collect();
        all.into_iter().collect()
    }

    /// The same request, as it was sent before with its key. That it forces a run has been heeded then.
    pub fn repeated_under(&self, task: TaskId) -> Self {
        Self {
            task,
            reuse: self.reuse.filter(|mode| *mode != ReuseMode::Never),
            ..self.clone()
        }
    }
}

/// Checks requests, as clients send them and as they are stored.
pub struct RequestChecks {
    catalog: Arc<Catalog>,
    roots: Arc<Roots>,
    /// Judges the URLs that are to be called back.
    guard: Arc<SsrfGuard>,
    /// Judges the URLs that inputs are to be fetched from.
    downloads: Arc<Downloads>,
    /// The language models that nodes may ask.
    providers: Providers,
}

impl RequestChecks {
    pub fn new(
        catalog: Arc<Catalog>,
        roots: Arc<Roots>,
        guard: Arc<SsrfGuard>,
        downloads: Arc<Downloads>,
        providers: Providers,
    ) -> Self {
        Self {
            catalog,
            roots,
            guard,
            downloads,
            providers,
        }
    }

    /// Checks a request as a client sent it (O4): nothing is stored for one that is refused. `unknown` says what becomes of
    /// fields that nothing reads.
    pub fn check_request(
        &self,
        draft: impl Into<SubmitDraft>,
        unknown: UnknownFields,
    ) -> Result<CheckedRequest, ServiceError> {
        let SubmitDraft {
            task_name,
            task_id,
            callback,
            input_data,
            reuse,
            idempotency_key,
            unknown: unknown_fields,
            mut errors,
            warnings,
        } = draft.into();
        let task = match task_id.as_deref().map(TaskId::parse) {
            None => Some(TaskId::generate()),
            Some(Ok(task)) => Some(task),
            Some(Err(error)) => {
                errors.push(FieldError::new("task_id", error.to_string()));
                None
            }
        };
        let node = task_name.as_deref().and_then(|name| match &input_data {
            Some(input) => self.catalog.for_input(name, input),
            None => self.catalog.shared(name),
        });
        if let (Some(name), None) = (&task_name, node) {
            let message = self.catalog.no_such_node(name, "GET /v1/tasks/supported-tasks");
            errors.push(FieldError::new("task_name", message));
        }
        if let (Some(node), Some(input)) = (node, &input_data) {
            errors.extend(self.check_input(node, task.as_ref(), input));
        }
        let mut unread = UnreadFields::new(unknown, warnings);
        for name in &unknown_fields {
            unread.add(name, || unknown_field(name, node.map(Arc::as_ref)));
        }
        if let (Some(node), Some(input)) = (node, &input_data) {
            for name in node.unknown_inputs(input) {
                unread.add(&format!("input_data.{name}"), || node.unknown_input(name));
            }
        }
        let (unread, warnings) = unread.finish();
        errors.extend(unread);
        let callback = match callback.as_deref().map(|url| self.guard.check_url(url)) {
            None => None,
            Some(Ok(url)) => Some(url),
            Some(Err(message)) => {
                errors.push(FieldError::new("callback", message));
                None
            }
        };
        match (task, node, input_data) {
            (Some(task), Some(node), Some(mut input)) if errors.is_empty() => {
                let key = idempotency_key.map(|key| {
                    // All of a request that decides what is done. Only hashes are stored.
                    let body = json!([node.name, fingerprint(&input), callback, reuse]);
                    IdempotencyKey {
                        key: blake3::hash(key.as_bytes()).to_hex().to_string(),
                        body: blake3::hash(body.to_string().as_bytes()).to_hex().to_string(),
                    }
                });
                node.add_configured_defaults(&mut input);
                Ok(CheckedRequest {
                    task,
                    key,
                    node: Arc::clone(node),
                    input,
                    callback,
                    reuse,
                    pipeline: None,
                    warnings: warnings.list(),
                })
            }
            _ => Err(ServiceError::Invalid(errors)),
        }
    }

    /// `task`: None when its id is refused.
    fn check_input(&self, node: &NodeSpec, task: Option<&TaskId>, input: &Map<String, Value>) -> Vec<FieldError> {
        let mut errors = node.check_input(input);
        for (name, path, _) in given_paths(node, input) {
            let judged = if is_url(path) {
                self.downloads.check(path).map(drop)
            } else {
                let path = task.map_or(path.into(), |task| self.roots.under_task(task, path));
                self.roots.check_text(&path)
            };
            if let Err(message) = judged {
                let field = format!("input_data.{name}");
                if errors.iter().all(|error| error.field != field) {
                    errors.push(FieldError::new(field, message));
                }
            }
        }
        if let RunnerSpec::Builtin(builtin) = &node.runner {
            errors.extend(nodes::check(builtin, input, &self.providers));
        }
        // A model is named, or a path; a path other than the configured one is an input like any other.
        for model in &node.needs.models {
            let parameter = node.parameter(&model.parameter);
            if let Some(parameter) = parameter.filter(|parameter| parameter.kind != ValueKind::Path)
                && let Some((name, value)) = parameter.given(input)
                && let Value::String(path) = value
                && is_model_path(path)
                && parameter.default.as_ref() != Some(value)
                && let Err(message) = self.roots.check_text(path)
            {
                errors.push(FieldError::new(format!("input_data.{name}"), message));
            }
        }
        errors
    }
}

/// What is wrong with a field that a submit does not have, and what was perhaps meant: another field, or a parameter.
fn unknown_field(name: &str, node: Option<&NodeSpec>) -> String {
    if node.is_some_and(|node| node.parameters.iter().any(|parameter| parameter.has_name(name))) {
        return format!("a submit has no such field; did you mean input_data.{name}?");
    }
    let fields = ["task_name", "task_id", "input_data", "callback", "reuse"];
    format!("a submit has no such field{}", did_you_mean(name, fields))
}
