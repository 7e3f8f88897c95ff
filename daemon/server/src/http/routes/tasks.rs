//! Submit, read and list tasks, and the runs of a stage.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use onceover_types::{NodeName, Problem, TaskId, TaskStatus};
use onceover_wire::{NodeStatus, StageRuns, SubmitRequest, SubmitResponse, SupportedTasks, TaskPage, TaskView};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{
    ApiError, AppState,
    body::SubmitBody,
    extract::{StagePath, TaskPath},
    page,
    query::Params,
};
use crate::{
    services::{ListedTasks, NodeCatalog, Submissions, SubmitAnswer, TaskViews, TasksPage},
    shared_body::SharedBody,
};

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(submit_task, list_tasks))
        .routes(routes!(list_supported_tasks))
        .routes(routes!(get_task_status))
        .routes(routes!(get_task_result))
        .routes(routes!(get_task))
        .routes(routes!(list_stage_runs))
}

/// Ask for a node to be run under a task
///
/// Answers at once: `completed` with the result when the stage has already succeeded (R2), `pending` when it is
/// under way (R3) or was queued now (R4). Whatever is asked at the same moment, one run starts (R5).
///
/// Fields that nothing reads are named under `warnings`; with `Prefer: handling=strict` they are refused.
#[utoipa::path(post, path = "/v1/tasks", tag = "tasks", request_body = SubmitRequest,
    params(
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", nullable = false,
            description = "Without `task_id`: the same key within a day is the same task, and with another request a 422"),
        ("Prefer" = Option<String>, Header, nullable = false, example = "handling=strict",
            description = "`handling=strict` refuses fields that nothing reads, instead of a warning for each")),
    responses((status = 200, description = "The decision: a hit with the result, or the run that was joined or queued", body = SubmitResponse),
        (status = 400),
        (status = 409, description = "The stored result is of other input, and the node refuses that; or this machine lacks what a run needs, see `missing`"),
        (status = 413), (status = 422), (status = 503)))]
async fn submit_task(State(submissions): State<Arc<Submissions>>, submitted: SubmitBody) -> Result<Response, ApiError> {
    let request = submissions.check_request(submitted.draft, submitted.unknown)?;
    Ok(match submissions.answer_request(&request).await? {
        SubmitAnswer::Built(response) => Json(response).into_response(),
        SubmitAnswer::Shared(hit) => hit.body().clone().into_response(),
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Only tasks that are this.
    #[param(value_type = TaskStatus, required = false)]
    status: Option<String>,
    /// Only tasks with a stage of this node.
    #[param(value_type = NodeName, required = false)]
    node: Option<String>,
    /// Text in the task id, a node name or an error; case does not matter.
    #[param(nullable = false)]
    search: Option<String>,
    /// Tasks on a page, 1 to 500.
    #[param(minimum = 1, maximum = 500, default = 50, nullable = false)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(nullable = false)]
    cursor: Option<String>,
}

/// List tasks, newest first
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", params(ListParams),
    responses((status = 200, description = "One page", body = TaskPage), (status = 422), (status = 503)))]
async fn list_tasks(
    State(views): State<Arc<TaskViews>>,
    Params(params): Params<ListParams>,
) -> Result<Response, ApiError> {
    fn wrong<E: std::fmt::Display>(field: &'static str) -> impl Fn(E) -> Problem {
        move |error| Problem::invalid_field(field, error.to_string())
    }
    let limit = page::limit(params.limit)?;
    let wanted = ListedTasks {
        status: params
            .status
            .map(|text| text.parse())
            .transpose()
            .map_err(wrong("status"))?,
        node: params
            .node
            .map(|text| NodeName::parse(&text))
            .transpose()
            .map_err(wrong("node"))?,
        search: params.search.filter(|text| !text.is_empty()),
    };
    let range = page::range(limit, params.cursor.as_deref())?;
    let found = views.list_tasks(wanted, &range).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], page_json(&found)).into_response())
}

/// The items are JSON already, put together where they are stored.
fn page_json(found: &TasksPage) -> String {
    let next = found.tasks.next.as_ref().map(page::write_cursor);
    let next = next.map_or_else(|| "null".to_owned(), |cursor| format!("\"{cursor}\""));
    format!(
        r#"{{"items":[{}],"next_cursor":{next},"seq":{}}}"#,
        found.tasks.items.join(","),
        found.seq
    )
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ViewParams {
    /// The node to address; else that of the newest request.
    #[param(value_type = NodeName, required = false)]
    task_name: Option<String>,
}

impl ViewParams {
    fn node(&self) -> Result<Option<NodeName>, ApiError> {
        let node = self.task_name.as_deref().map(NodeName::parse).transpose();
        node.map_err(|error| Problem::invalid_field("task_name", error.to_string()).into())
    }
}

/// Read a task with all its stages
#[utoipa::path(get, path = "/v1/tasks/{task_id}", tag = "tasks", params(("task_id" = TaskId, Path), ViewParams),
    responses((status = 200, description = "The task with every stage", body = TaskView), (status = 404),
        (status = 422), (status = 503)))]
async fn get_task(
    State(views): State<Arc<TaskViews>>,
    TaskPath(task): TaskPath,
    Params(params): Params<ViewParams>,
) -> Result<SharedBody, ApiError> {
    Ok(views.read_task(&task, params.node()?.as_ref()).await?)
}

/// Read what one node did under a task
///
/// Speaks of the addressed node: that of `task_name`, else that of the newest request. `task_status` is the whole task's.
#[utoipa::path(get, path = "/v1/tasks/{task_id}/status", tag = "tasks", params(("task_id" = TaskId, Path), ViewParams),
    responses((status = 200, description = "What the addressed node did, and the whole task beside it", body = NodeStatus),
        (status = 404), (status = 422), (status = 503)))]
async fn get_task_status(
    State(views): State<Arc<TaskViews>>,
    TaskPath(task): TaskPath,
    Params(params): Params<ViewParams>,
) -> Result<SharedBody, ApiError> {
    Ok(views.read_status(&task, params.node()?.as_ref()).await?)
}

/// The same as `status`
#[utoipa::path(get, path = "/v1/tasks/{task_id}/result", tag = "tasks", params(("task_id" = TaskId, Path), ViewParams),
    responses((status = 200, description = "What the addressed node did, and the whole task beside it", body = NodeStatus),
        (status = 404), (status = 422), (status = 503)))]
async fn get_task_result(
    views: State<Arc<TaskViews>>,
    task: TaskPath,
    params: Params<ViewParams>,
) -> Result<SharedBody, ApiError> {
    get_task_status(views, task, params).await
}

/// List the runs of a stage, with the times of their attempts
///
/// First the run in flight, or the one that the stage shows, then those that ended before, newest first. As many ended
/// runs are kept as `retention.runs_per_stage` says, for as long as the stage; `not_kept` is the number of the others.
#[utoipa::path(get, path = "/v1/tasks/{task_id}/stages/{task_name}/runs", tag = "tasks",
    params(("task_id" = TaskId, Path), ("task_name" = NodeName, Path)),
    responses((status = 200, description = "The runs", body = StageRuns), (status = 404), (status = 422), (status = 503)))]
async fn list_stage_runs(
    State(views): State<Arc<TaskViews>>,
    StagePath(task, node): StagePath,
) -> Result<Json<StageRuns>, ApiError> {
    Ok(Json(views.read_runs(&task, &node).await?))
}

/// The nodes of the catalog, by service
#[utoipa::path(get, path = "/v1/tasks/supported-tasks", tag = "tasks",
    responses((status = 200, description = "Node names by service", body = SupportedTasks)))]
async fn list_supported_tasks(State(nodes): State<Arc<NodeCatalog>>) -> Json<SupportedTasks> {
    Json(nodes.list_names())
}
