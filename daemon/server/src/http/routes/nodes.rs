//! The catalog: every node with its parameters, outputs and readiness.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use onceover_catalog::NodeSpec;
use onceover_types::{NodeName, Problem, ProblemKind};
use onceover_wire::{NodeInfo, NodeList};
use serde_json::Map;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{ApiError, AppState, extract::NodePath};

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_nodes))
        .routes(routes!(get_node))
        .routes(routes!(get_node_schema))
}

/// Every node: what it takes and gives, when its results are reused, whether it can run here
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes",
    responses((status = 200, description = "Every node of the catalog", body = NodeList)))]
async fn list_nodes(State(state): State<AppState>) -> Json<NodeList> {
    let engine = &state.engine;
    let nodes: Vec<_> = engine
        .catalog
        .iter()
        .map(|node| {
            NodeInfo::new(
                node,
                engine.readiness.missing(node, &Map::new()),
                engine.readiness.gpu(),
            )
        })
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
    let node = known_node(&state, &name)?;
    let readiness = &state.engine.readiness;
    let missing = readiness.missing(node, &Map::new());
    Ok(Json(NodeInfo::new(node, missing, readiness.gpu())))
}

/// The JSON Schema of a node's `input_data`
///
/// JSON Schema 2020-12. It accepts exactly what a submit is not refused for with 422 because of a parameter's type, range,
/// length or absence. Further fields are let through, null counts as left out, and a text `${{ stages.<node>.output.<field> }}`
/// stands for any value. `x-aliases` names other spellings of a parameter, `x-fallbacks` the outputs of earlier stages that
/// fill it where it is omitted.
#[utoipa::path(get, path = "/v1/nodes/{task_name}/schema", tag = "nodes", params(("task_name" = NodeName, Path)),
    responses((status = 200, description = "The schema", body = Object, content_type = "application/schema+json"),
        (status = 404), (status = 422)))]
async fn get_node_schema(State(state): State<AppState>, NodePath(name): NodePath) -> Result<Response, ApiError> {
    let schema = known_node(&state, &name)?.schema_document();
    Ok(([(header::CONTENT_TYPE, "application/schema+json")], schema.to_string()).into_response())
}

fn known_node<'a>(state: &'a AppState, name: &NodeName) -> Result<&'a NodeSpec, Problem> {
    state.engine.catalog.get(name.as_str()).ok_or_else(|| {
        let detail = state.engine.catalog.no_such_node(name.as_str(), "GET /v1/nodes");
        Problem::new(ProblemKind::UnknownNode, detail)
    })
}
