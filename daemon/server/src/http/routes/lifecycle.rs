//! Cancel, delete, run again, and whether that would run.

use std::sync::Arc;

use axum::{Json, extract::State};
use onceover_types::{NodeName, Problem, TaskId, TaskStatus};
use onceover_wire::{
    CancelResponse, DeleteReport, DeleteRequest, ExplainRequest, ResubmitRequest, ReuseExplanation, ReuseMode,
    SubmitResponse,
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{
    ApiError, AppState,
    body::{Body, OptionalBody},
    extract::{StagePath, TaskPath},
    query::Params,
};
use crate::{
    pipelines::Videos,
    services::{Cancellations, Deletions, Explanations, ServiceError, Submissions, SubmitDraft, unread::WarningLog},
};

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(cancel_task))
        .routes(routes!(delete_task))
        .routes(routes!(retry_task))
        .routes(routes!(resubmit_stage))
        .routes(routes!(explain_reuse))
        .routes(routes!(explain_input))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CancelParams {
    /// Only this stage.
    #[param(value_type = NodeName, required = false)]
    task_name: Option<String>,
}

/// Cancel what is in flight under a task
///
/// Runs that wait are taken from their queue, running ones are ended with all their processes.
#[utoipa::path(delete, path = "/v1/tasks/{task_id}", tag = "tasks", params(("task_id" = TaskId, Path), CancelParams),
    responses((status = 200, description = "What was cancelled", body = CancelResponse),
        (status = 400, description = "Nothing that was asked for is in flight"),
        (status = 404), (status = 422), (status = 503)))]
async fn cancel_task(
    State(videos): State<Arc<Videos>>,
    State(cancellations): State<Arc<Cancellations>>,
    TaskPath(task): TaskPath,
    Params(params): Params<CancelParams>,
) -> Result<Json<CancelResponse>, ApiError> {
    let node = params.task_name.as_deref().map(NodeName::parse).transpose();
    let node = node.map_err(|error| Problem::invalid_field("task_name", error.to_string()))?;
    // First the pipeline, so that it submits nothing more.
    let pipeline_ended = node.is_none() && videos.cancel_pipeline(&task).await?;
    match cancellations.cancel_task(&task, node.as_ref()).await {
        Err(ServiceError::Refused(_) | ServiceError::UnknownTask(_)) if pipeline_ended => Ok(Json(CancelResponse {
            message: "cancelled the pipeline; none of its stages was in flight".into(),
            status: TaskStatus::Cancelled,
            cancelled: Vec::new(),
            task_id: task,
        })),
        answer => Ok(Json(answer?)),
    }
}

/// Delete a task: its records, its files
///
/// Refused with 400 while stages are in flight, unless `force`; then their runs are ended first.
#[utoipa::path(post, path = "/v1/tasks/{task_id}/delete", tag = "tasks", params(("task_id" = TaskId, Path)),
    request_body(content = Option<DeleteRequest>),
    responses((status = 200, description = "What became of each resource of the task", body = DeleteReport),
        (status = 400, description = "Stages are in flight and `force` is not set, or the body is not JSON"), (status = 404),
        (status = 422), (status = 503)))]
async fn delete_task(
    State(videos): State<Arc<Videos>>,
    State(deletions): State<Arc<Deletions>>,
    State(warning_log): State<Arc<WarningLog>>,
    TaskPath(task): TaskPath,
    OptionalBody(body): OptionalBody<DeleteRequest>,
) -> Result<Json<DeleteReport>, ApiError> {
    let Body { value, warnings, .. } = body;
    if value.force {
        videos.cancel_pipeline(&task).await?;
    } else if videos.is_active(&task).await? {
        return Err(ServiceError::Refused(format!(
            "a pipeline is under way under task '{task}'; cancel it first, or delete with {{\"force\": true}} to end it"
        ))
        .into());
    }
    let mut report = deletions.delete_task(&task, value.force).await?;
    warning_log.write(task.as_str(), "", &warnings);
    if !warnings.is_empty() {
        let texts = warnings.iter().map(ToString::to_string);
        report.warnings.get_or_insert_default().extend(texts);
    }
    Ok(Json(report))
}

/// Resubmit the newest stage of a task, under the same task id
#[utoipa::path(post, path = "/v1/tasks/{task_id}/retry", tag = "tasks", params(("task_id" = TaskId, Path)),
    request_body(content = Option<ResubmitRequest>),
    responses((status = 200, description = "The decision, as for a submit", body = SubmitResponse), (status = 400),
        (status = 404), (status = 422), (status = 503)))]
async fn retry_task(
    State(submissions): State<Arc<Submissions>>,
    State(warning_log): State<Arc<WarningLog>>,
    TaskPath(task): TaskPath,
    OptionalBody(body): OptionalBody<ResubmitRequest>,
) -> Result<Json<SubmitResponse>, ApiError> {
    run_again(&submissions, &warning_log, (&task, None), body).await
}

/// Submit the stored request of a stage again, under the same task
///
/// With `"reuse": "never"` it runs whatever is stored; the former result stays until the new run succeeds (R8).
#[utoipa::path(post, path = "/v1/tasks/{task_id}/stages/{task_name}/resubmit", tag = "tasks",
    params(("task_id" = TaskId, Path), ("task_name" = NodeName, Path)), request_body(content = Option<ResubmitRequest>),
    responses((status = 200, description = "The decision, as for a submit", body = SubmitResponse), (status = 400),
        (status = 404), (status = 422), (status = 503)))]
async fn resubmit_stage(
    State(submissions): State<Arc<Submissions>>,
    State(warning_log): State<Arc<WarningLog>>,
    StagePath(task, node): StagePath,
    OptionalBody(body): OptionalBody<ResubmitRequest>,
) -> Result<Json<SubmitResponse>, ApiError> {
    run_again(&submissions, &warning_log, (&task, Some(&node)), body).await
}

/// The warnings of this request stand before those of the stored one.
async fn run_again(
    submissions: &Submissions,
    warning_log: &WarningLog,
    (task, node): (&TaskId, Option<&NodeName>),
    body: Body<ResubmitRequest>,
) -> Result<Json<SubmitResponse>, ApiError> {
    let mut response = submissions.resubmit_stage(task, node, body.value.reuse).await?;
    let name = &response.reuse_info.task_name;
    warning_log.write(task.as_str(), name, &body.warnings);
    response.warnings.splice(0..0, body.warnings);
    Ok(Json(response))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ExplainParams {
    /// As in a submit; left out, the node's policy.
    #[param(value_type = ReuseMode, required = false)]
    reuse: Option<ReuseMode>,
}

/// Explain how a submit of the stored request would be decided now
///
/// Changes nothing, and agrees with what the submit then does (R8).
#[utoipa::path(get, path = "/v1/tasks/{task_id}/stages/{task_name}/reuse", tag = "tasks",
    params(("task_id" = TaskId, Path), ("task_name" = NodeName, Path), ExplainParams),
    responses((status = 200, description = "What a submit would do now, and why", body = ReuseExplanation),
        (status = 404), (status = 422), (status = 503)))]
async fn explain_reuse(
    State(explanations): State<Arc<Explanations>>,
    StagePath(task, node): StagePath,
    Params(params): Params<ExplainParams>,
) -> Result<Json<ReuseExplanation>, ApiError> {
    Ok(Json(explanations.explain_reuse(&task, &node, params.reuse).await?))
}

/// Explain how a submit of the stage with another input would be decided now
///
/// Takes the input of a submit, and refuses what a submit refuses. Changes nothing, and agrees with what the submit then
/// does (R8).
#[utoipa::path(post, path = "/v1/tasks/{task_id}/stages/{task_name}/reuse", tag = "tasks",
    params(("task_id" = TaskId, Path), ("task_name" = NodeName, Path)), request_body = ExplainRequest,
    responses((status = 200, description = "What a submit would do now, and why", body = ReuseExplanation),
        (status = 400), (status = 413), (status = 422), (status = 503)))]
async fn explain_input(
    State(submissions): State<Arc<Submissions>>,
    State(explanations): State<Arc<Explanations>>,
    StagePath(task, node): StagePath,
    body: Body<ExplainRequest>,
) -> Result<Json<ReuseExplanation>, ApiError> {
    let draft = SubmitDraft {
        task_name: Some(node.to_string()),
        task_id: Some(task.to_string()),
        input_data: Some(body.value.input_data),
        reuse: body.value.reuse,
        ..SubmitDraft::default()
    };
    let request = submissions.check_request(draft, body.unknown)?;
    Ok(Json(explanations.explain_request(&request).await?))
}
