//! The catalog: every node with its parameters, outputs and readiness, and how its runs went.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use onceover_catalog::NodeSpec;
use onceover_types::{NodeName, Problem, ProblemKind};
use onceover_wire::{NodeInfo, NodeList, NodeStatistics};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{ApiError, AppState, extract::NodePath};
use crate::services::NodeCatalog;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_nodes))
        .routes(routes!(get_node_statistics))
        .routes(routes!(get_node))
        .routes(routes!(get_node_schema))
}

/// Every node: what it takes and gives, when its results are reused, whether it can run here
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes",
    responses((status = 200, description = "Every node of the catalog", body = NodeList)))]
async fn list_nodes(State(nodes): State<Arc<NodeCatalog>>) -> Json<NodeList> {
    let nodes: Vec<_> = nodes.specs().iter().map(|node| nodes.describe_node(node)).collect();
    Json(NodeList {
        total_count: nodes.len(),
        nodes,
    })
}

/// How long the runs of each node take, and how often they fail or are saved
///
/// Of the nodes of the catalog that have run or were reused, under all tasks, since this Redis database was created.
/// `p50_ms` and `p95_ms` are of runs that succeeded and at most 10 % off; runs that were cancelled do not count.
#[utoipa::path(get, path = "/v1/nodes/statistics", tag = "nodes",
    responses((status = 200, description = "The figures by node", body = NodeStatistics), (status = 503)))]
async fn get_node_statistics(State(nodes): State<Arc<NodeCatalog>>) -> Result<Json<NodeStatistics>, ApiError> {
    Ok(Json(nodes.read_statistics().await?))
}

/// One node
#[utoipa::path(get, path = "/v1/nodes/{task_name}", tag = "nodes", params(("task_name" = NodeName, Path)),
    responses((status = 200, description = "The node", body = NodeInfo), (status = 404), (status = 422)))]
async fn get_node(State(nodes): State<Arc<NodeCatalog>>, NodePath(name): NodePath) -> Result<Json<NodeInfo>, ApiError> {
    let node = known_node(&nodes, &name)?;
    Ok(Json(nodes.describe_node(node)))
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
async fn get_node_schema(
    State(nodes): State<Arc<NodeCatalog>>,
    NodePath(name): NodePath,
) -> Result<Response, ApiError> {
    let schema = known_node(&nodes, &name)?.schema_document();
    Ok(([(header::CONTENT_TYPE, "application/schema+json")], schema.to_string()).into_response())
}

fn known_node<'a>(nodes: &'a NodeCatalog, name: &NodeName) -> Result<&'a NodeSpec, Problem> {
    nodes.specs().get(name.as_str()).ok_or_else(|| {
        let detail = nodes.specs().no_such_node(name.as_str(), "GET /v1/nodes");
        Problem::new(ProblemKind::UnknownNode, detail)
    })
}
