//! The catalog: every node with its parameters, outputs and readiness.

use axum::{Json, extract::State};
use onceover_common::{
    NodeName, Problem, ProblemKind,
    wire::{NodeInfo, NodeList},
};
use serde_json::Map;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ApiError, AppState, extract::NodePath};

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_nodes))
        .routes(routes!(get_node))
}

/// Every node: what it takes and gives, when its results are reused, whether it can run here
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes",
    responses((status = 200, description = "Every node of the catalog", body = NodeList)))]
async fn list_nodes(State(state): State<AppState>) -> Json<NodeList> {
    let engine = &state.engine;
    let nodes: Vec<_> = engine
        .catalog
        .iter()
        .map(|node| NodeInfo::new(node, engine.readiness.missing(node, &Map::new())))
        .collect();
    Json(NodeList {
        total_count: nodes.len(),
        nodes,
    })
}

/// One node
#[utoipa::path(get, path = "/v1/nodes/{task_name}", tag = "nodes", params(("task_name" = NodeName, Path)),
    responses((status = 200, description = "The node", body = NodeInfo), (status = 404), (status = 422)))]
async fn get_node(State(state): State<AppState>, NodePath(name): NodePath) -> Result<Json<NodeInfo>, ApiError> {
    let Some(node) = state.engine.catalog.get(name.as_str()) else {
        let detail = format!("there is no node '{name}'; GET /v1/nodes lists them");
        return Err(Problem::new(ProblemKind::UnknownNode, detail).into());
    };
    let missing = state.engine.readiness.missing(node, &Map::new());
    Ok(Json(NodeInfo::new(node, missing)))
}
