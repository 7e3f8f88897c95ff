//! The catalog over HTTP: each node with its parameters and outputs, and whether it can run on the daemon's machine.

use serde::{Deserialize, Serialize};
use serde_json::Map;

use onceover_catalog::{DeviceQueues, Example, Gpu, Needs, NodeSpec, OutputSpec, ParameterSpec, ReusePolicy};
use onceover_types::{Missing, NodeName, RunnerKind};

/// `GET /v1/nodes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeList {
    pub nodes: Vec<NodeInfo>,
    pub total_count: usize,
}

/// `GET /v1/nodes/{task_name}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeInfo {
    pub name: NodeName,
    /// The part of the name before the dot.
    pub service: String,
    pub title: String,
    pub purpose: String,
    /// Resource class whose slots a run with the node's defaults uses on the daemon's machine.
    pub queue: String,
    /// Where the class depends on the device that a run computes on: the classes, and the parameter. Absent if every
    /// run uses `queue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_by: Option<DeviceQueues>,
    /// A run that takes longer is ended and FAILED.
    pub timeout_seconds: u64,
    pub runner: RunnerKind,
    /// Whether its process keeps its model between runs. Absent if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warm: bool,
    /// How a request that says nothing about reuse is treated.
    pub reuse: ReusePolicy,
    /// Output fields that must be present and non-empty for a hit (R2); none: the output must not be empty.
    pub reuse_fields: Vec<String>,
    pub needs: Needs,
    pub parameters: Vec<ParameterSpec>,
    /// Groups of parameters; of each group at least one must come from the request or an earlier stage.
    pub one_of: Vec<Vec<String>>,
    pub outputs: Vec<OutputSpec>,
    /// How far the node has been tested, if it was not tested completely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Example>,
    pub readiness: NodeReadiness,
}

/// Whether a run with the node's defaults could start on the daemon's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeReadiness {
    pub ready: bool,
    pub missing: Vec<Missing>,
}

impl NodeInfo {
    /// Describes a node on a machine where `missing` is missing for it.
    pub fn new(spec: &NodeSpec, missing: Vec<Missing>, gpu: Gpu) -> Self {
        let queue = spec.queue_for(&Map::new(), gpu).to_owned();
        let spec = spec.clone();
        Self {
            service: spec.name.service().to_owned(),
            runner: spec.runner.kind(),
            warm: spec.runner.is_warm(),
            name: spec.name,
            title: spec.title,
            purpose: spec.purpose,
            queue,
            queue_by: spec.queue.by_device().cloned(),
            timeout_seconds: spec.timeout_seconds,
            reuse: spec.reuse,
            reuse_fields: spec.reuse_fields,
            needs: spec.needs,
            parameters: spec.parameters,
            one_of: spec.one_of,
            outputs: spec.outputs,
            tested: spec.tested,
            example: spec.example,
            readiness: NodeReadiness {
                ready: missing.is_empty(),
                missing,
            },
        }
    }
}
