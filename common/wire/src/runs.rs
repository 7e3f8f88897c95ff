//! What happened before: how often each node ran, how long that took, and what reuse saved.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use onceover_types::NodeName;

/// `GET /v1/nodes/statistics`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeStatistics {
    pub nodes: IndexMap<NodeName, NodeFigures>,
}

/// What was counted of one node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeFigures {
    /// Runs that succeeded.
    pub runs: u64,
    pub failed: u64,
    pub hits: u64,
    pub saved_ms: u64,
    /// Half of the runs took no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<u64>,
    /// Of twenty runs nineteen took no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ms: Option<u64>,
    /// Seconds of media that a second of run time gets through, where the node reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
}
