//! A submit request, checked: what is refused here is stored nowhere (O4).

use std::sync::Arc;

use onceover_common::{
    FieldError, TaskId,
    catalog::{NodeSpec, RunnerSpec, ValueKind},
    wire::{ReuseMode, SubmitRequest},
};
use serde_json::{Map, Value};
use url::Url;

use super::{Engine, EngineError};
use crate::{catalog::is_placeholder, executor::download::is_url, nodes, readiness::is_model_path, store::PipelineRun};

/// A checked submit.
#[derive(Debug, Clone)]
pub struct Request {
    pub task: TaskId,
    pub node: Arc<NodeSpec>,
    pub input: Map<String, Value>,
    pub callback: Option<Url>,
    /// What the request said about reuse; the node's policy when it said nothing.
    pub reuse: Option<ReuseMode>,
    /// The pipeline that asks, if one does.
    pub pipeline: Option<PipelineRun>,
}

impl Request {
    /// How a stored result is to be treated, as the store takes it.
    pub fn mode(&self) -> &'static str {
        self.reuse.map_or(self.node.reuse.as_str(), ReuseMode::as_str)
    }
}

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
            Some(node) => errors.extend(self.check_input(node, task.as_ref(), &request.input_data)),
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
            Some(Ok(url)) => Some(url),
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
                reuse: request.reuse,
                pipeline: None,
            }),
            _ => Err(EngineError::Invalid(errors)),
        }
    }

    /// `task`: None when its id is refused.
    fn check_input(&self, node: &NodeSpec, task: Option<&TaskId>, input: &Map<String, Value>) -> Vec<FieldError> {
        // A reference to an earlier stage's output is resolved, and its value checked, when the run starts.
        let refers = |name: &str| input.get(name).is_some_and(is_placeholder);
        let mut errors = node.check_input(input);
        errors.retain(|error| !error.field.strip_prefix("input_data.").is_some_and(refers));
        for parameter in node
            .parameters
            .iter()
            .filter(|parameter| parameter.kind == ValueKind::Path)
        {
            let Some((name, Value::String(path))) = parameter.given(input) else {
                continue;
            };
            if path.is_empty() || refers(name) {
                continue;
            }
            let judged = if is_url(path) {
                self.downloads.check(path).map(drop)
            } else {
                let path = task.map_or(path.into(), |task| self.roots.under_task(task, path));
                self.roots.lexically_allowed(&path)
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
                && let Err(message) = self.roots.lexically_allowed(path)
            {
                errors.push(FieldError::new(format!("input_data.{name}"), message));
            }
        }
        errors
    }
}
